"""The tables of the store, as SQLModel classes.

Facts are appended and never changed; what people filter by is a column, and the whole record is JSON in
`body`. SQLModel does not validate table rows: records are validated before they come here, and CHECK
constraints hold what must never be otherwise. No row leaves this package.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    Dialect,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import registry
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field, SQLModel

from healspan.remediation.fix import FixState, Match, RiskLevel
from healspan.remediation.incident import IncidentStatus, Severity, Tier
from healspan.remediation.outcome import ApplicationMode

__all__ = [
    "METADATA",
    "TABLES",
    "ApplicationRow",
    "AuditRow",
    "ClaudePatternRow",
    "ClaudeRefusalRow",
    "ClaudeRequestRow",
    "ConsultationRow",
    "ControlRow",
    "DeadLetterRow",
    "ExposureRow",
    "FixEvidenceRow",
    "FixRow",
    "FixScoreRow",
    "GoldenRow",
    "HotspotRow",
    "IncidentRow",
    "JudgementRow",
    "LeaseRow",
    "OverruleRow",
    "PlanOutcomeRow",
    "PlanRow",
    "RefusalRow",
    "ResolutionRow",
    "RevisionRow",
    "RunRow",
    "StateChangeRow",
    "UtcTime",
    "ValidationRow",
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

_ROWID = BigInteger().with_variant(Integer, "sqlite")


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


def _one_of(column: str, values: Iterable[StrEnum]) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


class Row(SQLModel, registry=registry(metadata=METADATA)):
    """Base of all rows."""

    __tablename__: ClassVar[Any]
    __table_args__: ClassVar[Any] = {}


class Fact(Row):
    """Base of appended rows; `position` counts them in the order they arrived and is never used twice."""

    position: int | None = Field(default=None, primary_key=True, sa_type=_ROWID)


def _fact(*constraints: Any) -> tuple[Any, ...]:
    return (*constraints, {"sqlite_autoincrement": True})


def _time(*, index: bool = False, nullable: bool = False) -> Any:
    return Field(sa_type=UtcTime, index=index, nullable=nullable)


def _body() -> Any:
    return Field(sa_type=Text)


class IncidentRow(Fact, table=True):
    """One captured failure."""

    __tablename__ = "incident"
    __table_args__ = _fact(
        UniqueConstraint("error_id"),
        _one_of("severity", Severity),
        Index(None, "module", "at"),
        Index(None, "exact", "at"),
    )
    error_id: str = Field(max_length=36)
    at: datetime = _time(index=True)
    error_type: str
    module: str
    target: str
    error_pattern: str
    exact: str
    loose: str
    site: str
    context: str
    pipeline: str | None
    run_id: str | None = Field(max_length=36, index=True)
    service: str
    severity: str = Field(max_length=16)
    trace_id: str | None = Field(index=True)
    body: str = _body()


class ResolutionRow(Fact, table=True):
    """How an incident ended."""

    __tablename__ = "resolution"
    __table_args__ = _fact(
        UniqueConstraint("error_id"),
        _one_of("status", IncidentStatus),
        _one_of("tier", Tier),
        Index(None, "status", "at"),
    )
    error_id: str = Field(max_length=36)
    at: datetime = _time()
    status: str = Field(max_length=16)
    tier: str = Field(max_length=1)
    fix_id: str | None = Field(max_length=64, index=True)
    elapsed_ms: float
    diagnosed: bool
    body: str = _body()


class FixRow(Row, table=True):
    """A fix; its content address is its key."""

    __tablename__ = "fix"
    __table_args__ = (
        _one_of("match", Match),
        _one_of("risk_level", RiskLevel),
        CheckConstraint("length(fix_id) = 64", name="fix_id"),
    )
    fix_id: str = Field(primary_key=True, max_length=64)
    module: str = Field(index=True)
    match: str = Field(max_length=16)
    exact: str | None = Field(index=True)
    loose: str | None = Field(index=True)
    pattern: str
    fix_type: str
    risk_level: str = Field(max_length=16)
    origin: str
    affected_module: str
    created_at: datetime = _time(index=True)
    expires_at: datetime | None = _time(nullable=True)
    body: str = _body()


class StateChangeRow(Fact, table=True):
    """One change of a fix's state; two people cannot both make the same one."""

    __tablename__ = "state_change"
    __table_args__ = _fact(
        UniqueConstraint("fix_id", "sequence"),
        CheckConstraint("sequence >= 1", name="sequence"),
        _one_of("state", FixState),
    )
    fix_id: str = Field(max_length=64, foreign_key="fix.fix_id")
    sequence: int
    state: str = Field(max_length=16)
    previous: str | None = Field(max_length=16)
    actor: str
    policy: str = Field(max_length=16)
    at: datetime = _time(index=True)
    revision: int = Field(sa_type=BigInteger, index=True)
    body: str = _body()


