"""The ledger of Claude: who diagnoses what, what is reserved and spent, what was refused. For helper threads only.

Every decision is one writing transaction, and writers take turns, so what all processes decide together is what one
would have decided alone. A reservation counts from its commit until the day ends, whatever becomes of its process.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Connection, Table, and_, bindparam, delete, or_, select, update
from sqlalchemy.engine import make_url

from healspan.remediation.errors import StoreError
from healspan.remediation.ids import uuid7
from healspan.remediation.settings import Settings
from healspan.remediation.store.database import Database
from healspan.remediation.store.spending import BREAKER, LEASE, amounts_of
from healspan.remediation.store.tables import (
    ClaudePatternRow,
    ClaudeRefusalRow,
    ClaudeRequestRow,
    ControlRow,
    LeaseRow,
    table_of,
)
from healspan.remediation.store.upsert import Upsert, insert_into
from healspan.remediation.store.views import Amount, BreakerReport

__all__ = ["Ended", "Judge", "Ledger", "Lost", "Over", "Refused", "Resting", "Taken"]

_REQUEST, _PATTERN, _REFUSAL = (table_of(row) for row in (ClaudeRequestRow, ClaudePatternRow, ClaudeRefusalRow))
_LEASE, _CONTROL = table_of(LeaseRow), table_of(ControlRow)

# The statements, each made once: making one takes as long as running it.
_IS_HELD_BY = and_(_LEASE.c.name == bindparam("of"), _LEASE.c.holder == bindparam("by"))
_REST_OF = select(_PATTERN.c.rests_until, _PATTERN.c.state).where(_PATTERN.c.exact == bindparam("of"))
_OTHERS_LEASE = select(_LEASE.c.expires).where(
    _LEASE.c.name == bindparam("of"),
    _LEASE.c.holder != bindparam("by"),
    ~or_(_LEASE.c.expires <= bindparam("moment"), _LEASE.c.expires > bindparam("latest")),
)
_RENEW = update(_LEASE).where(_IS_HELD_BY).values(expires=bindparam("until"))
_GIVE_BACK = delete(_LEASE).where(_IS_HELD_BY)
_RESERVE = _REQUEST.insert()
_SETTLE = update(_REQUEST).where(_REQUEST.c.request_id == bindparam("of"))
_FORGET = delete(_CONTROL).where(_CONTROL.c.name == bindparam("of"))

LONGEST_LEASE = timedelta(hours=1)
"""No setting allows a longer one."""

_SKEW = timedelta(minutes=1)
"""By how much the clocks of two hosts may differ."""

_MOST_OWED = 1_000
_NETWORK_SECONDS = 5

Ended = Literal["proposed", "healed", "refused", "failed"]

Judge = Callable[[Amount, Amount], str | None]
"""Given what is spent and reserved today for the pattern and in all, says why nothing more may be; None if it may."""


@dataclass(frozen=True)
class Taken:
    """Another call is diagnosing the pattern."""

    until: datetime
    """It, or another one after it, has the right until then at least."""


@dataclass(frozen=True)
class Resting:
    """The pattern rests."""

    until: datetime
    state: str
    """How its last diagnosis ended."""


@dataclass(frozen=True)
class Lost:
    """The holder has no right any more: its lease has ended and another one had it since, or it was given back."""


@dataclass(frozen=True)
class Over:
    """A budget has no room for a request."""

    reason: str


@dataclass(frozen=True)
class Refused:
    """A diagnosis that was refused."""

    day: date
    state: str
    exact: str
    boundary: str


@dataclass(frozen=True)
class _Settlement:
    request_id: UUID
    cost: Amount | None
    failed: str | None
    seconds: float


@dataclass
class _Owed:
    """What could not be, or need not have been, written yet; it goes with the next transaction."""

    settlements: list[_Settlement] = field(default_factory=list)
    refusals: dict[Refused, tuple[int, datetime, str]] = field(default_factory=dict)

    def count(self, what: Refused, times: int, at: datetime, reason: str) -> None:
        if what not in self.refusals and len(self.refusals) >= _MOST_OWED:
            what = Refused(what.day, what.state, "", "")
        known, latest, said = self.refusals.get(what, (0, at, reason))
        self.refusals[what] = (known + times, max(at, latest), reason if at >= latest else said)

    def add(self, other: _Owed) -> None:
        self.settlements = (other.settlements + self.settlements)[:_MOST_OWED]
        for what, (times, at, reason) in other.refusals.items():
            self.count(what, times, at, reason)


class Ledger:
    """What the processes decide about Claude together; safe to share between threads.

    Every method may raise `StoreUnavailable` or `StoreCorrupt` after a bounded wait; then it has done nothing, except
    that `settle` and `count` are made up for with the next thing that is written.

    Args:
        database: patient for as long as a helper thread may wait.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.RLock()
        self._owed = _Owed()

    @classmethod
    def open(cls, settings: Settings) -> Ledger:
        """Return the ledger of the store that the settings name; it is opened when it is first used."""
        return cls(Database(_in_time(settings.database_url), busy_ms=settings.busy_ms))

    def enter(
        self, exact: str, holder: str, *, now: datetime, lease: timedelta, cooldown: timedelta
    ) -> Taken | Resting | None:
        """Take the right to diagnose a pattern; None if the holder has it now."""
        # Looked at first: a storm of failures that are refused leaves the writers alone.
        with self._database.reading() as connection:
            found = _resting(connection, exact, now, cooldown) or _taken(connection, exact, holder, now)
        if found is not None:
            return found
        with self._writing() as connection:
            return _resting(connection, exact, now, cooldown) or _take(connection, exact, holder, now, lease)

    def reserve(
        self,
        exact: str,
        boundary: str,
        holder: str,
        model: str,
        need: Amount,
        judge: Judge,
        *,
        now: datetime,
        lease: timedelta,
        is_final: bool = True,
    ) -> UUID | Lost | Over:
        """Reserve what a request may cost, and begin the holder's lease anew; return the request's id.

        A refusal by the budget is counted in the same transaction, if it is final.
        """
        day = _day(now)
        with self._writing() as connection:
            # Renewed, and never taken again: whoever was left while it reserves must not come back to it.
            own = {"of": _name(exact), "by": holder, "until": now + lease}
            if connection.execute(_RENEW, own).rowcount == 0:
                return Lost()
            pattern, total = amounts_of(connection, day, exact), amounts_of(connection, day)
            reason = judge(pattern, total)
            if reason is not None:
                if is_final:
                    _count(connection, Refused(day, "budget", exact, boundary), 1, now, reason)
                return Over(reason)
            request_id = uuid7()
            connection.execute(
                _RESERVE,
                {
                    "request_id": str(request_id),
                    "day": day,
                    "at": now,
                    "exact": exact,
                    "boundary": boundary,
                    "model": model,
                    "reserved_tokens": need.tokens,
                    "reserved_micro_usd": need.micro_usd,
                    "tokens": need.tokens,
                    "micro_usd": need.micro_usd,
                    "state": "reserved",
                },
            )
            return request_id

    def settle(self, request_id: UUID, cost: Amount | None, failed: str | None, seconds: float) -> None:
        """Put what a request has cost in the place of what was reserved; None: nobody knows, so that stays."""
        with self._lock:
            self._owed.settlements.append(_Settlement(request_id, cost, failed, seconds))
        with self._writing():
            pass  # what is owed is all

    def leave(
        self, exact: str, boundary: str, holder: str, state: Ended | None, *, now: datetime, rests_until: datetime
    ) -> None:
        """Give the right back, and write down how the diagnosis ended, unless nothing was asked."""
        with self._writing() as connection:
            connection.execute(_GIVE_BACK, {"of": _name(exact), "by": holder})
            if state is not None:
                values = {"boundary": boundary, "state": state, "at": now, "rests_until": rests_until}
                _put(connection, _PATTERN, {"exact": exact}, values)

    def count(self, state: str, exact: str, boundary: str, reason: str, *, now: datetime, write: bool) -> None:
        """Count a refusal: written now, or with the next thing that is."""
        with self._lock:
            self._owed.count(Refused(_day(now), state, exact, boundary), 1, now, reason)
        if write:
            with self._writing():
                pass

    def report_breaker(self, instance: str, report: BreakerReport | None, *, now: datetime) -> None:
        """Say where the breaker of a process stands; None: it is closed."""
        name = BREAKER + instance
        with self._writing() as connection:
            if report is None:
                connection.execute(_FORGET, {"of": name})
            else:
                values = {"value": report.model_dump_json(), "at": now, "actor": instance}
                _put(connection, _CONTROL, {"name": name}, values)

    def close(self) -> None:
        """Write what is owed, if the store is there, and close all connections."""
        with contextlib.suppress(StoreError):
            if self._owed.settlements or self._owed.refusals:
                with self._writing():
                    pass
        self._database.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Connection]:
        with self._lock:
            owed, self._owed = self._owed, _Owed()
        try:
            with self._database.writing() as connection:
                for one in owed.settlements:
                    _settle(connection, one)
                for what, (times, at, reason) in owed.refusals.items():
                    _count(connection, what, times, at, reason)
                yield connection
        except StoreError:
            # After another error it is dropped: something in it that no store takes must not spoil whatever follows.
            with self._lock:
                self._owed.add(owed)
            raise


