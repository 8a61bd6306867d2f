"""Masking alarms: fixes that fire so often that they hide a fault, and what humans have answered."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from pydantic import Field
from sqlalchemy import ColumnElement, Connection, and_, delete, or_, select, update

from healspan.remediation.errors import ConfigurationError, StateConflict
from healspan.remediation.ids import uuid7
from healspan.remediation.record import Record
from healspan.remediation.store.controls import write_audit
from healspan.remediation.store.database import Database
from healspan.remediation.store.facts import AuditEntry, encode
from healspan.remediation.store.sums import number_of
from healspan.remediation.store.tables import MaskingRow, table_of
from healspan.remediation.store.upsert import insert_into

__all__ = ["Masking", "MaskingAlarm", "MaskingAnswer", "closed_through"]

_MASKING = table_of(MaskingRow)

GROWTH = 1.5
"""By how much the share has to grow before a fix that a human has answered for is an alarm again."""


class MaskingAlarm(Record):
    """A fix that fires so often that it hides a fault: the draft of a ticket for those who own the code."""

    fix_id: str
    boundary: str
    healed: int = Field(ge=0)
    """Calls that it healed in the window."""
    calls: int = Field(ge=0)
    """Of the boundary, in the same window."""
    hours: int
    """Length of the window."""
    share: float = Field(ge=0, le=1)
    at_least: float = Field(ge=0, le=1)
    """Lower bound of the share: in 19 of 20 cases it is greater."""
    since: datetime
    """When it was noticed."""
    updated_at: datetime
    title: str
    ticket: str
    """What fires, how often, since when, what it means, what to do."""


class MaskingAnswer(Record):
    """What a human has said of an alarm; it is closed until the share grows."""

    at: datetime
    actor: str
    reason: str
    at_least: float
    """As it was then."""


def closed_through(at_least: float) -> float:
    """Return the share up to which an answer holds: half as much again, or half of what is left above it."""
    return min(GROWTH * at_least, (1.0 + at_least) / 2.0)


def _is_open() -> ColumnElement[bool]:
    closes = _MASKING.c.closed_through
    return and_(_MASKING.c.firing, or_(closes.is_(None), _MASKING.c.at_least > closes))


_OPEN_BY_BOUNDARY = select(_MASKING.c.boundary, number_of(_is_open()).label("number")).group_by(_MASKING.c.boundary)


class Masking:
    """What analytics has noticed, and what was answered."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def firing(self) -> tuple[MaskingAlarm, ...]:
        """Return all fixes that fire so often at present, answered for or not."""
        return self._read(_MASKING.c.firing)

    def open(self) -> tuple[MaskingAlarm, ...]:
        """Return the alarms that wait for a human, those that hide most first.

        Raises:
            StoreUnavailable, StoreCorrupt: the store cannot be read.
        """
        return self._read(_is_open())

    def answered(self, fix_id: str) -> MaskingAnswer | None:
        """Return what a human has said last of a fix that fired, or fires, so often; None if nobody has.

        Raises:
            StoreUnavailable, StoreCorrupt: the store cannot be read.
        """
        with self._database.reading() as connection:
            body = connection.execute(select(_MASKING.c.answer).where(_MASKING.c.fix_id == fix_id)).scalar()
        return None if body is None else MaskingAnswer.model_validate_json(body)

    def count_open(self, connection: Connection) -> dict[str, int]:
        """Return the number of open alarms by boundary; 0 where there were some."""
        return {row.boundary: row.number for row in connection.execute(_OPEN_BY_BOUNDARY)}

    def write(self, alarms: Sequence[MaskingAlarm]) -> None:
        """Put these alarms in the place of all earlier ones; answers stay with their fixes.

        Raises:
            StoreUnavailable, StoreCorrupt: the earlier ones are still there.
        """
        with self._database.writing() as connection:
            connection.execute(delete(_MASKING).where(_MASKING.c.answer.is_(None)))
            connection.execute(update(_MASKING).values(firing=False))
            insert = insert_into(_MASKING, connection.dialect.name)
            fresh = {name: insert.excluded[name] for name in ("boundary", "firing", "at_least", "body")}
            for one in alarms:
                values = {"fix_id": one.fix_id, "boundary": one.boundary, "at_least": one.at_least, "firing": True}
                statement = insert.values(**values, body=encode(one))
                connection.execute(statement.on_conflict_do_update(index_elements=[_MASKING.c.fix_id], set_=fresh))

    def answer(self, fix_id: str, *, actor: str, reason: str, now: datetime | None = None) -> MaskingAnswer:
        """Close an alarm until the share grows; the fix serves as before.

        Raises:
            ConfigurationError: the fix is no alarm.
            StateConflict: somebody has answered.
            StoreUnavailable, StoreCorrupt: nothing was written.
        """
        at = now or datetime.now(UTC)
        with self._database.writing() as connection:
            mine = _MASKING.c.fix_id == fix_id
            row = connection.execute(
                select(_MASKING.c.at_least, _MASKING.c.answer, _is_open().label("is_open")).where(
                    mine, _MASKING.c.firing
                )
            ).first()
            if row is None:
                raise ConfigurationError(
                    f"fix {fix_id[:12]} does not fire so often that it hides a fault; "
                    "'healspan review list' shows those that do",
                )
            if not row.is_open:
                was = MaskingAnswer.model_validate_json(row.answer)
                raise StateConflict(
                    f"{was.actor} has answered on {was.at:%Y-%m-%d %H:%M} UTC ({was.reason}); it waits for nobody "
                    "until it fires more often",
                )
            answer = MaskingAnswer(at=at, actor=actor, reason=reason, at_least=row.at_least)
            values = {"answer": encode(answer), "closed_through": closed_through(row.at_least)}
            connection.execute(update(_MASKING).where(mine).values(**values))
            entry = AuditEntry(
                audit_id=uuid7(),
                at=at,
                actor=actor,
                action="answer",
                subject=fix_id,
                detail={"reason": reason, "at_least": row.at_least},
            )
            write_audit(connection, entry)
        return answer

    def _read(self, condition: ColumnElement[bool]) -> tuple[MaskingAlarm, ...]:
        query = select(_MASKING.c.body).where(condition).order_by(_MASKING.c.at_least.desc(), _MASKING.c.fix_id)
        with self._database.reading() as connection:
            return tuple(MaskingAlarm.model_validate_json(body) for body in connection.execute(query).scalars())
