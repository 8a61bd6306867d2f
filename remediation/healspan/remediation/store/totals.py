"""What the counters have come to: each fact is counted once, in the order it arrived, and stays counted.

A counter must never go down, and a purge makes counts over the tables do that. So what has been counted is kept in the
store, as numbers by the counters' labels and nothing else, with how far was counted, in one transaction: by whoever
looks (the exporter), and by whoever is about to erase (a purge), before it does. An exporter that starts anew goes on
from there. Positions become visible in their order because writers take turns.
"""

from __future__ import annotations

import contextlib
import json
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError
from sqlalchemy import ColumnElement, Connection, Select, Table, case, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite

from healspan.remediation import metrics as names
from healspan.remediation.claude.consultation import Consultation
from healspan.remediation.incident import IncidentStatus, Tier
from healspan.remediation.store import tables
from healspan.remediation.store.sums import total
from healspan.remediation.trial import Decision

__all__ = ["Durations", "Totals", "count_facts", "forget_labels", "has_news"]

_incident = tables.table_of(tables.IncidentRow)
_resolution = tables.table_of(tables.ResolutionRow)
_application, _judgement = tables.table_of(tables.ApplicationRow), tables.table_of(tables.JudgementRow)
_audit, _fix = tables.table_of(tables.AuditRow), tables.table_of(tables.FixRow)
_consultation = tables.table_of(tables.ConsultationRow)
_counter, _control = tables.table_of(tables.CounterRow), tables.table_of(tables.ControlRow)

_COUNTED = (_incident, _resolution, _application, _judgement, _audit, _consultation)
_MARKS = "counted"
"""Name of the control that says up to which position each of the tables is counted, and how often that was changed."""

_CHANGES = "changes"

_OTHER = "other"

MOST_ERROR_TYPES = 500
MOST_BOUNDARIES = 2_000
"""Values of the label for one service: counters stay for ever, and an application that makes classes of exceptions, or
functions, as it goes must not make series for ever. A process of a service bounds its own likewise."""

_CRITERIA = (_judgement.c.resolved, _judgement.c.no_regression, _judgement.c.valid_output)
_VALUES = {True: "true", False: "false", None: "unknown"}

_OURS = frozenset({"tier", "outcome", "mode", "resolved", "criterion", "value", "decision", "state", "kind", "le"})
"""Labels whose values are words of healspan's own: they can carry nothing of anybody."""

_LABELS: Mapping[str, tuple[str, ...]] = {
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
    f"{names.HEAL_SECONDS.name}_bucket": (*names.HEAL_SECONDS.labels, "le"),
    f"{names.HEAL_SECONDS.name}_sum": names.HEAL_SECONDS.labels,
}
"""The labels of every series that is kept; a bucket's count is its own, not that of the smaller ones as well."""

_Series = tuple[str, tuple[str, ...]]


@dataclass(slots=True)
class Durations:
    """A histogram's counts."""

    counts: list[int]
    """Per bucket, not cumulative; the last one is what is longer than every bound."""
    seconds: float = 0.0


@dataclass(slots=True)
class Totals:
    """What the counters have come to."""

    by_name: dict[str, dict[tuple[str, ...], float]] = field(default_factory=dict)
    """By the name of the counter and its labels' values, in the order in which they are declared."""
    durations: dict[tuple[str, ...], Durations] = field(default_factory=dict)
    """By service, tier, outcome."""
    as_of: str = ""
    """Changes whenever they do."""

    @classmethod
    def read(cls, connection: Connection, known: Totals | None = None) -> Totals:
        """Return what is kept; `known` itself if nothing has changed since."""
        as_of = _marks_text(connection)
        if known is not None and known.as_of == as_of:
            return known
        found = cls({name: {} for name in _LABELS}, as_of=as_of)
        bounds = names.HEAL_SECONDS_BUCKETS
        for name, text, value in connection.execute(select(_counter.c.name, _counter.c.labels, _counter.c.value)):
            labels = tuple(json.loads(text))
            if name == f"{names.HEAL_SECONDS.name}_bucket":
                # A bound that another version had is counted with the next one that there is.
                counts = found._durations(labels[:-1]).counts
                counts[bisect_left(bounds, float(labels[-1]))] += round(value)
            elif name == f"{names.HEAL_SECONDS.name}_sum":
                found._durations(labels).seconds += value
            elif name in _LABELS:
                found.by_name[name][labels] = value
        return found

    def _durations(self, labels: tuple[str, ...]) -> Durations:
        return self.durations.setdefault(labels, Durations([0] * (len(names.HEAL_SECONDS_BUCKETS) + 1)))


def has_news(connection: Connection) -> bool:
    """Tell whether there are facts that are not counted yet; cheap."""
    marks = _read_marks(_marks_text(connection))
    return any(newest > marks.get(name, 0) for name, newest in _newest(connection).items())


