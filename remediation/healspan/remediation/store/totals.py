"""What the counters have come to: each fact is counted once, in the order it arrived, and stays counted.

A counter must never go down, and a purge makes counts over the tables do that. So what has been counted is kept in the
store, as numbers by the counters' labels and nothing else, with how far was counted, in one transaction: by whoever
looks (the exporter), and by whoever is about to erase (a purge), before it does. An exporter that starts anew goes on
from there. Positions become visible in their order because writers take turns.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, bindparam, delete, select

from healspan.remediation import metrics as names
from healspan.remediation.store.counting import LABELS, Series, added, newest
from healspan.remediation.store.tables import ControlRow, CounterRow, table_of
from healspan.remediation.store.upsert import Upsert, insert_into

__all__ = ["Durations", "Totals", "count_facts", "durations_of", "forget_labels", "has_news"]

_COUNTER, _CONTROL = table_of(CounterRow), table_of(ControlRow)

_MARKS = "counted"
"""Name of the control that says up to which position each of the tables is counted, and how often that was changed."""

_CHANGES = "changes"

_OTHER = "other"

MOST_ERROR_TYPES = 500
MOST_BOUNDARIES = 2_000
"""Values of the label for one service: counters stay for ever, and an application that makes classes of exceptions, or
functions, as it goes must not make series for ever. A process of a service bounds its own likewise."""

_OURS = frozenset({"tier", "outcome", "mode", "resolved", "criterion", "value", "decision", "state", "kind", "le"})
"""Labels whose values are words of healspan's own: they can carry nothing of anybody."""

_READ_MARKS = select(_CONTROL.c.value).where(_CONTROL.c.name == _MARKS)
_READ = select(_COUNTER.c.name, _COUNTER.c.labels, _COUNTER.c.value)
_FORGET = delete(_COUNTER).where(_COUNTER.c.name == bindparam("of"), _COUNTER.c.labels == bindparam("with_labels"))


def _adding(insert: Upsert) -> Upsert:
    value = _COUNTER.c.value + insert.excluded.value
    return insert.on_conflict_do_update(index_elements=[_COUNTER.c.name, _COUNTER.c.labels], set_={"value": value})


def _marking(insert: Upsert) -> Upsert:
    fresh = {name: insert.excluded[name] for name in ("value", "at", "actor")}
    return insert.on_conflict_do_update(index_elements=[_CONTROL.c.name], set_=fresh)


_DIALECTS = ("sqlite", "postgresql")
_ADD = {dialect: _adding(insert_into(_COUNTER, dialect)) for dialect in _DIALECTS}
_WRITE_MARKS = {dialect: _marking(insert_into(_CONTROL, dialect)) for dialect in _DIALECTS}


@dataclass(frozen=True, slots=True)
class Durations:
    """A histogram's counts."""

    counts: tuple[int, ...]
    """Per bucket, not cumulative; the last one is what is longer than every bound."""
    seconds: float


@dataclass(frozen=True, slots=True)
class Totals:
    """What the series have come to."""

    by_name: Mapping[str, Mapping[tuple[str, ...], float]]
    """By the name of the series and its labels' values. A mapping never changes: another one takes its place when one
    of its numbers does, and only then."""
    as_of: str = ""
    """Changes whenever they do."""

    @classmethod
    def read(cls, connection: Connection, known: Totals | None = None) -> Totals:
        """Return what is kept; `known` itself if nothing has changed since."""
        as_of = _read_marks(connection)
        if known is not None and known.as_of == as_of:
            return known
        kept = connection.execute(_READ).all()
        return cls({name: {} for name in LABELS}).plus(
            (((name, tuple(json.loads(labels))), value) for name, labels, value in kept), as_of
        )

    def plus(self, found: Iterable[tuple[Series, float]], as_of: str) -> Totals:
        """Return what they come to with what was found; what has no name here is of another version."""
        grown: dict[str, dict[tuple[str, ...], float]] = {}
        for (name, labels), value in found:
            if name in LABELS:
                if name not in grown:
                    grown[name] = {**self.by_name[name]}
                grown[name][labels] = grown[name].get(labels, 0.0) + value
        return Totals({**self.by_name, **grown}, as_of)


