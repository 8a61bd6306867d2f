"""Masking: how much of its boundary's calls a fix is sure to heal, and what is said of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from healspan.analytics.masking import MaskingLimits, Share, at_least, draft, is_alarm, shares, window
from healspan.remediation.store.analysis import CallFact, HealFact
from healspan.remediation.store.masking import GROWTH, closed_through

NOW = datetime(2026, 11, 20, 12, 34, tzinfo=UTC)
HOUR = datetime(2026, 11, 20, 12, tzinfo=UTC)
LIMITS = MaskingLimits()

hours = st.lists(
    st.integers(0, 500).flatmap(lambda calls: st.tuples(st.integers(0, calls), st.just(calls))), max_size=30
)


def ago(number: int) -> datetime:
    return HOUR - timedelta(hours=number)


def test_the_window_begins_at_a_full_hour():
    assert window(NOW, LIMITS) == ago(24)


def test_a_steady_share_is_known_well():
    bound = at_least([10] * 24, [100] * 24)
    assert 0.08 < bound < 0.1


def test_what_failed_within_one_hour_says_nothing_of_the_others():
    assert at_least([2_400, *[0] * 23], [2_500, *[100] * 23]) == 0.0


def test_two_hours_are_too_few():
    assert at_least([100, 100], [100, 100]) == 0.0


@given(hours)
def test_a_bound_is_never_above_the_share_nor_below_nothing(found: list[tuple[int, int]]) -> None:
    healed, calls = [one for one, _ in found], [one for _, one in found]
    bound = at_least(healed, calls)
    assert 0.0 <= bound <= (sum(healed) / sum(calls) if sum(calls) else 0.0)


@pytest.mark.parametrize("spread", [0.0, 0.02])
def test_the_bound_is_too_high_about_as_seldom_as_it_says(spread):
    random = np.random.default_rng(1)
    above = 0
    for _ in range(400):
        rates = np.clip(random.normal(0.06, spread, 24), 0.001, 0.2)
        calls = random.integers(50, 500, 24)
        above += at_least(list(random.binomial(calls, rates)), list(calls)) > 0.06
    assert above / 400 < 0.09


def test_shares_add_up_contexts_and_leave_other_boundaries_out():
    calls = [CallFact("revenue", context, ago(hour), 50) for context in ("a", "b") for hour in range(5)]
    calls.append(CallFact("cogs", "", ago(0), 1_000))
    heals = [HealFact("f", "revenue", ago(hour), 10) for hour in range(5)]
    (one,) = shares(heals, calls)
    assert (one.fix_id, one.boundary, one.healed, one.calls) == ("f", "revenue", 50, 500)
    assert one.share == 0.1


def test_an_hour_whose_calls_nobody_told_of_says_nothing():
    told = [CallFact("revenue", "", ago(hour), 100) for hour in (1, 2, 3)]
    heals = [HealFact("f", "revenue", ago(hour), 10) for hour in (0, 1, 2, 3)]
    (one,) = shares(heals, [*told, CallFact("revenue", "", ago(0), 4)])
    assert (one.healed, one.calls) == (30, 300)
    assert shares(heals, []) == ()


def test_a_call_that_was_told_of_on_the_other_side_of_a_full_hour_is_a_call():
    (one,) = shares([HealFact("f", "revenue", ago(0), 7)], [CallFact("revenue", "", ago(0), 6)])
    assert (one.healed, one.calls) == (7, 7)


def test_an_alarm_needs_a_sure_share_and_enough_heals():
    assert is_alarm(Share("f", "b", 50, 500, 0.08), LIMITS, was=False)
    assert not is_alarm(Share("f", "b", 49, 490, 0.08), LIMITS, was=False)
    assert not is_alarm(Share("f", "b", 50, 500, 0.05), LIMITS, was=False)


def test_an_alarm_ends_when_the_share_itself_is_small_enough():
    assert is_alarm(Share("f", "b", 30, 500, 0.03), LIMITS, was=True)
    assert not is_alarm(Share("f", "b", 25, 500, 0.03), LIMITS, was=True)


def test_a_ticket_says_what_how_often_since_when_and_what_to_do():
    one = Share("f" * 64, "revenue", 1_250, 10_000, 0.11)
    began = NOW - timedelta(days=3)
    first = draft(one, instruction="Read it so.", serves_since=began, limits=LIMITS, earlier={}, now=NOW)
    assert first.title == "revenue: one fix heals 12% of all calls"
    for words in (
        "fix ffffffffffff. Read it so.",
        "1,250 of the 10,000 calls of revenue in 24 hours (12.5%; with 95 % confidence more than 11.0%)",
        "noticed on 2026-11-20 12:34 UTC; the fix serves since 2026-11-17 12:34 UTC",
        "architectural deficiency",
        "healspan review answer ffffffffffff",
    ):
        assert words in first.ticket
    later = NOW + timedelta(days=1)
    again = draft(one, instruction="", serves_since=began, limits=LIMITS, earlier={one.fix_id: first}, now=later)
    assert (again.since, again.updated_at) == (NOW, later)


@settings(max_examples=50)
@given(st.floats(0.001, 0.999))
def test_an_answer_holds_for_more_than_was_answered_for_and_never_for_everything(share: float) -> None:
    assert share < closed_through(share) < 1.0
    assert closed_through(share) <= GROWTH * share
