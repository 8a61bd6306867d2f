"""A consultation: one diagnosis by Claude as it is stored, with what was sent, answered, decided and paid."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

from pydantic import Field

from healspan.remediation.claude.answer import Answer
from healspan.remediation.claude.ask import FailureKind, Usage
from healspan.remediation.record import Record

__all__ = ["Asked", "Consultation", "ConsultationState"]

ConsultationState = Literal[
    "diagnosing", "budget", "breaker_open", "cooldown", "busy", "store_away", "refused", "failed", "proposed", "healed"
]
"""How it ended. Not asked: another call of the pattern is being diagnosed; a budget is used up; the circuit breaker
is open; the pattern rests; too many at once; the store that keeps the budget is away. Asked: the model refused, or sees
no fix that is sure to be right; no answer, or none of its proposals held; a proposal waits for a human; one healed."""


class Asked(Record):
    """One request."""

    sent: str
    """What was said to the model in this turn, as sent; the texts that are alike for all failures are left out."""
    answer: Answer | None = None
    failed: FailureKind | None = None
    """Why there is no answer."""
    detail: str = ""
    usage: Usage | None = None
    cost_usd: Decimal | None = None
    """None where the price of the model is not known."""
    seconds: float = Field(default=0.0, ge=0)
    request_id: str = ""
    verdict: str = ""
    """What came of the proposal: ``healed``, or the gate that said no and its reason."""


class Consultation(Record):
    """One diagnosis by Claude."""

    consultation_id: UUID
    error_id: UUID
    """The incident."""
    pattern: str
    """Exact hash."""
    boundary: str
    at: datetime
    model: str
    prompt_version: str
    values: Literal["skeleton", "scrubbed", "full"]
    """The policy for values at that time."""
    state: ConsultationState
    reason: str = ""
    asked: tuple[Asked, ...] = ()
