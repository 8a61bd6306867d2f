"""The ladder, driven by hand: the order of its rungs, its budget, and that whatever fails says no."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

import pytest
from tests.adapters import body
from tests.facts import make_fix, make_incident, make_repair

from healspan.instrumentation.errors import ContractViolation
from healspan.remediation.boundary import Boundary, ContractResult, FailedCall
from healspan.remediation.driver import drive, drive_async
from healspan.remediation.errors import RepairDeclined
from healspan.remediation.fix import Fix, FixDraft
from healspan.remediation.incident import Incident
from healspan.remediation.ladder import Climbed, Ladder
from healspan.remediation.lessons import Lessons
from healspan.remediation.repair import FiredRepair, Probe, Repairs, current_probe
from healspan.remediation.repairers import Loss
from healspan.remediation.reservoir import GoodCall, Reservoir
from healspan.remediation.sandbox import Sandbox
from healspan.remediation.step import AdapterStep, FramePath, ParametersStep, RepairStep, Step
from healspan.remediation.validation import Outcome, Rung, RungResult, Validation

NOW = datetime(2026, 11, 26, tzinfo=UTC)
STEP = make_repair(accept="none")
FURTHER = STEP.model_copy(update={"expression": "int(text)", "line": 2, "end_line": 2})


def fix_of(*steps: Step) -> Fix:
    content = {name: getattr(make_fix(), name) for name in FixDraft.model_fields}
    return Fix.from_draft(FixDraft(**{**content, "steps": steps}), created_at=NOW)


def read(text: str) -> float:
    return float(text)


@dataclass
class Clock:
    """Time that passes only when somebody says so."""

    seconds: float = 1_000.0

    def __call__(self) -> float:
        return self.seconds


@dataclass
class Call:
    """As much of a failing call as the ladder asks, and a protocol of what it asked for."""

    clock: Clock
    boundary: Boundary = field(default_factory=lambda: Boundary("m", read, "app:read", retry_safe=True))
    error: Exception = field(default_factory=lambda: ValueError("no number"))
    incident: Incident = field(default_factory=make_incident)
    path: FramePath = (("app", "read", "return float(text)"),)
    repeatable: str | None = None
    asynchronous: bool = False
    acts: bool = True
    acting: tuple[RepairStep, ...] = (STEP,)
    raises: Exception | None = None
    contract: ContractResult = field(default_factory=lambda: ContractResult(True, "kept"))
    good: Callable[[GoodCall], Any] = lambda good: good.result
    takes: float = 0.001
    asked: list[str] = field(default_factory=list)

    def again(self) -> float:
        self.asked.append("again")
        self.clock.seconds += self.takes
        probe = current_probe.get()
        if probe is not None and self.acts:
            frame = inspect.currentframe()
            assert frame is not None
            probe.uses += [FiredRepair("fix", step, Loss.NONE, 1, True, frame) for step in self.acting]
        if self.raises is not None:
            raise self.raises
        return 1.0

    def again_with(self, arguments: dict[str, Any]) -> float:
        self.asked.append("again_with")
        return 1.0

    def acted(self, fix_id: str) -> bool:
        return False

    def verify(self, value: object) -> ContractResult:
        self.asked.append("verify")
        return self.contract

    def replay(self, good: GoodCall) -> Any:
        self.asked.append("replay")
        self.clock.seconds += self.takes
        return self.good(good)


class FakeRepairs:
    """Stands for repairs that can always be installed, or never."""

    def __init__(self, refusal: Exception | None = None) -> None:
        self.refusal = refusal

    @contextlib.contextmanager
    def probe(self, repairs: object) -> Iterator[Probe]:
        if self.refusal is not None:
            raise self.refusal
        probe = Probe()
        token = current_probe.set(probe)
        try:
            yield probe
        finally:
            current_probe.reset(token)


def climb(
    call: Call,
    fix: Fix,
    *,
    refusal: Exception | None = None,
    replay_seconds: float = 1.0,
    serves: bool = True,
    sandbox: object = None,
) -> Climbed:
    ladder = Ladder(
        cast("Repairs", FakeRepairs(refusal)),
        cast("Sandbox", sandbox or Sandbox()),
        replay_seconds=replay_seconds,
        clock=call.clock,
        now=lambda: NOW,
        new_id=lambda: UUID(int=1),
    )
    climbing = ladder.climb(fix, cast("FailedCall", call), serves=serves)
    return asyncio.run(drive_async(climbing)) if call.asynchronous else drive(climbing)


def outcomes(climbed: Climbed) -> list[tuple[Rung, Outcome]]:
    return [(one.rung, one.outcome) for one in climbed.validation.rungs]


def last(climbed: Climbed) -> RungResult:
    return climbed.validation.rungs[-1]


def good_calls(number: int) -> Boundary:
    reservoir = Reservoir(inspect.signature(read))
    for each in range(number):
        reservoir.keep(((str(each),), {}), float(each))
    return Boundary("m", read, "app:read", retry_safe=True, golden=reservoir)


def tunable() -> Boundary:
    """A boundary whose only parameter may be set to anything."""
    boundary = Boundary("m", read, "app:read", retry_safe=True)
    boundary.tunable = {"text": cast("Any", type("Any", (), {"holds": lambda self, value: True})())}
    return boundary


def test_the_rungs_are_climbed_in_their_order() -> None:
    call = Call(Clock(), good_calls(2))
    climbed = climb(call, fix_of(STEP))
    assert outcomes(climbed) == [(rung, Outcome.PASSED) for rung in Rung]
    assert call.asked == ["again", "verify", "replay", "replay"]
    assert (climbed.passed, climbed.applied, climbed.value) == (True, True, 1.0)


@pytest.mark.parametrize(
    ("change", "rung", "applied", "asked"),
    [
        ({"acts": False}, Rung.REPRODUCE, False, ["again"]),
        ({"acts": False, "raises": ValueError()}, Rung.RUN, False, ["again"]),
        ({"raises": KeyError()}, Rung.RUN, True, ["again"]),
        ({"contract": ContractResult(False, "too small")}, Rung.CONTRACT, True, ["again", "verify"]),
    ],
)
def test_the_first_no_ends_the_climb(change: dict[str, Any], rung: Rung, applied: bool, asked: list[str]) -> None:
    call = Call(Clock(), good_calls(2), **change)
    climbed = climb(call, fix_of(STEP))
    assert (last(climbed).rung, last(climbed).outcome) == (rung, Outcome.FAILED)
    assert climbed.applied is applied
    assert call.asked == asked


def test_what_does_not_fit_the_code_is_not_even_called() -> None:
    call = Call(Clock())
    climbed = climb(call, fix_of(STEP), refusal=RepairDeclined("a handler stands on the way"))
    assert (last(climbed).rung, last(climbed).reason) == (Rung.PARSE, "a handler stands on the way")
    assert call.asked == []
    assert not climbed.applied


@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_adapter_whose_text_is_wrong_is_not_run_and_no_loop_waits_for_the_answer(asynchronous: bool) -> None:
    class Checking:
        def problems(self, text: str) -> str:
            self.asked_in = threading.get_ident()
            return "main.py:2: no such name"

    call, sandbox = Call(Clock(), asynchronous=asynchronous), Checking()
    climbed = climb(call, fix_of(AdapterStep(text=body("return 1.0"))), sandbox=sandbox)
    assert (last(climbed).rung, last(climbed).outcome) == (Rung.PARSE, Outcome.FAILED)
    assert "main.py:2: no such name" in last(climbed).reason
    assert (sandbox.asked_in != threading.get_ident()) is asynchronous
    assert call.asked == []


@pytest.mark.parametrize(("acting", "passed"), [((STEP, FURTHER), True), ((STEP,), False), ((FURTHER,), False)])
def test_a_fix_of_several_repairs_is_one_that_needs_them_all(acting: tuple[RepairStep, ...], passed: bool) -> None:
    climbed = climb(Call(Clock(), acting=acting), fix_of(STEP, FURTHER))
    assert climbed.passed is passed
    assert passed or (last(climbed).rung, last(climbed).outcome) == (Rung.RUN, Outcome.FAILED)


def test_a_fix_whose_bytes_say_something_else_fails_the_first_rung() -> None:
    call = Call(Clock())
    altered = fix_of(STEP).model_copy(update={"confidence": 0.1})
    assert last(climb(call, altered)).rung is Rung.PARSE
    assert call.asked == []


def test_a_rung_that_fails_itself_says_no() -> None:
    class Broken(Call):
        def verify(self, value: object) -> ContractResult:
            raise RuntimeError("secret words of the application")

    climbed = climb(Broken(Clock()), fix_of(STEP))
    assert last(climbed).outcome is Outcome.FAILED
    assert last(climbed).reason == "it raised RuntimeError"


def test_a_good_call_that_changes_ends_the_climb() -> None:
    def changed(good: GoodCall) -> float:
        return -1.0 if current_probe.get() is not None and good.result == 2.0 else float(good.result)

    call = Call(Clock(), good_calls(5), good=changed)
    climbed = climb(call, fix_of(STEP))
    assert (last(climbed).rung, last(climbed).outcome) == (Rung.GOLDEN, Outcome.FAILED)
    assert "another result with the fix in force (2 did not)" in last(climbed).reason


def test_a_good_call_that_raises_with_the_fix_ends_the_climb() -> None:
    def raising(good: GoodCall) -> float:
        if current_probe.get() is not None:
            raise LookupError
        return float(good.result)

    assert last(climb(Call(Clock(), good_calls(1), good=raising), fix_of(STEP))).outcome is Outcome.FAILED


def test_a_good_call_that_is_no_more_says_nothing() -> None:
    call = Call(Clock(), good_calls(3), good=lambda good: -1.0)
    climbed = climb(call, fix_of(STEP))
    assert climbed.passed
    assert outcomes(climbed)[4] == (Rung.GOLDEN, Outcome.SKIPPED)
    assert "gave what they gave; 3 differ without the fix as well" in climbed.validation.rungs[4].reason


def test_the_replay_ends_with_its_budget_and_says_how_far_it_came() -> None:
    call = Call(Clock(), good_calls(10), takes=0.010)
    climbed = climb(call, fix_of(STEP), replay_seconds=0.035)
    assert call.asked.count("replay") == 3
    assert climbed.validation.rungs[4].reason == "3 of 10 good calls were made again and gave what they gave"


def test_the_replay_ends_where_another_call_as_long_as_the_longest_would_not_fit() -> None:
    clock = Clock()

    def slow(good: GoodCall) -> Any:
        clock.seconds += 0.030
        return good.result

    call = Call(clock, good_calls(10), good=slow)
    assert climb(call, fix_of(STEP), replay_seconds=0.050).passed
    assert call.asked.count("replay") == 1


def test_a_slow_call_is_not_replayed_at_all() -> None:
    call = Call(Clock(), good_calls(10), takes=5.0)
    climbed = climb(call, fix_of(STEP))
    assert "replay" not in call.asked
    assert climbed.validation.rungs[4].outcome is Outcome.SKIPPED
    assert "the time for more was up" in climbed.validation.rungs[4].reason


def test_where_nothing_may_be_called_again_no_good_call_is_replayed() -> None:
    call = Call(Clock(), good_calls(2), repeatable="boundary 'm' is not declared retry_safe")
    climbed = climb(call, fix_of(STEP))
    assert "replay" not in call.asked
    assert "not declared retry_safe" in climbed.validation.rungs[4].reason


@pytest.mark.parametrize(
    ("raises", "outcome"),
    [(ValueError(), Outcome.PASSED), (KeyError(), Outcome.FAILED), (None, Outcome.FAILED)],
)
def test_parameters_need_the_failure_to_come_again(raises: Exception | None, outcome: Outcome) -> None:
    call = Call(Clock(), tunable(), raises=raises)
    climbed = climb(call, fix_of(ParametersStep(arguments={"text": "1"})))
    assert outcomes(climbed)[1] == (Rung.REPRODUCE, outcome)
    assert ("again_with" in call.asked) is (outcome is Outcome.PASSED)


@pytest.mark.parametrize(
    ("valid", "outcome"), [(False, Outcome.PASSED), (True, Outcome.FAILED), (None, Outcome.FAILED)]
)
def test_parameters_for_a_broken_contract_need_it_broken_again(valid: bool | None, outcome: Outcome) -> None:
    call = Call(Clock(), tunable(), error=ContractViolation("too small"), contract=ContractResult(valid, "said so"))
    climbed = climb(call, fix_of(ParametersStep(arguments={"text": "1"})))
    assert outcomes(climbed)[1] == (Rung.REPRODUCE, outcome)
    assert ("again_with" in call.asked) is (outcome is Outcome.PASSED)


def test_what_a_human_has_to_approve_does_not_reach_the_trial() -> None:
    climbed = climb(Call(Clock()), fix_of(STEP), serves=False)
    assert climbed.passed
    assert (last(climbed).rung, last(climbed).outcome) == (Rung.TRIAL, Outcome.SKIPPED)


@pytest.mark.parametrize(("serves", "passed"), [(True, False), (False, True)])
def test_a_convention_that_nothing_looks_at_is_for_a_human(serves: bool, passed: bool) -> None:
    step = STEP.model_copy(update={"parameters": {"accept": "normalised"}})

    class Acting(Call):
        def again(self) -> float:
            probe = current_probe.get()
            frame = inspect.currentframe()
            assert probe is not None
            assert frame is not None
            probe.uses.append(FiredRepair("fix", step, Loss.NORMALISED, 1, True, frame))
            return 1.0

    call = Acting(Clock(), contract=ContractResult(None, "the boundary declares no contract"))
    assert climb(call, fix_of(step), serves=serves).passed is passed
    call.contract = ContractResult(None, "like 6 good calls", compared=True)
    assert climb(call, fix_of(step)).passed


def test_another_notation_of_the_same_value_needs_nobody_to_look_at_the_result() -> None:
    climbed = climb(Call(Clock(), contract=ContractResult(None, "the boundary declares no contract")), fix_of(STEP))
    assert climbed.passed
    assert outcomes(climbed)[3] == (Rung.CONTRACT, Outcome.SKIPPED)


def climbed_to(rung: Rung, outcome: Outcome = Outcome.FAILED) -> Validation:
    result = RungResult(rung=rung, outcome=outcome, reason="for the test", elapsed_ms=0.0)
    return Validation(
        validation_id=UUID(int=1), fix_id="fix", error_id=UUID(int=2), boundary="m", at=NOW, rungs=(result,)
    )


@pytest.mark.parametrize("rung", list(Rung))
def test_only_what_speaks_of_the_fix_itself_is_a_lesson(rung: Rung) -> None:
    lessons = Lessons(timedelta(hours=1))
    learned = lessons.learn(climbed_to(rung), "pattern")
    assert learned is (rung in {Rung.GOLDEN, Rung.NEIGHBOURS})
    assert (lessons.about("fix", "pattern", NOW) is not None) is learned
    assert lessons.about("fix", "another pattern", NOW) is None
    assert lessons.about("another fix", "pattern", NOW) is None


def test_a_lesson_wears_off() -> None:
    lessons = Lessons(timedelta(hours=1))
    lessons.learn(climbed_to(Rung.GOLDEN), "pattern")
    assert lessons.about("fix", "pattern", NOW + timedelta(minutes=59)) is not None
    assert lessons.about("fix", "pattern", NOW + timedelta(hours=1)) is None
    assert not lessons.learn(climbed_to(Rung.GOLDEN, Outcome.PASSED), "pattern")
