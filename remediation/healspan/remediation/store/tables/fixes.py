"""Tables of fixes and plans, and of what is known of each: states, tests, uses, verdicts."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Index, UniqueConstraint
from sqlmodel import Field

from healspan.remediation.fix import FixState, Match, RiskLevel
from healspan.remediation.outcome import ApplicationMode
from healspan.remediation.store.tables.base import Fact, Row, fact, moment, one_of, record

__all__ = [
    "ApplicationRow",
    "FixRow",
    "JudgementRow",
    "OverruleRow",
    "PlanOutcomeRow",
    "PlanRow",
    "RefusalRow",
    "StateChangeRow",
    "ValidationRow",
]


class FixRow(Row, table=True):
    """A fix; its content address is its key."""

    __tablename__ = "fix"
    __table_args__ = (
        one_of("match", Match),
        one_of("risk_level", RiskLevel),
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
    created_at: datetime = moment(index=True)
    expires_at: datetime | None = moment(nullable=True)
    body: str = record()


class StateChangeRow(Fact, table=True):
    """One change of a fix's state; two people cannot both make the same one."""

    __tablename__ = "state_change"
    __table_args__ = fact(
        UniqueConstraint("fix_id", "sequence"),
        CheckConstraint("sequence >= 1", name="sequence"),
        one_of("state", FixState),
    )
    fix_id: str = Field(max_length=64, foreign_key="fix.fix_id")
    sequence: int
    state: str = Field(max_length=16)
    previous: str | None = Field(max_length=16)
    actor: str
    policy: str = Field(max_length=16)
    at: datetime = moment(index=True)
    revision: int = Field(sa_type=BigInteger, index=True)
    body: str = record()


class ValidationRow(Fact, table=True):
    """How far one fix came on the validation ladder."""

    __tablename__ = "validation"
    __table_args__ = fact(UniqueConstraint("validation_id"))
    validation_id: str = Field(max_length=36)
    fix_id: str = Field(max_length=64, index=True)
    error_id: str = Field(max_length=36)
    boundary: str
    at: datetime = moment(index=True)
    passed: bool
    body: str = record()


class ApplicationRow(Fact, table=True):
    """One use of one fix, or several equal ones."""

    __tablename__ = "application"
    __table_args__ = fact(
        UniqueConstraint("application_id"),
        one_of("mode", ApplicationMode),
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
    at: datetime = moment()
    tier: str = Field(max_length=1)
    mode: str = Field(max_length=16)
    resolved: bool
    valid_output: bool | None
    degraded: bool
    added_latency_ms: float
    propensity: float
    trace_id: str | None
    count: int
    body: str = record()


class JudgementRow(Fact, table=True):
    """The verdict on an application; `reward` is null where it is censored."""

    __tablename__ = "judgement"
    __table_args__ = fact(
        UniqueConstraint("application_id"),
        CheckConstraint("reward IN (0, 1)", name="reward"),
        Index(None, "fix_id", "at"),
    )
    application_id: str = Field(max_length=36)
    fix_id: str = Field(max_length=64)
    at: datetime = moment()
    reward: int | None
    resolved: bool | None
    no_regression: bool | None
    valid_output: bool | None
    unknown: bool
    """Whether a new pattern left it unknown, or it settles earlier ones that were left so."""
    body: str = record()


class OverruleRow(Row, table=True):
    """A censored application that a later judgement settled as a failure."""

    __tablename__ = "overrule"
    application_id: str = Field(primary_key=True, max_length=36)
    by_application: str = Field(max_length=36)


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
    found_at: datetime = moment(index=True)
    body: str = record()


class PlanOutcomeRow(Fact, table=True):
    """How a plan did in one run; `reward` is null where it is censored."""

    __tablename__ = "plan_outcome"
    __table_args__ = fact(
        UniqueConstraint("outcome_id"),
        CheckConstraint("reward IN (0, 1)", name="reward"),
        Index(None, "plan_id", "at"),
    )
    outcome_id: str = Field(max_length=36)
    plan_id: str = Field(max_length=64)
    run_id: str = Field(max_length=36, index=True)
    at: datetime = moment()
    reward: int | None
    body: str = record()


class RefusalRow(Fact, table=True):
    """A stored fix or change that was not believed."""

    __tablename__ = "refusal"
    __table_args__ = fact(UniqueConstraint("fix_id", "sequence", "digest"))
    fix_id: str = Field(max_length=64)
    sequence: int
    digest: str = Field(max_length=64)
    at: datetime = moment(index=True)
    reason: str
    body: str = record()
