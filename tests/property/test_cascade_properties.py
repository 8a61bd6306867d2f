"""The algebra of plans: a chain's reward is the least of its members', whatever their order, and never more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.story import Known, Story, leaves

from healspan.remediation.cascade import chains
from healspan.remediation.judging import judge_plans, judge_run
from healspan.remediation.plan import Link, Plan, PlanOutcome, plan_reward
from healspan.remediation.regression import verdict

NOW = datetime(2026, 1, 1, tzinfo=UTC)

endings = st.fixed_dictionaries({"valid_output": st.sampled_from([True, None, False]), "degraded": st.booleans()})
chances = st.floats(min_value=0.01, max_value=1)
counts = st.integers(min_value=0, max_value=500)


def order(reward: int | None) -> int:
    """Failed is less than unknown, unknown less than good."""
    return {0: 0, None: 1, 1: 2}[reward]


def told(outcomes: list[dict[str, bool | None]]) -> tuple[int | None, list[int | None]]:
    """The reward of the plan that these endings make, and its members'."""
    story = Story()
    for number, ending in enumerate(outcomes):
        story.healed(f"b{number}", **ending)
    judged = judge_run(story.run, Known(runs=30), leaves)
    [plan] = judge_plans(story.run, judged, Known(runs=30), at=NOW, leaves=leaves)
    return plan.outcome.reward, [verdict(applied, criterion).reward for applied, criterion in judged]


def own(ending: dict[str, bool | None]) -> int | None:
    if ending["degraded"] or ending["valid_output"] is False:
        return 0
    return None if ending["valid_output"] is None else 1


@settings(max_examples=100, deadline=None)
@given(st.lists(endings, min_size=2, max_size=3))
def test_a_plan_gets_the_least_of_its_members_and_no_member_gets_more(outcomes: list[dict[str, bool | None]]) -> None:
    plan, members = told(outcomes)
    assert order(plan) == min(order(own(one)) for one in outcomes)
    assert all(order(member) <= order(plan) for member in members)


@settings(max_examples=50, deadline=None)
@given(st.lists(endings, min_size=2, max_size=3).flatmap(lambda one: st.tuples(st.just(one), st.permutations(one))))
def test_the_order_of_the_members_does_not_matter(
    both: tuple[list[dict[str, bool | None]], list[dict[str, bool | None]]],
) -> None:
    outcomes, permuted = both
    assert told(outcomes)[0] == told(permuted)[0]


@settings(max_examples=50, deadline=None)
@given(st.lists(endings, min_size=2, max_size=3), st.integers(min_value=0, max_value=2))
def test_one_member_doing_better_never_makes_a_plan_worse(outcomes: list[dict[str, bool | None]], which: int) -> None:
    better = list(outcomes)
    better[which % len(outcomes)] = {"valid_output": True, "degraded": False}
    assert order(told(better)[0]) >= order(told(outcomes)[0])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from("abcde"), max_size=12), st.sets(st.sampled_from("abcde")))
def test_a_chain_names_no_fix_twice_and_is_no_deeper_than_it_is_long(calls: list[str], independent: set[str]) -> None:
    story = Story()
    for boundary in calls:
        story.healed(boundary)
    known = Known(escaped={one: frozenset("abcde") for one in independent})
    found = chains(story.run, known, leaves)
    named = [(one.fix_id, one.boundary) for chain in found for one in chain.members]
    assert len(named) == len(set(named))
    assert all(2 <= chain.depth <= len(chain.members) for chain in found)
    assert all(
        [one.position for one in chain.members] == sorted(one.position for one in chain.members) for chain in found
    )


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from("abcde"), max_size=12))
def test_where_every_run_goes_on_without_its_fixes_there_is_no_chain(calls: list[str]) -> None:
    story = Story()
    for boundary in calls:
        story.healed(boundary)
    assert chains(story.run, Known(escaped=dict.fromkeys("abcde", frozenset("abcde"))), leaves) == []


@settings(deadline=None)
@given(st.lists(chances, min_size=2, max_size=3), counts, counts)
def test_the_reward_of_a_plan_lies_between_its_prior_and_its_record(
    members: list[float], successes: int, failures: int
) -> None:
    reward = plan_reward(members, successes, failures)
    assert 0 <= reward.expected <= 1
    if successes + failures:
        low, high = sorted((reward.prior, successes / (successes + failures)))
        assert low - 1e-9 <= reward.expected <= high + 1e-9
    else:
        assert abs(reward.lift - 1) < 1e-9


@settings(deadline=None)
@given(st.lists(chances, min_size=2, max_size=3), counts, counts)
def test_a_success_never_lowers_it_and_a_failure_never_raises_it(
    members: list[float], successes: int, failures: int
) -> None:
    now = plan_reward(members, successes, failures).expected
    assert plan_reward(members, successes + 1, failures).expected >= now
    assert plan_reward(members, successes, failures + 1).expected <= now


@settings(deadline=None)
@given(
    st.lists(st.builds(Link, boundary=st.text(max_size=5), fix_id=st.text(max_size=5)), min_size=2, max_size=3),
    st.integers(min_value=0, max_value=1_000),
)
def test_equal_chains_are_one_plan_whenever_they_are_found(links: list[Link], later: int) -> None:
    plan = Plan.of("p", {"k": "v"}, links, found_at=NOW)
    again = Plan.of("p", {"k": "v"}, links, found_at=NOW + timedelta(days=later))
    assert plan.plan_id == again.plan_id
    assert Plan.of("p", {}, links, found_at=NOW).plan_id != plan.plan_id
    backwards = Plan.of("p", {"k": "v"}, links[::-1], found_at=NOW)
    assert (backwards.plan_id == plan.plan_id) == (links == links[::-1])
    run = Story().run
    outcomes = [PlanOutcome.of(one, run.run_id, 1, "r", at=NOW).outcome_id for one in (plan, again)]
    assert outcomes[0] == outcomes[1]
