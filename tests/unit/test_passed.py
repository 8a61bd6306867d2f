"""Which exception a thread has let go on last: told by what it is, and where it was raised."""

from __future__ import annotations

import threading

from healspan.instrumentation.signals.passed import Passed


def fails(text: str) -> float:
    return float(text)


def fails_too(text: str) -> float:
    return float(text)


def test_it_is_known_while_it_is_handled_under_its_type_only() -> None:
    passed = Passed()
    assert not passed.under_way("ValueError")
    try:
        fails("x")
    except ValueError as error:
        assert not passed.under_way("ValueError")
        passed.note(error)
        assert passed.under_way("ValueError")
        assert passed.under_way("builtins.ValueError")
        assert not passed.under_way("KeyError")
        assert not passed.under_way(None)
    assert not passed.under_way("ValueError")


def test_further_out_it_is_the_same_and_raised_elsewhere_another() -> None:
    passed = Passed()
    try:
        try:
            fails("x")
        except ValueError as error:
            passed.note(error)
            raise
    except ValueError:
        assert passed.under_way("ValueError")
    # Whatever object it is: one that is freed leaves its address to the next.
    for _ in range(100):
        try:
            fails("x")
        except ValueError as error:
            passed.note(error)
        try:
            fails_too("x")
        except ValueError:
            assert not passed.under_way("ValueError")


def test_raised_by_the_same_line_on_another_way_it_is_another() -> None:
    passed, error = Passed(), ValueError("x")  # one object, as of one that is freed the next one has the address

    def fails_with_it() -> None:
        raise error

    def boundary() -> None:
        try:
            fails_with_it()
        except ValueError:
            passed.note(error)
            raise

    try:
        boundary()
    except ValueError:
        assert passed.under_way("ValueError")
    error.__traceback__ = None
    try:
        fails_with_it()
    except ValueError:
        assert not passed.under_way("ValueError")


def test_each_thread_has_its_own() -> None:
    passed = Passed()
    seen: list[bool] = []

    def other() -> None:
        try:
            fails("x")
        except ValueError:
            seen.append(passed.under_way("ValueError"))

    try:
        fails("x")
    except ValueError as error:
        passed.note(error)
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert passed.under_way("ValueError")
    assert seen == [False]


def test_threads_without_end_take_no_memory_without_end() -> None:
    passed = Passed()
    try:
        fails("x")
    except ValueError as error:
        for _ in range(1_200):
            thread = threading.Thread(target=passed.note, args=(error,))
            thread.start()
            thread.join()
    assert len(passed._last) <= 1_000
