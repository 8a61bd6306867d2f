"""Tables of what is spent on Claude, and on which kinds of failure."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import BigInteger, CheckConstraint, Index, UniqueConstraint
from sqlmodel import Field

from healspan.remediation.store.tables.base import Fact, Row, fact, moment

__all__ = [
    "ClaudePatternRow",
    "ClaudeRefusalRow",
    "ClaudeRequestRow",
]


class ClaudeRequestRow(Fact, table=True):
    """One request to Claude: what it may cost from before it is made, then what it has cost.

    `tokens` and `micro_usd` are what counts against the budgets now: what was reserved, until the server has said what
    it was. So a request whose process was killed stays as spent.
    """

    __tablename__ = "claude_request"
    __table_args__ = fact(
        UniqueConstraint("request_id"),
        CheckConstraint("state IN ('reserved', 'settled', 'unknown')", name="state"),
        CheckConstraint("reserved_tokens >= 0 AND tokens >= 0", name="tokens"),
        CheckConstraint("reserved_micro_usd >= 0 AND micro_usd >= 0", name="micro_usd"),
        # With what is added up before every request, so that only the index is read.
        Index(None, "day", "exact", "tokens", "micro_usd"),
    )
    request_id: str = Field(max_length=36)
    day: date
    """In UTC, when it was reserved; the whole request belongs to this day."""
    at: datetime = moment(index=True)
    exact: str
    boundary: str
    model: str
    reserved_tokens: int = Field(sa_type=BigInteger)
    reserved_micro_usd: int | None = Field(sa_type=BigInteger)
    """Millionths of a US dollar; null where the price of the model is not known."""
    tokens: int = Field(sa_type=BigInteger)
    micro_usd: int | None = Field(sa_type=BigInteger)
    state: str = Field(max_length=16)
    failed: str | None = Field(max_length=32)
    seconds: float | None


class ClaudePatternRow(Row, table=True):
    """How the last diagnosis of a kind of failure ended, and until when it rests."""

    __tablename__ = "claude_pattern"
    exact: str = Field(primary_key=True)
    boundary: str
    state: str = Field(max_length=16)
    at: datetime = moment(index=True)
    rests_until: datetime = moment()


class ClaudeRefusalRow(Row, table=True):
    """How often diagnoses of one kind of failure were refused in a day, for one reason."""

    __tablename__ = "claude_refusal"
    __table_args__ = (CheckConstraint("refusals >= 1", name="refusals"),)
    day: date = Field(primary_key=True)
    state: str = Field(primary_key=True, max_length=16)
    exact: str = Field(primary_key=True)
    boundary: str = Field(primary_key=True)
    refusals: int = Field(sa_type=BigInteger)
    at: datetime = moment(index=True)
    """The last one."""
    reason: str
