"""Outcomes: one application of one fix to one failing call, and the verdict on it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from pydantic import Field

from healspan.remediation.record import Record
from healspan.remediation.step import StepKind

__all__ = ["Application", "ApplicationMode", "Exposure", "FirstApplication", "Judgement", "RunFact", "Verdict"]


class ApplicationMode(StrEnum):
    """With what standing a fix was applied."""

    SHADOW = "shadow"
    TRIAL = "trial"
    ACTIVE = "active"


class Verdict(Record):
    """The three criteria; each is true, false or unknown (None)."""

    resolved: bool | None
    """The call returned through its boundary."""
    no_regression: bool | None
    """Nothing new went wrong in the rest of the run."""
    valid_output: bool | None
    """The returned value keeps the boundary's contract."""
    degraded: bool = False
    """A fallback value was returned: never a success."""
    beyond: bool = False
    """Something new went wrong only where the run would not have come without the fix: no reward, and no harm."""

    @property
    def harmed(self) -> bool:
        """Whether something broke that works without the fix."""
        return self.no_regression is False and not self.beyond

    @property
    def reward(self) -> int | None:
        """1 if all three are true, 0 if any is false or the result is degraded, None (censored) otherwise."""
        criteria = (self.resolved, self.no_regression, self.valid_output)
        if self.degraded or False in criteria:
            return 0
        return None if None in criteria else 1


class Application(Record):
    """One use of one fix on one failing call, as known when the call returned."""

    application_id: UUID
    fix_id: str
    error_id: UUID | None
    """The incident; None where an installed repair acted before any exception left the function."""
    run_id: UUID
    """The pipeline run, or a run of its own for a call outside any pipeline."""
    boundary: str
    pipeline: str | None
    context_keys: dict[str, str] = Field(default_factory=dict)
    timestamp: datetime
    tier: str
    mode: ApplicationMode
    steps: tuple[StepKind, ...]
    resolved: bool
    valid_output: bool | None
    degraded: bool = False
    added_latency_ms: float = Field(ge=0)
    propensity: float = Field(gt=0, le=1)
    """Probability with which this fix was chosen among the candidates."""
    candidates: tuple[str, ...] = ()
    """Fixes it was chosen from, itself among them; empty where there was nothing to choose from."""
    policy_version: str | None = None
    """Version of the rule that chose; None likewise."""
    trace_id: str | None = None
    span_id: str | None = None
    """Of the span ``healspan.heal`` in which the fix was applied, where somebody records it."""
    count: int = Field(default=1, ge=1)
    """How many equal applications this row stands for (installed repairs are aggregated)."""


class FirstApplication(Record):
    """Where a fix first stood for the result of a call: the span in which that was."""

    trace_id: str
    span_id: str


class Judgement(Record):
    """The verdict on an application, given once when its run has closed."""

    application_id: UUID
    fix_id: str
    timestamp: datetime
    verdict: Verdict
    reason: str
    """Why, in words, e.g. which later incident made it false or unknown."""
    unknown_patterns: tuple[str, ...] = ()
    """Exact patterns of later incidents that made no_regression unknown."""
    overrules: tuple[UUID, ...] = ()
    """Earlier applications of the fix whose unknown this judgement settles as false."""


class RunFact(Record):
    """What one closed pipeline run showed: the history that tells a regression from an old acquaintance."""

    run_id: UUID
    pipeline: str
    key: str | None
    context_keys: dict[str, str] = Field(default_factory=dict)
    closed_at: datetime
    patterns: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """(exact pattern, fixes applied before it in the run), in order of appearance."""
    fixes: tuple[str, ...] = ()
    """Fixes applied anywhere in the run."""
    reached: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """(boundary, fixes applied before it was first reached), in order."""
    unfixed: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """(boundary that failed and was not healed, boundaries reached after its first such failure)."""


class Exposure(Record):
    """Calls of one boundary in one context and hour, as counted by one process since its last row."""

    exposure_id: UUID
    boundary: str
    context_keys: dict[str, str] = Field(default_factory=dict)
    hour: datetime
    calls: int = Field(ge=0)
    """Calls, failing ones included; exact over all contexts together."""
    ok_ms: float = Field(ge=0)
    """Total duration of the good calls among them, in milliseconds, estimated from the sampled ones."""
