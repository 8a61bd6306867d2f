"""Composition: several steps in one fix, found where a repair lets the call reach another failure.

A candidate that acted, and whose call then raised something else, is extended by a step for what was raised. The
fix that results is validated, kept and rewarded as one; its scope stays the pattern of the first failure. Only
steps that need each other are joined: a strategy that heals alone is a fix of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from healspan.remediation.boundary import FailedCall
from healspan.remediation.diagnosis import Diagnoser, Waiting, failing_frame
from healspan.remediation.errors import HealspanError
from healspan.remediation.fix import Fix, FixDraft, RiskLevel
from healspan.remediation.progress import Progress
from healspan.remediation.step import FramePath, RepairStep, RetryStep, Step, StrategyStep

__all__ = ["MOST_STEPS", "Composer", "Lead", "combined"]

logger = logging.getLogger("healspan.engine")

MOST_STEPS = 3
"""Steps of one fix that a search puts together."""

_RISKS = (RiskLevel.LOW, RiskLevel.MEDIUM, RiskLevel.HIGH)
_NOT_THE_CALL = (HealspanError,)

Place = tuple[object, ...]
"""Where a call failed, and with which type of exception."""


@dataclass(frozen=True, slots=True)
class Lead:
    """Where a candidate comes from: the failures that its steps are to answer."""

    places: tuple[Place, ...]
    """Of the failures so far, the original one first."""
    paths: tuple[FramePath, ...] = ()
    """The ways to those behind the first."""


class Composer:
    """Extends candidates for one failing call.

    Args:
        call: what failed.
        diagnoser: asked for each failure.
        until: on the clock, after which nothing is extended any more.
        clock: monotonic, in seconds.
    """

    def __init__(self, call: FailedCall, diagnoser: Diagnoser, *, until: float, clock: Callable[[], float]) -> None:
        self._call = call
        self._diagnoser = diagnoser
        self._until = until
        self._clock = clock
        self._explored: set[tuple[object, ...]] = set()
        self.first = Lead((_place(call),))

    def beyond(
        self, fix: Fix, error: Exception, acted: tuple[RepairStep, ...], lead: Lead
    ) -> Iterator[tuple[FixDraft, Lead]]:
        """Yield the candidate with one step more each, for what the call raised with it in force.

        Args:
            fix: what was tried.
            error: what the call, or its strategy, raised.
            acted: the repairs of the fix that had acted by then.
            lead: where the fix came from.
        """
        if not self._diagnoser.composes:
            return
        if len(fix.steps) >= MOST_STEPS or isinstance(error, _NOT_THE_CALL) or not _took_part(fix, acted):
            return
        if self._call.repeatable is not None:
            # Whatever is joined here makes the call again.
            return
        try:
            after = self._call.after(error)
        except Exception as own:
            # The fault is healspan's: the candidate stays what it is, and the next one has its turn.
            logger.warning("a further failure could not be looked at: %s; please report this", type(own).__qualname__)
            return
        place = _place(after)
        mark = (*(_spot(step) for step in fix.steps), place)
        if place in lead.places or mark in self._explored:
            # The same expression fails the same way again: a further step there would change nothing.
            return
        self._explored.add(mark)
        further = Lead((*lead.places, place), (*lead.paths, after.path))
        for draft in self._diagnoser.candidates(after, Progress()):
            if self._clock() > self._until:
                return
            if isinstance(draft, Waiting):
                continue
            steps = _joined(fix.steps, draft.steps)
            if steps is not None:
                yield combined(fix, draft, steps), further


def combined(first: FixDraft, second: FixDraft, steps: tuple[Step, ...]) -> FixDraft:
    """Return one fix with the steps of both: as risky as the riskier, as sure as both together."""
    return FixDraft(
        pattern=first.pattern,
        scope=first.scope,
        diagnosis=f"{first.diagnosis} Then: {second.diagnosis}",
        fix_type=first.fix_type if first.fix_type == second.fix_type else "composition",
        fix_instruction=f"{first.fix_instruction} {second.fix_instruction}",
        affected_module=first.affected_module,
        confidence=first.confidence * second.confidence,
        risk_level=max(first.risk_level, second.risk_level, key=_RISKS.index),
        risk_assessment=first.risk_assessment
        if first.risk_assessment == second.risk_assessment
        else f"{first.risk_assessment} {second.risk_assessment}",
        steps=steps,
        origin=first.origin if first.origin == second.origin else f"{first.origin}+{second.origin}",
        source_hash={**first.source_hash, **second.source_hash},
    )


def _took_part(fix: Fix, acted: tuple[RepairStep, ...]) -> bool:
    """Whether what was raised lies behind all that the fix does, so that a further step may answer it."""
    repairs = tuple(step for step in fix.steps if isinstance(step, RepairStep))
    if repairs != acted:
        return False
    return all(isinstance(step, RepairStep | StrategyStep) for step in fix.steps)


def _joined(steps: tuple[Step, ...], more: tuple[Step, ...]) -> tuple[Step, ...] | None:
    """Return the steps with one more in its place, the innermost first; None where it would heal alone."""
    repairs = tuple(step for step in steps if isinstance(step, RepairStep))
    around = steps[len(repairs) :]
    match more:
        case (RepairStep() as step,):
            return (*repairs, step, *around)
        case (RetryStep() as step,) if not around:
            return (*repairs, step)
    return None


def _place(call: FailedCall) -> Place:
    frame = failing_frame(call.frames)
    where: Place = () if frame is None else (frame.module, frame.qualname, frame.position)
    return (*where, call.incident.error_type)


def _spot(step: Step) -> Place:
    """What a step acts on, and with what, whatever loss it accepts."""
    if isinstance(step, RepairStep):
        return (step.module, step.qualname, step.line, step.column, step.end_line, step.end_column, step.repairer)
    return (step.kind, step.model_dump_json())
