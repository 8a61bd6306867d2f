"""Equal signals over and over: a few a second are looked at, and all of one failure together."""

from __future__ import annotations

import itertools
import traceback
from collections.abc import Callable

import pytest

from healspan.instrumentation.allowance import EQUAL_BURST
from healspan.instrumentation.signals.repeats import Repeats

STACK = """Traceback (most recent call last):
  File "service.py", line 3, in handle
    read(text)
  File "numbers.py", line {line}, in read
    return float(text)
ValueError: could not convert string to float: {text!r}
"""


TRACES = itertools.count(1)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def repeats(clock: Clock) -> Repeats:
    return Repeats(clock)


def looked_at(repeats: Repeats, number: int, *, line: int = 7, kind: str = "ValueError", traces: bool = True) -> int:
    """How many of so many failures, each in a trace of its own, are looked at; ten a second are."""
    stacks = (STACK.format(line=line, text=f"${one}") for one in range(number))
    return sum(not repeats.too_many(kind, stack, next(TRACES) if traces else 0, rate=10.0) for stack in stacks)


def test_some_at_once_then_so_many_a_second_whatever_their_words(repeats: Repeats, clock: Clock) -> None:
    assert looked_at(repeats, 200) == 10 * EQUAL_BURST
    for _ in range(500):
        clock.now += 0.002
        repeats.too_many("ValueError", STACK.format(line=7, text="x"), 0, rate=10.0)
    clock.now += 1.0
    assert looked_at(repeats, 200, traces=False) == 10


def test_another_line_or_type_is_another_failure(repeats: Repeats) -> None:
    looked_at(repeats, 100)
    assert looked_at(repeats, 5, line=8) == 5
    assert looked_at(repeats, 5, kind="KeyError") == 5
    assert looked_at(repeats, 5) == 0


def first_task() -> None:
    raise ValueError("x")


def second_task() -> None:
    raise ValueError("x")


def gathered(task: Callable[[], None]) -> str:
    """The traceback of a group that is always raised here."""
    try:
        task()
    except ValueError as error:
        return "".join(traceback.format_exception(ExceptionGroup("tasks", [error])))
    return ""


def test_groups_are_of_the_place_where_their_last_member_failed(repeats: Repeats) -> None:
    def through(task: Callable[[], None]) -> int:
        return sum(not repeats.too_many("ExceptionGroup", gathered(task), 0, rate=10.0) for _ in range(100))

    assert through(first_task) == 10 * EQUAL_BURST
    assert through(second_task) == 10 * EQUAL_BURST


def test_no_message_says_where_it_was_raised(repeats: Repeats) -> None:
    def too_many(message: str) -> bool:
        return repeats.too_many("ValueError", f"{STACK}ValueError: {message}\n", 0, message=message, rate=10.0)

    forged = [f'{number}\n  File "other.py", line {number}, in other\n' for number in range(100)]
    assert sum(not too_many(message) for message in forged) == 10 * EQUAL_BURST


def test_every_span_that_a_failure_leaves_is_looked_at(repeats: Repeats) -> None:
    stack = STACK.format(line=7, text="x")
    one_more = int(10 * EQUAL_BURST) + 1
    for trace in range(1, one_more):
        assert [repeats.too_many("ValueError", stack, trace, rate=10.0) for _ in range(5)] == [False] * 5
    assert repeats.too_many("ValueError", stack, one_more, rate=10.0)
    assert repeats.too_many("ValueError", stack, one_more, rate=10.0)


def test_one_trace_does_not_let_through_a_storm(repeats: Repeats) -> None:
    stack = STACK.format(line=7, text="x")
    through = sum(not repeats.too_many("ValueError", stack, 1, rate=10.0) for _ in range(10_000))
    assert through <= 8 * 10 * EQUAL_BURST


@pytest.mark.parametrize("stack", [None, 7, ("a", "b")])
def test_what_is_no_text_is_left_to_who_knows_better(repeats: Repeats, stack: object) -> None:
    assert not any(repeats.too_many("ValueError", stack, 0, rate=10.0) for _ in range(100))
    assert not any(repeats.too_many(stack, STACK, 0, rate=10.0) for _ in range(100))


def test_signals_without_a_traceback_are_one_place(repeats: Repeats) -> None:
    assert sum(not repeats.too_many("ValueError", "", 0, rate=10.0) for _ in range(100)) == 10 * EQUAL_BURST


def test_places_without_end_take_no_memory_without_end(repeats: Repeats) -> None:
    for line in range(5_000):
        looked_at(repeats, 1, line=line)
    assert len(repeats._places) <= 256
