"""Tier 2: a diagnoser looks at a failing call and proposes candidate fixes; the engine proves them.

The playbooks are the deterministic diagnoser. Others join through the `Diagnoser` protocol.
"""

from __future__ import annotations

import ast
import itertools
import threading
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, cast

from pydantic import JsonValue

from healspan.remediation.boundary import Boundary, FailedCall, FailingFrame, OneOf
from healspan.remediation.conventions import assumed, assumption, declared, open_in, questions
from healspan.remediation.errors import RepairDeclined
from healspan.remediation.fix import FixDraft, Match, RiskLevel, Scope
from healspan.remediation.parsing import parse_expression
from healspan.remediation.playbooks import Answer, playbook_for
from healspan.remediation.progress import Progress
from healspan.remediation.repair import Location, failure_at, function_hash, locate
from healspan.remediation.repairers import Failure, Loss, Repairer, catalogue
from healspan.remediation.repairers.number import ERRORS
from healspan.remediation.step import (
    AdapterStep,
    FallbackStep,
    ParametersStep,
    RepairStep,
    RetryStep,
    Step,
    StrategyStep,
)

__all__ = ["Diagnoser", "Playbooks", "Waiting", "assess", "failing_frame", "left_open"]

_BY_NAME = frozenset({"renamed_key", "moved_key", "renamed_attribute"})
"""Repairers that find something by what it is called."""

_MOST_VALUES = 100
"""Looked at for a text that an expression may have failed on."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A diagnoser waits for something that happens in another thread; whoever made the call waits with it."""

    event: threading.Event
    seconds: float
    """At most."""


class Diagnoser(Protocol):
    """Proposes candidate fixes for a failing call, the most promising first."""

    @property
    def name(self) -> str:
        """What `Fix.origin` says of fixes found by it."""

    @property
    def composes(self) -> bool:
        """Whether a candidate may be joined with another one, for what the call raises behind it."""

    @property
    def waits(self) -> bool:
        """Whether it has to wait for others, as for a server: whoever only computes is asked before it."""

    def candidates(self, call: FailedCall, progress: Progress) -> Generator[FixDraft | Waiting, None, None]:
        """Yield candidates; each is gated and proven before the next is asked for, and closed when one has healed.

        Args:
            call: what failed.
            progress: what was decided so far about fixes of this call; it grows while candidates are asked for.
        """