def _in_time(address: str) -> str:
    """Have a server that does not answer given up, as libpq would wait for as long as the network does."""
    if not address.startswith("postgresql"):
        return address
    url = make_url(address)
    bounds = {"connect_timeout": f"{_NETWORK_SECONDS}", "tcp_user_timeout": f"{_NETWORK_SECONDS * 1_000}"}
    return url.update_query_dict({**bounds, **url.query}).render_as_string(hide_password=False)


def _resting(connection: Connection, exact: str, now: datetime, cooldown: timedelta) -> Resting | None:
    row = connection.execute(_REST_OF, {"of": exact}).first()
    # One that rests for longer than any does is from a clock that was set back since.
    if row is None or not now < row.rests_until <= now + cooldown + _SKEW:
        return None
    return Resting(row.rests_until, row.state)


def _taken(connection: Connection, exact: str, holder: str, now: datetime) -> Taken | None:
    # Likewise, one that ends later than any that begins now has ended.
    given = {"of": _name(exact), "by": holder, "moment": now, "latest": now + LONGEST_LEASE + _SKEW}
    ends = connection.execute(_OTHERS_LEASE, given).scalar()
    return None if ends is None else Taken(ends)


def _take(connection: Connection, exact: str, holder: str, now: datetime, lease: timedelta) -> Taken | None:
    taken = _taken(connection, exact, holder, now)
    if taken is None:
        _put(connection, _LEASE, {"name": _name(exact)}, {"holder": holder, "expires": now + lease})
    return taken