class ApplicationRow(Fact, table=True):
    """One use of one fix, or several equal ones."""

    __tablename__ = "application"
    __table_args__ = _fact(
        UniqueConstraint("application_id"),
        _one_of("mode", ApplicationMode),
        CheckConstraint("count >= 1", name="count"),
        CheckConstraint("propensity > 0 AND propensity <= 1", name="propensity"),
        Index(None, "fix_id", "at"),
    )
    application_id: str = Field(max_length=36)
    fix_id: str = Field(max_length=64)
    error_id: str | None = Field(max_length=36, index=True)
    run_id: str = Field(max_length=36)
    boundary: str
    pipeline: str | None
    context: str
    at: datetime = _time()
    tier: str = Field(max_length=1)
    mode: str = Field(max_length=16)
    resolved: bool
    valid_output: bool | None
    degraded: bool
    added_latency_ms: float
    propensity: float
    trace_id: str | None
    count: int
    body: str = _body()


class JudgementRow(Fact, table=True):
    """The verdict on an application; `reward` is null where it is censored."""

    __tablename__ = "judgement"
    __table_args__ = _fact(
        UniqueConstraint("application_id"),
        CheckConstraint("reward IN (0, 1)", name="reward"),
        Index(None, "fix_id", "at"),
    )
    application_id: str = Field(max_length=36)
    fix_id: str = Field(max_length=64)
    at: datetime = _time()
    reward: int | None
    resolved: bool | None
    no_regression: bool | None
    valid_output: bool | None
    unknown: bool
    """Whether a new pattern left it unknown, or it settles earlier ones that were left so."""
    body: str = _body()


class OverruleRow(Row, table=True):
    """A censored application that a later judgement settled as a failure."""

    __tablename__ = "overrule"
    application_id: str = Field(primary_key=True, max_length=36)
    by_application: str = Field(max_length=36)


class RunRow(Fact, table=True):
    """What one closed pipeline run showed."""

    __tablename__ = "run"
    __table_args__ = _fact(UniqueConstraint("run_id"), Index(None, "pipeline", "context", "closed_at"))
    run_id: str = Field(max_length=36)
    pipeline: str
    key: str | None = Field(index=True)
    context: str
    closed_at: datetime = _time(index=True)
    body: str = _body()


class PlanRow(Row, table=True):
    """Fixes of several boundaries that heal only together; its content address is its key."""

    __tablename__ = "plan"
    __table_args__ = (
        CheckConstraint("length(plan_id) = 64", name="plan_id"),
        Index(None, "pipeline", "context"),
    )
    plan_id: str = Field(primary_key=True, max_length=64)
    pipeline: str
    context: str
    found_at: datetime = _time(index=True)
    body: str = _body()


class PlanOutcomeRow(Fact, table=True):
    """How a plan did in one run; `reward` is null where it is censored."""

    __tablename__ = "plan_outcome"
    __table_args__ = _fact(
        UniqueConstraint("outcome_id"),
        CheckConstraint("reward IN (0, 1)", name="reward"),
        Index(None, "plan_id", "at"),
    )
    outcome_id: str = Field(max_length=36)
    plan_id: str = Field(max_length=64)
    run_id: str = Field(max_length=36, index=True)
    at: datetime = _time()
    reward: int | None
    body: str = _body()


class ExposureRow(Fact, table=True):
    """Calls of a boundary, as one process counted them; rows add up."""

    __tablename__ = "exposure"
    __table_args__ = _fact(
        UniqueConstraint("exposure_id"),
        CheckConstraint("calls >= 0", name="calls"),
        CheckConstraint("ok_ms >= 0", name="ok_ms"),
        Index(None, "boundary", "hour"),
    )
    exposure_id: str = Field(max_length=36)
    boundary: str
    context: str
    hour: datetime = _time(index=True)
    calls: int = Field(sa_type=BigInteger)
    ok_ms: float


class AuditRow(Fact, table=True):
    """Something a human or a process did."""

    __tablename__ = "audit"
    __table_args__ = _fact(UniqueConstraint("audit_id"))
    audit_id: str = Field(max_length=36)
    at: datetime = _time(index=True)
    actor: str
    action: str = Field(index=True)
    subject: str = Field(index=True)
    body: str = _body()


class RefusalRow(Fact, table=True):
    """A stored fix or change that was not believed."""

    __tablename__ = "refusal"
    __table_args__ = _fact(UniqueConstraint("fix_id", "sequence", "digest"))
    fix_id: str = Field(max_length=64)
    sequence: int
    digest: str = Field(max_length=64)
    at: datetime = _time(index=True)
    reason: str
    body: str = _body()


