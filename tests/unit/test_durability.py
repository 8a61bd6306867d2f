"""Durability: days of use, days of failure, and what they make probable."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from healspan.analytics.durability import HORIZON_DAYS, Days, durability
from healspan.remediation.store.analysis import OutcomeFact

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def fact(reward: int | None, ago: timedelta = timedelta(), *, shadow: bool = False) -> OutcomeFact:
    return OutcomeFact("f", "revenue", "", "p", "e", NOON - ago, reward, 1, shadow)


def counted(*facts: OutcomeFact) -> tuple[int, int] | None:
    days = Days()
    assert [*days.noted(facts)] == [*facts]
    found = days.durabilities().get("f")
    return None if found is None else (found.days, found.failing_days)


@pytest.mark.parametrize(
    ("days", "mean", "bound"), [(0, 0.72, 0.28), (14, 0.82, 0.52), (60, 0.92, 0.78), (180, 0.97, 0.91)]
)
def test_days_without_a_failure_raise_it(days, mean, bound):
    found = durability(days, 0)
    assert found.mean == pytest.approx(mean, abs=0.01)
    assert found.lower_bound == pytest.approx(bound, abs=0.01)


@given(st.integers(0, 2_000), st.integers(0, 50))
def test_it_is_a_probability_that_days_raise_and_failures_lower(days: int, failing: int) -> None:
    found = durability(days + failing, failing)
    assert 0.0 < found.lower_bound < found.mean < 1.0
    assert durability(days + failing + 1, failing).lower_bound > found.lower_bound
    assert durability(days + failing, failing + 1).lower_bound < found.lower_bound


def test_the_bound_is_below_the_truth_about_as_often_as_it_says():
    random = np.random.default_rng(1)
    rates = random.gamma(0.5, 1 / 15.0, 2_000)
    days = random.integers(1, 90, 2_000)
    failing = random.poisson(rates * days)
    truth = np.exp(-rates * HORIZON_DAYS)
    bounds = np.array([durability(int(t), int(d)).lower_bound for t, d in zip(days, failing, strict=True)])
    assert 0.87 < float((bounds <= truth).mean()) < 0.93


def test_a_fix_that_never_worked_has_none():
    assert counted(fact(0), fact(None), fact(1, shadow=True)) is None


def test_days_count_once_and_only_those_since_the_first_success():
    day = timedelta(days=1)
    facts = [
        fact(0, 5 * day),
        fact(1, 4 * day),
        fact(1, 4 * day + timedelta(hours=1)),
        fact(0, 2 * day),
        fact(0, 2 * day),
        fact(None, 1 * day),
        fact(1),
    ]
    assert counted(*facts) == counted(*reversed(facts)) == (3, 1)


def test_a_failure_on_the_first_day_counts_if_it_came_after_the_success():
    hour = timedelta(hours=1)
    assert counted(fact(0, 2 * hour), fact(1, hour)) == (1, 0)
    assert counted(fact(1, 2 * hour), fact(0, hour)) == (1, 1)
