"""Which signals are of one failure."""

from __future__ import annotations

from uuid import uuid4

import pytest

from healspan.instrumentation.signals.gathering import Gathering, place_of
from healspan.instrumentation.signals.signal import Signal, Span
from healspan.instrumentation.signals.stack import Stack, StackFrame

FRAMES = (StackFrame("/app/read.py", 3, "read", "return float(text)"),)
TRACE = 7


def stack(error_type: str = "ValueError", *, line: int = 3, incidents: tuple[str, ...] = ()) -> Stack:
    return Stack(error_type, "no", (FRAMES[0]._replace(line=line),), (), incidents)


def span(identity: int, started: int, ended: int, *, parent: int = 0, trace: int = TRACE) -> Signal:
    return Signal("ValueError", "no", "", trace, identity, Span("s", parent, started, ended, {}), 0.0)


def log(*, trace: int = TRACE, on: int = 0) -> Signal:
    return Signal("ValueError", "no", "", trace, on, None, 0.0)


def failures(*signals: Signal, told: Stack | None = None) -> int:
    gathering = Gathering()
    for one in signals:
        gathering.take_in(one, told or stack(), 0.0)
    return len(gathering.ripe(100.0))


def test_every_span_that_it_leaves_tells_of_one_failure() -> None:
    assert failures(span(3, 2, 5, parent=2), span(2, 1, 6, parent=1), span(1, 0, 7)) == 1


def test_also_if_one_between_them_says_nothing() -> None:
    assert failures(span(3, 2, 5, parent=2), span(1, 0, 7)) == 1


def test_two_calls_that_fail_alike_one_after_the_other_are_two() -> None:
    assert failures(span(2, 1, 3, parent=1), span(3, 4, 6, parent=1), span(1, 0, 7)) == 2


def test_a_log_record_beside_its_span_is_the_same_whichever_comes_first() -> None:
    assert failures(log(), span(2, 1, 3, parent=1), span(1, 0, 7)) == 1
    assert failures(span(2, 1, 3, parent=1), span(1, 0, 7), log()) == 1


def test_another_trace_line_or_type_is_another_failure() -> None:
    gathering = Gathering()
    gathering.take_in(log(), stack(), 0.0)
    gathering.take_in(log(trace=8), stack(), 0.0)
    gathering.take_in(log(), stack(line=4), 0.0)
    gathering.take_in(log(), stack("KeyError"), 0.0)
    assert len(gathering.ripe(100.0)) == 4


def test_the_module_of_a_type_does_not_count_since_log_records_leave_it_out() -> None:
    gathering = Gathering()
    gathering.take_in(span(2, 1, 3), stack("app.errors.OwnError"), 0.0)
    gathering.take_in(log(), stack("OwnError"), 0.0)
    assert len(gathering.ripe(100.0)) == 1


def test_outside_a_trace_each_log_record_is_a_failure_of_its_own() -> None:
    assert failures(log(trace=0), log(trace=0)) == 2


def test_what_a_boundary_has_noted_on_the_exception_is_its_incident() -> None:
    noted = stack(incidents=(str(uuid4()),))
    assert failures(log(trace=0), told=noted) == 0
    assert failures(span(2, 1, 3), told=noted) == 0


@pytest.mark.parametrize("trace", [0, TRACE])
def test_what_a_boundary_captures_right_after_the_signal_is_one_with_it(trace: int) -> None:
    gathering = Gathering()
    gathering.take_in(log(trace=trace), stack(), 0.0)
    gathering.captured(place_of(trace, "builtins.ValueError", "/app/read.py", 3), 0, 0.1)
    assert gathering.ripe(100.0) == []


def test_outside_a_trace_what_it_captured_before_is_another_failure() -> None:
    gathering = Gathering()
    gathering.captured(place_of(0, "builtins.ValueError", "/app/read.py", 3), 0, 0.0)
    gathering.take_in(log(trace=0), stack(), 10.0)
    assert len(gathering.ripe(20.0)) == 1


def test_a_call_that_was_under_way_is_known_by_itself_whatever_trace_it_is_in() -> None:
    gathering = Gathering()
    gathering.take_in(span(2, 1, 3)._replace(calls=(4, 5)), stack(), 0.0)
    gathering.captured(place_of(0, "builtins.ValueError", "/app/read.py", 3), 5, 20.0)
    assert gathering.ripe(100.0) == []


