"""How failures ended, over time: the numbers behind the console's first page."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, extract, func, literal, select

from healspan.remediation.incident import IncidentStatus, Tier
from healspan.remediation.record import Record
from healspan.remediation.store.database import Database
from healspan.remediation.store.sums import total
from healspan.remediation.store.tables import ApplicationRow, IncidentRow, ResolutionRow, table_of

__all__ = ["HealDuration", "OutcomeCount", "Overview", "Span"]

_INCIDENT, _RESOLUTION, _APPLICATION = (table_of(row) for row in (IncidentRow, ResolutionRow, ApplicationRow))
_WITH_RESOLUTION = _INCIDENT.outerjoin(_RESOLUTION, _RESOLUTION.c.error_id == _INCIDENT.c.error_id)
_HEALED = (IncidentStatus.HEALED, IncidentStatus.DEGRADED)


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


class HealDuration(Record):
    """How long one heal took."""

    tier: Tier
    milliseconds: float


class Overview:
    """Counts over a period; without `since`, over everything."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def span(self, since: datetime | None = None) -> Span | None:
        """Return when incidents happened, and how many; None if there are none."""
        at = _INCIDENT.c.at
        query = select(func.min(at), func.max(at), func.count()).where(*_within(at, since))
        with self._database.reading() as connection:
            first, last, incidents = connection.execute(query).one()
        return None if first is None else Span(first=first, last=last, incidents=incidents)

    def outcomes(self, stretch: timedelta, since: datetime | None = None) -> tuple[OutcomeCount, ...]:
        """Return how incidents ended in each stretch of time (whole seconds), in order of time."""
        seconds = int(stretch.total_seconds())
        # Remainder instead of a division: the databases do not agree on what an integer division is.
        epoch = extract("epoch", _INCIDENT.c.at)
        start = (epoch - epoch % seconds).label("start")
        status = func.coalesce(_RESOLUTION.c.status, literal(IncidentStatus.OPEN.value)).label("status")
        query = (
            select(start, status, _RESOLUTION.c.tier, func.count())
            .select_from(_WITH_RESOLUTION)
            .where(*_within(_INCIDENT.c.at, since))
            .group_by("start", "status", _RESOLUTION.c.tier)
            .order_by("start", "status", _RESOLUTION.c.tier)
        )
        with self._database.reading() as connection:
            return tuple(
                OutcomeCount(start=datetime.fromtimestamp(int(moment), UTC), status=ended, tier=tier, incidents=number)
                for moment, ended, tier, number in connection.execute(query)
            )

    def boundaries(self, since: datetime | None = None) -> tuple[str, ...]:
        """Return the boundaries at which something failed, the one with most incidents first."""
        module = _INCIDENT.c.module
        query = select(module).where(*_within(_INCIDENT.c.at, since)).group_by(module)
        with self._database.reading() as connection:
            return tuple(connection.execute(query.order_by(func.count().desc(), module)).scalars())

    def durations(self, since: datetime | None = None, *, limit: int = 10_000) -> tuple[HealDuration, ...]:
        """Return how long the newest heals took."""
        row = _RESOLUTION.c
        query = select(row.tier, row.elapsed_ms).where(row.status.in_(_HEALED), *_within(row.at, since))
        with self._database.reading() as connection:
            found = connection.execute(query.order_by(row.position.desc()).limit(limit))
            return tuple(HealDuration(tier=tier, milliseconds=elapsed) for tier, elapsed in found)

    def repaired(self, since: datetime | None = None) -> int:
        """Return how many calls installed repairs healed before any exception left the function."""
        row = _APPLICATION.c
        query = select(total(row["count"])).where(
            row.error_id.is_(None),
            row.resolved,
            *_within(row.at, since),
        )
        with self._database.reading() as connection:
            return int(connection.execute(query).scalar_one())


def _within(column: ColumnElement[Any], since: datetime | None) -> list[ColumnElement[bool]]:
    return [] if since is None else [column >= since]
