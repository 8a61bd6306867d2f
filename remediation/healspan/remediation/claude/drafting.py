"""Drafting: from what Claude proposes to a draft of a fix, or to a sentence that says why it cannot be one.

Nothing an answer says widens anything: the scope is the exact pattern that failed, a repair acts at the failing
expression and nowhere else, and the risk is never lower than what we say of such a step ourselves.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import JsonValue, ValidationError

from healspan.remediation.boundary import Boundary, FailedCall
from healspan.remediation.claude.answer import (
    Answer,
    ProposedAdapter,
    ProposedFallback,
    ProposedParameters,
    ProposedRepair,
    ProposedRetry,
    ProposedStep,
    ProposedStrategy,
    Setting,
)
from healspan.remediation.diagnosis import assess, failing_frame
from healspan.remediation.drafts import complete_draft
from healspan.remediation.errors import InvalidFix
from healspan.remediation.fix import FixDraft, Match, RiskLevel, Scope
from healspan.remediation.repair import Location, locate
from healspan.remediation.sandbox import Sandbox
from healspan.remediation.step import (
    AdapterStep,
    FallbackStep,
    ParametersStep,
    RepairStep,
    RetryStep,
    Step,
    StrategyStep,
)

__all__ = ["MOST_STEPS", "draft_of", "failing_location"]

MOST_STEPS = 3
"""Steps of one proposal."""

_RISKS = (RiskLevel.LOW, RiskLevel.MEDIUM, RiskLevel.HIGH)
_MOST_TEXT = 2_000
"""Characters of one of the answer's texts that a fix keeps."""


def failing_location(call: FailedCall) -> Location:
    """Return the failing expression.

    Raises:
        RepairDeclined: none there may be guarded.
        InvalidFix: it is not known where the call failed.
    """
    frame = failing_frame(call.frames)
    if frame is None or frame.position is None:
        raise InvalidFix("it is not known which expression failed, so no 'repair' can act there; propose another step")
    return locate(frame.code, frame.module, frame.position)


def draft_of(answer: Answer, call: FailedCall, *, origin: str, sandbox: Sandbox | None = None) -> FixDraft:
    """Return a proposal as a draft, checked against the live application.

    Args:
        answer: what was proposed; it has steps.
        call: what failed.
        origin: model and version of the prompt.
        sandbox: checks the types of adapters; may block.

    Raises:
        HealspanError: it can be no fix here; the message says why, for whoever proposed it.
    """
    if not 0 < len(answer.steps) <= MOST_STEPS:
        raise InvalidFix(f"a fix has 1 to {MOST_STEPS} steps; this one has {len(answer.steps)}")
    if not 0 <= answer.confidence <= 1:
        raise InvalidFix(f"confidence is between 0 and 1, not {answer.confidence}")
    try:
        steps = tuple(_step(step, call) for step in answer.steps)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        what = first["msg"].removeprefix("Value error, ").removesuffix("; correct it")
        raise InvalidFix(f"{where}: {what}; correct it") from error
    if [isinstance(step, RepairStep) for step in steps] != sorted(
        (isinstance(s, RepairStep) for s in steps), reverse=True
    ):
        raise InvalidFix("steps are ordered from the innermost outwards: a 'repair' comes before all others")
    risk, assessment = _risk(answer, steps, call.boundary)
    incident = call.incident
    repaired = [step.module for step in steps if isinstance(step, RepairStep)]
    draft = FixDraft(
        pattern=incident.pattern.error_pattern,
        scope=Scope(
            module=incident.module,
            match=Match.EXACT,
            exact=incident.pattern.exact,
            loose=incident.pattern.loose,
        ),
        diagnosis=answer.root_cause[:_MOST_TEXT],
        fix_type=steps[0].kind if len({step.kind for step in steps}) == 1 else "composition",
        fix_instruction=answer.instruction[:_MOST_TEXT],
        affected_module=repaired[0] if repaired else incident.target.partition(":")[0],
        confidence=answer.confidence,
        risk_level=risk,
        risk_assessment=assessment,
        steps=steps,
        origin=origin,
    )
    return complete_draft(draft, {call.boundary.name: call.boundary}, sandbox=sandbox)


def _step(step: ProposedStep, call: FailedCall) -> Step:
    match step:
        case ProposedRetry():
            return RetryStep(attempts=step.attempts)
        case ProposedRepair():
            return failing_location(call).step(
                error_type=call.incident.error_type,
                repairer=step.repairer,
                parameters={**_settings(step.parameters), "accept": step.accept},
            )
        case ProposedAdapter():
            return AdapterStep(text=step.text, strategies=tuple(step.strategies), repairers=tuple(step.repairers))
        case ProposedStrategy():
            return StrategyStep(strategy=step.strategy, arguments=_settings(step.arguments))
        case ProposedParameters():
            return ParametersStep(arguments=_settings(step.arguments))
        case ProposedFallback():
            return FallbackStep()


def _settings(settings: Sequence[Setting]) -> dict[str, JsonValue]:
    named: dict[str, JsonValue] = {each.name: each.value for each in settings}
    if len(named) < len(settings):
        raise InvalidFix("one name is given two values; give each name once")
    return named


def _risk(answer: Answer, steps: Sequence[Step], boundary: Boundary) -> tuple[RiskLevel, str]:
    """Return the higher of what is stated and what we say of such steps; of an adapter only its author can tell."""
    stated = RiskLevel(answer.risk_level)
    levels, words = [stated], [answer.risk_assessment[:_MOST_TEXT]]
    for step in steps:
        level, why = assess(step, boundary)
        words.append(why)
        if not isinstance(step, AdapterStep):
            levels.append(level)
    return max(levels, key=_RISKS.index), " ".join(dict.fromkeys(words))