def count_facts(connection: Connection, *, most: int | None = None, now: datetime | None = None) -> None:
    """Count what has arrived since that was done last, and keep it.

    Args:
        connection: in a writing transaction.
        most: of each kind of fact; None: all.
        now: the wall clock, in UTC.
    """
    marks = _read_marks(_marks_text(connection))
    # Where the newest rows were erased there is nothing new, and their positions are never used again.
    fresh = {name: newest for name, newest in _newest(connection).items() if newest > marks.get(name, 0)}
    if most is not None:
        fresh = {name: min(newest, marks.get(name, 0) + most) for name, newest in fresh.items()}
    if not fresh:
        return
    counting = _Counting(connection, marks, fresh)
    counting.run()
    _add(connection, _bounded(connection, counting.found))
    _write_marks(connection, {**marks, **fresh, _CHANGES: marks.get(_CHANGES, 0) + 1}, now)


def forget_labels(connection: Connection, holds: Callable[[str], bool], *, now: datetime | None = None) -> None:
    """Put numbers whose labels must not stay under ``other``: privacy is worth more than a counter.

    Args:
        connection: in a writing transaction.
        holds: tells whether the value of a label must not stay.
        now: the wall clock, in UTC.
    """
    moved: defaultdict[_Series, float] = defaultdict(float)
    for name, text, value in connection.execute(select(_counter.c.name, _counter.c.labels, _counter.c.value)).all():
        labels = tuple(json.loads(text))
        kinds = _LABELS.get(name, (_OTHER,) * len(labels))
        kept = tuple(
            _OTHER if kind not in _OURS and holds(label) else label for kind, label in zip(kinds, labels, strict=True)
        )
        if kept != labels:
            connection.execute(delete(_counter).where(_counter.c.name == name, _counter.c.labels == text))
            moved[name, kept] += value
    if moved:
        _add(connection, moved)
        marks = _read_marks(_marks_text(connection))
        _write_marks(connection, {**marks, _CHANGES: marks.get(_CHANGES, 0) + 1}, now)


class _Counting:
    """Counts the facts of one stretch, by series."""

    def __init__(self, connection: Connection, marks: Mapping[str, int], through: Mapping[str, int]) -> None:
        self._connection = connection
        self._marks = marks
        self._through = through
        self.found: defaultdict[_Series, float] = defaultdict(float)

    def run(self) -> None:
        self._incidents()
        self._resolutions()
        self._repaired()
        self._applications()
        self._verdicts()
        self._trials()
        self._consultations()

    def _count(self, definition: names.Definition, labels: tuple[str, ...], number: float) -> None:
        self.found[definition.name, labels] += number

    def _incidents(self) -> None:
        labels = (_incident.c.service, _incident.c.module, _incident.c.error_type)
        for *by, number in self._fresh(select(*labels, func.count()).group_by(*labels), _incident):
            self._count(names.INCIDENTS, tuple(by), number)

    def _resolutions(self) -> None:
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
        les = [*map(str, map(float, names.HEAL_SECONDS_BUCKETS)), "inf"]
        seconds = names.HEAL_SECONDS.name
        for name, where, tier, outcome, place, number, elapsed_ms in self._fresh(query, _resolution):
            self._count(names.HEALS, (name, where, tier, outcome), number)
            self.found[f"{seconds}_bucket", (name, tier, outcome, les[place])] += number
            self.found[f"{seconds}_sum", (name, tier, outcome)] += elapsed_ms / 1e3

    def _repaired(self) -> None:
        row = _application.c
        query = (
            select(row.boundary, _service(row.boundary), total(row["count"]))
            .where(row.error_id.is_(None), row.resolved)
            .group_by(row.boundary)
        )
        for boundary, service, number in self._fresh(query, _application):
            ending = (Tier.KNOWN_FIX.value, IncidentStatus.HEALED.value)
            self._count(names.HEALS, (service, boundary, *ending), number)

    def _applications(self) -> None:
        row = _application.c
        labels = (row.boundary, row.tier, row.mode, row.resolved)
        query = select(*labels, _service(row.boundary), total(row["count"])).group_by(*labels)
        for boundary, tier, mode, resolved, service, number in self._fresh(query, _application):
            self._count(names.APPLICATIONS, (service, boundary, tier, mode, _VALUES[resolved]), number)

    def _verdicts(self) -> None:
        # By the boundary of the fix: an application may be gone before its verdict is counted, a fix never is.
        query = (
            select(_fix.c.module, _service(_fix.c.module), *_CRITERIA, total(func.coalesce(_application.c["count"], 1)))
            .select_from(_judgement.join(_fix, _fix.c.fix_id == _judgement.c.fix_id))
            .outerjoin(_application, _application.c.application_id == _judgement.c.application_id)
            .group_by(_fix.c.module, *_CRITERIA)
        )
        for boundary, service, *values, number in self._fresh(query, _judgement):
            for criterion, value in zip(_CRITERIA, values, strict=True):
                self._count(names.VERDICT_PARTS, (service, boundary, criterion.name, _VALUES[value]), number)

    def _trials(self) -> None:
        query = (
            select(_fix.c.module, _service(_fix.c.module), _audit.c.action, func.count())
            .select_from(_audit.join(_fix, _fix.c.fix_id == _audit.c.subject))
            .where(_audit.c.actor == "engine", _audit.c.action.in_([one.value for one in Decision]))
            .group_by(_fix.c.module, _audit.c.action)
        )
        for boundary, service, decision, number in self._fresh(query, _audit):
            self._count(names.TRIALS, (service, boundary, decision), number)

    def _consultations(self) -> None:
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
        for name, boundary, state, body, number in self._fresh(query, _consultation):
            self._count(names.CONSULTATIONS, (name, boundary, state), number)
            if body is not None:
                with contextlib.suppress(ValidationError):  # of a version that says it otherwise
                    self._paid(name, Consultation.model_validate_json(body))

    def _paid(self, service: str, one: Consultation) -> None:
        for asked in one.asked:
            self._count(names.CLAUDE_REQUESTS, (service, one.model, asked.failed or "answered"), 1)
            if asked.usage is not None:
                for kind, tokens in asked.usage:
                    self._count(names.CLAUDE_TOKENS, (service, one.model, kind.removesuffix("_tokens")), tokens)
            if asked.cost_usd is not None:
                self._count(names.CLAUDE_COST, (service, one.model), float(asked.cost_usd))

    def _fresh(self, query: Select[Any], table: Table) -> Sequence[Any]:
        """Return a query's result over the rows that are not counted yet."""
        if table.name not in self._through:
            return ()
        position, after = table.c.position, self._marks.get(table.name, 0)
        stretch = query.where(position > after, position <= self._through[table.name])
        return self._connection.execute(stretch).all()


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


