"""How chains are found, and where they must not grow; nothing runs here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from tests.facts import make_fix, make_repair
from tests.story import Known, Story, leaves, stays

from healspan.remediation.cascade import chains, conflict, depends, leaves_the_run, may_depend, stopped, writes
from healspan.remediation.fix import Fix
from healspan.remediation.given import given, same_input, steady
from healspan.remediation.plan import DEEPEST
from healspan.remediation.run import Applied, Failed, Run
from healspan.remediation.step import (
    FallbackStep,
    ParametersStep,
    RetryStep,
    Step,
    StrategyStep,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def names(story: Story, evidence: Known | None = None, rule: Callable[[Failed], bool] = leaves) -> list[list[str]]:
    return [[one.boundary for one in chain.members] for chain in chains(story.run, evidence or Known(), rule)]


# Finding a chain


def test_a_chain_needs_evidence_of_what_happens_without_the_fix() -> None:
    story = Story().healed("a").healed("b")
    assert names(story, rule=leaves) == [["a", "b"]]
    assert names(story, rule=stays) == []
    assert names(story, Known(escaped={"a": frozenset()}), rule=stays) == [["a", "b"]]


def test_a_run_that_went_on_without_the_fix_has_shown_that_there_is_no_cascade() -> None:
    story = Story().healed("a").healed("b")
    assert names(story, Known(escaped={"a": frozenset({"b"})}), rule=leaves) == []


def test_a_boundary_that_was_reached_before_the_fix_acted_does_not_depend_on_it() -> None:
    story = Story()
    story.run.reach("b")
    assert names(story.healed("a").healed("b")) == []


def test_a_chain_holds_each_fix_once_and_none_that_nothing_depends_on() -> None:
    story = Story()
    for boundary in ("x", "a", "b"):
        story.run.reach("x")
        story.healed(boundary)
        story.healed(boundary)
    evidence = Known(escaped={"x": frozenset({"a", "b"})})
    assert names(story, evidence) == [["a", "b"]]


def test_two_chains_of_one_run_are_two_plans() -> None:
    story = Story()
    story.healed("a1").healed("b1").healed("a2").healed("b2")
    evidence = Known(escaped={"a1": frozenset({"a2", "b2"}), "b1": frozenset({"a2", "b2"})})
    assert names(story, evidence) == [["a1", "b1"], ["a2", "b2"]]


def test_an_outer_call_that_went_on_because_of_an_inner_fix_belongs_to_its_chain() -> None:
    story = Story()
    story.run.reach("outer")
    story.healed("inner", within=(7,)).healed("outer_", call=0)
    assert names(story, Known(escaped={"inner": frozenset({"outer_"})})) == []
    story = Story()
    story.run.reach("outer")
    story.healed("inner", within=(7,))
    error_id = uuid4()
    story.run.note(Failed("p:outer", "outer", error_id=error_id, call=7))
    story.run.applied(Applied("fix:outer", "outer", resolved=True, valid_output=True, error_id=error_id))
    assert names(story) == [["inner", "outer"]]


def test_another_call_of_an_outer_boundary_did_not_go_on_because_of_the_inner_fix() -> None:
    story = Story()
    story.run.reach("outer")
    story.healed("inner", within=(7,))
    error_id = uuid4()
    story.run.note(Failed("p:outer", "outer", error_id=error_id, call=8))
    assert not contended(story, STRATEGY, "outer")
    story.run.applied(Applied("fix:outer", "outer", resolved=True, valid_output=True, error_id=error_id))
    assert names(story) == []


def test_what_a_run_never_came_to_depends_on_nothing() -> None:
    story = Story().healed("a")
    [member] = story.run.members()
    assert not depends(story.run, member, "never", Known(), leaves)
    assert not may_depend(story.run, member, "never", Known())


def test_what_came_after_a_fix_may_depend_on_it_until_a_run_has_shown_what_happens_without() -> None:
    story = Story()
    story.run.reach("before")
    story.healed("a").run.reach("after")
    [member] = story.run.members()
    assert may_depend(story.run, member, "after", Known())
    assert not may_depend(story.run, member, "before", Known())
    assert not may_depend(story.run, member, "after", Known(escaped={"a": frozenset()}))


def test_a_failure_leaves_the_run_for_certain_only_where_the_code_on_its_way_can_be_read() -> None:
    assert not leaves_the_run(Failed("p", "a", error_type="builtins.ValueError"))
    unread = (("no_such_module", "run", "return read(text)"),)
    assert not leaves_the_run(Failed("p", "a", error_type="builtins.ValueError", way=unread))


# Where it must not grow


def test_three_fixes_deep_is_allowed_and_a_fourth_is_not() -> None:
    story = Story()
    for number in range(DEEPEST):
        boundary = f"b{number}"
        story.failed(boundary)
        assert stopped(story.run, f"p:{boundary}", boundary, leaves) is None
        story.healed(boundary)
    story.failed("last")
    reason = stopped(story.run, "p:last", "last", leaves)
    assert reason is not None
    assert "deeper than 3: b0 -> b1 -> b2 -> last" in reason
    assert stopped(story.run, "p:last", "last", stays) is None


@pytest.mark.parametrize("more", ["", "x"])
def test_once_too_deep_the_rest_of_the_run_is_not_healed_either(more: str) -> None:
    # Every run comes to these two, whatever failed in it.
    beside = frozenset({"x", "elsewhere"})
    story = Story(Run("p", evidence=Known(escaped=dict.fromkeys("abc", beside))))
    for boundary in ("a", "b", "c", *more):
        story.healed(boundary)
    assert stopped(story.run, "p:elsewhere", "elsewhere", stays) is None
    story.failed("d")
    story.failed("elsewhere")
    assert "a -> b -> c -> d" in str(stopped(story.run, "p:elsewhere", "elsewhere", stays))


def test_the_same_pattern_twice_in_a_chain_is_a_circle() -> None:
    story = Story().healed("a", pattern="same")
    story.failed("b", pattern="same")
    assert "circle" in str(stopped(story.run, "same", "b", leaves))
    assert stopped(story.run, "other", "b", leaves) is None


def test_the_same_failure_of_the_same_input_may_come_round_twice() -> None:
    story = Story()
    for _ in range(2):
        story.failed("a")
        assert stopped(story.run, "p:a", "a", stays) is None
        story.healed("a").failed("b")
    story.failed("a")
    assert "circle: a fails 3 times in the same way" in str(stopped(story.run, "p:a", "a", stays))


def test_what_comes_in_between_does_not_hide_a_circle() -> None:
    story = Story()
    for _ in range(2):
        story.healed("a", x="page").failed("b")
        story.healed("a", x="another page")
    story.failed("a", x="page")
    assert "circle" in str(stopped(story.run, "p:a", "a", stays))


def test_another_input_each_time_is_no_circle() -> None:
    story = Story()
    for number in range(10):
        story.failed("a", x=number)
        assert stopped(story.run, "p:a", "a", stays) is None
        story.healed("a", x=number).failed("b")


def test_outside_a_pipeline_there_is_no_chain() -> None:
    run = Run(None)
    run.note(Failed("p", "a", error_id=uuid4()))
    assert stopped(run, "p", "a", leaves) is None


# What a fix sets, and who else does


def fix_of(*steps: Step) -> Fix:
    return make_fix().model_copy(update={"steps": steps, "fix_id": str(steps)})


@pytest.mark.parametrize(
    ("step", "written"),
    [
        (StrategyStep(strategy="other"), {("output", "b")}),
        (FallbackStep(), {("output", "b")}),
        (ParametersStep(arguments={"x": 1, "y": 2}), {("argument", "b", "x"), ("argument", "b", "y")}),
        (make_repair(), {("expression", "app", "read", "1:4-1:15")}),
        (RetryStep(), set()),
    ],
)
def test_what_each_kind_of_step_sets(step: Step, written: set[tuple[str, ...]]) -> None:
    assert writes(fix_of(step), "b") == written


def contended(story: Story, fix: Fix, boundary: str) -> bool:
    failing = story.run.open_failures()[-1]
    assert failing.boundary == boundary
    return conflict(story.run, fix, failing) is not None


STRATEGY = fix_of(StrategyStep(strategy="other"))


def test_two_fixes_that_answer_the_same_call_on_the_same_input_contend_for_its_output() -> None:
    story = Story().healed("b", x="page")
    story.failed("b", x="page")
    assert contended(story, STRATEGY, "b")
    assert not contended(story, fix_of(RetryStep()), "b")
    assert not contended(story, fix_of(ParametersStep(arguments={"x": 1})), "b")


def test_the_same_fix_again_or_another_input_is_no_conflict() -> None:
    story = Story().healed("b", x="page", fix=STRATEGY.fix_id)
    story.failed("b", x="page")
    assert not contended(story, STRATEGY, "b")
    story = Story().healed("b", x="page")
    story.failed("b", x="another")
    assert not contended(story, STRATEGY, "b")


def test_what_replaces_a_whole_call_contends_with_what_made_a_value_inside_it() -> None:
    def nested(written: tuple[str, ...], *, again: bool = False) -> Story:
        story = Story()
        story.run.reach("outer")
        story.healed("inner", within=(7,), writes=frozenset({written}))
        if again:
            story.run.reach("outer")
        story.run.note(Failed("p", "outer", error_id=uuid4(), call=7))
        return story

    assert contended(nested(("output", "inner")), STRATEGY, "outer")
    assert contended(nested(("argument", "inner", "x")), STRATEGY, "outer")
    assert not contended(nested(("expression", "app", "read", "1:4-1:15")), STRATEGY, "outer")
    assert not contended(nested(("output", "inner")), fix_of(RetryStep()), "outer")
    # The name of a call that has ended is used again by the next one.
    assert not contended(nested(("output", "inner"), again=True), STRATEGY, "outer")


# Inputs


def test_two_inputs_are_the_same_only_where_that_is_certain() -> None:
    class Thing:
        pass

    one, other = Thing(), Thing()
    assert same_input(given(["a", 1, one]), given(["a", 1, one]))
    assert not same_input(given([one]), given([other]))
    assert not same_input(given([1]), given([True]))
    assert not same_input(given([[]]), given([[]]))
    gone = given([Thing()])
    assert not same_input(gone, gone)


def test_an_input_is_steady_if_nothing_in_it_can_be_set() -> None:
    @dataclass(frozen=True)
    class Frozen:
        x: int

    @dataclass
    class Thawed:
        x: int

    class Inherits(Frozen):
        pass

    assert steady([1, "a", None, Frozen(1), NOW_FIX])
    assert not steady([Thawed(1)])
    assert not steady([Inherits(1)])
    assert not steady([[]])


NOW_FIX = make_fix()
"""A record of ours is a frozen pydantic model."""
