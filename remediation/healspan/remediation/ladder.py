"""The validation ladder: what a new fix must pass, in order, before it serves for the first time.

Each rung is a small function that says passed, failed, or skipped, and why. The first that fails ends the climb.
A rung that makes the application's call again does so only where the boundary is `retry_safe`; elsewhere it is
skipped openly, or the policy has refused the fix before. The ladder runs inside the failing request, so the replay
of good calls has a budget of milliseconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from healspan.remediation.attempt import Attempt, Invocation
from healspan.remediation.boundary import ContractResult, FailedCall
from healspan.remediation.errors import AdapterFailed, FixError, RepairDeclined, StepInapplicable
from healspan.remediation.fix import Fix, parse_fix
from healspan.remediation.ids import uuid7
from healspan.remediation.playbooks import is_violation
from healspan.remediation.repair import Repairs
from healspan.remediation.repairers import Loss
from healspan.remediation.reservoir import GoodCall
from healspan.remediation.sandbox import Sandbox
from healspan.remediation.step import AdapterStep, FramePath, ParametersStep, RepairStep
from healspan.remediation.validation import Outcome, Rung, RungResult, Validation

__all__ = ["Climbed", "Ladder"]

_INAPPLICABLE = (StepInapplicable, RepairDeclined, FixError)


_UNASKED = ContractResult(None, "the contract was not asked")


class Answer(NamedTuple):
    """What a rung says."""

    outcome: Outcome
    reason: str


@dataclass(frozen=True, slots=True)
class Climbed:
    """How far a fix came, and what its use on the failing call gave."""

    validation: Validation
    attempt: Attempt
    contract: ContractResult
    """What the contract says of the value; nothing yet where an earlier rung failed."""
    value: Any = None
    error: Exception | None = None
    """What the call raised with the fix in force, if it did."""

    @property
    def passed(self) -> bool:
        """Whether no rung failed."""
        return self.validation.passed

    @property
    def applied(self) -> bool:
        """Whether the fix has acted, whatever came of it; otherwise it did not apply to this call at all."""
        failed = self.validation.failed
        return failed is None or not (failed.rung in {Rung.PARSE, Rung.REPRODUCE} or self._declined)

    @property
    def _declined(self) -> bool:
        return isinstance(self.error, _INAPPLICABLE)


@dataclass(slots=True)
class _State:
    """What the rungs of one climb share."""

    fix: Fix
    call: FailedCall
    attempt: Attempt
    stack: contextlib.ExitStack
    problems: Callable[[str], str]
    """What is wrong with the types of an adapter's text."""
    replay_seconds: float
    clock: Callable[[], float]
    serves: bool
    made: bool = False
    """Whether the call has been made with the fix in force."""
    value: Any = None
    contract: ContractResult = _UNASKED
    error: Exception | None = None
    seconds: float = 0.0
    """How long that call took."""
    repairs: tuple[RepairStep, ...] = field(default=())


_Climbing = Generator[Invocation, Any, Answer]


