"""Running totals of facts, for the metrics: each fact is counted once, in the order it arrived.

A counter must never go down, and a purge makes counts over the tables do that. So a `Totals` remembers what it
has counted and looks at new rows only, which also keeps a scrape cheap. Positions become visible in their order
because writers take turns.
"""

from __future__ import annotations

import contextlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from pydantic import ValidationError
from sqlalchemy import ColumnElement, Connection, Select, Table, case, func, select

from healspan.remediation.claude.consultation import Consultation
from healspan.remediation.incident import IncidentStatus, Tier
from healspan.remediation.store import tables
from healspan.remediation.store.sums import total
from healspan.remediation.trial import Decision

__all__ = ["Durations", "Totals"]

_incident = tables.table_of(tables.IncidentRow)
_resolution = tables.table_of(tables.ResolutionRow)
_application = tables.table_of(tables.ApplicationRow)
_audit, _fix = tables.table_of(tables.AuditRow), tables.table_of(tables.FixRow)
_consultation = tables.table_of(tables.ConsultationRow)


@dataclass(slots=True)
class Durations:
    """A histogram's counts."""

    counts: list[int]
    """Per bucket, not cumulative; the last one is what is longer than every bound."""
    seconds: float = 0.0


@dataclass(slots=True)
class Totals:
    """What has been counted so far.

    Args:
        bounds: upper bounds of the durations' buckets, in seconds, rising.
    """

    bounds: Sequence[float]
    incidents: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """By service, boundary, error type."""
    heals: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)
    """By service, boundary, tier, outcome."""
    durations: dict[tuple[str, str, str], Durations] = field(default_factory=dict)
    """By service, tier, outcome."""
    trials: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """By service, boundary, decision: what trials have decided about fixes."""
    consultations: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """By service, boundary, state: diagnoses by Claude, and those that were not let through."""
    requests: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """By service, model, outcome: ``answered``, or why there was no answer."""
    tokens: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """By service, model, kind: ``input``, ``output``, ``cache_read``, ``cache_write``."""
    cost_usd: defaultdict[tuple[str, str], Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    """By service, model; where the price of the model was known."""
    _seen: dict[str, int] = field(default_factory=dict)

    def take(self, connection: Connection) -> None:
        """Count what has arrived since the last time, or everything the first time."""
        self._incidents(connection)
        self._resolutions(connection)
        self._repaired(connection)
        self._trials(connection)
        self._consultations(connection)

    def _incidents(self, connection: Connection) -> None:
        labels = (_incident.c.service, _incident.c.module, _incident.c.error_type)
        query = select(*labels, func.count()).group_by(*labels)
        for service, boundary, error_type, number in self._fresh(connection, query, _incident):
            self.incidents[service, boundary, error_type] += number

    def _resolutions(self, connection: Connection) -> None:
        row = _resolution.c
        service, boundary = (func.coalesce(column, "") for column in (_incident.c.service, _incident.c.module))
        bounds = [(row.elapsed_ms <= bound * 1e3, position) for position, bound in enumerate(self.bounds)]
        bucket = case(*bounds, else_=len(self.bounds)).label("bucket")
        labels = (service, boundary, row.tier, row.status, bucket)
        query = (
            select(*labels, func.count(), func.sum(row.elapsed_ms))
            .select_from(_resolution.outerjoin(_incident, _incident.c.error_id == row.error_id))
            .group_by(*labels)
        )
        for one in self._fresh(connection, query, _resolution):
            name, where, tier, outcome, position, number, elapsed_ms = one
            self.heals[name, where, tier, outcome] += number
            key = (name, tier, outcome)
            if key not in self.durations:
                self.durations[key] = Durations([0] * (len(self.bounds) + 1))
            self.durations[key].counts[position] += number
            self.durations[key].seconds += elapsed_ms / 1e3

    def _repaired(self, connection: Connection) -> None:
        row = _application.c
        query = (
            select(row.boundary, _service(row.boundary), total(row["count"]))
            .where(row.error_id.is_(None), row.resolved)
            .group_by(row.boundary)
        )
        for boundary, service, number in self._fresh(connection, query, _application):
            self.heals[service, boundary, Tier.KNOWN_FIX.value, IncidentStatus.HEALED.value] += number

    def _trials(self, connection: Connection) -> None:
        query = (
            select(_fix.c.module, _service(_fix.c.module), _audit.c.action, func.count())
            .select_from(_audit.join(_fix, _fix.c.fix_id == _audit.c.subject))
            .where(_audit.c.actor == "engine", _audit.c.action.in_([one.value for one in Decision]))
            .group_by(_fix.c.module, _audit.c.action)
        )
        for boundary, service, decision, number in self._fresh(connection, query, _audit):
            self.trials[service, boundary, decision] += number

    def _consultations(self, connection: Connection) -> None:
        row = _consultation.c
        service = func.coalesce(_incident.c.service, "").label("name")
        # Those that asked nothing are many and alike, and a number is all there is to say of them; the others are read.
        asked = case((row.body.contains('"asked":[]', autoescape=True), None), else_=row.body).label("asked_body")
        labels = (service, row.boundary, row.state, asked)
        query = (
            select(*labels, func.count())
            .select_from(_consultation.outerjoin(_incident, _incident.c.error_id == row.error_id))
            .group_by(*labels)
        )
        for name, boundary, state, body, number in self._fresh(connection, query, _consultation):
            self.consultations[name, boundary, state] += number
            if body is not None:
                with contextlib.suppress(ValidationError):  # of a version that says it otherwise
                    self._paid(name, Consultation.model_validate_json(body))

    def _paid(self, service: str, one: Consultation) -> None:
        for asked in one.asked:
            self.requests[service, one.model, asked.failed or "answered"] += 1
            if asked.usage is not None:
                for kind, tokens in asked.usage:
                    self.tokens[service, one.model, kind.removesuffix("_tokens")] += tokens
            if asked.cost_usd is not None:
                self.cost_usd[service, one.model] += asked.cost_usd

    def _fresh(self, connection: Connection, query: Select[Any], table: Table) -> Sequence[Any]:
        """Return a query's result over the rows that arrived since the last time."""
        position, after = table.c.position, self._seen.get(table.name, 0)
        through = connection.execute(select(func.max(position))).scalar() or after
        rows = connection.execute(query.where(position > after, position <= through)).all()
        self._seen[table.name] = through
        return rows


def _service(boundary: ColumnElement[str]) -> ColumnElement[str]:
    """Return the service of a boundary's newest incident, for facts that do not name theirs."""
    newest = (
        select(_incident.c.service)
        .where(_incident.c.module == boundary)
        .order_by(_incident.c.at.desc())
        .limit(1)
        .scalar_subquery()
    )
    return func.coalesce(newest, "")