class GoldenRow(Fact, table=True):
    """A good call of a boundary, for replay."""

    __tablename__ = "golden"
    __table_args__ = _fact(UniqueConstraint("sample_id"))
    sample_id: str = Field(max_length=36)
    boundary: str = Field(index=True)
    at: datetime = _time(index=True)
    body: str = _body()


class ValidationRow(Fact, table=True):
    """How far one fix came on the validation ladder."""

    __tablename__ = "validation"
    __table_args__ = _fact(UniqueConstraint("validation_id"))
    validation_id: str = Field(max_length=36)
    fix_id: str = Field(max_length=64, index=True)
    error_id: str = Field(max_length=36)
    boundary: str
    at: datetime = _time(index=True)
    passed: bool
    body: str = _body()


class ConsultationRow(Fact, table=True):
    """One diagnosis by Claude: what was sent, answered and paid."""

    __tablename__ = "consultation"
    __table_args__ = _fact(UniqueConstraint("consultation_id"))
    consultation_id: str = Field(max_length=36)
    error_id: str = Field(max_length=36, index=True)
    pattern: str
    boundary: str
    at: datetime = _time(index=True)
    state: str
    body: str = _body()


class DeadLetterRow(Row, table=True):
    """A spooled row that could not be taken in; kept for a human, never in the way."""

    __tablename__ = "dead_letter"
    letter_id: str = Field(primary_key=True, max_length=36)
    at: datetime = _time(index=True)
    kind: str
    reason: str
    spool: str
    body: str = _body()


class FixScoreRow(Row, table=True):
    """Projection: what analytics last said of a fix."""

    __tablename__ = "fix_score"
    __table_args__ = (CheckConstraint("reward_score >= 0 AND reward_score <= 1", name="reward_score"),)
    fix_id: str = Field(primary_key=True, max_length=64)
    reward_score: float
    bucket: str | None
    formula: str
    updated_at: datetime = _time()
    revision: int = Field(sa_type=BigInteger, index=True)
    body: str = _body()


class FixEvidenceRow(Row, table=True):
    """Projection: what verdicts have said of a fix, folded in the transaction that takes them in."""

    __tablename__ = "fix_evidence"
    fix_id: str = Field(primary_key=True, max_length=64)
    revision: int = Field(sa_type=BigInteger, index=True)
    body: str = _body()


class HotspotRow(Row, table=True):
    """Projection: where analytics expects failures."""

    __tablename__ = "hotspot"
    boundary: str = Field(primary_key=True)
    context: str = Field(primary_key=True)
    expected: float = Field(index=True)
    rate: float
    updated_at: datetime = _time()
    body: str = _body()


class ControlRow(Row, table=True):
    """A switch or watermark that all processes share."""

    __tablename__ = "control"
    name: str = Field(primary_key=True)
    value: str = Field(sa_type=Text)
    at: datetime = _time()
    actor: str


class LeaseRow(Row, table=True):
    """A right that one process at a time holds until a moment."""

    __tablename__ = "lease"
    name: str = Field(primary_key=True)
    holder: str
    expires: datetime = _time()


class ClaudeRequestRow(Fact, table=True):
    """One request to Claude: what it may cost from before it is made, then what it has cost.

    `tokens` and `micro_usd` are what counts against the budgets now: what was reserved, until the server has said what
    it was. So a request whose process was killed stays as spent.
    """

    __tablename__ = "claude_request"
    __table_args__ = _fact(
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
    at: datetime = _time(index=True)
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
    at: datetime = _time(index=True)
    rests_until: datetime = _time()


class ClaudeRefusalRow(Row, table=True):
    """How often diagnoses of one kind of failure were refused in a day, for one reason."""

    __tablename__ = "claude_refusal"
    __table_args__ = (CheckConstraint("refusals >= 1", name="refusals"),)
    day: date = Field(primary_key=True)
    state: str = Field(primary_key=True, max_length=16)
    exact: str = Field(primary_key=True)
    boundary: str = Field(primary_key=True)
    refusals: int = Field(sa_type=BigInteger)
    at: datetime = _time(index=True)
    """The last one."""
    reason: str


class RevisionRow(Row, table=True):
    """Counts what the processes' indexes must see; raised in the transaction that changes it.

    Raising it locks the row, so revisions become visible in their order on every database.
    """

    __tablename__ = "revision"
    name: str = Field(primary_key=True)
    value: int = Field(sa_type=BigInteger)


def table_of(row: type[Row]) -> Table:
    """Return the table of a row class."""
    table: Table = row.__table__  # type: ignore[attr-defined] # SQLModel leaves it undeclared
    return table


TABLES: tuple[Table, ...] = tuple(METADATA.sorted_tables)
"""All tables, parents first."""
