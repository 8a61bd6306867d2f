"""The review queue: what escalated, what is proposed, and whether somebody has answered.

Every function takes a connection of `Database.reading` and gives frozen rows.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any, assert_never
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, func, select

from healspan.remediation.fix import SERVING_STATES, Fix, FixState, Match, StateChange
from healspan.remediation.incident import IncidentStatus
from healspan.remediation.record import Record
from healspan.remediation.store import tables
from healspan.remediation.store.facts import FixScore, context_text

__all__ = ["Escalation", "Proposal", "escalations", "fix_states", "proposals"]

EXAMPLES = 5
"""Incidents shown of an escalated pattern."""

_incident = tables.table_of(tables.IncidentRow)
_resolution = tables.table_of(tables.ResolutionRow)
_fix = tables.table_of(tables.FixRow)
_change = tables.table_of(tables.StateChangeRow)
_score = tables.table_of(tables.FixScoreRow)

_ended = _incident.join(_resolution, _resolution.c.error_id == _incident.c.error_id)


class Escalation(Record):
    """A pattern that healing could not end, with its latest examples."""

    exact: str
    error_pattern: str
    boundary: str
    error_type: str
    incidents: int
    first_at: datetime
    last_at: datetime
    contexts: tuple[str, ...]
    examples: tuple[UUID, ...]
    """Newest first."""
    answered_by: str | None
    """A serving fix for it that was approved after its latest escalation; None: somebody has to look."""


class Proposal(Record):
    """A fix that waits for a human, and what speaks for it."""

    fix: Fix
    change: StateChange
    """The one that made it a proposal."""
    incidents: int
    """Incidents in its scope's pattern."""
    latest: UUID | None
    """The newest of them."""
    score: FixScore | None


def escalations(
    connection: Connection,
    since: datetime | None = None,
    *,
    limit: int = 200,
) -> tuple[Escalation, ...]:
    """Return the patterns that escalate most, those that nobody has answered first."""
    escalated = [_resolution.c.status == IncidentStatus.ESCALATED]
    if since is not None:
        escalated.append(_incident.c.at >= since)
    number = func.count().label("number")
    grouped = (
        select(_incident.c.exact, number, func.min(_incident.c.at), func.max(_incident.c.at))
        .select_from(_ended)
        .where(*escalated)
        .group_by(_incident.c.exact)
        .order_by(number.desc(), _incident.c.exact)
        .limit(limit)
    )
    serving = _serving(connection)
    found = []
    for exact, incidents, first_at, last_at in connection.execute(grouped).all():
        mine = select(*_incident.c).select_from(_ended).where(_incident.c.exact == exact, *escalated)
        examples = connection.execute(
            mine.order_by(_incident.c.at.desc(), _incident.c.position.desc()).limit(EXAMPLES),
        ).all()
        contexts = connection.execute(mine.with_only_columns(_incident.c.context).distinct()).scalars()
        newest = examples[0]
        found.append(
            Escalation(
                exact=exact,
                error_pattern=newest.error_pattern,
                boundary=newest.module,
                error_type=newest.error_type,
                incidents=incidents,
                first_at=first_at,
                last_at=last_at,
                contexts=tuple(sorted(context for context in contexts if context)),
                examples=tuple(UUID(row.error_id) for row in examples),
                answered_by=next((fix.fix_id for fix, at in serving if at >= last_at and _covers(fix, newest)), None),
            ),
        )
    return tuple(sorted(found, key=lambda one: (one.answered_by is not None, -one.incidents, one.exact)))


def proposals(connection: Connection) -> tuple[Proposal, ...]:
    """Return the fixes that wait for a human, the newest first."""
    query = (
        _latest(_fix.c.body, _change.c.body, _score.c.body)
        .outerjoin(_score, _score.c.fix_id == _fix.c.fix_id)
        .where(_change.c.state == FixState.PROPOSED)
        .order_by(_change.c.at.desc(), _change.c.position.desc())
    )
    found = []
    for fix_body, change_body, score_body in connection.execute(query).all():
        fix = Fix.model_validate_json(fix_body)
        incidents, latest = connection.execute(_evidence(fix)).one()
        found.append(
            Proposal(
                fix=fix,
                change=StateChange.model_validate_json(change_body),
                incidents=incidents,
                latest=None if latest is None else UUID(latest),
                score=None if score_body is None else FixScore.model_validate_json(score_body),
            ),
        )
    return tuple(found)


def fix_states(connection: Connection) -> Counter[FixState]:
    """Return how many fixes are in each state."""
    query = _latest(_change.c.state, func.count()).group_by(_change.c.state)
    return Counter({FixState(state): number for state, number in connection.execute(query)})


def _latest(*columns: ColumnElement[Any]) -> Select[Any]:
    """Select from fixes joined with the latest change of each."""
    newest = select(_change.c.fix_id, func.max(_change.c.sequence).label("sequence")).group_by(_change.c.fix_id)
    last = newest.subquery()
    return (
        select(*columns)
        .select_from(_fix)
        .join(last, last.c.fix_id == _fix.c.fix_id)
        .join(_change, and_(_change.c.fix_id == last.c.fix_id, _change.c.sequence == last.c.sequence))
    )


def _serving(connection: Connection) -> list[tuple[Fix, datetime]]:
    query = _latest(_fix.c.body, _change.c.at).where(_change.c.state.in_(sorted(SERVING_STATES)))
    return [(Fix.model_validate_json(body), at) for body, at in connection.execute(query)]


def _covers(fix: Fix, incident: Row[Any]) -> bool:
    """Tell whether an incident is in a fix's scope."""
    scope = fix.scope
    if scope.module != incident.module:
        return False
    keys = set(incident.context.split(", "))
    if any(context_text({name: value}) not in keys for name, value in scope.context_keys.items()):
        return False
    match scope.match:
        case Match.EXACT:
            return bool(scope.exact == incident.exact)
        case Match.LOOSE:
            return bool(scope.loose == incident.loose)
        case Match.BOUNDARY:
            return not scope.error_types or incident.error_type in scope.error_types
        case _:
            assert_never(scope.match)


def _evidence(fix: Fix) -> Select[int, Any]:
    columns, scope = _incident.c, fix.scope
    query = select(func.count(), func.max(columns.error_id)).where(columns.module == scope.module)
    match scope.match:
        case Match.EXACT:
            return query.where(columns.exact == scope.exact)
        case Match.LOOSE:
            return query.where(columns.loose == scope.loose)
        case Match.BOUNDARY:
            return query.where(columns.error_type.in_(scope.error_types)) if scope.error_types else query
        case _:
            assert_never(scope.match)
