"""Composition: what is joined, what is not, and where a search ends."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.facts import make_fix, make_incident
from tests.unit.test_ladder import STEP, fix_of

from healspan.remediation.boundary import FailedCall, FailingFrame
from healspan.remediation.composition import MOST_STEPS, Composer, combined
from healspan.remediation.diagnosis import Waiting
from healspan.remediation.errors import StepInapplicable
from healspan.remediation.fix import FixDraft, RiskLevel
from healspan.remediation.incident import Incident
from healspan.remediation.progress import Progress
from healspan.remediation.step import (
    FallbackStep,
    FramePath,
    ParametersStep,
    RepairStep,
    RetryStep,
    Step,
    StrategyStep,
)

OTHER = STEP.model_copy(update={"expression": "int(text)", "line": 2, "end_line": 2})
STRATEGY = StrategyStep(strategy="other")


def draft(*steps: Step, risk: RiskLevel = RiskLevel.LOW) -> FixDraft:
    content = {name: getattr(make_fix(), name) for name in FixDraft.model_fields}
    return FixDraft(**{**content, "steps": steps, "risk_level": risk})


@dataclass
class Call:
    """A call that fails at one line, and then at others."""

    line: int
    then: list[int] = field(default_factory=list)
    incident: Incident = field(default_factory=make_incident)
    repeatable: str | None = None

    @property
    def path(self) -> FramePath:
        return (("app", "read", f"line {self.line}"),)

    @property
    def frames(self) -> tuple[FailingFrame, ...]:
        return (FailingFrame((lambda: None).__code__, "app", "read", (self.line, self.line, 0, 1), True),)

    def after(self, error: Exception) -> Call:
        return Call(self.then[0], self.then[1:])


class Told:
    """A diagnoser that says what it is told to."""

    name = "told"
    composes = True
    waits = False

    def __init__(self, *drafts: FixDraft) -> None:
        self.drafts = drafts
        self.asked: list[int] = []

    def candidates(self, call: Any, progress: Progress) -> Generator[FixDraft | Waiting, None, None]:
        self.asked.append(call.line)
        yield from self.drafts


def composer(call: Call, told: Told, *, until: float = 1.0) -> Composer:
    return Composer(cast("FailedCall", call), told, until=until, clock=lambda: 0.5)


def beyond(call: Call, told: Told, *steps: Step, acted: tuple[RepairStep, ...] = (), **kwargs: Any) -> list[Any]:
    searching = composer(call, told, **kwargs)
    found = searching.beyond(fix_of(*steps), ValueError(), acted, searching.first)
    return [one.steps for one, _ in found]


@pytest.mark.parametrize(
    ("steps", "more", "joined"),
    [
        ((STEP,), OTHER, (STEP, OTHER)),
        ((STEP,), RetryStep(), (STEP, RetryStep())),
        ((STRATEGY,), OTHER, (OTHER, STRATEGY)),
        ((STEP,), STRATEGY, None),
        ((STEP,), FallbackStep(), None),
        ((STEP,), ParametersStep(arguments={"a": 1}), None),
        ((STRATEGY,), RetryStep(), None),
        ((STEP, STRATEGY), RetryStep(), None),
        ((FallbackStep(),), OTHER, None),
        ((RetryStep(),), OTHER, None),
    ],
)
def test_only_steps_that_need_each_other_are_joined(steps: tuple[Step, ...], more: Step, joined: Any) -> None:
    acted = tuple(step for step in steps if isinstance(step, RepairStep))
    found = beyond(Call(1, [2]), Told(draft(more)), *steps, acted=acted)
    assert found == ([] if joined is None else [joined])


def test_a_repair_that_did_not_act_is_not_built_upon() -> None:
    told = Told(draft(OTHER))
    assert beyond(Call(1, [2]), told, STEP) == []
    assert told.asked == []


def test_the_same_expression_failing_again_ends_the_search() -> None:
    told = Told(draft(OTHER))
    assert beyond(Call(1, [1]), told, STEP, acted=(STEP,)) == []
    assert told.asked == []


def test_a_failure_met_before_on_the_way_ends_the_search() -> None:
    told = Told(draft(OTHER))
    searching = composer(Call(1, [2]), told)
    [(first, lead)] = searching.beyond(fix_of(STEP), ValueError(), (STEP,), searching.first)
    assert lead.paths == ((("app", "read", "line 2"),),)
    assert list(searching.beyond(fix_of(*first.steps), ValueError(), (STEP, OTHER), lead)) == []


def test_an_error_of_our_own_is_nothing_to_diagnose() -> None:
    searching = composer(Call(1, [2]), Told(draft(OTHER)))
    assert list(searching.beyond(fix_of(STEP), StepInapplicable("no"), (STEP,), searching.first)) == []


def test_a_failure_that_cannot_be_looked_at_ends_the_search_and_nothing_else() -> None:
    told = Told(draft(OTHER))
    assert beyond(Call(1, []), told, STEP, acted=(STEP,)) == []
    assert told.asked == []


def test_a_call_that_must_not_be_made_again_is_not_searched() -> None:
    told = Told(draft(OTHER))
    assert beyond(Call(1, [2], repeatable="not retry_safe"), told, STRATEGY) == []
    assert told.asked == []


def test_a_search_ends_with_its_time() -> None:
    assert beyond(Call(1, [2]), Told(draft(OTHER)), STEP, acted=(STEP,), until=0.1) == []


def test_a_fix_has_no_more_steps_than_a_human_can_follow() -> None:
    steps = tuple(STEP.model_copy(update={"line": line, "end_line": line}) for line in range(1, MOST_STEPS + 1))
    assert beyond(Call(1, [9]), Told(draft(OTHER)), *steps, acted=steps) == []


def test_the_same_question_is_asked_once() -> None:
    told = Told(draft(OTHER))
    searching = composer(Call(1, [2]), told)
    looser = STEP.model_copy(update={"parameters": {"accept": "normalised"}})
    assert len(list(searching.beyond(fix_of(STEP), ValueError(), (STEP,), searching.first))) == 1
    assert list(searching.beyond(fix_of(looser), ValueError(), (looser,), searching.first)) == []


levels = st.sampled_from(list(RiskLevel))


@settings(deadline=None)
@given(levels, levels, st.floats(0, 1), st.floats(0, 1))
def test_a_combination_is_as_risky_as_its_riskiest_and_no_surer_than_its_least_sure(
    one: RiskLevel, other: RiskLevel, sure: float, unsure: float
) -> None:
    first = draft(STEP, risk=one).model_copy(update={"confidence": sure})
    second = draft(OTHER, risk=other).model_copy(update={"confidence": unsure})
    joined = combined(first, second, (STEP, OTHER))
    order = list(RiskLevel)
    assert order.index(joined.risk_level) == max(order.index(one), order.index(other))
    assert joined.confidence <= min(sure, unsure)
    assert joined.scope == first.scope


def test_a_combination_says_once_what_both_say_and_else_what_each_says() -> None:
    first, alike = draft(STEP), draft(OTHER)
    same = combined(first, alike, (STEP, OTHER))
    assert (same.origin, same.fix_type, same.risk_assessment) == (first.origin, first.fix_type, first.risk_assessment)
    told = {"origin": "claude", "fix_type": "adapter", "risk_assessment": "Runs in the sandbox."}
    other = combined(first, alike.model_copy(update=told), (STEP, OTHER))
    assert (other.origin, other.fix_type) == (f"{first.origin}+claude", "composition")
    assert other.risk_assessment == f"{first.risk_assessment} Runs in the sandbox."
