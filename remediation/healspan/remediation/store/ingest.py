"""Takes spooled facts into the store: each once, whatever happens in between, and none in the way of another."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

from pydantic import ValidationError
from sqlalchemy import Connection, Table
from sqlalchemy.exc import SQLAlchemyError

from healspan.remediation.errors import StoreError
from healspan.remediation.fix import StateChange
from healspan.remediation.outcome import Application, Judgement
from healspan.remediation.record import Record
from healspan.remediation.store.changes import next_revision, settle_change
from healspan.remediation.store.database import Database
from healspan.remediation.store.facts import RECORD_OF, AuditEntry, Kind, digest
from healspan.remediation.store.fix_evidence import Folding, Seal
from healspan.remediation.store.rows import Inserts, Values, row_of
from healspan.remediation.store.spool_file import Entry
from healspan.remediation.store.tables import DeadLetterRow, OverruleRow, table_of

__all__ = ["Ingest", "add_facts"]

logger = logging.getLogger("healspan.store")

_NAMESPACE = UUID("6b1d4f5e-2a58-5c0f-9d0e-3f2f8f0b7a11")
"""Of ids made from content, so that a row taken in twice is the same row."""

_ROW_ERRORS = (SQLAlchemyError, ValueError, TypeError, ArithmeticError)
"""What the database, or its driver, raises over the content of one row."""


@dataclass(frozen=True, slots=True)
class _Poison:
    entry: Entry
    reason: str


def add_facts(
    connection: Connection,
    inserts: Inserts,
    facts: Sequence[tuple[Record, str | None]],
    *,
    now: datetime,
    seal: Seal | None = None,
) -> None:
    """Insert records (with their JSON, where it is at hand) that are not there yet.

    Args:
        connection: in a writing transaction.
        inserts: of this connection's database.
        facts: in the order in which they were made.
        now: for the audit of a state change that lost a race.
        seal: vouches for the evidence that follows from them.
    """
    rows: defaultdict[Table, list[Values]] = defaultdict(list)
    for number, (record, body) in enumerate(facts):
        if isinstance(record, StateChange):
            continue
        give_way(number)
        table, values = row_of(record, body)
        rows[table].append(values)
        if isinstance(record, Judgement):
            rows[table_of(OverruleRow)] += [
                {"application_id": str(one), "by_application": str(record.application_id)} for one in record.overrules
            ]
    if any(isinstance(record, Judgement | StateChange) for record, _ in facts):
        # First of all, since it makes those who fold verdicts and change states wait for each other on every database.
        next_revision(connection)
    folding = _folding(connection, [record for record, _ in facts], seal)
    for table, values_of_table in rows.items():
        inserts.add(connection, table, values_of_table)
    # After the fixes they belong to, and each after the verdicts that came before it.
    for record, _ in facts:
        if isinstance(record, Judgement) and folding is not None:
            folding.take(record)
        elif isinstance(record, StateChange):
            if folding is not None:
                folding.flush(next_revision(connection))
            reason = settle_change(connection, record, seal)
            if reason is not None:
                table, values = row_of(_lost_race(record, reason, now))
                inserts.add(connection, table, [values])
    if folding is not None:
        folding.flush(next_revision(connection))


def _folding(connection: Connection, records: Sequence[Record], seal: Seal | None) -> Folding | None:
    judgements = [record for record in records if isinstance(record, Judgement)]
    if not judgements:
        return None
    return Folding(
        connection,
        judgements,
        {str(record.application_id): record for record in records if isinstance(record, Application)},
        seal,
    )


def give_way(number: int) -> None:
    """Let a waiting thread run now and then, rather than after the interpreter's switch interval of 5 ms.

    The drainer works in the background of a host; a host thread that comes back from its own insert must not
    wait for a whole batch to be parsed. Every time would be too often: a sleep of nothing takes 0.1 ms.
    """
    if number % 8 == 0:
        time.sleep(0)


def _lost_race(change: StateChange, reason: str, now: datetime) -> AuditEntry:
    return AuditEntry(
        audit_id=uuid5(_NAMESPACE, digest(change.model_dump_json())),
        at=now,
        actor="drainer",
        action="lost race",
        subject=change.fix_id,
        detail={"state": change.state, "sequence": change.sequence, "reason": reason},
    )


class Ingest:
    """Takes batches of spooled entries into one database.

    Args:
        database: the store.
        seal: vouches for the evidence that follows from what is taken in; the spools are this host's own.
        now: the wall clock, in UTC.
    """

    def __init__(
        self,
        database: Database,
        *,
        seal: Seal | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._seal = seal
        self._now = now
        self._inserts: Inserts | None = None
        self._said: set[tuple[str, str]] = set()

    def take(self, entries: Sequence[Entry], *, spool: str) -> int:
        """Take in entries, in order; return how many of them were poison and are dead letters now.

        Raises:
            StoreUnavailable, StoreCorrupt: nothing was taken in; try again later.
        """
        facts: list[tuple[Entry, Record]] = []
        poison: list[_Poison] = []
        for number, entry in enumerate(entries):
            give_way(number)
            read = _read(entry)
            if isinstance(read, _Poison):
                poison.append(read)
            else:
                facts.append((entry, read))
        try:
            self._write(facts, poison, spool)
        except StoreError:
            raise
        except _ROW_ERRORS:
            # One row is to blame; alone, each shows whether it is the one.
            poison += self._one_by_one(facts)
            self._write([], poison, spool)
        self._say(poison, spool)
        return len(poison)

    def close(self) -> None:
        """Close the connections to the store."""
        self._database.close()

    def _one_by_one(self, facts: Sequence[tuple[Entry, Record]]) -> list[_Poison]:
        poison: list[_Poison] = []
        for entry, record in facts:
            try:
                self._write([(entry, record)], [], "")
            except StoreError:
                raise
            except _ROW_ERRORS as error:
                origin = getattr(error, "orig", None) or error
                poison.append(_Poison(entry, f"{type(origin).__name__}: {origin}"))
        return poison

    def _write(self, facts: Sequence[tuple[Entry, Record]], poison: Sequence[_Poison], spool: str) -> None:
        if not facts and not poison:
            return
        now = self._now()
        with self._database.writing() as connection:
            if self._inserts is None:
                self._inserts = Inserts(connection.dialect)
            taken = [(record, entry.body) for entry, record in facts]
            add_facts(connection, self._inserts, taken, now=now, seal=self._seal)
            letters: list[dict[str, Any]] = [
                {
                    "letter_id": str(uuid5(_NAMESPACE, f"{spool}/{one.entry.sequence}")),
                    "at": now,
                    "kind": str(one.entry.kind),
                    "reason": one.reason,
                    "spool": spool,
                    "body": str(one.entry.body),
                }
                for one in poison
            ]
            self._inserts.add(connection, table_of(DeadLetterRow), letters)

    def _say(self, poison: Sequence[_Poison], spool: str) -> None:
        for one in poison:
            key = (one.entry.kind, one.reason[:80])
            if key not in self._said:
                self._said.add(key)
                logger.error(
                    "a spooled %s of %s could not be taken in (%s); it is kept among the dead letters, likewise any "
                    "that follow with this reason; 'healspan doctor' counts them",
                    one.entry.kind,
                    spool,
                    one.reason,
                )


def _read(entry: Entry) -> Record | _Poison:
    try:
        kind = Kind(entry.kind)
    except ValueError:
        return _Poison(entry, f"unknown kind {entry.kind!r}; a newer healspan may have written it")
    try:
        return RECORD_OF[kind].model_validate_json(entry.body)
    except (ValidationError, ValueError, TypeError) as error:
        detail = str(error.errors()[0]["msg"]) if isinstance(error, ValidationError) else str(error)
        return _Poison(entry, f"not a {kind}: {detail}")
