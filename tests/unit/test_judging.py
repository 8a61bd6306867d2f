"""The verdicts of a run whose fixes need each other: they share one fate, and so do their plans."""

from __future__ import annotations

from datetime import UTC, datetime

from tests.story import Known, Story, leaves

from healspan.remediation.judging import judge_plans, judge_run
from healspan.remediation.plan import Link, Plan
from healspan.remediation.regression import verdict
from healspan.remediation.run import Applied, Failed

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def rewards(story: Story, evidence: Known | None = None) -> list[int | None]:
    known = evidence or Known(runs=30)
    judged = judge_run(story.run, known, leaves)
    return [one.outcome.reward for one in judge_plans(story.run, judged, known, at=NOW, leaves=leaves)]


def test_a_plan_succeeds_if_all_of_it_does() -> None:
    assert rewards(Story().healed("a").healed("b").healed("c")) == [1]
    assert rewards(Story().healed("a").healed("b", degraded=True)) == [0]
    assert rewards(Story().healed("a").healed("b", valid_output=None)) == [None]


def test_a_plan_of_which_nothing_is_known_names_the_first_reason() -> None:
    story = Story().healed("a", valid_output=None).healed("b", valid_output=None)
    known = Known(runs=30)
    [plan] = judge_plans(story.run, judge_run(story.run, known, leaves), known, at=NOW, leaves=leaves)
    assert plan.outcome.reason == "a has no contract that its value keeps"


def test_of_two_chains_each_has_its_own_fate() -> None:
    story = Story().healed("a1").healed("b1").healed("a2").healed("b2", valid_output=False)
    apart = Known(runs=30, escaped={"a1": frozenset({"a2", "b2"}), "b1": frozenset({"a2", "b2"})})
    judged = judge_run(story.run, apart, leaves)
    assert {applied.boundary: criterion.value for applied, criterion in judged} == {
        "a1": True, "b1": True, "a2": False, "b2": True,
    }  # fmt: skip
    assert [verdict(*one).reward for one in judged] == [1, 1, 0, 0]
    assert not any(verdict(*one).harmed for one in judged), "nothing broke because the rest of a cascade failed"


def test_a_plan_deeper_than_allowed_has_failed_even_if_installed_repairs_came_through() -> None:
    story = Story()
    for boundary in "abcd":
        story.run.reach(boundary)
        instead = Failed("", boundary, error_type="builtins.ValueError")
        story.run.applied(Applied(f"fix:{boundary}", boundary, resolved=True, valid_output=True, instead_of=instead))
    assert rewards(story) == [0]
    assert {criterion.value for _, criterion in judge_run(story.run, Known(runs=30), leaves)} == {False}


def test_a_known_plan_whose_next_member_did_not_heal_has_failed() -> None:
    links = [Link(boundary=name, fix_id=f"fix:{name}") for name in "abc"]
    whole, part = (Plan.of("p", {}, some, found_at=NOW) for some in (links, links[1:]))
    story = Story().healed("a").healed("b")
    story.failed("c")
    known = Known(runs=30, known=(whole, part))
    outcomes = judge_plans(story.run, judge_run(story.run, known, leaves), known, at=NOW, leaves=leaves)
    assert [(one.plan.plan_id, one.outcome.reward) for one in outcomes] == [(whole.plan_id, 0)]


def test_a_known_plan_whose_next_member_was_not_needed_has_not_failed() -> None:
    whole = Plan.of("p", {}, [Link(boundary=name, fix_id=f"fix:{name}") for name in "abc"], found_at=NOW)
    story = Story().healed("a").healed("b")
    story.failed("elsewhere")
    known = Known(runs=30, known=(whole,))
    outcomes = judge_plans(story.run, judge_run(story.run, known, leaves), known, at=NOW, leaves=leaves)
    assert whole.plan_id not in {one.plan.plan_id for one in outcomes}
