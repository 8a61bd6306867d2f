"""What Claude has cost in a day, for which failures, and what was refused: read by people, gateways and metrics."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any, Literal

from pydantic import ValidationError
from sqlalchemy import Connection, bindparam, func, or_, select

from healspan.remediation.record import Record
from healspan.remediation.store.database import Database
from healspan.remediation.store.sums import number_of, total
from healspan.remediation.store.tables import (
    ClaudePatternRow,
    ClaudeRefusalRow,
    ClaudeRequestRow,
    ControlRow,
    LeaseRow,
    table_of,
)
from healspan.remediation.store.views import Amount, BreakerReport

__all__ = ["PatternSpend", "RefusalCount", "Spend", "Spending", "Spent", "amounts_of"]

_REQUEST, _PATTERN, _REFUSAL = (table_of(row) for row in (ClaudeRequestRow, ClaudePatternRow, ClaudeRefusalRow))
_CONTROL, _LEASE = table_of(ControlRow), table_of(LeaseRow)

_MOST_NAMED = 500
"""Values in one statement."""

_AMOUNTS = (total(_REQUEST.c.tokens).label("tokens"), total(_REQUEST.c.micro_usd).label("micro_usd"))
_AMOUNTS_OF_DAY = select(*_AMOUNTS).where(_REQUEST.c.day == bindparam("on"))
_AMOUNTS_OF_PATTERN = _AMOUNTS_OF_DAY.where(_REQUEST.c.exact == bindparam("of"))
_SUMS = (
    *_AMOUNTS,
    func.count().label("requests"),
    number_of(_REQUEST.c.state != "settled").label("unsettled"),
    number_of(_REQUEST.c.micro_usd.is_(None)).label("unpriced"),
)

BREAKER = "claude.breaker."
"""Begins the names of the controls with which processes say that their breaker is not closed."""

LEASE = "claude:"
"""Begins the names of the leases of patterns."""


class Spent(Amount):
    """What requests have cost; what is reserved for requests under way, or that nobody knows of, included."""

    requests: int = 0
    unsettled: int = 0
    """Of these, requests whose cost is what was reserved: under way, or ended without a word."""
    unpriced: int = 0
    """Of these, requests whose cost in money is not known."""


class PatternSpend(Record):
    """One kind of failure in a day."""

    exact: str
    boundary: str
    spent: Spent
    state: str | None = None
    """``diagnosing``, or how its last diagnosis ended."""
    rests_until: datetime | None = None


class RefusalCount(Record):
    """Diagnoses that were refused in a day."""

    state: str
    exact: str
    """Empty: of several kinds of failure, too many to tell apart."""
    boundary: str
    refusals: int
    at: datetime
    """The last one."""
    reason: str
    """Of the last one."""


class Spend(Record):
    """One day with Claude."""

    day: date
    total: Spent
    patterns: tuple[PatternSpend, ...]
    """The dearest first."""
    boundaries: dict[str, Spent]
    refusals: tuple[RefusalCount, ...]
    """The latest first."""
    breakers: tuple[BreakerReport, ...]
    """Of processes that leave the server alone, or have ended while they did; of all others it is closed."""


class Spending:
    """What can be asked about spending."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def total(self, *, now: datetime | None = None) -> Spent:
        """Return what the day of a moment, in UTC, has cost in all: one sum over that day's requests."""
        day = (now or datetime.now(UTC)).astimezone(UTC).date()
        with self._database.reading() as connection:
            return _total(connection, day)

    def today(self, *, now: datetime | None = None, limit: int = 1_000) -> Spend:
        """Return the day of a moment, in UTC, as it is now; lists no longer than so many."""
        moment = now or datetime.now(UTC)
        day = moment.astimezone(UTC).date()
        with self._database.reading() as connection:
            return Spend(
                day=day,
                total=_total(connection, day),
                patterns=_patterns(connection, day, moment, limit),
                boundaries={row.boundary: _spent(row) for row in _grouped(connection, day, "boundary")},
                refusals=_refusals(connection, day, limit),
                breakers=_breakers(connection, day),
            )


def amounts_of(connection: Connection, day: date, exact: str | None = None) -> Amount:
    """Return what is spent and reserved in a day, for one pattern or in all."""
    if exact is None:
        row = connection.execute(_AMOUNTS_OF_DAY, {"on": day}).one()
    else:
        row = connection.execute(_AMOUNTS_OF_PATTERN, {"on": day, "of": exact}).one()
    return Amount(tokens=row.tokens, micro_usd=row.micro_usd)


def _total(connection: Connection, day: date) -> Spent:
    return _spent(connection.execute(select(*_SUMS).where(_REQUEST.c.day == day)).one())


def _spent(row: Any) -> Spent:
    return Spent(**{name: getattr(row, name) for name in Spent.model_fields})


def _grouped(connection: Connection, day: date, by: Literal["exact", "boundary"]) -> list[Any]:
    column = _REQUEST.c[by]
    where = func.max(_REQUEST.c.boundary).label("where")
    query = select(column, where, *_SUMS).where(_REQUEST.c.day == day).group_by(column).order_by(column)
    return list(connection.execute(query))


def _patterns(connection: Connection, day: date, now: datetime, limit: int) -> tuple[PatternSpend, ...]:
    spent = {row.exact: (row.where, _spent(row)) for row in _grouped(connection, day, "exact")}
    query = select(_PATTERN).where(or_(_PATTERN.c.rests_until > now, _PATTERN.c.exact.in_(list(spent)[:_MOST_NAMED])))
    ended = {row.exact: row for row in connection.execute(query.order_by(_PATTERN.c.at.desc()).limit(limit))}
    leases = select(_LEASE.c.name).where(_LEASE.c.name.startswith(LEASE, autoescape=True), _LEASE.c.expires > now)
    under_way = {name.removeprefix(LEASE) for name in connection.execute(leases.limit(limit)).scalars()}
    found = []
    for exact in spent.keys() | ended.keys() | under_way:
        last = ended.get(exact)
        boundary, amount = spent.get(exact, ("" if last is None else last.boundary, Spent()))
        state = "diagnosing" if exact in under_way else None if last is None else last.state
        rests = None if last is None or last.rests_until <= now else last.rests_until
        found.append(PatternSpend(exact=exact, boundary=boundary, spent=amount, state=state, rests_until=rests))
    found.sort(key=lambda one: (-(one.spent.micro_usd or 0), -one.spent.tokens, one.exact))
    return tuple(found[:limit])


def _refusals(connection: Connection, day: date, limit: int) -> tuple[RefusalCount, ...]:
    names = [_REFUSAL.c[name] for name in RefusalCount.model_fields]
    query = select(*names).where(_REFUSAL.c.day == day).order_by(_REFUSAL.c.at.desc(), _REFUSAL.c.state, *names[1:3])
    return tuple(RefusalCount(**row) for row in connection.execute(query.limit(limit)).mappings())


def _breakers(connection: Connection, day: date) -> tuple[BreakerReport, ...]:
    query = select(_CONTROL.c.value).where(_CONTROL.c.name.startswith(BREAKER, autoescape=True))
    found = []
    for value in connection.execute(query.order_by(_CONTROL.c.name)).scalars():
        try:
            report = BreakerReport.model_validate_json(value)
        except ValidationError:
            continue  # of a version that says it otherwise
        if report.until.astimezone(UTC).date() >= day:
            found.append(report)
    return tuple(found)
