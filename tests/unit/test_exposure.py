"""The call counter: exact, whatever is sampled."""

from __future__ import annotations

import sys
import threading
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from healspan.instrumentation.exposure import CallCounter


def call(counter: CallCounter, times: int, context: dict[str, str] | None = None) -> None:
    for _ in range(times):
        for () in counter.ticks:
            break
        else:
            weight = counter.look()
            if weight:
                counter.samples.append((weight, tuple((context or {}).items()), 0.001))


@given(st.lists(st.integers(0, 700), max_size=6), st.integers(0, 63))
def test_the_number_of_calls_is_exact_however_often_one_looks(bursts: list[int], offset: int) -> None:
    counter = CallCounter("b", offset=offset)
    total = 0
    for burst in bursts:
        call(counter, burst)
        total += burst
        assert counter.calls() == total


def test_threads_lose_no_call() -> None:
    counter = CallCounter("b")
    threads = [threading.Thread(target=call, args=(counter, 5_000)) for _ in range(8)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        seen = [counter.calls() for _ in range(50)]
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert seen == sorted(seen)
    assert counter.calls() == 40_000
    assert max(seen) <= 40_000


def test_rows_add_up_to_the_exact_number_and_follow_the_sampled_contexts() -> None:
    counter = CallCounter("b")
    call(counter, 100, {"document_type": "10-K"})
    call(counter, 50, {"document_type": "10-Q"})
    rows = counter.take(datetime(2026, 1, 1, 10, 42, tzinfo=UTC))
    assert {row.context_keys["document_type"]: row.calls for row in rows} == {"10-K": 100, "10-Q": 50}
    assert all(row.hour == datetime(2026, 1, 1, 10, tzinfo=UTC) for row in rows)
    assert sum(row.ok_ms for row in rows) == pytest.approx(150.0)


def test_what_was_taken_is_not_taken_again() -> None:
    counter = CallCounter("b")
    call(counter, 10_000, {"k": "v"})
    assert sum(row.calls for row in counter.take()) == 10_000
    assert counter.take() == []
    call(counter, 7)
    assert sum(row.calls for row in counter.take()) == 7


class Clock:
    """Goes on by the same time at each look."""

    def __init__(self, step: float) -> None:
        self.step = step
        self.now = 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def test_after_the_first_calls_one_in_64_is_sampled() -> None:
    counter = CallCounter("b", offset=20, clock=Clock(0.005))
    call(counter, 256 + 6_400)
    weights = [weight for weight, _, _ in counter.samples]
    assert weights[:256] == [1] * 256
    assert weights[256] == 21
    assert set(weights[257:]) == {64}
    assert len(weights) == pytest.approx(256 + 100, abs=1)


def test_where_calls_come_fast_fewer_are_sampled_and_more_again_where_they_do_not() -> None:
    clock = Clock(0.0001)
    counter = CallCounter("b", offset=0, clock=clock)
    call(counter, 20_000)
    weights = [weight for weight, _, _ in counter.samples][257:]
    assert weights == sorted(weights)
    assert (weights[0], weights[-1]) == (64, 2_048)
    counter.samples.clear()
    clock.step = 0.1
    call(counter, 20_000)
    weights = [weight for weight, _, _ in counter.samples]
    assert weights == sorted(weights, reverse=True)
    assert weights[-1] == 64


@given(st.lists(st.sampled_from([0.0001, 0.005, 0.1]), min_size=1, max_size=8), st.integers(0, 63))
def test_samples_and_what_came_since_the_last_one_are_all_calls(steps: list[float], offset: int) -> None:
    clock = Clock(0.0)
    counter = CallCounter("b", offset=offset, clock=clock)
    for clock.step in steps:
        call(counter, 1_500)
    sampled = sum(weight for weight, _, _ in counter.samples)
    assert 0 <= counter.calls() - sampled < 2_048
