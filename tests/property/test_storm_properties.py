"""However failures come: what is told by their way is what is told by their place."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from healspan.instrumentation.storm import Known, Storm, raised_at, way_of
from healspan.remediation.incident import Pattern


class Failure(NamedTuple):
    """How an exception is raised."""

    depth: int
    kind: type[Exception]
    chained: str
    """How the next one led to it."""
    before: Failure | None


KINDS = (ValueError, KeyError, RecursionError, OSError)
CHAINS = ("cause", "context", "both", "group")

failures = st.recursive(
    st.builds(Failure, st.integers(0, 3), st.sampled_from(KINDS), st.just("context"), st.none()),
    lambda before: st.builds(Failure, st.integers(0, 3), st.sampled_from(KINDS), st.sampled_from(CHAINS), before),
    max_leaves=4,
)


def fail(failure: Failure, depth: int) -> None:
    if depth:
        (fail if depth % 2 else again)(failure, depth - 1)
    if failure.before is None:
        raise failure.kind("first")
    try:
        fail(failure.before, failure.before.depth)
    except Exception as before:
        match failure.chained:
            case "cause":
                raise failure.kind("cause") from before
            case "both":
                raise failure.kind("both") from ValueError("of nothing")
            case "group":
                raise ExceptionGroup("group", [before, failure.kind("member")]) from None
            case _:
                raise failure.kind("context")  # noqa: B904 - on purpose


def again(failure: Failure, depth: int) -> None:
    fail(failure, depth)


def raised(failure: Failure) -> Exception:
    try:
        fail(failure, failure.depth)
    except Exception as error:
        return error
    raise AssertionError


def pattern(name: str) -> Pattern:
    return Pattern(error_pattern=name, exact=name, loose=name, site=name)


def recall(storm: Storm, error: Exception) -> Known | None:
    recalled = storm.ways.get(way_of(error, error.__traceback__))
    return None if recalled is None else recalled.known


@settings(max_examples=60)
@given(st.lists(failures, min_size=1, max_size=8))
def test_a_way_leads_to_its_place_and_to_no_other(seen: list[Failure]) -> None:
    storm = Storm()
    for number, one in enumerate(seen):
        error = raised(one)
        found = storm.find(error)
        recalled = recall(storm, error)
        assert recalled in (None, found)
        if found is None:
            assert recalled is None
            storm.ended(raised_at(error), pattern(str(number)))
    for one in seen:
        error = raised(one)
        recalled, found = recall(storm, error), storm.find(error)
        assert recalled in (None, found)
        if one.before is None and one.kind is not RecursionError:
            assert recall(storm, error) is found is not None
