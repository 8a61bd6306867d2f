"""What people and analytics ask about incidents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, func, select

from healspan.remediation.incident import Incident, IncidentStatus, Resolution, Tier
from healspan.remediation.store.database import Database
from healspan.remediation.store.tables import IncidentRow, ResolutionRow, table_of
from healspan.remediation.store.views import (
    EscalatedPattern,
    FailureCount,
    IncidentFilter,
    IncidentView,
    TierCount,
)

__all__ = ["Incidents"]

_INCIDENT, _RESOLUTION = table_of(IncidentRow), table_of(ResolutionRow)
_WITH_RESOLUTION = _INCIDENT.outerjoin(_RESOLUTION, _RESOLUTION.c.error_id == _INCIDENT.c.error_id)
_HEALED = (IncidentStatus.HEALED, IncidentStatus.DEGRADED)
_EVERY = IncidentFilter()


class Incidents:
    """Incidents with their resolutions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, error_id: UUID | str) -> IncidentView | None:
        """Return one incident by its id, or by the beginning or end of it if only one incident has that."""
        text = str(error_id).lower()
        # A version 7 identifier begins with its time, so people tell incidents apart by their ends.
        query = _views().where(
            _INCIDENT.c.error_id.startswith(text, autoescape=True)
            | _INCIDENT.c.error_id.endswith(text, autoescape=True),
        )
        with self._database.reading() as connection:
            rows = connection.execute(query.limit(2)).fetchall()
        return _view(rows[0]) if len(rows) == 1 else None

    def list(
        self,
        wanted: IncidentFilter = _EVERY,
        *,
        limit: int = 50,
        before: int | None = None,
    ) -> tuple[IncidentView, ...]:
        """Return the latest incidents; `before` is the position of the last one of the page before."""
        query = _views().where(*_conditions(wanted))
        if before is not None:
            query = query.where(_INCIDENT.c.position < before)
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(_INCIDENT.c.position.desc()).limit(limit)).fetchall()
        return tuple(_view(row) for row in rows)

    def count(self, wanted: IncidentFilter = _EVERY) -> int:
        """Return how many incidents there are."""
        query = select(func.count()).select_from(_WITH_RESOLUTION).where(*_conditions(wanted))
        with self._database.reading() as connection:
            return int(connection.execute(query).scalar_one())

    def by_tier(self, *, since: datetime | None = None) -> tuple[TierCount, ...]:
        """Return how many resolved incidents of each boundary ended how, at which tier."""
        count = func.count()
        query = (
            select(_INCIDENT.c.module, _RESOLUTION.c.status, _RESOLUTION.c.tier, count)
            .select_from(_WITH_RESOLUTION)
            .where(_RESOLUTION.c.status.is_not(None))
            .group_by(_INCIDENT.c.module, _RESOLUTION.c.status, _RESOLUTION.c.tier)
            .order_by(_INCIDENT.c.module, _RESOLUTION.c.tier, _RESOLUTION.c.status)
        )
        if since is not None:
            query = query.where(_INCIDENT.c.at >= since)
        with self._database.reading() as connection:
            return tuple(
                TierCount(module=module, status=IncidentStatus(status), tier=Tier(tier), count=number)
                for module, status, tier, number in connection.execute(query)
            )

    def escalated(self, *, limit: int = 100) -> tuple[EscalatedPattern, ...]:
        """Return the patterns that wait for a human, most frequent first.

        A pattern leaves when an incident of it has been healed after its last escalation.
        """
        with self._database.reading() as connection:
            groups = connection.execute(_groups((IncidentStatus.ESCALATED,))).fetchall()
            healed = {(row.exact, row.module): row.last for row in connection.execute(_groups(_HEALED)) if row.last}
            merged: dict[tuple[str, str], list[Any]] = {}
            for row in groups:
                merged.setdefault((row.exact, row.module), []).append(row)
            waiting = [
                rows
                for key, rows in merged.items()
                if key not in healed or max(row.last for row in rows) >= healed[key]
            ]
            waiting.sort(key=lambda rows: -sum(row.count for row in rows))
            chosen = waiting[:limit]
            newest = [max(row.newest for row in rows) for rows in chosen]
            examples = {
                row.position: _view(row) for row in connection.execute(_views().where(_INCIDENT.c.position.in_(newest)))
            }
        return tuple(_pattern(rows, examples[position]) for rows, position in zip(chosen, newest, strict=True))

    def failures(self, *, since: datetime) -> tuple[FailureCount, ...]:
        """Return the number of incidents per boundary, context and hour."""
        query = select(_INCIDENT.c.module, _INCIDENT.c.context, _INCIDENT.c.at).where(_INCIDENT.c.at >= since)
        counts: Counter[tuple[str, str, datetime]] = Counter()
        with self._database.reading() as connection:
            for module, context, at in connection.execute(query):
                counts[module, context, at.replace(minute=0, second=0, microsecond=0)] += 1
        return tuple(FailureCount(*key, number) for key, number in sorted(counts.items()))


