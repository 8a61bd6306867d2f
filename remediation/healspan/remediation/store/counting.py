"""What a stretch of facts adds to the counters: pure queries, by the positions between which the stretch lies.

Statements are made once: to build one costs as much as to run it, and an exporter counts at every scrape.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from sqlalchemy import ColumnElement, Connection, Select, Table, bindparam, case, func, select

from healspan.remediation import metrics as names
from healspan.remediation.claude.consultation import Consultation
from healspan.remediation.incident import IncidentStatus, Tier
from healspan.remediation.store import tables
from healspan.remediation.store.sums import total
from healspan.remediation.trial import Decision

__all__ = ["BUCKETS", "LABELS", "SECONDS", "Series", "added", "newest"]

_incident = tables.table_of(tables.IncidentRow)
_resolution = tables.table_of(tables.ResolutionRow)
_application, _judgement = tables.table_of(tables.ApplicationRow), tables.table_of(tables.JudgementRow)
_audit, _fix = tables.table_of(tables.AuditRow), tables.table_of(tables.FixRow)
_consultation = tables.table_of(tables.ConsultationRow)

_COUNTED = (_incident, _resolution, _application, _judgement, _audit, _consultation)

BUCKETS, SECONDS = f"{names.HEAL_SECONDS.name}_bucket", f"{names.HEAL_SECONDS.name}_sum"
"""The series of which the heal durations are made."""

LABELS: Mapping[str, tuple[str, ...]] = {
    **{
        one.name: one.labels
        for one in (
            names.INCIDENTS,
            names.HEALS,
            names.APPLICATIONS,
            names.VERDICT_PARTS,
            names.TRIALS,
            names.CONSULTATIONS,
            names.CLAUDE_REQUESTS,
            names.CLAUDE_TOKENS,
            names.CLAUDE_COST,
        )
    },
    BUCKETS: (*names.HEAL_SECONDS.labels, "le"),
    SECONDS: names.HEAL_SECONDS.labels,
}
"""The labels of every series that is kept; a bucket's count is its own, not that of the smaller ones as well."""

Series = tuple[str, tuple[str, ...]]
"""The name of one, and the values of its labels in the order in which they are declared."""

_LES = (*map(str, map(float, names.HEAL_SECONDS_BUCKETS)), "inf")
_CRITERIA = (_judgement.c.resolved, _judgement.c.no_regression, _judgement.c.valid_output)
_VALUES = {True: "true", False: "false", None: "unknown"}


def _of_stretch(query: Select[Any], table: Table) -> Select[Any]:
    """Return a query of which only the facts of one table count whose positions lie in (after, through]."""
    return query.where(table.c.position > bindparam("after"), table.c.position <= bindparam("through"))


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


def _incidents() -> Select[Any]:
    labels = (_incident.c.service, _incident.c.module, _incident.c.error_type)
    return _of_stretch(select(*labels, func.count()).group_by(*labels), _incident)


def _resolutions() -> Select[Any]:
    row = _resolution.c
    service, boundary = (func.coalesce(column, "") for column in (_incident.c.service, _incident.c.module))
    bounds = [(row.elapsed_ms <= bound * 1e3, place) for place, bound in enumerate(names.HEAL_SECONDS_BUCKETS)]
    bucket = case(*bounds, else_=len(bounds)).label("bucket")
    labels = (service, boundary, row.tier, row.status, bucket)
    query = (
        select(*labels, func.count(), func.sum(row.elapsed_ms))
        .select_from(_resolution.outerjoin(_incident, _incident.c.error_id == row.error_id))
        .group_by(*labels)
    )
    return _of_stretch(query, _resolution)


def _repaired() -> Select[Any]:
    row = _application.c
    query = (
        select(row.boundary, _service(row.boundary), total(row["count"]))
        .where(row.error_id.is_(None), row.resolved)
        .group_by(row.boundary)
    )
    return _of_stretch(query, _application)


def _applications() -> Select[Any]:
    row = _application.c
    labels = (row.boundary, row.tier, row.mode, row.resolved)
    query = select(*labels, _service(row.boundary), total(row["count"])).group_by(*labels)
    return _of_stretch(query, _application)


def _verdicts() -> Select[Any]:
    # By the boundary of the fix: an application may be gone before its verdict is counted, a fix never is.
    query = (
        select(_fix.c.module, _service(_fix.c.module), *_CRITERIA, total(func.coalesce(_application.c["count"], 1)))
        .select_from(_judgement.join(_fix, _fix.c.fix_id == _judgement.c.fix_id))
        .outerjoin(_application, _application.c.application_id == _judgement.c.application_id)
        .group_by(_fix.c.module, *_CRITERIA)
    )
    return _of_stretch(query, _judgement)