def _newest(connection: Connection) -> dict[str, int]:
    positions = [select(func.max(table.c.position)).scalar_subquery() for table in _COUNTED]
    row = connection.execute(select(*positions)).one()
    return {table.name: position or 0 for table, position in zip(_COUNTED, row, strict=True)}


def _marks_text(connection: Connection) -> str:
    query = select(_control.c.value).where(_control.c.name == _MARKS)
    return connection.execute(query).scalar() or "{}"


def _read_marks(text: str) -> dict[str, int]:
    marks: dict[str, int] = json.loads(text)
    return marks


def _bounded(connection: Connection, found: Mapping[_Series, float]) -> Mapping[_Series, float]:
    """Return what was found with error types and boundaries that are too many put under ``other``."""
    incidents = names.INCIDENTS.name
    query = select(_counter.c.labels).where(_counter.c.name == incidents)
    boundaries: defaultdict[str, set[str]] = defaultdict(set)
    error_types: defaultdict[str, set[str]] = defaultdict(set)
    for text in connection.execute(query).scalars():
        service, boundary, error_type = json.loads(text)
        boundaries[service].add(boundary)
        error_types[service].add(error_type)
    bounded: defaultdict[_Series, float] = defaultdict(float)
    # Incidents come first: what else is counted of a boundary is to stand under the same name.
    for (name, labels), value in sorted(found.items(), key=lambda one: (one[0][0] != incidents, one[0])):
        kinds = _LABELS.get(name, ())
        within = {
            "boundary": (boundaries[labels[0]], MOST_BOUNDARIES),
            "error_type": (error_types[labels[0]], MOST_ERROR_TYPES),
        }
        kept = tuple(
            _one_of(*within[kind], label) if kind in within else label
            for kind, label in zip(kinds, labels, strict=True)
        )
        bounded[name, kept] += value
    return bounded


def _one_of(known: set[str], most: int, value: str) -> str:
    if value not in known:
        if len(known) >= most:
            return _OTHER
        known.add(value)
    return value


def _insert(connection: Connection, table: Table) -> Any:
    return (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(table)


def _write_marks(connection: Connection, marks: Mapping[str, int], now: datetime | None) -> None:
    insert = _insert(connection, _control)
    values = {"value": json.dumps(marks), "at": now or datetime.now(UTC), "actor": "exporter"}
    fresh = {name: insert.excluded[name] for name in values}
    statement = insert.values(name=_MARKS, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=[_control.c.name], set_=fresh))


def _add(connection: Connection, found: Mapping[_Series, float]) -> None:
    insert = _insert(connection, _counter)
    statement = insert.on_conflict_do_update(
        index_elements=[_counter.c.name, _counter.c.labels],
        set_={"value": _counter.c.value + insert.excluded.value},
    )
    rows = [
        {"name": name, "labels": json.dumps(labels, ensure_ascii=False), "value": float(value)}
        for (name, labels), value in sorted(found.items())
    ]
    if rows:
        connection.execute(statement, rows)
