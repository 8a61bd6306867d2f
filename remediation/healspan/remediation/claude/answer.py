"""What Claude answers: a diagnosis with one fix as typed steps, in the form that structured output can promise.

Structured output promises names, types and choices, and nothing else: no bounds, no free mappings. So a value with a
name is an item of a list here, and what the numbers may be is checked where a fix is made of it (`drafting`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from healspan.remediation.scrubbing import Scrubber

__all__ = [
    "Answer",
    "AnswerWithoutAdapters",
    "ProposedAdapter",
    "ProposedFallback",
    "ProposedParameters",
    "ProposedRepair",
    "ProposedRetry",
    "ProposedStep",
    "ProposedStrategy",
    "Setting",
    "without_secrets",
]


class _Part(BaseModel):
    # Frozen and closed like a record; no default, since a structured answer names every field. A NaN would pass every
    # comparison that is meant to refuse it.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Setting(_Part):
    """One value by name."""

    name: str
    value: str | int | float | bool | None


class ProposedRetry(_Part):
    """Make the same call again."""

    kind: Literal["retry"]
    attempts: int


class ProposedRepair(_Part):
    """Run a repairer of the catalogue on the operands of the marked expression."""

    kind: Literal["repair"]
    repairer: str
    accept: Literal["none", "normalised"]
    """The most loss that the reading may have."""
    parameters: list[Setting]


class ProposedAdapter(_Part):
    """Run a text of Python, ``def heal(call, arguments, error)``, in the sandbox."""

    kind: Literal["adapter"]
    text: str
    strategies: list[str]
    """The alternatives it uses."""
    repairers: list[str]
    """The repairers it uses."""


class ProposedStrategy(_Part):
    """Call an alternative that the application registered."""

    kind: Literal["strategy"]
    strategy: str
    arguments: list[Setting]


class ProposedParameters(_Part):
    """Make the call with other values for arguments that are declared tunable."""

    kind: Literal["parameters"]
    arguments: list[Setting]


class ProposedFallback(_Part):
    """Return the declared fallback."""

    kind: Literal["fallback"]


ProposedStep = (
    ProposedRetry | ProposedRepair | ProposedAdapter | ProposedStrategy | ProposedParameters | ProposedFallback
)


_StepWithoutSandbox = ProposedRetry | ProposedRepair | ProposedStrategy | ProposedParameters | ProposedFallback

_STEPS = Field(
    description="The fix, from the innermost step outwards. Empty if no fix is sure to be right: a human decides.",
)


class Answer(_Part):
    """A diagnosis of one failure."""

    root_cause: str = Field(description="What is wrong, and why this input met it, in two or three sentences.")
    evidence: list[str] = Field(description="What in the material shows it; name the part: error, frame, argument.")
    disproof: str = Field(description="What would show that this diagnosis is wrong.")
    steps: Sequence[ProposedStep] = _STEPS
    instruction: str = Field(description="The fix in one sentence for a human; or what the human should look at.")
    risk_level: Literal["low", "medium", "high"]
    risk_assessment: str = Field(description="What could go wrong with the fix, and who would notice.")
    confidence: float = Field(description="Between 0 and 1: that the fix gives the right result, not only a result.")


class AnswerWithoutAdapters(Answer):
    """A diagnosis of one failure."""

    # What is asked for where there is no sandbox. Its name and these words are sent, so they say nothing of that.
    model_config = ConfigDict(title="Answer")

    steps: Sequence[_StepWithoutSandbox] = _STEPS


def without_secrets(answer: Answer, scrubber: Scrubber) -> Answer:
    """Return an answer that may be stored; a number that looks like a secret becomes 0."""
    value: JsonValue = answer.model_dump(mode="json")
    return Answer.model_validate(_numbers_kept(value, scrubber.scrub_value(value)))


def _numbers_kept(before: JsonValue, after: JsonValue) -> JsonValue:
    """Put a number where scrubbing left a marker in place of one: a marker can stand where a text may only."""
    if isinstance(before, dict) and isinstance(after, dict):
        return {key: _numbers_kept(before[key], value) for key, value in after.items()}
    if isinstance(before, list) and isinstance(after, list):
        return [_numbers_kept(was, now) for was, now in zip(before, after, strict=True)]
    return 0 if isinstance(before, int | float) and isinstance(after, str) else after