def _trials() -> Select[Any]:
    query = (
        select(_fix.c.module, _service(_fix.c.module), _audit.c.action, func.count())
        .select_from(_audit.join(_fix, _fix.c.fix_id == _audit.c.subject))
        .where(_audit.c.actor == "engine", _audit.c.action.in_([one.value for one in Decision]))
        .group_by(_fix.c.module, _audit.c.action)
    )
    return _of_stretch(query, _audit)


def _consultations() -> Select[Any]:
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
    return _of_stretch(query, _consultation)


_INCIDENTS, _RESOLUTIONS, _REPAIRED, _APPLICATIONS = _incidents(), _resolutions(), _repaired(), _applications()
_VERDICTS, _TRIALS, _CONSULTATIONS = _verdicts(), _trials(), _consultations()
_NEWEST = select(*(select(func.max(table.c.position)).scalar_subquery() for table in _COUNTED))


def newest(connection: Connection) -> dict[str, int]:
    """Return the position of the newest fact of every kind that is counted, by the name of its table; 0: none."""
    row = connection.execute(_NEWEST).one()
    return {table.name: position or 0 for table, position in zip(_COUNTED, row, strict=True)}


def added(connection: Connection, after: Mapping[str, int], through: Mapping[str, int]) -> Mapping[Series, float]:
    """Return what the facts add whose positions lie behind `after`, up to and with `through`.

    Args:
        connection: sees one moment of the store.
        after: by the name of a table; 0 where there is none.
        through: likewise; of what is not named, nothing counts.
    """
    counting = _Counting(connection, after, through)
    counting.run()
    return counting.found


class _Counting:
    """Adds up the facts of one stretch, by series."""

    def __init__(self, connection: Connection, after: Mapping[str, int], through: Mapping[str, int]) -> None:
        self._connection = connection
        self._after = after
        self._through = through
        self.found: defaultdict[Series, float] = defaultdict(float)

    def run(self) -> None:
        self._incidents()
        self._resolutions()
        self._applications()
        self._verdicts()
        self._trials()
        self._consultations()

    def _count(self, definition: names.Definition, labels: tuple[str, ...], number: float) -> None:
        self.found[definition.name, labels] += number

    def _incidents(self) -> None:
        for *by, number in self._rows(_INCIDENTS, _incident):
            self._count(names.INCIDENTS, tuple(by), number)

    def _resolutions(self) -> None:
        for service, boundary, tier, outcome, place, number, elapsed_ms in self._rows(_RESOLUTIONS, _resolution):
            self._count(names.HEALS, (service, boundary, tier, outcome), number)
            self.found[BUCKETS, (service, tier, outcome, _LES[place])] += number
            self.found[SECONDS, (service, tier, outcome)] += elapsed_ms / 1e3

    def _applications(self) -> None:
        ending = (Tier.KNOWN_FIX.value, IncidentStatus.HEALED.value)
        for boundary, service, number in self._rows(_REPAIRED, _application):
            self._count(names.HEALS, (service, boundary, *ending), number)
        for boundary, tier, mode, resolved, service, number in self._rows(_APPLICATIONS, _application):
            self._count(names.APPLICATIONS, (service, boundary, tier, mode, _VALUES[resolved]), number)

    def _verdicts(self) -> None:
        for boundary, service, *values, number in self._rows(_VERDICTS, _judgement):
            for criterion, value in zip(_CRITERIA, values, strict=True):
                self._count(names.VERDICT_PARTS, (service, boundary, criterion.name, _VALUES[value]), number)

    def _trials(self) -> None:
        for boundary, service, decision, number in self._rows(_TRIALS, _audit):
            self._count(names.TRIALS, (service, boundary, decision), number)

    def _consultations(self) -> None:
        for service, boundary, state, body, number in self._rows(_CONSULTATIONS, _consultation):
            self._count(names.CONSULTATIONS, (service, boundary, state), number)
            if body is not None:
                with contextlib.suppress(ValidationError):  # of a version that says it otherwise
                    self._paid(service, Consultation.model_validate_json(body))

    def _paid(self, service: str, one: Consultation) -> None:
        for asked in one.asked:
            self._count(names.CLAUDE_REQUESTS, (service, one.model, asked.failed or "answered"), 1)
            if asked.usage is not None:
                for kind, tokens in asked.usage:
                    self._count(names.CLAUDE_TOKENS, (service, one.model, kind.removesuffix("_tokens")), tokens)
            if asked.cost_usd is not None:
                self._count(names.CLAUDE_COST, (service, one.model), float(asked.cost_usd))

    def _rows(self, statement: Select[Any], table: Table) -> Sequence[Any]:
        if table.name not in self._through:
            return ()
        stretch = {"after": self._after.get(table.name, 0), "through": self._through[table.name]}
        return self._connection.execute(statement, stretch).all()
