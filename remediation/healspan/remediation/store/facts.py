"""Records that only the store knows, and the kinds of facts that travel through a spool.

A fact is appended once and never changes. Its kind says which record it is and where it goes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from pydantic import Field, JsonValue
from pydantic_core import PydanticSerializationError

from healspan.remediation.claude.consultation import Consultation
from healspan.remediation.fix import Fix, StateChange
from healspan.remediation.incident import Incident, Resolution
from healspan.remediation.outcome import Application, Exposure, Judgement, RunFact
from healspan.remediation.plan import Plan, PlanOutcome
from healspan.remediation.record import Record
from healspan.remediation.sample import GoldenSample
from healspan.remediation.validation import Validation

__all__ = [
    "RECORD_OF",
    "TOLD_ONLY",
    "AuditEntry",
    "FixScore",
    "Hotspot",
    "Kind",
    "Refusal",
    "context_keys",
    "context_text",
    "digest",
    "encode",
]


class Kind(StrEnum):
    """What a spooled fact is."""

    INCIDENT = "incident"
    RESOLUTION = "resolution"
    FIX = "fix"
    STATE_CHANGE = "state_change"
    APPLICATION = "application"
    JUDGEMENT = "judgement"
    RUN = "run"
    PLAN = "plan"
    PLAN_OUTCOME = "plan_outcome"
    EXPOSURE = "exposure"
    AUDIT = "audit"
    REFUSAL = "refusal"
    GOLDEN = "golden"
    VALIDATION = "validation"
    CONSULTATION = "consultation"


TOLD_ONLY = frozenset({Kind.INCIDENT, Kind.RESOLUTION})
"""What only tells of failures: whoever reads it in the store can wait a moment. The others change what serves where."""


class AuditEntry(Record):
    """Something a human or a process did that no other fact says."""

    audit_id: UUID
    at: datetime
    actor: str
    """``engine``, ``analytics``, ``drainer`` or ``human:`` and who."""
    action: str
    """One word or two, e.g. ``purge``, ``disable``, ``lost race``."""
    subject: str = ""
    """What it was done to: a fix, an incident, a boundary."""
    detail: dict[str, JsonValue] = Field(default_factory=dict)


class Refusal(Record):
    """A stored fix or state change that must not be believed; recorded once."""

    fix_id: str
    sequence: int
    """Of the state change it was loaded with."""
    digest: str
    """SHA-256 of the stored bytes of both, so that another alteration is another refusal."""
    at: datetime
    reason: str


ARCHITECTURAL = "architectural deficiency"
"""The bucket of what ought to be mended in the code, or in what feeds it."""


class FixScore(Record):
    """What analytics last said of a fix."""

    fix_id: str
    reward_score: float = Field(ge=0, le=1)
    parts: dict[str, float] = Field(default_factory=dict)
    """Component scores, each in [0, 1], and evidence such as ``n_eff``."""
    bucket: str | None = None
    """Transient noise, recurring pattern or architectural deficiency."""
    formula: str
    """Version of the formula."""
    updated_at: datetime


class Hotspot(Record):
    """Where analytics expects failures."""

    boundary: str
    context: str
    """As `context_text` writes it."""
    rate: float = Field(ge=0)
    """Failures per call, with the prior."""
    expected: float = Field(ge=0)
    """Failures in the next seven days."""
    failures: float = Field(ge=0)
    """Decayed count."""
    calls: float = Field(ge=0)
    """Decayed count."""
    explanation: str
    updated_at: datetime


RECORD_OF: dict[Kind, type[Record]] = {
    Kind.INCIDENT: Incident,
    Kind.RESOLUTION: Resolution,
    Kind.FIX: Fix,
    Kind.STATE_CHANGE: StateChange,
    Kind.APPLICATION: Application,
    Kind.JUDGEMENT: Judgement,
    Kind.RUN: RunFact,
    Kind.PLAN: Plan,
    Kind.PLAN_OUTCOME: PlanOutcome,
    Kind.EXPOSURE: Exposure,
    Kind.AUDIT: AuditEntry,
    Kind.REFUSAL: Refusal,
    Kind.GOLDEN: GoldenSample,
    Kind.VALIDATION: Validation,
    Kind.CONSULTATION: Consultation,
}
"""The record each kind holds."""


def context_text(keys: Mapping[str, str]) -> str:
    """Write context keys as one string, e.g. ``document_type=10-K, source=edgar``; equal keys, equal text."""
    return ", ".join(f"{_plain(name).replace('=', '%3D')}={_plain(keys[name])}" for name in sorted(keys))


def _plain(text: str) -> str:
    return text.replace("%", "%25").replace(",", "%2C")


def context_keys(text: str) -> dict[str, str]:
    """Read what `context_text` wrote."""
    parts = (part.partition("=") for part in text.split(", ") if part)
    return {_original(name): _original(value) for name, _, value in parts}


def _original(text: str) -> str:
    return text.replace("%3D", "=").replace("%2C", ",").replace("%25", "%")


def encode(record: Record) -> str:
    """Write a record as JSON; half characters, which UTF-8 cannot carry, become U+FFFD."""
    try:
        return record.model_dump_json()
    except PydanticSerializationError:
        text = json.dumps(record.model_dump(mode="json"), ensure_ascii=False, separators=(",", ":"))
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def digest(*bodies: str) -> str:
    """Return the SHA-256 of stored bodies."""
    joined = hashlib.sha256()
    for body in bodies:
        joined.update(hashlib.sha256(body.encode()).digest())
    return joined.hexdigest()