class Playbooks:
    """Proposes what the table of `playbooks` answers a failure with, in its order.

    The repairers that fit the failing expression come by what they cost: first every one that could read the operand
    without loss, the narrower domain before the wider, then those that need a convention. Where the operands can be
    read from the failing frame, those that decline them are left out: each candidate costs a call.
    """

    name = "playbook"
    composes = True
    waits = False

    def candidates(
        self,
        call: FailedCall,
        progress: Progress,  # noqa: ARG002 - the table has one answer, whatever was tried
    ) -> Generator[FixDraft | Waiting, None, None]:
        """Yield candidates for the call."""
        kinds = {
            Answer.RETRY: self._retries,
            Answer.REPAIR: self._repairs,
            Answer.PARAMETERS: self._parameters,
            Answer.STRATEGY: self._strategies,
            Answer.FALLBACK: self._fallbacks,
        }
        for answer in playbook_for(call.error).answers:
            yield from kinds[answer](call)

    def _retries(self, call: FailedCall) -> Iterator[FixDraft]:
        yield self._draft(
            call,
            RetryStep(),
            fix_type="retry",
            diagnosis="The failure says of itself that it may pass.",
            instruction=f"When {call.boundary.name} fails this way, make the call again, waiting longer each time.",
            confidence=0.6,
            source_hash={},
        )

    def _fallbacks(self, call: FailedCall) -> Iterator[FixDraft]:
        if not call.boundary.has_fallback:
            return
        yield self._draft(
            call,
            FallbackStep(),
            fix_type="fallback",
            diagnosis="No other way to a result is known; the boundary declares a fallback value.",
            instruction=f"Return the declared fallback of {call.boundary.name}, marked degraded.",
            confidence=0.3,
            source_hash={},
        )

    def _repairs(self, call: FailedCall) -> Iterator[FixDraft]:
        found = _failing_expression(call)
        if found is None:
            return
        location, seen = found
        for repairer, parameters in _readings(location.kind, call, seen):
            step = location.step(
                error_type=call.incident.error_type,
                repairer=repairer.name,
                parameters=parameters,
            )
            assuming = assumption(step, call.boundary)
            yield self._draft(
                call,
                step,
                fix_type="repair",
                diagnosis=(
                    f"{step.expression!r} in {step.module}.{step.qualname} raises {call.incident.error_type} on an "
                    f"operand that it could read in another notation."
                ),
                instruction=(
                    f"When {step.expression} in {step.qualname} raises {call.incident.error_type.rpartition('.')[2]}, "
                    f"{repairer.summary}{f', taking {assuming}' if assuming else ''}."
                ),
                confidence=0.9 if parameters["accept"] == Loss.NONE else 0.7,
                source_hash={f"{step.module}:{step.qualname}": step.source_hash},
            )

    def _parameters(self, call: FailedCall) -> Iterator[FixDraft]:
        for name, bounds in call.boundary.tunable.items():
            if not isinstance(bounds, OneOf):
                # Which number within bounds might help is not for a table to say.
                continue
            given = call.arguments.get(name)
            for value in bounds.values:
                if type(value) is type(given) and value == given:
                    continue
                yield self._draft(
                    call,
                    ParametersStep(arguments={name: value}),
                    fix_type="parameters",
                    diagnosis=f"Another value of {name}, which the boundary declares tunable, may fit this input.",
                    instruction=f"When {call.boundary.name} fails this way, call it with {name}={value!r}.",
                    confidence=0.5,
                    source_hash={},
                )

    def _strategies(self, call: FailedCall) -> Iterator[FixDraft]:
        for strategy in call.boundary.strategies.values():
            if not strategy.automatic:
                continue
            target, digest = function_hash(strategy.function)
            yield self._draft(
                call,
                StrategyStep(strategy=strategy.name),
                fix_type="strategy",
                diagnosis=f"The primary way of {call.boundary.name} does not fit this input; an alternative may.",
                instruction=f"When {call.boundary.name} fails this way, use its strategy {strategy.name!r}.",
                confidence=0.6,
                source_hash={target: digest},
            )

    def _draft(
        self,
        call: FailedCall,
        step: Step,
        *,
        fix_type: str,
        diagnosis: str,
        instruction: str,
        confidence: float,
        source_hash: dict[str, str],
    ) -> FixDraft:
        incident = call.incident
        risk, assessment = assess(step, call.boundary)
        return FixDraft(
            pattern=incident.pattern.error_pattern,
            scope=Scope(
                module=incident.module,
                match=Match.EXACT,
                exact=incident.pattern.exact,
                loose=incident.pattern.loose,
            ),
            diagnosis=diagnosis,
            fix_type=fix_type,
            fix_instruction=instruction,
            affected_module=step.module if isinstance(step, RepairStep) else incident.target.partition(":")[0],
            confidence=confidence,
            risk_level=risk,
            risk_assessment=assessment,
            steps=(step,),
            origin=f"{self.name}:{fix_type}",
            source_hash=source_hash,
        )


def _readings(kind: str, call: FailedCall, seen: Failure | None) -> Iterator[tuple[Repairer, dict[str, JsonValue]]]:
    """Yield how each repairer may read an operand: as its boundary declares it, else as only a human can say."""
    fit, answered = fitting(kind, call.error), set[str]()
    for accept, repairer in fit:
        parameters = {"accept": accept.value, **declared(repairer.name, call.boundary)}
        if seen is None or not _declines(repairer, seen, parameters):
            answered.add(repairer.name)
            yield repairer, parameters
    if seen is None:
        return
    for repairer in dict.fromkeys(repairer for _, repairer in fit if repairer.name not in answered):
        given = declared(repairer.name, call.boundary)
        for answer in questions(repairer.name, seen):
            ways = ({"accept": loss.value, **given, **answer} for loss in repairer.losses)
            if (way := next((one for one in ways if not _declines(repairer, seen, one)), None)) is not None:
                yield repairer, way


def fitting(kind: str, error: BaseException) -> list[tuple[Loss, Repairer]]:
    """Return the repairers that may help an expression of this form, and what each may cost, the least loss first."""
    applying = [one for one in catalogue().values() if one.applies(kind, error)]
    return [(loss, one) for loss in (Loss.NONE, Loss.NORMALISED) for one in applying if loss in one.losses]


