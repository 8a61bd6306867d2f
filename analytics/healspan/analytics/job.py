"""The job: reads all facts as of one moment, works out rewards and hotspots, writes the projections.

A full recomputation every time: run twice, or by two processes, it gives the same. What has not changed to the
fourth decimal is not written, so that the indexes of all processes have nothing to do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from healspan.analytics.evidence import Outcome
from healspan.analytics.hotspots import CONTEXT_KEY, Calls, Failures, find_hotspots
from healspan.analytics.reward import FixReward, rewards
from healspan.remediation.record import Record
from healspan.remediation.store import FixScore, Hotspot
from healspan.remediation.store.analysis import call_facts, failure_facts, fix_patterns, outcome_facts
from healspan.remediation.store.facts import context_keys
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
    seconds: float


def run_job(
    store: Store,
    *,
    now: datetime | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> JobReport:
    """Recompute every reward score and hotspot.

    Raises:
        StoreUnavailable, StoreCorrupt: the projections are as they were.
    """
    started, moment = clock(), now or datetime.now(UTC)
    with store.database.reading() as connection:
        scores = _scores(connection, moment)
        spots = _hotspots(connection, moment)
    known = {score.fix_id: _content(score) for score in store.projections.scores()}
    changed = [score for score in scores if known.get(score.fix_id) != _content(score)]
    store.projections.write_scores(changed)
    store.projections.write_hotspots(spots)
    return JobReport(
        at=moment,
        fixes=len(scores),
        written=len(changed),
        hotspots=len(spots),
        seconds=clock() - started,
    )


def _scores(connection: Connection, now: datetime) -> list[FixScore]:
    # The first part of an error pattern is the error type: the family a fix inherits from.
    families = {fix_id: pattern.partition("::")[0] for fix_id, pattern in fix_patterns(connection).items()}
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
        for fact in outcome_facts(connection)
    )
    scored = rewards(outcomes, families, now.timestamp())
    return [_score(reward, now) for reward in scored if reward.fix_id in families]


def _score(reward: FixReward, now: datetime) -> FixScore:
    parts = {
        **reward.components,
        **{f"{name}_mean": value for name, value in reward.means.items()},
        "mean_score": reward.mean_score,
        "uncertainty": reward.mean_score - reward.score,
        "n_eff": reward.evidence,
        "stale": float(reward.stale),
    }
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
