"""Reads from the store what changed since an index last looked."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from pydantic import ValidationError
from sqlalchemy import Connection, func, select

from healspan.remediation.outcome import Judgement, RunFact
from healspan.remediation.plan import Plan, PlanOutcome
from healspan.remediation.store.database import Database
from healspan.remediation.store.facts import Refusal
from healspan.remediation.store.history import WINDOW
from healspan.remediation.store.rows import Inserts, row_of
from healspan.remediation.store.tables import (
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

__all__ = ["KILL_SWITCH", "Delta", "Marks", "StoredFix", "load", "record_refusals"]

logger = logging.getLogger("healspan.store")

_Fact = TypeVar("_Fact", RunFact, Judgement, Plan, PlanOutcome)

KILL_SWITCH = "disabled"
"""Name of the stored kill switch among the controls."""

_CHUNK = 500

MOST_RUNS = 20_000
"""Runs read at once: at the start, the latest."""


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
        revision = connection.execute(select(func.max(table_of(RevisionRow).c.value))).scalar() or 0
        if revision < since.revision:
            since = Marks()
        control = table_of(ControlRow)
        switch = connection.execute(select(control.c.value).where(control.c.name == KILL_SWITCH)).scalar()
        changed = revision > since.revision
        run, runs = _runs(connection, since.run, now)
        judgement, judgements = _judgements(connection, since.judgement, now)
        plan_outcome, plans, plan_outcomes = _plans(connection, since.plan_outcome, now)
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
    fix, change = table_of(FixRow), table_of(StateChangeRow)
    later = change.alias()
    newest = select(func.max(later.c.sequence)).where(later.c.fix_id == change.c.fix_id).scalar_subquery()
    query = (
        select(change.c.fix_id, change.c.sequence, fix.c.body, change.c.body)
        .join(fix, fix.c.fix_id == change.c.fix_id)
        .where(change.c.revision > revision, change.c.sequence == newest)
    )
    return [StoredFix(*row) for row in connection.execute(query)]


def _scores(connection: Connection, revision: int) -> list[tuple[str, float]]:
    score = table_of(FixScoreRow)
    query = select(score.c.fix_id, score.c.reward_score).where(score.c.revision > revision)
    return [(row[0], row[1]) for row in connection.execute(query)]


def _evidence(connection: Connection, revision: int) -> list[tuple[str, str]]:
    row = table_of(FixEvidenceRow)
    query = select(row.c.fix_id, row.c.body).where(row.c.revision > revision)
    return [(found[0], found[1]) for found in connection.execute(query)]


def _shown(connection: Connection, pending: Collection[str]) -> list[str]:
    column, ids = table_of(JudgementRow).c.application_id, list(pending)
    found: list[str] = []
    for start in range(0, len(ids), _CHUNK):
        found += connection.execute(select(column).where(column.in_(ids[start : start + _CHUNK]))).scalars()
    return found


def _runs(connection: Connection, after: int, now: datetime) -> tuple[int, list[RunFact]]:
    run = table_of(RunRow)
    query = (
        select(run.c.position, run.c.body)
        .where(run.c.position > after, run.c.closed_at >= now - WINDOW)
        .order_by(run.c.position.desc())
        .limit(MOST_RUNS)
    )
    rows = connection.execute(query).fetchall()
    return (rows[0][0] if rows else after), _readable(RunFact, [row[1] for row in reversed(rows)])


def _judgements(connection: Connection, after: int, now: datetime) -> tuple[int, list[Judgement]]:
    judgement = table_of(JudgementRow)
    query = (
        select(judgement.c.position, judgement.c.body)
        .where(judgement.c.position > after, judgement.c.unknown, judgement.c.at >= now - WINDOW)
        .order_by(judgement.c.position)
    )
    rows = connection.execute(query).fetchall()
    return (rows[-1][0] if rows else after), _readable(Judgement, [row[1] for row in rows])


def _plans(connection: Connection, after: int, now: datetime) -> tuple[int, list[Plan], list[PlanOutcome]]:
    plan, outcome = table_of(PlanRow), table_of(PlanOutcomeRow)
    query = (
        select(outcome.c.position, outcome.c.body, plan.c.plan_id, plan.c.body)
        .join(plan, plan.c.plan_id == outcome.c.plan_id)
        .where(outcome.c.position > after, outcome.c.at >= now - WINDOW)
        .order_by(outcome.c.position.desc())
        .limit(MOST_RUNS)
    )
    rows = connection.execute(query).fetchall()
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
