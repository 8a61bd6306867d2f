"""Reading back tracebacks: what Python prints is understood, and what it does not print does no harm."""

from __future__ import annotations

import timeit
import traceback
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from healspan.instrumentation.signals.stack import read_stack

words = st.text(st.characters(codec="utf-8"), max_size=40)


class OwnError(Exception):
    pass


def fail(message: str, kind: type[Exception]) -> None:
    raise kind(message)


def nested(depth: int, message: str, kind: type[Exception]) -> None:
    if depth:
        nested(depth - 1, message, kind)
    fail(message, kind)


def chained(message: str, kind: type[Exception], link: str) -> None:
    try:
        fail("first", LookupError)
    except LookupError as first:
        if link == "cause":
            raise kind(message) from first
        raise kind(message)  # noqa: B904 - on purpose: the other kind of link


def printed(call: Callable[[], object]) -> tuple[str, traceback.TracebackException]:
    try:
        call()
    except Exception as error:
        return "".join(traceback.format_exception(error)), traceback.TracebackException.from_exception(error)
    raise AssertionError


kinds = st.sampled_from([ValueError, OwnError, OSError])


@given(st.integers(0, 2), words, kinds)
def test_frames_type_and_lines_are_those_of_the_exception(depth: int, message: str, kind: type[Exception]) -> None:
    text, true = printed(lambda: nested(depth, message, kind))
    read = read_stack(text)
    assert [(one.file, one.line, one.function, one.source_line) for one in read.frames] == [
        (one.filename, one.lineno, one.name, one.line) for one in true.stack
    ]
    if "\n" not in message and "\r" not in message:
        assert read.error_type.rpartition(".")[2] == kind.__name__
        assert read.message == message


@given(words, kinds, st.sampled_from(["cause", "context"]))
def test_causes_are_named_with_how_they_relate(message: str, kind: type[Exception], link: str) -> None:
    read = read_stack(printed(lambda: chained(message, kind, link))[0])
    assert read.causes == (("LookupError", "first", link, "fail"),)
    assert read.frames[-1].function == "chained"


@given(words, st.integers(0, 400), st.integers(0, 400))
def test_whatever_is_cut_away_nothing_is_raised_and_no_frame_invented(message: str, start: int, end: int) -> None:
    text, true = printed(lambda: chained(message, ValueError, "cause"))
    whole = {one.line for one in read_stack(text).frames} | {one.lineno for one in true.stack}
    whole |= {one.lineno for one in true.__cause__.stack} if true.__cause__ else set()
    read = read_stack(text[start : len(text) - end])
    assert {str(one.line) for one in read.frames} <= {str(line)[:n] for line in whole for n in range(1, 6)}


@given(st.text(max_size=300) | st.from_regex(r'(  File "a", line \d+, in x\n    y\n|Traceback \(most.*\n| +\| .*\n)*'))
def test_any_text_is_read(text: str) -> None:
    read_stack(text)


def test_members_of_a_group_are_left_out_and_the_group_is_read() -> None:
    def group() -> None:
        raise ExceptionGroup("several", [ValueError("one"), LookupError("two")])

    read = read_stack(printed(group)[0])
    assert read.error_type == "ExceptionGroup"
    assert read.message == "several (2 sub-exceptions)"
    assert [one.function for one in read.frames] == ["printed", "group"]


def test_a_recursion_is_read_with_its_last_line() -> None:
    def down() -> None:
        down()

    read = read_stack(printed(down)[0])
    assert read.error_type == "RecursionError"
    assert read.frames[-1].function == "down"


def test_a_note_of_a_boundary_names_its_incident() -> None:
    error = ValueError("no")
    error.add_note("healspan: incident 01a218f4-d7c1-7de6-ba8a-fcdc03ea6bc3; see 'healspan incidents show …'")

    def noted() -> None:
        raise error

    read = read_stack(printed(noted)[0])
    assert read.incidents == ("01a218f4-d7c1-7de6-ba8a-fcdc03ea6bc3",)
    assert read.error_type == "ValueError"


def test_lines_of_blanks_take_no_longer_than_others() -> None:
    def seconds(text: str) -> float:
        return min(timeit.repeat(lambda: read_stack(text), number=1, repeat=3))

    # Tried at every length, they took some hundred times as long, with the interpreter held all the while.
    assert seconds("ValueError: x\n" + " " * 31_000 + "x") < 40 * seconds("ValueError: x\n" + "y" * 31_000)


FORGED = """no
Traceback (most recent call last):
  File "/app/other.py", line 7, in other
    blamed()
The above exception was the direct cause of the following exception:
  File "/app/other.py", line 8, in other
OtherError: it was them"""


def test_a_message_that_looks_like_a_traceback_is_a_message() -> None:
    text, _ = printed(lambda: nested(2, FORGED, ValueError))
    stack = read_stack(text, FORGED)
    assert (stack.error_type, stack.causes) == ("ValueError", ())
    assert stack.frames[-1].function == "fail"
    assert read_stack(text.partition("The above")[0]).frames[-1].function == "fail", "also where it is not known"
