"""Tables that are changed in place: projections of the facts, and what processes agree on."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Text
from sqlmodel import Field

from healspan.remediation.store.tables.base import Row, moment, record

__all__ = [
    "ControlRow",
    "CounterRow",
    "FixEvidenceRow",
    "FixScoreRow",
    "HotspotRow",
    "LeaseRow",
    "MaskingRow",
    "RevisionRow",
]


class FixScoreRow(Row, table=True):
    """Projection: what analytics last said of a fix."""

    __tablename__ = "fix_score"
    __table_args__ = (CheckConstraint("reward_score >= 0 AND reward_score <= 1", name="reward_score"),)
    fix_id: str = Field(primary_key=True, max_length=64)
    reward_score: float
    bucket: str | None
    formula: str
    updated_at: datetime = moment()
    revision: int = Field(sa_type=BigInteger, index=True)
    body: str = record()


class FixEvidenceRow(Row, table=True):
    """Projection: what verdicts have said of a fix, folded in the transaction that takes them in."""

    __tablename__ = "fix_evidence"
    fix_id: str = Field(primary_key=True, max_length=64)
    revision: int = Field(sa_type=BigInteger, index=True)
    body: str = record()


class HotspotRow(Row, table=True):
    """Projection: where analytics expects failures."""

    __tablename__ = "hotspot"
    boundary: str = Field(primary_key=True)
    context: str = Field(primary_key=True)
    expected: float = Field(index=True)
    rate: float
    updated_at: datetime = moment()
    body: str = record()


class MaskingRow(Row, table=True):
    """Projection: a fix that fires so often that it hides a fault; and what a human has answered, which is kept."""

    __tablename__ = "masking"
    __table_args__ = (CheckConstraint("at_least >= 0 AND at_least <= 1", name="at_least"),)
    fix_id: str = Field(primary_key=True, max_length=64)
    boundary: str
    firing: bool
    """Whether it fires so often at present."""
    at_least: float
    """The share of calls that it is sure to have healed."""
    closed_through: float | None
    """The share up to which a human's answer closes it; null: nobody has answered."""
    body: str = record()
    answer: str | None = Field(sa_type=Text)


class CounterRow(Row, table=True):
    """What one series of a counter has come to: facts that have been counted are not counted again, purged or not."""

    __tablename__ = "counter"
    __table_args__ = (CheckConstraint("value >= 0", name="value"),)
    name: str = Field(primary_key=True)
    labels: str = Field(primary_key=True, sa_type=Text)
    """A list, as JSON."""
    value: float


class ControlRow(Row, table=True):
    """A switch or watermark that all processes share."""

    __tablename__ = "control"
    name: str = Field(primary_key=True)
    value: str = Field(sa_type=Text)
    at: datetime = moment()
    actor: str


class LeaseRow(Row, table=True):
    """A right that one process at a time holds until a moment."""

    __tablename__ = "lease"
    name: str = Field(primary_key=True)
    holder: str
    expires: datetime = moment()


class RevisionRow(Row, table=True):
    """Counts what the processes' indexes must see; raised in the transaction that changes it.

    Raising it locks the row, so revisions become visible in their order on every database.
    """

    __tablename__ = "revision"
    name: str = Field(primary_key=True)
    value: int = Field(sa_type=BigInteger)