class Ladder:
    """Takes fixes up the rungs.

    Args:
        repairs: of this process.
        sandbox: runs adapters, and checks their texts.
        replay_seconds: how long the replay of good calls may take, for one fix.
        clock: monotonic, in seconds.
        now: the wall clock, in UTC.
        new_id: of a validation.
        sign: vouches for one.
    """

    def __init__(
        self,
        repairs: Repairs,
        sandbox: Sandbox,
        *,
        replay_seconds: float,
        clock: Callable[[], float],
        now: Callable[[], datetime],
        new_id: Callable[[], UUID] = uuid7,
        sign: Callable[[Validation], Validation] = lambda validation: validation,
    ) -> None:
        self._repairs = repairs
        self._sandbox = sandbox
        self._replay_seconds = replay_seconds
        self._clock = clock
        self._now = now
        self._new_id = new_id
        self._sign = sign

    def climb(
        self,
        fix: Fix,
        call: FailedCall,
        paths: Iterable[FramePath] = (),
        *,
        serves: bool = True,
    ) -> Generator[Invocation, Any, Climbed]:
        """Take one fix up, on one failing call; its value is the call's result if every rung lets it.

        Args:
            fix: allowed by the policy to be tried on this call.
            call: what failed.
            paths: further ways to its repaired expressions, beside the call's own.
            serves: whether it will serve if it passes; otherwise a human has to approve it first.
        """
        attempt = Attempt(fix, call, self._repairs, self._sandbox, paths)
        with contextlib.ExitStack() as stack:
            repairs = tuple(step for step in fix.steps if isinstance(step, RepairStep))
            state = _State(
                fix,
                call,
                attempt,
                stack,
                self._sandbox.problems,
                self._replay_seconds,
                self._clock,
                serves,
                repairs=repairs,
            )
            results: list[RungResult] = []
            for rung, ask in RUNGS:
                started = self._clock()
                try:
                    answer = yield from ask(state)
                except Exception as error:
                    # A rung that fails itself says no.
                    state.error = error
                    answer = Answer(Outcome.FAILED, _said(error))
                elapsed = (self._clock() - started) * 1e3
                results.append(
                    RungResult(rung=rung, outcome=answer.outcome, reason=answer.reason, elapsed_ms=max(elapsed, 0.0)),
                )
                if answer.outcome is Outcome.FAILED:
                    break
        validation = Validation(
            validation_id=self._new_id(),
            fix_id=fix.fix_id,
            error_id=call.incident.error_id,
            boundary=call.incident.module,
            at=self._now(),
            rungs=tuple(results),
        )
        return Climbed(self._sign(validation), attempt, state.contract, state.value, state.error)


# The rungs


def _parse(state: _State) -> _Climbing:
    """What was tried is what will be stored, and it fits the code that runs."""
    yield from ()
    fix = state.fix
    if parse_fix(fix.model_dump_json()) != fix or fix.address() != fix.fix_id:
        return Answer(Outcome.FAILED, "its stored form does not read back as the same fix")
    for step in fix.steps:
        if isinstance(step, AdapterStep):
            check = functools.partial(state.problems, step.text)
            # The sandbox answers a blocking read, which a loop must not wait for.
            problems = yield functools.partial(asyncio.to_thread, check) if state.call.asynchronous else check
            if problems:
                return Answer(Outcome.FAILED, f"its text does not pass the type check: {problems}")
    state.stack.enter_context(state.attempt.in_force())
    if state.repairs:
        return Answer(Outcome.PASSED, "it reads back as it was written, and compiles into the function that runs")
    return Answer(Outcome.PASSED, "it reads back as it was written, and what it names is declared here")


def _reproduce(state: _State) -> _Climbing:
    """The failure comes again without the fix."""
    if state.repairs:
        # The guard evaluates the original expression first: the call with the fix in force is the reproduction.
        yield from _made(state)
        if state.attempt.passed_by_itself:
            return Answer(Outcome.FAILED, "the call succeeded when made again without a repair acting: transient")
        if state.attempt.acted:
            return Answer(Outcome.PASSED, "the expression raised again, before the repair acted on it")
        return Answer(Outcome.PASSED, "the call failed again")
    if not any(isinstance(step, ParametersStep) for step in state.fix.steps):
        return Answer(Outcome.SKIPPED, "it does not change how the call itself is made")
    try:
        value = yield state.call.again
    except Exception as error:
        if type(error) is type(state.call.error):
            return Answer(Outcome.PASSED, "the same call failed again with the same type of exception")
        return Answer(Outcome.FAILED, f"the same call failed another way ({type(error).__qualname__})")
    if is_violation(state.call.error) and state.call.verify(value).valid is False:
        return Answer(Outcome.PASSED, "the same call broke the contract again")
    return Answer(Outcome.FAILED, "the same call succeeded when it was made again: transient")


def _run(state: _State) -> _Climbing:
    """The call returns with the fix in force."""
    yield from _made(state)
    if state.error is not None:
        return Answer(Outcome.FAILED, _said(state.error))
    if len(state.repairs) > 1 and state.repairs != state.attempt.acted:
        return Answer(Outcome.FAILED, "one of its repairs did not act, so the fix is not the smallest that heals")
    if state.attempt.degraded:
        return Answer(Outcome.PASSED, "the declared fallback stands in, degraded")
    return Answer(Outcome.PASSED, "the call returned with the fix in force")


