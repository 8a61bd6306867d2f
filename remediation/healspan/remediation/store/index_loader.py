"""Reads from the store what changed since an index last looked."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from pydantic import ValidationError
from sqlalchemy import Connection, bindparam, func, select

from healspan.remediation.outcome import ApplicationMode, FirstApplication, Judgement, RunFact
from healspan.remediation.plan import Plan, PlanOutcome
from healspan.remediation.store.database import Database
from healspan.remediation.store.facts import Refusal
from healspan.remediation.store.history import WINDOW
from healspan.remediation.store.rows import Inserts, row_of
from healspan.remediation.store.tables import (
    ApplicationRow,
    ControlRow,
    FixEvidenceRow,
    FixRow,
    FixScoreRow,
    JudgementRow,
    PlanOutcomeRow,
    PlanRow,
    RevisionRow,
    RunRow,
    StateChangeRow,
    table_of,
)

__all__ = ["KILL_SWITCH", "Delta", "Marks", "StoredFix", "first_applications", "load", "record_refusals"]

logger = logging.getLogger("healspan.store")

_Fact = TypeVar("_Fact", RunFact, Judgement, Plan, PlanOutcome)

KILL_SWITCH = "disabled"
"""Name of the stored kill switch among the controls."""

_CHUNK = 500

MOST_RUNS = 20_000
"""Runs read at once: at the start, the latest."""

# The statements, each made once: they are run whenever anything in the store has changed.
_CHANGE, _FIX, _SCORE = table_of(StateChangeRow), table_of(FixRow), table_of(FixScoreRow)
_EVIDENCE, _RUN, _JUDGEMENT = table_of(FixEvidenceRow), table_of(RunRow), table_of(JudgementRow)
_PLAN, _PLAN_OUTCOME, _CONTROL = table_of(PlanRow), table_of(PlanOutcomeRow), table_of(ControlRow)
_LATER = _CHANGE.alias()

_FAR = select(
    select(func.max(table_of(RevisionRow).c.value)).scalar_subquery(),
    select(_CONTROL.c.value).where(_CONTROL.c.name == KILL_SWITCH).scalar_subquery(),
    *(select(func.max(table.c.position)).scalar_subquery() for table in (_RUN, _JUDGEMENT, _PLAN_OUTCOME)),
)
"""How far the store is: most of what is written to it in a storm of failures says nothing to an index."""
_FIXES = (
    select(_CHANGE.c.fix_id, _CHANGE.c.sequence, _FIX.c.body, _CHANGE.c.body)
    .join(_FIX, _FIX.c.fix_id == _CHANGE.c.fix_id)
    .where(
        _CHANGE.c.revision > bindparam("after"),
        _CHANGE.c.sequence
        == select(func.max(_LATER.c.sequence)).where(_LATER.c.fix_id == _CHANGE.c.fix_id).scalar_subquery(),
    )
)
_SCORES = select(_SCORE.c.fix_id, _SCORE.c.reward_score).where(_SCORE.c.revision > bindparam("after"))
_BODIES = select(_EVIDENCE.c.fix_id, _EVIDENCE.c.body).where(_EVIDENCE.c.revision > bindparam("after"))
_SHOWN = select(_JUDGEMENT.c.application_id).where(_JUDGEMENT.c.application_id.in_(bindparam("among", expanding=True)))
_RUNS = (
    select(_RUN.c.position, _RUN.c.body)
    .where(_RUN.c.position > bindparam("after"), _RUN.c.closed_at >= bindparam("since"))
    .order_by(_RUN.c.position.desc())
    .limit(MOST_RUNS)
)
_JUDGEMENTS = (
    select(_JUDGEMENT.c.position, _JUDGEMENT.c.body)
    .where(_JUDGEMENT.c.position > bindparam("after"), _JUDGEMENT.c.unknown, _JUDGEMENT.c.at >= bindparam("since"))
    .order_by(_JUDGEMENT.c.position)
)
_APPLICATION = table_of(ApplicationRow)
_FIRST = select(
    _FIX.c.fix_id,
    select(_APPLICATION.c.body)
    .where(
        _APPLICATION.c.fix_id == _FIX.c.fix_id,
        _APPLICATION.c.resolved,
        _APPLICATION.c.mode != ApplicationMode.SHADOW.value,
    )
    .order_by(_APPLICATION.c.at)
    .limit(1)
    .scalar_subquery(),
).where(_FIX.c.fix_id.in_(bindparam("among", expanding=True)))
_PLANS = (
    select(_PLAN_OUTCOME.c.position, _PLAN_OUTCOME.c.body, _PLAN.c.plan_id, _PLAN.c.body)
    .join(_PLAN, _PLAN.c.plan_id == _PLAN_OUTCOME.c.plan_id)
    .where(_PLAN_OUTCOME.c.position > bindparam("after"), _PLAN_OUTCOME.c.at >= bindparam("since"))
    .order_by(_PLAN_OUTCOME.c.position.desc())
    .limit(MOST_RUNS)
)


@dataclass(frozen=True, slots=True)
class Marks:
    """How far an index has read."""

    revision: int = 0
    run: int = 0
    judgement: int = 0
    plan_outcome: int = 0


@dataclass(frozen=True, slots=True)
class StoredFix:
    """A fix and the latest change of its state, as their bytes are in the store."""

    fix_id: str
    sequence: int
    fix: str
    change: str


@dataclass(frozen=True, slots=True)
class Delta:
    """What changed."""

    marks: Marks
    disabled: bool
    fixes: Sequence[StoredFix]
    scores: Sequence[tuple[str, float]]
    runs: Sequence[RunFact]
    judgements: Sequence[Judgement]
    evidence: Sequence[tuple[str, str]]
    """(fix id, evidence as JSON)."""
    shown: Sequence[str]
    """Of the applications that were asked about, those whose verdicts are in the store."""
    plans: Sequence[Plan]
    """Those of the outcomes."""
    plan_outcomes: Sequence[PlanOutcome]


def load(database: Database, since: Marks, *, now: datetime, pending: Collection[str] = ()) -> Delta:
    """Read what changed; a store that is younger than `since` (it was replaced) is read from its beginning.

    Args:
        database: the store.
        since: how far it was read before.
        now: the wall clock, in UTC.
        pending: applications whose verdicts may be in the store by now.

    Raises:
        StoreUnavailable, StoreCorrupt: it cannot be read now.
    """
    with database.reading() as connection:
        last, switch, last_run, last_judgement, last_outcome = connection.execute(_FAR).one()
        revision = last or 0
        if revision < since.revision:
            since = Marks()
        changed = revision > since.revision
        run, judgement, plan_outcome = since.run, since.judgement, since.plan_outcome
        runs: Sequence[RunFact] = ()
        judgements: Sequence[Judgement] = ()
        plans: Sequence[Plan] = ()
        plan_outcomes: Sequence[PlanOutcome] = ()
        if (last_run or 0) > run:
            run, runs = _runs(connection, run, now)
        if (last_judgement or 0) > judgement:
            judgement, judgements = _judgements(connection, judgement, now)
        if (last_outcome or 0) > plan_outcome:
            plan_outcome, plans, plan_outcomes = _plans(connection, plan_outcome, now)
        return Delta(
            marks=Marks(revision=revision, run=run, judgement=judgement, plan_outcome=plan_outcome),
            disabled=_is_on(switch),
            fixes=_fixes(connection, since.revision) if changed else (),
            scores=_scores(connection, since.revision) if changed else (),
            runs=runs,
            judgements=judgements,
            evidence=_evidence(connection, since.revision) if changed else (),
            shown=_shown(connection, pending) if changed else (),
            plans=plans,
            plan_outcomes=plan_outcomes,
        )


def _fixes(connection: Connection, revision: int) -> list[StoredFix]:
    return [StoredFix(*row) for row in connection.execute(_FIXES, {"after": revision})]


def _scores(connection: Connection, revision: int) -> list[tuple[str, float]]:
    return [(row[0], row[1]) for row in connection.execute(_SCORES, {"after": revision})]


def _evidence(connection: Connection, revision: int) -> list[tuple[str, str]]:
    return [(row[0], row[1]) for row in connection.execute(_BODIES, {"after": revision})]


def _shown(connection: Connection, pending: Collection[str]) -> list[str]:
    ids = list(pending)
    found: list[str] = []
    for start in range(0, len(ids), _CHUNK):
        found += connection.execute(_SHOWN, {"among": ids[start : start + _CHUNK]}).scalars()
    return found


def _runs(connection: Connection, after: int, now: datetime) -> tuple[int, list[RunFact]]:
    rows = connection.execute(_RUNS, {"after": after, "since": now - WINDOW}).fetchall()
    return (rows[0][0] if rows else after), _readable(RunFact, [row[1] for row in reversed(rows)])


def _judgements(connection: Connection, after: int, now: datetime) -> tuple[int, list[Judgement]]:
    rows = connection.execute(_JUDGEMENTS, {"after": after, "since": now - WINDOW}).fetchall()
    return (rows[-1][0] if rows else after), _readable(Judgement, [row[1] for row in rows])


def _plans(connection: Connection, after: int, now: datetime) -> tuple[int, list[Plan], list[PlanOutcome]]:
    rows = connection.execute(_PLANS, {"after": after, "since": now - WINDOW}).fetchall()
    plans = {row[2]: row[3] for row in rows}
    outcomes = _readable(PlanOutcome, [row[1] for row in reversed(rows)])
    return (rows[0][0] if rows else after), _readable(Plan, plans.values()), outcomes


def _is_on(switch: str | None) -> bool:
    """Read the kill switch; one that cannot be read is on."""
    try:
        return switch is not None and bool(json.loads(switch))
    except ValueError:
        return True


def _readable(kind: type[_Fact], bodies: Iterable[str]) -> list[_Fact]:
    """Parse rows; one that a newer version wrote must not keep a process from obeying the kill switch."""
    facts: list[_Fact] = []
    for body in bodies:
        try:
            facts.append(kind.model_validate_json(body))
        except ValidationError:
            logger.warning("a stored %s cannot be read and is left out; upgrade healspan", kind.__name__)
    return facts


def first_applications(database: Database, fix_ids: Collection[str]) -> dict[str, FirstApplication | None]:
    """Return where each of some fixes first stood for a result; None where nobody has recorded it.

    Raises:
        StoreUnavailable, StoreCorrupt: it cannot be read now.
    """
    ids = sorted(fix_ids)
    found: dict[str, FirstApplication | None] = {}
    for start in range(0, len(ids), _CHUNK):
        with database.reading() as connection:
            for fix_id, body in connection.execute(_FIRST, {"among": ids[start : start + _CHUNK]}):
                told = {} if body is None else json.loads(body)
                trace_id, span_id = told.get("trace_id"), told.get("span_id")
                if body is not None:
                    traced = trace_id is not None and span_id is not None
                    found[fix_id] = FirstApplication(trace_id=trace_id, span_id=span_id) if traced else None
    return found


def record_refusals(database: Database, refusals: Sequence[Refusal]) -> None:
    """Write down what was not believed; each once, whichever process saw it first.

    Raises:
        StoreUnavailable, StoreCorrupt: it cannot be written now.
    """
    with database.writing() as connection:
        inserts = Inserts(connection.dialect)
        for refusal in refusals:
            table, values = row_of(refusal)
            inserts.add(connection, table, [values])
