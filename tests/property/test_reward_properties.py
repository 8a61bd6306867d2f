"""What holds of rewards whatever the outcomes."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from healspan.analytics.evidence import Outcome
from healspan.analytics.reward import rewards

NOW = 1_800_000_000.0
FIXES = ("a", "b", "c")
FAMILIES = {"a": "ValueError", "b": "ValueError", "c": "KeyError"}

one = st.builds(
    Outcome,
    fix_id=st.sampled_from(FIXES),
    context=st.sampled_from(("10-K", "10-Q")),
    signature=st.sampled_from(("p", "q")),
    failure=st.integers(0, 10_000).map(str),
    at=st.floats(NOW - 100 * 86_400, NOW + 3_600),
    reward=st.sampled_from((0, 1, None)),
    times=st.integers(1, 50),
    shadow=st.booleans(),
)
history = st.lists(one, max_size=25)
fresh = one.map(lambda outcome: outcome._replace(failure="a failing call of its own"))


def scores(outcomes):
    return {score.fix_id: score for score in rewards(outcomes, FAMILIES, NOW)}


@given(history, fresh)
@settings(max_examples=150, deadline=None)
def test_one_more_success_never_lowers_a_fix(outcomes, more):
    before = scores(outcomes)[more.fix_id]
    after = scores([*outcomes, more._replace(reward=1)])[more.fix_id]
    assert after.score >= before.score - 1e-9
    assert after.mean_score >= before.mean_score - 1e-9


@given(history, fresh)
@settings(max_examples=150, deadline=None)
def test_one_more_failure_never_raises_a_fix(outcomes, more):
    before = scores(outcomes)[more.fix_id]
    after = scores([*outcomes, more._replace(reward=0)])[more.fix_id]
    assert after.score <= before.score + 1e-9
    assert after.mean_score <= before.mean_score + 1e-9


@given(history)
@settings(max_examples=100, deadline=None)
def test_scores_are_finite_inside_and_below_their_mean_score_for_any_outcomes_also_none(outcomes):
    for score in rewards(outcomes, FAMILIES, NOW):
        assert 0 < score.score < 1
        assert 0 < score.mean_score < 1
        assert all(math.isfinite(value) for value in score.components.values())
        assert all(0 <= context.lower_bound <= 1 for context in score.contexts)


@given(history, st.data())
@settings(max_examples=100, deadline=None)
def test_the_same_outcomes_twice_say_no_more_than_once(outcomes, data):
    again = data.draw(st.lists(st.sampled_from(outcomes), max_size=10)) if outcomes else []
    assert rewards([*outcomes, *again], FAMILIES, NOW) == rewards(outcomes, FAMILIES, NOW)


@given(history, st.randoms())
@settings(max_examples=100, deadline=None)
def test_the_order_of_outcomes_does_not_matter(outcomes, random):
    shuffled = list(outcomes)
    random.shuffle(shuffled)
    assert rewards(shuffled, FAMILIES, NOW) == rewards(outcomes, FAMILIES, NOW)


@given(history)
@settings(max_examples=50, deadline=None)
def test_a_fix_is_worth_less_certain_credit_as_its_evidence_ages(outcomes):
    ages = [rewards(outcomes, FAMILIES, NOW + days * 86_400) for days in (1, 40, 400)]
    for young, old, ancient in zip(*ages, strict=True):
        assert young.evidence >= old.evidence >= ancient.evidence
