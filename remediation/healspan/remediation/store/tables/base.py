"""What all tables share: the metadata, moments in UTC, the kinds of row and of column."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import BigInteger, CheckConstraint, DateTime, Dialect, Integer, MetaData, Table, Text
from sqlalchemy.orm import registry
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field, SQLModel

__all__ = [
    "METADATA",
    "Fact",
    "Row",
    "UtcTime",
    "fact",
    "moment",
    "one_of",
    "record",
    "table_of",
]

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    },
)
"""Our own, so that a service's SQLModel tables and ours never meet."""

ROWID = BigInteger().with_variant(Integer, "sqlite")


class UtcTime(TypeDecorator[datetime]):
    """A moment in UTC; takes aware datetimes only and gives them back."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert to UTC; SQLite keeps no zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone; give an aware datetime")
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Give back an aware datetime in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def one_of(column: str, values: Iterable[StrEnum]) -> CheckConstraint:
    """Hold a column to the values of an enumeration."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


class Row(SQLModel, registry=registry(metadata=METADATA)):
    """Base of all rows."""

    __tablename__: ClassVar[Any]
    __table_args__: ClassVar[Any] = {}


class Fact(Row):
    """Base of appended rows; `position` counts them in the order they arrived and is never used twice."""

    position: int | None = Field(default=None, primary_key=True, sa_type=ROWID)


def fact(*constraints: Any) -> tuple[Any, ...]:
    """Return the table arguments of appended rows, whose positions are never used twice."""
    return (*constraints, {"sqlite_autoincrement": True})


def moment(*, index: bool = False, nullable: bool = False) -> Any:
    """Return a column of moments in UTC."""
    return Field(sa_type=UtcTime, index=index, nullable=nullable)


def record() -> Any:
    """Return the column of a whole record, as JSON."""
    return Field(sa_type=Text)


def table_of(row: type[Row]) -> Table:
    """Return the table of a row class."""
    table: Table = row.__table__  # type: ignore[attr-defined] # SQLModel leaves it undeclared
    return table
