"""Tables of what happened in services: failures, how they ended, calls counted, good calls kept, deeds."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Index, UniqueConstraint
from sqlmodel import Field

from healspan.remediation.incident import IncidentStatus, Severity, Tier
from healspan.remediation.store.tables.base import Fact, Row, fact, moment, one_of, record

__all__ = [
    "AuditRow",
    "ConsultationRow",
    "DeadLetterRow",
    "ExposureRow",
    "GoldenRow",
    "IncidentRow",
    "ResolutionRow",
    "RunRow",
]


class IncidentRow(Fact, table=True):
    """One captured failure."""

    __tablename__ = "incident"
    __table_args__ = fact(
        UniqueConstraint("error_id"),
        one_of("severity", Severity),
        Index(None, "module", "at"),
        Index(None, "exact", "at"),
    )
    error_id: str = Field(max_length=36)
    at: datetime = moment(index=True)
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
    body: str = record()


class ResolutionRow(Fact, table=True):
    """How an incident ended."""

    __tablename__ = "resolution"
    __table_args__ = fact(
        UniqueConstraint("error_id"),
        one_of("status", IncidentStatus),
        one_of("tier", Tier),
        Index(None, "status", "at"),
    )
    error_id: str = Field(max_length=36)
    at: datetime = moment()
    status: str = Field(max_length=16)
    tier: str = Field(max_length=1)
    fix_id: str | None = Field(max_length=64, index=True)
    elapsed_ms: float
    diagnosed: bool
    body: str = record()


class RunRow(Fact, table=True):
    """What one closed pipeline run showed."""

    __tablename__ = "run"
    __table_args__ = fact(UniqueConstraint("run_id"), Index(None, "pipeline", "context", "closed_at"))
    run_id: str = Field(max_length=36)
    pipeline: str
    key: str | None = Field(index=True)
    context: str
    closed_at: datetime = moment(index=True)
    body: str = record()


class ExposureRow(Fact, table=True):
    """Calls of a boundary, as one process counted them; rows add up."""

    __tablename__ = "exposure"
    __table_args__ = fact(
        UniqueConstraint("exposure_id"),
        CheckConstraint("calls >= 0", name="calls"),
        CheckConstraint("ok_ms >= 0", name="ok_ms"),
        Index(None, "boundary", "hour"),
    )
    exposure_id: str = Field(max_length=36)
    boundary: str
    context: str
    hour: datetime = moment(index=True)
    calls: int = Field(sa_type=BigInteger)
    ok_ms: float


class GoldenRow(Fact, table=True):
    """A good call of a boundary, for replay."""

    __tablename__ = "golden"
    __table_args__ = fact(UniqueConstraint("sample_id"))
    sample_id: str = Field(max_length=36)
    boundary: str = Field(index=True)
    at: datetime = moment(index=True)
    body: str = record()


class ConsultationRow(Fact, table=True):
    """One diagnosis by Claude: what was sent, answered and paid."""

    __tablename__ = "consultation"
    __table_args__ = fact(UniqueConstraint("consultation_id"))
    consultation_id: str = Field(max_length=36)
    error_id: str = Field(max_length=36, index=True)
    pattern: str
    boundary: str
    at: datetime = moment(index=True)
    state: str
    body: str = record()


class AuditRow(Fact, table=True):
    """Something a human or a process did."""

    __tablename__ = "audit"
    __table_args__ = fact(UniqueConstraint("audit_id"))
    audit_id: str = Field(max_length=36)
    at: datetime = moment(index=True)
    actor: str
    action: str = Field(index=True)
    subject: str = Field(index=True)
    body: str = record()


class DeadLetterRow(Row, table=True):
    """A spooled row that could not be taken in; kept for a human, never in the way."""

    __tablename__ = "dead_letter"
    letter_id: str = Field(primary_key=True, max_length=36)
    at: datetime = moment(index=True)
    kind: str
    reason: str
    spool: str
    body: str = record()