def _views() -> Select[Any]:
    columns = (_INCIDENT.c.position, _INCIDENT.c.body, _RESOLUTION.c.body.label("resolution"))
    return select(*columns).select_from(_WITH_RESOLUTION)


def _view(row: Row[Any]) -> IncidentView:
    return IncidentView(
        position=row.position,
        incident=Incident.model_validate_json(row.body),
        resolution=None if row.resolution is None else Resolution.model_validate_json(row.resolution),
    )


def _conditions(wanted: IncidentFilter) -> Sequence[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    for name in ("module", "error_type", "exact", "pipeline", "context", "trace_id"):
        value = getattr(wanted, name)
        if value is not None:
            conditions.append(_INCIDENT.c[name] == value)
    if wanted.status is IncidentStatus.OPEN:
        conditions.append(_RESOLUTION.c.status.is_(None))
    elif wanted.status is not None:
        conditions.append(_RESOLUTION.c.status == wanted.status)
    if wanted.tier is not None:
        conditions.append(_RESOLUTION.c.tier == wanted.tier)
    if wanted.fix_id is not None:
        conditions.append(_RESOLUTION.c.fix_id == wanted.fix_id)
    if wanted.since is not None:
        conditions.append(_INCIDENT.c.at >= wanted.since)
    if wanted.until is not None:
        conditions.append(_INCIDENT.c.at < wanted.until)
    return conditions


def _groups(statuses: Sequence[IncidentStatus]) -> Select[Any]:
    return (
        select(
            _INCIDENT.c.exact,
            _INCIDENT.c.module,
            _INCIDENT.c.context,
            func.count().label("count"),
            func.min(_INCIDENT.c.at).label("first"),
            func.max(_INCIDENT.c.at).label("last"),
            func.max(_INCIDENT.c.position).label("newest"),
        )
        .select_from(_WITH_RESOLUTION)
        .where(_RESOLUTION.c.status.in_(statuses))
        .group_by(_INCIDENT.c.exact, _INCIDENT.c.module, _INCIDENT.c.context)
    )


def _pattern(rows: Sequence[Any], example: IncidentView) -> EscalatedPattern:
    decisions = () if example.resolution is None else example.resolution.decisions
    reasons = [f"{one.fix_id[:12]}: {one.reason}" for one in decisions]
    return EscalatedPattern(
        exact=example.incident.pattern.exact,
        error_pattern=example.incident.pattern.error_pattern,
        module=example.incident.module,
        count=sum(row.count for row in rows),
        contexts=tuple(sorted({row.context for row in rows if row.context})),
        first_seen=min(row.first for row in rows),
        last_seen=max(row.last for row in rows),
        example=example.incident,
        reason="; ".join(reasons) or "no known fix and no playbook fits",
    )
