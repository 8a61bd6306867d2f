"""An allowance lets through what it promises, however its takers come."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from healspan.instrumentation.allowance import EQUAL_BURST, Allowance

gaps = st.lists(st.floats(0.0, 3.0), min_size=1, max_size=300)


@given(gaps, st.floats(0.5, 50.0), st.floats(1.0, 50.0))
def test_never_more_than_the_burst_and_what_came_back(gaps: list[float], rate: float, burst: float) -> None:
    allowance, now, taken = Allowance(), 100.0, 0
    for gap in gaps:
        now += gap
        taken += allowance.take(now, rate=rate, burst=burst)
        assert taken <= burst + (now - 100.0) * rate + 1e-6


@given(st.integers(1, 40), st.integers(2, 60))
def test_a_storm_gets_its_rate_however_dense_it_is(rate: int, times: int) -> None:
    allowance = Allowance()
    seconds, burst = 10, int(EQUAL_BURST * rate)
    asked = range(seconds * rate * times)
    taken = sum(allowance.take(number / (rate * times), rate=rate, burst=burst) for number in asked)
    assert abs(taken - (burst + seconds * rate)) <= 2


@given(st.floats(1.0, 50.0), st.floats(1.0, 50.0))
def test_after_a_pause_there_is_no_more_than_the_burst(rate: float, burst: float) -> None:
    allowance = Allowance()
    for now in (0.0, 1_000_000.0):
        taken = sum(allowance.take(now, rate=rate, burst=burst) for _ in range(200))
        assert taken == int(burst)
