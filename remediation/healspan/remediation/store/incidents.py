"""Incidents with their resolutions, one by one or page by page."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, func, select

from healspan.remediation.claude.consultation import Consultation
from healspan.remediation.incident import Decision, Incident, IncidentStatus, Resolution
from healspan.remediation.store.database import Database
from healspan.remediation.store.tables import ConsultationRow, IncidentRow, ResolutionRow, table_of
from healspan.remediation.store.views import IncidentFilter, IncidentView

__all__ = ["Incidents"]

_INCIDENT, _RESOLUTION = table_of(IncidentRow), table_of(ResolutionRow)
_WITH_RESOLUTION = _INCIDENT.outerjoin(_RESOLUTION, _RESOLUTION.c.error_id == _INCIDENT.c.error_id)
_CONSULTATION = table_of(ConsultationRow)
_ASKED = ("refused", "failed", "proposed", "healed")
"""States of a consultation that has asked something."""
_EVERY = IncidentFilter()


LAST_GROUP = 24
"""Characters of an identifier before its last group."""


def _escaped(text: str) -> str:
    return text.replace("/", "//").replace("%", "/%").replace("_", "/_")


class Incidents:
    """Incidents with their resolutions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, error_id: UUID | str) -> IncidentView | None:
        """Return one incident by its id, or by a part of it that only one incident has.

        A part is the beginning, the end, or the beginning of the last group, which is what lists show.
        """
        text = str(error_id).lower()
        # A version 7 identifier begins with its time, so people tell incidents apart by their ends.
        query = _views().where(
            _INCIDENT.c.error_id.startswith(text, autoescape=True)
            | _INCIDENT.c.error_id.endswith(text, autoescape=True)
            | _INCIDENT.c.error_id.like(f"{'_' * LAST_GROUP}{_escaped(text)}%", escape="/"),
        )
        with self._database.reading() as connection:
            rows = connection.execute(query.limit(2)).fetchall()
        if len(rows) != 1:
            return None
        view = _view(rows[0])
        return view.model_copy(update={"consultations": self.consultations(view.incident.error_id)})

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

    def tried(self, fix_id: str) -> tuple[UUID, Decision] | None:
        """Return the latest decision about a candidate whose id begins so, and its incident; for fixes not kept."""
        mentioned = select(_RESOLUTION.c.body).where(_RESOLUTION.c.body.contains(f'"{fix_id}', autoescape=True))
        with self._database.reading() as connection:
            bodies = connection.execute(mentioned.order_by(_RESOLUTION.c.position.desc()).limit(1)).scalars().all()
        resolutions = map(Resolution.model_validate_json, bodies)
        found = (
            (each.error_id, one) for each in resolutions for one in each.decisions if one.fix_id.startswith(fix_id)
        )
        return next(found, None)

    def consultations(self, error_id: UUID) -> tuple[Consultation, ...]:
        """Return what Claude was asked about one incident, in order."""
        query = select(_CONSULTATION.c.body).where(_CONSULTATION.c.error_id == str(error_id))
        with self._database.reading() as connection:
            bodies = connection.execute(query.order_by(_CONSULTATION.c.position)).scalars().all()
        return tuple(Consultation.model_validate_json(body) for body in bodies)

    def last_consulted(self, exact: Collection[str]) -> dict[str, Consultation]:
        """Return the last diagnosis by Claude of each of these patterns that asked anything, by its exact hash."""
        row = _CONSULTATION.c
        last = select(func.max(row.position)).where(row.pattern.in_(exact), row.state.in_(_ASKED)).group_by(row.pattern)
        query = select(row.pattern, row.body).where(row.position.in_(last))
        with self._database.reading() as connection:
            return {found.pattern: Consultation.model_validate_json(found.body) for found in connection.execute(query)}

    def latest_of(self, exact: Collection[str]) -> dict[str, Incident]:
        """Return the latest incident of each of these patterns that has one, by its exact hash."""
        newest = select(func.max(_INCIDENT.c.position)).where(_INCIDENT.c.exact.in_(exact)).group_by(_INCIDENT.c.exact)
        query = select(_INCIDENT.c.exact, _INCIDENT.c.body).where(_INCIDENT.c.position.in_(newest))
        with self._database.reading() as connection:
            return {row.exact: Incident.model_validate_json(row.body) for row in connection.execute(query)}

    def count(self, wanted: IncidentFilter = _EVERY) -> int:
        """Return how many incidents there are."""
        query = select(func.count()).select_from(_WITH_RESOLUTION).where(*_conditions(wanted))
        with self._database.reading() as connection:
            return int(connection.execute(query).scalar_one())


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