def _settle(connection: Connection, one: _Settlement) -> None:
    values: dict[str, Any] = {"failed": one.failed, "seconds": one.seconds, "state": "unknown"}
    if one.cost is not None:
        values |= {"state": "settled", "tokens": one.cost.tokens, "micro_usd": one.cost.micro_usd}
    connection.execute(_SETTLE, {"of": str(one.request_id), **values})


def _count(connection: Connection, what: Refused, times: int, at: datetime, reason: str) -> None:
    key = {"day": what.day, "state": what.state, "exact": what.exact, "boundary": what.boundary}
    _put(connection, _REFUSAL, key, {"refusals": times, "at": at, "reason": reason}, added=("refusals",))


def _put(
    connection: Connection, table: Table, key: dict[str, Any], values: dict[str, Any], *, added: Sequence[str] = ()
) -> None:
    """Insert a row, or change the one with the same key; what is `added` is added to what is there."""
    statement = _upsert(connection.dialect.name, table, tuple(key), tuple(values), tuple(added))
    connection.execute(statement, {**key, **values})


@functools.cache
def _upsert(
    dialect: str, table: Table, key: tuple[str, ...], values: tuple[str, ...], added: tuple[str, ...]
) -> Upsert:
    statement = insert_into(table, dialect)
    changes = {
        name: table.c[name] + statement.excluded[name] if name in added else statement.excluded[name] for name in values
    }
    return statement.on_conflict_do_update(index_elements=[table.c[name] for name in key], set_=changes)


def _name(exact: str) -> str:
    return LEASE + exact


def _day(now: datetime) -> date:
    return now.astimezone(UTC).date()