def durations_of(
    buckets: Mapping[tuple[str, ...], float], seconds: Mapping[tuple[str, ...], float]
) -> dict[tuple[str, ...], Durations]:
    """Return the heal durations by service, tier, outcome, from the totals of both their series."""
    bounds = names.HEAL_SECONDS_BUCKETS
    counts: defaultdict[tuple[str, ...], list[int]] = defaultdict(lambda: [0] * (len(bounds) + 1))
    for (*by, le), number in buckets.items():
        # A bound that another version had is counted with the next one that there is.
        counts[tuple(by)][bisect_left(bounds, float(le))] += round(number)
    return {by: Durations(tuple(counts[by]), seconds.get(by, 0.0)) for by in counts.keys() | seconds.keys()}


def has_news(connection: Connection) -> bool:
    """Tell whether there are facts that are not counted yet; cheap."""
    return bool(_news(connection, _marks_of(_read_marks(connection))))


def count_facts(
    connection: Connection, known: Totals | None = None, *, most: int | None = None, now: datetime | None = None
) -> Totals:
    """Count what has arrived since that was done last, keep it, and return what the counters come to then.

    Args:
        connection: in a writing transaction; if that fails, what was returned never was.
        known: what they came to at an earlier look: spares reading it all, if nobody else has counted since.
        most: of each kind of fact; None: all.
        now: the wall clock, in UTC.
    """
    totals = Totals.read(connection, known)
    marks = _marks_of(totals.as_of)
    fresh = _news(connection, marks)
    if most is not None:
        fresh = {name: min(position, marks.get(name, 0) + most) for name, position in fresh.items()}
    if not fresh:
        return totals
    found = _bounded(totals, added(connection, marks, fresh))
    _add(connection, found)
    return totals.plus(found.items(), _write_marks(connection, marks | fresh, now))


def forget_labels(connection: Connection, holds: Callable[[str], bool], *, now: datetime | None = None) -> None:
    """Put numbers whose labels must not stay under ``other``: privacy is worth more than a counter.

    Args:
        connection: in a writing transaction.
        holds: tells whether the value of a label must not stay.
        now: the wall clock, in UTC.
    """
    moved: defaultdict[Series, float] = defaultdict(float)
    for name, text, value in connection.execute(_READ).all():
        labels = tuple(json.loads(text))
        kinds = LABELS.get(name, (_OTHER,) * len(labels))
        kept = tuple(
            _OTHER if kind not in _OURS and holds(label) else label for kind, label in zip(kinds, labels, strict=True)
        )
        if kept != labels:
            connection.execute(_FORGET, {"of": name, "with_labels": text})
            moved[name, kept] += value
    if moved:
        _add(connection, moved)
        _write_marks(connection, _marks_of(_read_marks(connection)), now)


def _bounded(totals: Totals, found: Mapping[Series, float]) -> Mapping[Series, float]:
    """Return what was found with error types and boundaries that are too many put under ``other``."""
    boundaries: defaultdict[str, set[str]] = defaultdict(set)
    error_types: defaultdict[str, set[str]] = defaultdict(set)
    for service, boundary, error_type in totals.by_name[names.INCIDENTS.name]:
        boundaries[service].add(boundary)
        error_types[service].add(error_type)
    bounded: defaultdict[Series, float] = defaultdict(float)
    # Incidents come first: what else is counted of a boundary is to stand under the same name.
    for (name, labels), value in sorted(found.items(), key=lambda one: (one[0][0] != names.INCIDENTS.name, one[0])):
        kinds = LABELS[name]
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


def _news(connection: Connection, marks: Mapping[str, int]) -> dict[str, int]:
    """Return up to where there is something new, by table.

    Where the newest rows were erased there is nothing new, and their positions are never used again.
    """
    return {name: position for name, position in newest(connection).items() if position > marks.get(name, 0)}


def _read_marks(connection: Connection) -> str:
    return connection.execute(_READ_MARKS).scalar() or "{}"


def _marks_of(text: str) -> dict[str, int]:
    marks: dict[str, int] = json.loads(text)
    return marks


def _write_marks(connection: Connection, marks: Mapping[str, int], now: datetime | None) -> str:
    """Write down up to where is counted, and that the numbers have changed; return it as it is kept."""
    text = json.dumps({**marks, _CHANGES: marks.get(_CHANGES, 0) + 1})
    row = {"name": _MARKS, "value": text, "at": now or datetime.now(UTC), "actor": "exporter"}
    connection.execute(_WRITE_MARKS[connection.dialect.name], row)
    return text


def _add(connection: Connection, found: Mapping[Series, float]) -> None:
    rows = [
        {"name": name, "labels": json.dumps(labels, ensure_ascii=False), "value": float(value)}
        for (name, labels), value in sorted(found.items())
    ]
    if rows:
        connection.execute(_ADD[connection.dialect.name], rows)