def _declines(repairer: Repairer, seen: Failure, parameters: dict[str, JsonValue]) -> bool:
    """Whether a repairer says no, seeing the operands; one that fails at it is tried, where the guard copes with it."""
    given = repairer.parameters.model_validate(parameters)
    try:
        return repairer.repair(seen._replace(parameters=given)) is None
    except Exception:
        return False


def failing_frame(frames: tuple[FailingFrame, ...]) -> FailingFrame | None:
    """Return the innermost in-app frame: the expression there is what a repair can guard.

    Frames further out are no further candidates. Repairers know callees and containers of the standard library and
    the like, whose own frames are not in-app, so the expression that reads an operand with them is always the innermost
    one. Where a helper of the application raises an error of its own, its code has decided, or handled the first error,
    which a repair must not undo.
    """
    return next((frame for frame in reversed(frames) if frame.in_app), None)


def _failing_expression(call: FailedCall) -> tuple[Location, Failure | None] | None:
    """Return where a call failed, and with which operands as far as they can be read; None if no step can act there."""
    frame = failing_frame(call.frames)
    if frame is None or frame.position is None:
        return None
    try:
        location = locate(frame.code, frame.module, frame.position)
    except RepairDeclined:
        return None
    return location, failure_at(location, frame.code, call.error)


def left_open(call: FailedCall, steps: Iterable[Step]) -> str | None:
    """Say what of a failing operand only the owner of the data can say, where steps read it in a way of their own.

    Where the operand cannot be read from the failing frame, it is looked for in the arguments of the call.
    """
    if type(call.error) not in ERRORS or not any(isinstance(step, AdapterStep) for step in steps):
        return None
    found = _failing_expression(call)
    seen = None if found is None else found[1]
    values = _inside(call.arguments.values()) if seen is None else [seen.argument]
    return next(filter(None, (open_in(value, call.boundary) for value in values)), None)


def _inside(values: Iterable[object]) -> Iterator[object]:
    """Yield values, and what the plain containers among them hold; no more of each than a row has."""
    for value in itertools.islice(values, _MOST_VALUES):
        yield value
        if type(value) in (list, tuple, dict):
            held = value.values() if type(value) is dict else value
            yield from itertools.islice(cast("Iterable[object]", held), _MOST_VALUES)


def assess(step: Step, boundary: Boundary) -> tuple[RiskLevel, str]:
    """Return the risk of a step at a boundary, and the sentence that says why."""
    if (assumption := assumed(step, boundary)) is not None:
        return RiskLevel.HIGH, f"Acts only where the expression raises, but {assumption}."
    if isinstance(step, RepairStep):
        if step.repairer in _BY_NAME and not _has_literal_name(step.expression):
            return RiskLevel.MEDIUM, (
                "Acts only where the expression raises, but the key is data: names that differ in case or signs only "
                "may be two users, and a human must say that they are one."
            )
        if step.parameters.get("accept") == Loss.NONE:
            return (
                RiskLevel.LOW,
                "Acts only where the expression raises; reads another notation of the same value.",
            )
        if boundary.has_checks:
            return RiskLevel.LOW, (
                "Acts only where the expression raises; a convention decides the reading, and the boundary's "
                "checks look at the result."
            )
        return RiskLevel.MEDIUM, (
            "Acts only where the expression raises, but a convention decides the reading (a dash is zero, (12) "
            "is -12) and no check of the boundary looks at the result."
        )
    if isinstance(step, RetryStep):
        return RiskLevel.LOW, "Makes the same call again, a bounded number of times; the boundary is retry_safe."
    if isinstance(step, AdapterStep):
        return RiskLevel.MEDIUM, (
            "Runs a text in the sandbox, without files, network or the program's objects; what it returns is new, and "
            "only the boundary's contract and a human can say whether it is right."
        )
    if isinstance(step, ParametersStep):
        return RiskLevel.LOW, "Makes the call again with a value that the boundary declares tunable."
    if isinstance(step, StrategyStep):
        return RiskLevel.LOW, "Calls an alternative that the application registered for this boundary."
    return RiskLevel.LOW, "Returns the value that the boundary declares as its fallback; marked degraded."


def _has_literal_name(expression: str) -> bool:
    """Whether the key or the attribute stands in the source, as names of fields and columns do."""
    match parse_expression(expression.strip()):
        case ast.Subscript(slice=ast.Constant()) | ast.Attribute():
            return True
    return False
