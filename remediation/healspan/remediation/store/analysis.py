"""What analytics reads of the facts: the outcomes of fixes, the calls and the failures of boundaries.

Rows are streamed and narrow: a million outcomes pass through here without their bodies.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from healspan.remediation.fix import SERVING_STATES
from healspan.remediation.outcome import Application, ApplicationMode
from healspan.remediation.store.fixes import effective_reward, outcomes_join
from healspan.remediation.store.sums import total
from healspan.remediation.store.tables import ApplicationRow, ExposureRow, FixRow, IncidentRow, StateChangeRow, table_of

__all__ = [
    "CallFact",
    "ChoiceFact",
    "FailureFact",
    "HealFact",
    "OutcomeFact",
    "call_facts",
    "choice_facts",
    "failure_facts",
    "fix_patterns",
    "heal_facts",
    "outcome_facts",
    "serving_since",
]

CHUNK = 10_000

_INCIDENT, _APPLICATION = table_of(IncidentRow), table_of(ApplicationRow)
_EXPOSURE, _FIX, _CHANGE = table_of(ExposureRow), table_of(FixRow), table_of(StateChangeRow)


class OutcomeFact(NamedTuple):
    """One application of a fix and what became of it."""

    fix_id: str
    boundary: str
    context: str
    pattern: str
    """Exact hash of the incident's; empty where an installed repair left no incident."""
    failure: str
    """The incident, or the application itself where there is none."""
    at: datetime
    reward: int | None
    """None: censored, or not judged yet; an unknown that a later judgement overruled is 0."""
    times: int
    """How many equal applications the row stands for."""
    shadow: bool


class CallFact(NamedTuple):
    """Calls of a boundary in one context and hour."""

    boundary: str
    context: str
    hour: datetime
    calls: int


class FailureFact(NamedTuple):
    """Failing calls of a boundary."""

    boundary: str
    context: str
    at: datetime
    times: int
    repaired: bool
    """Healed by an installed repair, without an incident."""


class HealFact(NamedTuple):
    """Calls that a fix kept from failing, in one hour."""

    fix_id: str
    boundary: str
    hour: datetime
    times: int


class ChoiceFact(NamedTuple):
    """One choice among several fixes, and what came of it."""

    boundary: str
    context: str
    pattern: str
    """Exact hash of the incident's; empty where it has been purged."""
    candidates: tuple[str, ...]
    chosen: str
    propensity: float
    reward: int
    policy_version: str


def outcome_facts(connection: Connection) -> Iterator[OutcomeFact]:
    """Return every application with its verdict."""
    one = _APPLICATION.c
    query = (
        select(
            one.fix_id,
            one.boundary,
            one.context,
            func.coalesce(_INCIDENT.c.exact, ""),
            func.coalesce(one.error_id, one.application_id),
            one.at,
            effective_reward,
            one["count"],
            one.mode == ApplicationMode.SHADOW,
        )
        .select_from(outcomes_join.outerjoin(_INCIDENT, _INCIDENT.c.error_id == one.error_id))
        .execution_options(yield_per=CHUNK)
    )
    for row in connection.execute(query):
        yield OutcomeFact._make(row)


def choice_facts(connection: Connection) -> Iterator[ChoiceFact]:
    """Return every judged choice among several fixes in which chance had a say."""
    one = _APPLICATION.c
    query = (
        select(one.body, one.context, func.coalesce(_INCIDENT.c.exact, ""), effective_reward)
        .select_from(outcomes_join.outerjoin(_INCIDENT, _INCIDENT.c.error_id == one.error_id))
        .where(one.propensity < 1.0, effective_reward.is_not(None))
        .execution_options(yield_per=CHUNK)
    )
    for body, context, pattern, reward in connection.execute(query):
        application = Application.model_validate_json(body)
        yield ChoiceFact(
            boundary=application.boundary,
            context=context,
            pattern=pattern,
            candidates=application.candidates,
            chosen=application.fix_id,
            propensity=application.propensity,
            reward=reward,
            policy_version=application.policy_version or "",
        )


def fix_patterns(connection: Connection) -> dict[str, str]:
    """Return the error pattern of every fix."""
    rows = connection.execute(select(_FIX.c.fix_id, _FIX.c.pattern))
    return {row.fix_id: row.pattern for row in rows}


def call_facts(connection: Connection, since: datetime) -> Iterator[CallFact]:
    """Return the calls of every boundary by context and hour."""
    row = _EXPOSURE.c
    query = (
        select(row.boundary, row.context, row.hour, total(row.calls))
        .where(row.hour >= since)
        .group_by(row.boundary, row.context, row.hour)
        .execution_options(yield_per=CHUNK)
    )
    for found in connection.execute(query):
        yield CallFact._make(found)


def failure_facts(connection: Connection, since: datetime) -> Iterator[FailureFact]:
    """Return every failing call: incidents, and calls that installed repairs healed."""
    captured = select(_INCIDENT.c.module, _INCIDENT.c.context, _INCIDENT.c.at).where(_INCIDENT.c.at >= since)
    for boundary, context, at in connection.execute(captured.execution_options(yield_per=CHUNK)):
        yield FailureFact(boundary, context, at, 1, repaired=False)
    row = _APPLICATION.c
    repaired = select(row.boundary, row.context, row.at, row["count"]).where(row.error_id.is_(None), row.at >= since)
    for boundary, context, at, count in connection.execute(repaired.execution_options(yield_per=CHUNK)):
        yield FailureFact(boundary, context, at, count, repaired=True)


def heal_facts(connection: Connection, since: datetime) -> Iterator[HealFact]:
    """Return the calls that fixes answered in the place of a failure, degraded ones included, as they were applied."""
    row = _APPLICATION.c
    query = (
        select(row.fix_id, row.boundary, row.at, row["count"])
        .where(row.at >= since, row.resolved, row.mode != ApplicationMode.SHADOW)
        .execution_options(yield_per=CHUNK)
    )
    for fix_id, boundary, at, count in connection.execute(query):
        yield HealFact(fix_id, boundary, at.replace(minute=0, second=0, microsecond=0), count)


def serving_since(connection: Connection) -> dict[str, datetime]:
    """Return the fixes that serve, each with the moment of its first change that let it."""
    change = _CHANGE.c
    newest = select(change.fix_id, func.max(change.sequence).label("last")).group_by(change.fix_id).subquery()
    first = (
        select(change.fix_id, func.min(change.at).label("began"))
        .where(change.state.in_(sorted(SERVING_STATES)))
        .group_by(change.fix_id)
        .subquery()
    )
    query = (
        select(change.fix_id, first.c.began)
        .join(newest, (newest.c.fix_id == change.fix_id) & (newest.c.last == change.sequence))
        .join(first, first.c.fix_id == change.fix_id)
        .where(change.state.in_(sorted(SERVING_STATES)))
    )
    return {row.fix_id: row.began for row in connection.execute(query)}
