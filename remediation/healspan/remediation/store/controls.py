"""What all processes share besides facts: the kill switch, watermarks, leases; and the audit of who did what."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from pydantic import JsonValue
from sqlalchemy import Connection, delete, func, or_, select

from healspan.remediation.ids import uuid7
from healspan.remediation.store.changes import next_revision
from healspan.remediation.store.database import Database
from healspan.remediation.store.facts import AuditEntry
from healspan.remediation.store.index_loader import KILL_SWITCH
from healspan.remediation.store.rows import row_of
from healspan.remediation.store.tables import AuditRow, ControlRow, DeadLetterRow, LeaseRow, table_of
from healspan.remediation.store.upsert import insert_into
from healspan.remediation.store.views import DeadLetter

__all__ = ["Controls", "write_audit"]

_CONTROL, _LEASE, _AUDIT, _LETTER = (table_of(row) for row in (ControlRow, LeaseRow, AuditRow, DeadLetterRow))


def write_audit(connection: Connection, entry: AuditEntry) -> None:
    """Write down who did what, in the transaction that does it."""
    table, values = row_of(entry)
    connection.execute(table.insert().values(**values))


class Controls:
    """Switches, leases and the audit."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def is_disabled(self) -> bool:
        """Tell whether the stored kill switch is on."""
        return bool(self.get(KILL_SWITCH))

    def set_disabled(self, disabled: bool, *, actor: str, at: datetime | None = None) -> None:
        """Turn the stored kill switch on or off; every process obeys within its refresh interval.

        Raises:
            StoreUnavailable, StoreCorrupt: it is as it was.
        """
        now = at or datetime.now(UTC)
        with self._database.writing() as connection:
            _put(connection, KILL_SWITCH, disabled, actor, now)
            next_revision(connection)
            action = "disable" if disabled else "enable"
            write_audit(connection, AuditEntry(audit_id=uuid7(), at=now, actor=actor, action=action))

    def get(self, name: str) -> JsonValue:
        """Return a control's value; None if it was never set."""
        with self._database.reading() as connection:
            value = connection.execute(select(_CONTROL.c.value).where(_CONTROL.c.name == name)).scalar()
        result: JsonValue = None if value is None else json.loads(value)
        return result

    def put(self, name: str, value: JsonValue, *, actor: str, at: datetime | None = None) -> None:
        """Set a control, e.g. the watermark of a job.

        Raises:
            StoreUnavailable, StoreCorrupt: it is as it was.
        """
        with self._database.writing() as connection:
            _put(connection, name, value, actor, at or datetime.now(UTC))

    def acquire_lease(self, name: str, holder: str, duration: timedelta, *, at: datetime | None = None) -> bool:
        """Take, or prolong, a right that one holder at a time has; False if another one has it.

        Raises:
            StoreUnavailable, StoreCorrupt: the right was not taken.
        """
        now = at or datetime.now(UTC)
        with self._database.writing() as connection:
            insert = insert_into(_LEASE, connection.dialect.name)
            statement = insert.values(name=name, holder=holder, expires=now + duration).on_conflict_do_update(
                index_elements=[_LEASE.c.name],
                set_={"holder": insert.excluded.holder, "expires": insert.excluded.expires},
                where=or_(_LEASE.c.holder == holder, _LEASE.c.expires <= now),
            )
            return connection.execute(statement.returning(_LEASE.c.name)).first() is not None

    def release_lease(self, name: str, holder: str) -> None:
        """Give a right back, if this holder has it."""
        with self._database.writing() as connection:
            connection.execute(delete(_LEASE).where(_LEASE.c.name == name, _LEASE.c.holder == holder))

    def audit(
        self,
        actor: str,
        action: str,
        subject: str = "",
        *,
        detail: dict[str, JsonValue] | None = None,
        at: datetime | None = None,
    ) -> AuditEntry:
        """Write down who did what.

        Raises:
            StoreUnavailable, StoreCorrupt: it was not written; do not do it.
        """
        entry = AuditEntry(
            audit_id=uuid7(),
            at=at or datetime.now(UTC),
            actor=actor,
            action=action,
            subject=subject,
            detail=detail or {},
        )
        with self._database.writing() as connection:
            write_audit(connection, entry)
        return entry

    def audits(
        self,
        *,
        subject: str | None = None,
        action: str | None = None,
        limit: int = 100,
    ) -> tuple[AuditEntry, ...]:
        """Return what was done, latest first."""
        query = select(_AUDIT.c.body).order_by(_AUDIT.c.position.desc()).limit(limit)
        if subject is not None:
            query = query.where(_AUDIT.c.subject == subject)
        if action is not None:
            query = query.where(_AUDIT.c.action == action)
        with self._database.reading() as connection:
            return tuple(AuditEntry.model_validate_json(body) for body in connection.execute(query).scalars())

    def dead_letters(self, *, limit: int = 100) -> tuple[DeadLetter, ...]:
        """Return the rows that could not be taken in, latest first."""
        query = select(_LETTER).order_by(_LETTER.c.at.desc()).limit(limit)
        with self._database.reading() as connection:
            return tuple(DeadLetter(**row) for row in connection.execute(query).mappings())

    def count_dead_letters(self) -> int:
        """Return how many rows could not be taken in."""
        with self._database.reading() as connection:
            return int(connection.execute(select(func.count()).select_from(_LETTER)).scalar_one())


def _put(connection: Connection, name: str, value: JsonValue, actor: str, at: datetime) -> None:
    insert = insert_into(_CONTROL, connection.dialect.name)
    fresh = {"value": insert.excluded.value, "at": insert.excluded.at, "actor": insert.excluded.actor}
    connection.execute(
        insert.values(name=name, value=json.dumps(value), at=at, actor=actor).on_conflict_do_update(
            index_elements=[_CONTROL.c.name],
            set_=fresh,
        ),
    )