def _contract(state: _State) -> _Climbing:
    """The value keeps the contract, declared and learned."""
    yield from ()
    contract = state.contract = state.call.verify(state.value)
    if contract.valid is False:
        return Answer(Outcome.FAILED, contract.reason)
    if contract.valid is None and not contract.compared:
        if state.serves and any(step.parameters.get("accept") != Loss.NONE for step in state.repairs):
            return Answer(
                Outcome.FAILED,
                "a convention decides how it reads an operand, and nothing looks at the result; declare output or "
                "checks, or give the boundary golden samples",
            )
        return Answer(Outcome.SKIPPED, contract.reason)
    return Answer(Outcome.PASSED, contract.reason)


def _golden(state: _State) -> _Climbing:
    """Good calls give what they gave, with the fix in force."""
    if not state.repairs:
        return Answer(Outcome.SKIPPED, "it acts only where a call has failed; a good call never reaches it")
    why_not = state.call.repeatable
    if why_not is not None:
        return Answer(Outcome.SKIPPED, f"{why_not}, so good calls cannot be made again")
    reservoir = state.call.boundary.golden
    calls = reservoir.calls() if reservoir is not None else ()
    if not calls:
        problem = None if reservoir is None else reservoir.problem
        return Answer(Outcome.SKIPPED, f"no golden sample of this boundary is kept{f': {problem}' if problem else ''}")
    started = state.clock()
    same = changed = other = 0
    longest = state.seconds
    for good in calls:
        # The next one would take about as long as the longest so far.
        if state.clock() - started + longest > state.replay_seconds:
            break
        before = state.clock()
        verdict = yield from _replayed(state, good)
        longest = max(longest, state.clock() - before)
        same += verdict is True
        changed += verdict is False
        other += verdict is None
        if changed:
            return Answer(Outcome.FAILED, f"a good call gives another result with the fix in force ({same} did not)")
    told = f"{same} of {len(calls)} good calls were made again and gave what they gave"
    if other:
        told += f"; {other} differ without the fix as well, so they say nothing"
    if not same:
        return Answer(Outcome.SKIPPED, f"{told}; the time for more was up" if not other else told)
    return Answer(Outcome.PASSED, told)


def _neighbours(state: _State) -> _Climbing:
    """What a repair has read is read the same when it is read again."""
    yield from ()
    if not state.repairs:
        return Answer(Outcome.SKIPPED, "it reads no operand another way")
    if state.attempt.unstable:
        return Answer(Outcome.FAILED, "its own reading of the operand is read as something else again")
    return Answer(Outcome.PASSED, "the expression takes what the repair has read, and reading it again changes nothing")


def _trial(state: _State) -> _Climbing:
    """It serves from here on, and is watched."""
    yield from ()
    if not state.serves:
        return Answer(Outcome.SKIPPED, "a human has to approve it before it serves")
    return Answer(Outcome.PASSED, "it serves on trial from now on")


RUNGS: tuple[tuple[Rung, Callable[[_State], _Climbing]], ...] = (
    (Rung.PARSE, _parse),
    (Rung.REPRODUCE, _reproduce),
    (Rung.RUN, _run),
    (Rung.CONTRACT, _contract),
    (Rung.GOLDEN, _golden),
    (Rung.NEIGHBOURS, _neighbours),
    (Rung.TRIAL, _trial),
)


def _made(state: _State) -> Generator[Invocation, Any, None]:
    """Make the call with the fix in force, once."""
    if state.made:
        return
    state.made = True
    started = state.clock()
    try:
        state.value = yield from state.attempt.run()
    except Exception as error:
        state.error = error
    state.seconds = state.clock() - started


def _replayed(state: _State, good: GoodCall) -> Generator[Invocation, Any, bool | None]:
    """Tell whether a good call is still good with the fix in force; None if it is not without it either."""
    if (yield from _gives(state, good)):
        return True
    with state.attempt.out_of_force():
        return False if (yield from _gives(state, good)) else None


def _gives(state: _State, good: GoodCall) -> Generator[Invocation, Any, bool]:
    call = state.call
    try:
        result = yield lambda: call.replay(good)
    except Exception:
        return False
    return good.gives(result)


def _said(error: Exception) -> str:
    """Say what an exception means; the words of the application's own stay out."""
    return str(error) if isinstance(error, (*_INAPPLICABLE, AdapterFailed)) else f"it raised {type(error).__qualname__}"
