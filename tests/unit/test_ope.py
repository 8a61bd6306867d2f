"""What another rule of selection would have been worth, from the log of the one in force."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

import pytest

from healspan.analytics.ope import LEAST_SAMPLES, Logged, evaluate

TRUE = {("10-K", "a"): 0.9, ("10-K", "b"): 0.4, ("10-Q", "a"): 0.2, ("10-Q", "b"): 0.8}


def log(number: int, *, seed: int = 1, mostly: str = "a", sure: float = 0.8) -> list[Logged]:
    """Choices of a rule that mostly takes one fix, and their true outcomes."""
    chance = Random(seed)
    found = []
    for position in range(number):
        context = chance.choice(["10-K", "10-Q"])
        other = "b" if mostly == "a" else "a"
        chosen = mostly if chance.random() < sure else other
        reward = int(chance.random() < TRUE[context, chosen])
        propensity = sure if chosen == mostly else 1.0 - sure
        found.append(Logged(context, ("a", "b"), chosen, propensity, reward, f"pattern {position % 40}"))
    return found


def by_context(one: Logged) -> Mapping[str, float]:
    return {"a": 1.0} if one.context == "10-K" else {"b": 1.0}


def always(fix_id: str):
    return lambda one: {fix_id: 1.0}


def test_another_rule_is_judged_without_ever_having_been_used() -> None:
    found = evaluate(log(4_000), by_context)
    truth = (0.9 + 0.8) / 2
    assert found.snips == pytest.approx(truth, abs=0.04)
    assert found.doubly_robust == pytest.approx(truth, abs=0.04)
    assert found.interval is not None
    assert found.interval[0] < truth < found.interval[1] + 0.02
    assert found.logged is not None
    assert found.logged < truth - 0.1


def test_a_rule_that_does_what_was_logged_is_worth_what_was_reached() -> None:
    choices = log(1_000)
    found = evaluate(choices, lambda one: {"a": 0.8, "b": 0.2})
    assert found.snips == pytest.approx(found.logged)
    assert found.effective == pytest.approx(1_000)


def test_the_better_of_two_rules_comes_out_ahead() -> None:
    choices = log(3_000)
    values = {name: evaluate(choices, always(name)).doubly_robust for name in "ab"}
    assert values["a"] is not None
    assert values["b"] is not None
    assert values["b"] > values["a"]


def test_nobody_can_tell_where_the_log_is_silent() -> None:
    found = evaluate(log(60, sure=0.95), always("b"))
    assert found.effective < LEAST_SAMPLES
    assert (found.snips, found.doubly_robust, found.interval) == (None, None, None)
    assert found.choices == 60
    never = evaluate(log(60), always("c"))
    assert never.effective == 0.0


def test_an_empty_log_says_nothing() -> None:
    found = evaluate([], by_context)
    assert (found.choices, found.logged, found.snips) == (0, None, None)


def test_the_order_of_the_log_does_not_matter() -> None:
    choices = log(500)
    assert evaluate(choices, by_context) == evaluate(choices[::-1], by_context)


def test_one_unlikely_choice_does_not_decide_everything() -> None:
    lucky = Logged("10-K", ("a", "b"), "b", 0.01, 1, "pattern 0")
    choices = [*log(400), lucky]
    found = evaluate(choices, always("b"))
    without = evaluate(choices[:-1], always("b"))
    assert found.snips is not None
    assert without.snips is not None
    assert abs(found.snips - without.snips) < 0.05
