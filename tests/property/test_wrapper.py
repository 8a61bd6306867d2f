"""The compiled wrapper: whatever the signature, it calls the function with what it was called with."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from healspan.instrumentation.wrapper import compile_wrapper


def none() -> Any:
    return ()


def plain(a: Any, b: Any) -> Any:
    return a, b


def defaults(a: Any, b: Any = 2, *, c: Any = 3) -> Any:
    return a, b, c


def positional_only(a: Any, b: Any = 5, /, c: Any = 6) -> Any:
    return a, b, c


def only_positional_only(a: Any, b: Any = 5, /) -> Any:
    return a, b


def everything(a: Any, /, b: Any, *rest: Any, c: Any, d: Any = 4, **more: Any) -> Any:
    return a, b, rest, c, d, more


def keywords(*, a: Any, b: Any = ()) -> Any:
    return a, b


def gathers(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


def awkward(_healspan_function: Any, result: Any = 1, error: Any = 2, self: Any = 3) -> Any:
    return _healspan_function, result, error, self


FUNCTIONS = [
    none,
    plain,
    defaults,
    positional_only,
    only_positional_only,
    everything,
    keywords,
    gathers,
    awkward,
]


def wrapped(function: Callable[..., Any], ticks: list[int], seen: list[Any]) -> Callable[..., Any]:
    def watched(mark: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        seen.append((args, kwargs))
        return function(*args, **kwargs)

    environment = {
        "tick": ticks.pop,
        "watched": watched,
        "settle": None,
        "heal": lambda *_: None,
        "frame": None,
        "open_runs": set(),
        "fired": {},
    }
    return compile_wrapper(function, environment)


def outcome(function: Callable[..., Any], args: list[int], kwargs: dict[str, int]) -> Any:
    try:
        return function(*args, **kwargs)
    except TypeError as error:
        return str(error)


@given(
    st.sampled_from(FUNCTIONS),
    st.lists(st.integers(), max_size=4),
    st.dictionaries(st.sampled_from(["a", "b", "c", "d", "e", "result", "self"]), st.integers(), max_size=4),
    st.sampled_from([0, 1]),
)
def test_a_wrapper_is_called_like_its_function(
    function: Callable[..., Any],
    args: list[int],
    kwargs: dict[str, int],
    tick: int,
) -> None:
    assert outcome(wrapped(function, [tick], []), args, kwargs) == outcome(function, args, kwargs)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_it_looks_like_its_function(function: Callable[..., Any]) -> None:
    wrapper = wrapped(function, [], [])
    assert inspect.signature(wrapper) == inspect.signature(function)
    assert (wrapper.__name__, wrapper.__doc__) == (function.__name__, function.__doc__)


def test_defaults_are_the_very_objects() -> None:
    default: list[int] = []

    def keeps(item: int, into: list[int] = default) -> list[int]:
        into.append(item)
        return into

    wrapper = wrapped(keeps, [1, 1], [])
    assert wrapper(1) is default
    assert wrapper(2) == [1, 2]


def test_the_watched_way_gets_the_arguments_as_they_would_be_passed_on() -> None:
    seen: list[Any] = []
    wrapped(everything, [0], seen)(1, 2, 3, c=4, e=5)
    assert seen == [((1, 2, 3), {"c": 4, "d": 4, "e": 5})]
