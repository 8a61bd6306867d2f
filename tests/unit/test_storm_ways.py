"""What is told of a failure by its way is what is told by its place, however it came."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import pytest

from healspan.instrumentation.storm import Known, Storm, raised_at, way_of
from healspan.remediation.incident import Pattern


class Failure(NamedTuple):
    """How an exception is raised."""

    depth: int
    kind: type[Exception]
    chained: str = ""
    before: Failure | None = None
    """What has led to it."""


KINDS = (ValueError, KeyError, RecursionError)
FIRST = [Failure(depth, kind) for depth in (0, 1) for kind in KINDS]
NEXT = [
    Failure(0, kind, chained, before)
    for kind, chained, before in itertools.product(KINDS, ("cause", "context", "both", "group"), FIRST)
]


def throw(error: Exception) -> None:
    """Raise it with what is being handled as its context, and with no cause."""
    raise error


def fail(failure: Failure, depth: int) -> None:
    if depth:
        fail(failure, depth - 1)
    if failure.before is None:
        raise failure.kind("first")
    try:
        fail(failure.before, failure.before.depth)
    except Exception as before:
        match failure.chained:
            case "cause":
                raise failure.kind("next") from before
            case "both":
                raise failure.kind("next") from ValueError("another")
            case "group":
                raise ExceptionGroup("several", [before, failure.kind("member")]) from None
            case _:
                throw(failure.kind("next"))


def raised(failure: Failure) -> Exception:
    with pytest.raises(Exception) as found:
        fail(failure, failure.depth)
    return found.value


def recalled(storm: Storm, error: Exception) -> Known | None:
    found = storm.ways.get(way_of(error, error.__traceback__))
    return None if found is None else found.known


def pattern(name: str) -> Pattern:
    return Pattern(error_pattern=name, exact=name, loose=name, site=name)


def test_a_way_leads_to_its_place_and_to_no_other() -> None:
    storm = Storm()
    for _, (number, failure) in itertools.product(range(4), enumerate((*FIRST, *NEXT))):
        error = raised(failure)
        before, found = recalled(storm, error), storm.find(error)
        assert before is None or before is found, failure
        if found is None:
            storm.ended(raised_at(error), pattern(str(number)))
    assert len(storm.ways) > len(KINDS)


@pytest.mark.parametrize("failure", [one for one in FIRST if one.kind is not RecursionError])
def test_what_was_found_is_recalled(failure: Failure) -> None:
    storm, error = Storm(), raised(failure)
    storm.ended(raised_at(error), pattern("seen"))
    assert recalled(storm, error) is None
    assert recalled(storm, error) is not storm.find(error)
    assert recalled(storm, error) is storm.find(error)


def test_an_exception_that_leads_to_itself_has_no_way() -> None:
    one, other = raised(FIRST[0]), raised(FIRST[0])
    one.__context__, other.__context__ = other, one
    assert way_of(one, one.__traceback__) == ()


def test_ways_without_end_take_no_memory_without_end() -> None:
    storm = Storm()
    for number in range(300):
        namespace: dict[str, Any] = {}
        exec(f"def f(fail, one):\n{chr(10) * number}    fail(one, 0)", namespace)
        for _ in range(2):
            with pytest.raises(ValueError, match="first") as found:
                namespace["f"](fail, FIRST[0])
            storm.find(found.value)
            storm.ended(raised_at(found.value), pattern("seen"))
    assert len(storm.ways) <= 256
    assert len(storm._known) <= 256
