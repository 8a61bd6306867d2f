"""What the store answers with: frozen records made of stored ones. Light, so that every part may name them."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from healspan.remediation.claude.consultation import Consultation
from healspan.remediation.fix import Fix, FixState, StateChange
from healspan.remediation.incident import Incident, IncidentStatus, Resolution, Tier
from healspan.remediation.outcome import Application, FirstApplication, Judgement
from healspan.remediation.plan import Plan, PlanReward
from healspan.remediation.record import Record

__all__ = [
    "Amount",
    "BreakerReport",
    "DeadLetter",
    "FixView",
    "IncidentFilter",
    "IncidentView",
    "OutcomeView",
    "PlanView",
    "PlannedFix",
    "Purged",
]


class IncidentFilter(Record):
    """Which incidents; every field that is given must hold."""

    module: str | None = None
    """The boundary's name."""
    error_type: str | None = None
    exact: str | None = None
    status: IncidentStatus | None = None
    tier: Tier | None = None
    pipeline: str | None = None
    context: str | None = None
    """As `context_text` writes it."""
    fix_id: str | None = None
    """The fix that dealt with it."""
    trace_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    """Exclusive."""


class IncidentView(Record):
    """An incident and how it ended."""

    position: int
    """Order of arrival; the next page is `before` the last one's."""
    incident: Incident
    resolution: Resolution | None = None
    consultations: tuple[Consultation, ...] = ()
    """What Claude was asked about it; in the view of one incident only."""

    @property
    def status(self) -> IncidentStatus:
        """How it ended; open if nobody has said."""
        return IncidentStatus.OPEN if self.resolution is None else self.resolution.status


class FixView(Record):
    """A fix and the changes of its state, oldest first."""

    fix: Fix
    changes: tuple[StateChange, ...]
    first_application: FirstApplication | None = None
    """Where it first stood for a result, if somebody has recorded the span; in the view of one fix only."""

    @property
    def state(self) -> FixState | None:
        """Where it stands; None for a fix that was never given a state."""
        return self.changes[-1].state if self.changes else None


class OutcomeView(Record):
    """An application and its verdict."""

    application: Application
    judgement: Judgement | None = None
    overruled: bool = False
    """A later judgement settled its unknown as false."""

    @property
    def reward(self) -> int | None:
        """1, 0, or None where it is censored."""
        if self.overruled:
            return 0
        return None if self.judgement is None else self.judgement.verdict.reward


class PlannedFix(Record):
    """One link of a plan, in words."""

    boundary: str
    fix_id: str
    does: str
    """Its instruction; empty where the fix is not in the store."""
    mean: float
    """Expected reward of the fix alone."""


class PlanView(Record):
    """A plan and its record."""

    plan: Plan
    successes: int
    failures: int
    unknown: int
    last_at: datetime | None
    reward: PlanReward
    """Beside its fixes taken alone."""
    fixes: tuple[PlannedFix, ...]
    """Of the links, in order."""

    @property
    def verified(self) -> bool:
        """Whether it has succeeded and never failed: fixes of a verified plan do not contend for a value."""
        return self.successes > 0 and self.failures == 0


class BreakerReport(Record):
    """What a process has last said of its circuit breaker before Claude; only one that is not closed is spoken of."""

    instance: str
    """As the resource names it."""
    until: datetime
    """It asks nobody until then; from then on one request tries whether the server is back."""
    failures: int
    """In a row."""
    last: str
    """Why the last one failed."""


class DeadLetter(Record):
    """A spooled row that could not be taken in."""

    letter_id: str
    at: datetime
    kind: str
    reason: str
    spool: str
    body: str


class Amount(Record):
    """What requests to Claude cost, or may cost."""

    tokens: int = Field(default=0, ge=0)
    micro_usd: int | None = Field(default=0, ge=0)
    """Millionths of a US dollar; None where the price of the model is not known."""


class Purged(Record):
    """What an erasure erased."""

    incidents: int = Field(default=0, ge=0)
    runs: int = Field(default=0, ge=0)
    applications: int = Field(default=0, ge=0)
    dead_letters: int = Field(default=0, ge=0)
    audits: int = Field(default=0, ge=0)
    golden_samples: int = Field(default=0, ge=0)
    validations: int = Field(default=0, ge=0)
    consultations: int = Field(default=0, ge=0)
    plans: int = Field(default=0, ge=0)
    claude_requests: int = Field(default=0, ge=0)
