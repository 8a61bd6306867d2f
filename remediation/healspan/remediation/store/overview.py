"""What failed and how it ended, counted and listed for people; nothing here changes anything.

Every function takes a connection of `Database.reading`, so that one page shows one moment, and gives frozen rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Select, extract, func, literal, select

from healspan.remediation.incident import Incident, IncidentStatus, Resolution, Tier
from healspan.remediation.record import Record
from healspan.remediation.store import tables
from healspan.remediation.store.facts import Hotspot

__all__ = [
    "IncidentLine",
    "OutcomeCount",
    "Span",
    "heal_durations",
    "hotspots",
    "incident_detail",
    "incident_lines",
    "incident_span",
    "outcome_counts",
    "repaired_calls",
]

_incident = tables.table_of(tables.IncidentRow)
_resolution = tables.table_of(tables.ResolutionRow)
_application = tables.table_of(tables.ApplicationRow)
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


def hotspots(connection: Connection) -> tuple[Hotspot, ...]:
    """Return what analytics last expected, the most failures first."""
    query = select(_hotspot.c.body).order_by(_hotspot.c.expected.desc(), _hotspot.c.boundary, _hotspot.c.context)
    return tuple(Hotspot.model_validate_json(body) for body in connection.execute(query).scalars())