def test_a_failure_waits_a_while_and_longer_where_a_boundary_may_still_come_to_know_of_it() -> None:
    gathering = Gathering(patience=1.0, patience_within=30.0)
    gathering.take_in(span(2, 1, 3), stack(), 0.0)
    gathering.take_in(span(4, 1, 3)._replace(calls=(5,)), stack(line=9), 0.0)
    assert gathering.ripe(0.5) == []
    assert [one.stack.frames[-1].line for one in gathering.ripe(1.5)] == [3]
    assert gathering.ripe(29.0) == []
    assert [one.stack.frames[-1].line for one in gathering.ripe(30.0)] == [9]


def test_a_span_that_ends_much_later_is_of_the_failure_that_was_told() -> None:
    gathering = Gathering()
    gathering.take_in(span(2, 1, 3, parent=1), stack(), 0.0)
    assert len(gathering.ripe(2.0)) == 1
    gathering.take_in(span(1, 0, 9), stack(), 40.0)
    assert gathering.ripe(100.0) == []


def test_a_span_tells_more_than_a_log_record() -> None:
    gathering = Gathering()
    gathering.take_in(log(), stack(), 0.0)
    gathering.take_in(span(2, 1, 3), stack(), 0.1)
    [one] = gathering.ripe(5.0)
    assert one.first.span is not None


def marked(one: Signal, *marks: int, at: float = 0.0, last: bool = False) -> Signal:
    return one._replace(marks=marks, at=at, last=last)


def seconds(identity: int, started: int, ended: int, *, trace: int = TRACE) -> Signal:
    return span(identity, started * 10**9, ended * 10**9, trace=trace)


@pytest.mark.parametrize(
    ("first", "second", "number"),
    [
        (marked(seconds(2, 1, 3), 5), marked(seconds(1, 0, 9, trace=8), 5), 1),
        (marked(seconds(2, 1, 3), 5), marked(seconds(1, 4, 9, trace=8), 5), 2),
        (marked(seconds(2, 1, 3), 5), marked(seconds(1, 0, 9, trace=8), 6), 2),
        (marked(seconds(2, 1, 3), 5), marked(seconds(1, 0, 9, trace=8), 6, 5), 1),
        (marked(seconds(2, 1, 3), 5), marked(log(trace=0), 5, at=3.5), 1),
        (marked(seconds(2, 1, 3), 5), marked(log(trace=0), 5, at=9.0), 2),
        (marked(seconds(2, 1, 3), 5), marked(log(trace=0), 5, at=9.0, last=True), 1),
        (marked(log(trace=0), 5, at=2.0), marked(seconds(2, 1, 3), 5), 1),
        (marked(log(trace=0), 5, at=2.0), marked(log(trace=0), 5, at=2.5), 1),
        (marked(log(trace=0), 5, at=2.0), marked(log(trace=0), 5, at=4.0), 2),
    ],
)
def test_the_very_exception_is_known_by_its_mark_if_the_times_agree(first: Signal, second: Signal, number: int) -> None:
    assert failures(first, second) == number


def test_what_a_boundary_makes_of_an_exception_is_known_by_the_mark_of_its_cause() -> None:
    gathering = Gathering()
    gathering.take_in(marked(seconds(2, 1, 3), 5), stack(), 0.0)
    gathering.captured(place_of(TRACE, "app.AppError", "/app/read.py", 9), 0, 0.1, (6, 5))
    assert gathering.ripe(100.0) == []


def test_what_it_made_of_the_same_object_before_is_another_failure() -> None:
    gathering = Gathering()
    gathering.captured(place_of(8, "app.AppError", "/app/read.py", 9), 0, 0.1, (6, 5))
    gathering.take_in(marked(seconds(2, 1, 3), 5), stack(), 10.0)
    assert len(gathering.ripe(100.0)) == 1


def test_nothing_is_kept_for_ever() -> None:
    gathering = Gathering()
    for number in range(5_000):
        gathering.take_in(marked(span(number, 1, 3, trace=number + 1), number), stack(), 0.0)
        gathering.captured(place_of(number + 1, "ValueError", "", 0), number, 0.0)
    gathering.ripe(100.0)
    assert len(gathering._by_place) == 0
    assert len(gathering._known) == 0
    assert len(gathering._by_mark) == 0


def test_where_the_exception_was_seen_only_that_says_whether_it_has_an_incident() -> None:
    claimed = stack(incidents=(str(uuid4()),))
    assert failures(log()._replace(noted=False), told=claimed) == 1
    assert failures(log()._replace(noted=True), told=stack()) == 0
