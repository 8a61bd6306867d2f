"""What people look at: incidents and how they ended, escalations, proposals; counted and listed, never changed.

Every function takes a connection of `Database.reading`, so that one page shows one moment, and gives frozen rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, assert_never
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, extract, func, literal, select

from healspan.remediation.fix import SERVING_STATES, Fix, FixState, Match, StateChange
from healspan.remediation.incident import Incident, IncidentStatus, Resolution, Tier
from healspan.remediation.record import Record
from healspan.remediation.store import tables
from healspan.remediation.store.facts import FixScore, Hotspot, context_text

__all__ = [
    "Escalation",
    "IncidentLine",
    "OutcomeCount",
    "Proposal",
    "Span",
    "escalations",
    "heal_durations",
    "hotspots",
    "incident_detail",
    "incident_lines",
    "incident_span",
    "outcome_counts",
    "proposals",
    "repaired_calls",
]

EXAMPLES = 5
"""Incidents shown of an escalated pattern."""

_incident = tables.table_of(tables.IncidentRow)
_resolution = tables.table_of(tables.ResolutionRow)
_application = tables.table_of(tables.ApplicationRow)
_fix = tables.table_of(tables.FixRow)
_change = tables.table_of(tables.StateChangeRow)
_score = tables.table_of(tables.FixScoreRow)
_hotspot = tables.table_of(tables.HotspotRow)

_status = func.coalesce(_resolution.c.status, literal(IncidentStatus.OPEN.value))
_ended = _incident.outerjoin(_resolution, _resolution.c.error_id == _incident.c.error_id)


class Span(Record):
    """The first and the last incident of a period."""

    first: datetime
    last: datetime
    incidents: int


class OutcomeCount(Record):
    """How many incidents of one stretch of time ended one way."""

    start: datetime
    status: IncidentStatus
    tier: Tier | None
    """None while the incident is open."""
    incidents: int


class IncidentLine(Record):
    """One incident in a list."""

    error_id: UUID
    at: datetime
    boundary: str
    error_type: str
    error_pattern: str
    context: str
    status: IncidentStatus
    tier: Tier | None
    fix_id: str | None
    elapsed_ms: float | None


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


def _within(column: ColumnElement[Any], since: datetime | None) -> list[ColumnElement[bool]]:
    return [] if since is None else [column >= since]


def incident_span(connection: Connection, since: datetime | None = None) -> Span | None:
    """Return when incidents happened, and how many; None if there are none."""
    at = _incident.c.at
    query = select(func.min(at), func.max(at), func.count()).where(*_within(at, since))
    first, last, incidents = connection.execute(query).one()
    return None if first is None else Span(first=first, last=last, incidents=incidents)


def outcome_counts(
    connection: Connection,
    bucket: timedelta,
    since: datetime | None = None,
) -> tuple[OutcomeCount, ...]:
    """Return how incidents ended, per stretch of time, in order of time.

    Args:
        connection: a reading one.
        bucket: length of a stretch, in whole seconds.
        since: leave out what is older.
    """
    seconds = int(bucket.total_seconds())
    # Remainder instead of a division: the databases do not agree on what an integer division is.
    epoch = extract("epoch", _incident.c.at)
    start = (epoch - epoch % seconds).label("start")
    query = (
        select(start, _status, _resolution.c.tier, func.count())
        .select_from(_ended)
        .where(*_within(_incident.c.at, since))
        .group_by(start, _status, _resolution.c.tier)
        .order_by(start)
    )
    return tuple(
        OutcomeCount(start=datetime.fromtimestamp(int(moment), UTC), status=status, tier=tier, incidents=incidents)
        for moment, status, tier, incidents in connection.execute(query)
    )


def repaired_calls(connection: Connection, since: datetime | None = None) -> int:
    """Return how many calls installed repairs healed before any exception left the function."""
    row = _application.c
    query = select(func.coalesce(func.sum(row["count"]), 0)).where(
        row.error_id.is_(None),
        row.resolved,
        *_within(row.at, since),
    )
    return int(connection.execute(query).scalar_one())


def heal_durations(
    connection: Connection,
    since: datetime | None = None,
    *,
    limit: int = 10_000,
) -> tuple[tuple[Tier, float], ...]:
    """Return tier and milliseconds of the newest heals."""
    query = (
        select(_resolution.c.tier, _resolution.c.elapsed_ms)
        .where(
            _resolution.c.status.in_([IncidentStatus.HEALED, IncidentStatus.DEGRADED]),
            *_within(_resolution.c.at, since),
        )
        .order_by(_resolution.c.position.desc())
        .limit(limit)
    )
    return tuple((Tier(tier), float(elapsed)) for tier, elapsed in connection.execute(query))


def incident_lines(
    connection: Connection,
    since: datetime | None = None,
    *,
    statuses: Sequence[IncidentStatus] = (),
    boundary: str | None = None,
    limit: int = 200,
) -> tuple[IncidentLine, ...]:
    """Return the newest incidents; no status and no boundary mean all of them."""
    columns = _incident.c
    query: Select[Any] = (
        select(
            columns.error_id,
            columns.at,
            columns.module,
            columns.error_type,
            columns.error_pattern,
            columns.context,
            _status,
            _resolution.c.tier,
            _resolution.c.fix_id,
            _resolution.c.elapsed_ms,
        )
        .select_from(_ended)
        .where(*_within(columns.at, since))
        .order_by(columns.at.desc(), columns.position.desc())
        .limit(limit)
    )
    if statuses:
        query = query.where(_status.in_([status.value for status in statuses]))
    if boundary is not None:
        query = query.where(columns.module == boundary)
    return tuple(
        IncidentLine(**dict(zip(IncidentLine.model_fields, row, strict=True))) for row in connection.execute(query)
    )


def incident_detail(connection: Connection, error_id: UUID) -> tuple[Incident, Resolution | None] | None:
    """Return an incident and how it ended; None if there is no such incident."""
    query = (
        select(_incident.c.body, _resolution.c.body).select_from(_ended).where(_incident.c.error_id == str(error_id))
    )
    found = connection.execute(query).one_or_none()
    if found is None:
        return None
    resolution = None if found[1] is None else Resolution.model_validate_json(found[1])
    return Incident.model_validate_json(found[0]), resolution


def escalations(
    connection: Connection,
    since: datetime | None = None,
    *,
    limit: int = 200,
) -> tuple[Escalation, ...]:
    """Return the patterns that escalate most, those that nobody has answered first."""
    escalated = (_resolution.c.status == IncidentStatus.ESCALATED, *_within(_incident.c.at, since))
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


def hotspots(connection: Connection) -> tuple[Hotspot, ...]:
    """Return what analytics last expected, the most failures first."""
    query = select(_hotspot.c.body).order_by(_hotspot.c.expected.desc(), _hotspot.c.boundary, _hotspot.c.context)
    return tuple(Hotspot.model_validate_json(body) for body in connection.execute(query).scalars())


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
