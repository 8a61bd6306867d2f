"""The job: reads all facts as of one moment, works out rewards, hotspots and masking, writes the projections.

A full recomputation every time: run twice, or by two processes, it gives the same. What has not changed to the
fourth decimal is not written, so that the indexes of all processes have nothing to do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from healspan.analytics.durability import Days, Durability
from healspan.analytics.evidence import Outcome
from healspan.analytics.hotspots import CONTEXT_KEY, Calls, Failures, find_hotspots
from healspan.analytics.masking import MaskingLimits, Share, draft, is_alarm, shares, window
from healspan.analytics.reward import FixReward, rewards
from healspan.remediation.errors import InvalidFix
from healspan.remediation.record import Record
from healspan.remediation.store import FixScore, Hotspot
from healspan.remediation.store.analysis import (
    call_facts,
    failure_facts,
    fix_patterns,
    heal_facts,
    outcome_facts,
    serving_since,
)
from healspan.remediation.store.facts import ARCHITECTURAL, context_keys
from healspan.remediation.store.masking import MaskingAlarm
from healspan.remediation.store.repository import Store

__all__ = ["JobReport", "run_job"]

WINDOW = timedelta(days=140)
"""Ten half-lives: what is older weighs less than a thousandth in a hotspot."""

_DECIMALS = 4


class JobReport(Record):
    """What one run of the job did."""

    at: datetime
    fixes: int
    """Scored."""
    written: int
    """Of them, scores that had changed."""
    hotspots: int
    """Pairs of boundary and document type."""
    masking: int
    """Fixes that fire so often that they hide a fault, and that no human has answered for."""
    seconds: float


def run_job(
    store: Store,
    *,
    masking: MaskingLimits | None = None,
    now: datetime | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> JobReport:
    """Recompute every reward score, hotspot and masking alarm.

    Args:
        store: whose facts and projections.
        masking: from when on a fix that fires is a symptom.
        now: the wall clock, in UTC.
        clock: seconds, for the report.

    Raises:
        StoreUnavailable, StoreCorrupt: the projections are as they were.
    """
    started, moment = clock(), now or datetime.now(UTC)
    limits = masking or MaskingLimits()
    with store.database.reading() as connection:
        scores = _scores(connection, moment)
        spots = _hotspots(connection, moment)
        begun = window(moment, limits)
        serving = serving_since(connection)
        found = shares(heal_facts(connection, begun), call_facts(connection, begun))
    _write_alarms(store, found, serving, limits, moment)
    hiding = {one.fix_id for one in store.masking.open()}
    scores = [one.model_copy(update={"bucket": ARCHITECTURAL}) if one.fix_id in hiding else one for one in scores]
    known = {score.fix_id: _content(score) for score in store.projections.scores()}
    changed = [score for score in scores if known.get(score.fix_id) != _content(score)]
    store.projections.write_scores(changed)
    store.projections.write_hotspots(spots)
    return JobReport(
        at=moment,
        fixes=len(scores),
        written=len(changed),
        hotspots=len(spots),
        masking=len(hiding),
        seconds=clock() - started,
    )


def _write_alarms(
    store: Store, found: Iterable[Share], serving: Mapping[str, datetime], limits: MaskingLimits, now: datetime
) -> None:
    earlier = {one.fix_id: one for one in store.masking.firing()}
    alarms: list[MaskingAlarm] = []
    for one in found:
        if one.fix_id not in serving or not is_alarm(one, limits, was=one.fix_id in earlier):
            continue
        try:
            view = store.fixes.get(one.fix_id)
        except InvalidFix:
            continue  # this version cannot read it, nor serve it
        if view is not None:
            alarms.append(
                draft(
                    one,
                    instruction=view.fix.fix_instruction,
                    serves_since=serving[one.fix_id],
                    limits=limits,
                    earlier=earlier,
                    now=now,
                ),
            )
    if alarms or earlier:
        store.masking.write(alarms)


def _scores(connection: Connection, now: datetime) -> list[FixScore]:
    # The first part of an error pattern is the error type: the family a fix inherits from.
    families = {fix_id: pattern.partition("::")[0] for fix_id, pattern in fix_patterns(connection).items()}
    days = Days()
    outcomes = (
        Outcome(
            fix_id=fact.fix_id,
            context=f"{fact.boundary} {fact.context}",
            signature=fact.pattern,
            failure=fact.failure,
            at=fact.at.timestamp(),
            reward=fact.reward,
            times=fact.times,
            shadow=fact.shadow,
        )
        for fact in days.noted(outcome_facts(connection))
    )
    scored = rewards(outcomes, families, now.timestamp())
    lasting = days.durabilities()
    return [_score(reward, lasting.get(reward.fix_id), now) for reward in scored if reward.fix_id in families]


def _score(reward: FixReward, lasts: Durability | None, now: datetime) -> FixScore:
    parts = {
        **reward.components,
        **{f"{name}_mean": value for name, value in reward.means.items()},
        "mean_score": reward.mean_score,
        "uncertainty": reward.mean_score - reward.score,
        "n_eff": reward.evidence,
        "stale": float(reward.stale),
    }
    if lasts is not None:
        # Beside the score, which is made of what `formula` names.
        parts |= {"durability": lasts.lower_bound, "durability_mean": lasts.mean, "days": float(lasts.days)}
    return FixScore(
        fix_id=reward.fix_id,
        reward_score=round(reward.score, _DECIMALS),
        parts={name: round(value, _DECIMALS) for name, value in parts.items()},
        formula=reward.formula,
        updated_at=now,
    )


def _content(score: FixScore) -> dict[str, object]:
    return score.model_dump(exclude={"updated_at"})


def _hotspots(connection: Connection, now: datetime) -> tuple[Hotspot, ...]:
    since = now - WINDOW
    return find_hotspots(_failures(connection, since), _calls(connection, since), now)


def _failures(connection: Connection, since: datetime) -> Iterator[Failures]:
    for fact in failure_facts(connection, since):
        yield Failures(fact.boundary, _document_type(fact.context), fact.at, fact.times, fact.repaired)


def _calls(connection: Connection, since: datetime) -> Iterator[Calls]:
    for fact in call_facts(connection, since):
        yield Calls(fact.boundary, _document_type(fact.context), fact.hour, fact.calls)


def _document_type(context: str) -> str:
    return context_keys(context).get(CONTEXT_KEY, "")
