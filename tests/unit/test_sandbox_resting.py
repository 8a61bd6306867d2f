"""Rest: who is stopped again and again is asked less and less, and never forgotten for good."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from healspan.remediation.sandbox.resting import FIRST, IN_A_ROW, LONGEST, Resting


def stop(resting: Resting, text: str, times: int, at: float = 0.0) -> None:
    for _ in range(times):
        resting.tell(text, at, stopped=True)


def test_a_few_stops_are_no_reason_to_rest():
    resting = Resting()
    stop(resting, "a", IN_A_ROW - 1)
    assert resting.left("a", 0.0) == 0.0


def test_an_adapter_that_is_stopped_in_a_row_rests_and_no_other_does():
    resting = Resting()
    stop(resting, "a", IN_A_ROW)
    assert resting.left("a", 10.0) == FIRST - 10.0
    assert resting.left("b", 10.0) == 0.0


def test_a_use_that_went_well_begins_the_count_anew():
    resting = Resting()
    stop(resting, "a", IN_A_ROW - 1)
    resting.tell("a", 0.0, stopped=False)
    stop(resting, "a", IN_A_ROW - 1)
    assert resting.left("a", 0.0) == 0.0


def test_after_a_rest_one_is_let_through_and_its_outcome_decides():
    resting = Resting()
    stop(resting, "a", IN_A_ROW)
    assert [resting.left("a", FIRST) for _ in range(3)] == [0.0, FIRST, FIRST]
    resting.tell("a", FIRST + 1, stopped=True)
    assert resting.left("a", FIRST + 1) == 2 * FIRST
    assert resting.left("a", FIRST + 1 + 2 * FIRST) == 0.0
    resting.tell("a", 4 * FIRST, stopped=False)
    assert resting.left("a", 4 * FIRST) == 0.0


def test_a_use_that_tells_nothing_does_not_stand_in_the_way_for_ever():
    resting = Resting()
    stop(resting, "a", IN_A_ROW)
    assert resting.left("a", FIRST) == 0.0  # its task is cancelled
    assert resting.left("a", 2 * FIRST) == 0.0


@given(st.lists(st.tuples(st.floats(0, 7_200), st.booleans()), max_size=200))
def test_no_rest_is_longer_than_the_longest_however_it_goes(steps):
    resting, now, asked = Resting(), 0.0, 0
    for seconds, stopped in steps:
        now += seconds
        left = resting.left("a", now)
        assert 0.0 <= left <= LONGEST
        if left == 0.0:
            asked += 1
            resting.tell("a", now, stopped=stopped)
    assert asked > 0 or not steps


def test_memory_is_bounded():
    resting = Resting()
    for number in range(3_000):
        stop(resting, f"adapter {number}", IN_A_ROW)
    assert resting.left("adapter 2999", 0.0) > 0
    assert len(resting._records) == 1_000
