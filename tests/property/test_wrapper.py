"""Every form of a boundary: whatever the signature, the function gets what the boundary was called with."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from types import FrameType, FunctionType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.bounded import COMPILES

from healspan.instrumentation.hook import BoundaryHook, call_arguments
from healspan.instrumentation.site import Site
from healspan.instrumentation.wrapper import call_wrapper
from healspan.remediation.boundary import UNSET
from healspan.remediation.repair import enclosed


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


@pytest.fixture(scope="module", params=["wrapper", "compiled"] if COMPILES else ["wrapper"])
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@functools.cache
def bounded(form: str, function: FunctionType) -> Callable[..., Any]:
    return with_form(form, site(function, f"{form} {function.__name__}"))


def site(function: FunctionType, name: str, **declared: Any) -> Site:
    options: dict[str, Any] = {
        "output": UNSET,
        "checks": (),
        "retry_safe": False,
        "context": None,
        "tunable": {},
        "currency": "USD",
        "fallback": UNSET,
        "mode": "heal",
        "capture_locals": False,
        "partial_output": None,
        "in_app": (),
        "golden": None,
    }
    return Site(function, name=name, **options | declared)


def with_form(form: str, made: Site) -> Callable[..., Any]:
    if form == "wrapper":
        return call_wrapper(made)
    return enclosed(made.function, BoundaryHook(made, wrapping=False).enclosure)


def outcome(function: Callable[..., Any], args: list[int], kwargs: dict[str, int]) -> Any:
    try:
        return function(*args, **kwargs)
    except TypeError as error:
        return str(error)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    st.sampled_from(FUNCTIONS),
    st.lists(st.integers(), max_size=4),
    st.dictionaries(st.sampled_from(["a", "b", "c", "d", "e", "result", "self"]), st.integers(), max_size=4),
)
def test_a_boundary_is_called_like_its_function(
    form: str,
    function: FunctionType,
    args: list[int],
    kwargs: dict[str, int],
) -> None:
    assert outcome(bounded(form, function), args, kwargs) == outcome(function, args, kwargs)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_it_looks_like_its_function(form: str, function: FunctionType) -> None:
    made = bounded(form, function)
    assert inspect.signature(made) == inspect.signature(function)
    assert (made.__name__, made.__doc__) == (function.__name__, function.__doc__)


def keeps(item: int, into: list[int] = []) -> Any:  # noqa: B006 - the default is what is looked at
    into.append(item)
    return into


def test_defaults_are_the_very_objects(form: str) -> None:
    made = with_form(form, site(keeps, f"keeps {form}"))
    into = made(1)
    assert made(2) is into
    assert into is keeps.__defaults__[0]  # type: ignore[index]
    into.clear()


def test_a_context_function_gets_the_arguments_as_they_would_be_passed_on(form: str) -> None:
    seen: list[Any] = []

    def context(*args: Any, **kwargs: Any) -> dict[str, str]:
        seen.append((args, kwargs))
        return {}

    made = with_form(form, site(everything, f"seen {form}", context=context))
    made(1, 2, 3, c=4, e=5)
    made(1, b=2, c=4)
    assert seen == [((1, 2, 3), {"c": 4, "d": 4, "e": 5}), ((1, 2), {"c": 4, "d": 4})]


@given(data=st.data())
def test_the_arguments_of_any_call_are_read_back_from_its_frame(data: st.DataObject) -> None:
    function = data.draw(st.sampled_from(FUNCTIONS))
    signature = inspect.signature(function)
    args: list[int] = []
    kwargs: dict[str, int] = {}
    for name, parameter in signature.parameters.items():
        match parameter.kind:
            case parameter.VAR_POSITIONAL:
                args += data.draw(st.lists(st.integers(), max_size=3))
            case parameter.VAR_KEYWORD:
                kwargs |= data.draw(st.dictionaries(st.sampled_from(["x", "y"]), st.integers()))
            case parameter.KEYWORD_ONLY:
                kwargs[name] = data.draw(st.integers())
            case _:
                args.append(data.draw(st.integers()))
    frames: list[FrameType] = []

    def trace(frame: FrameType, event: str, argument: object) -> None:
        if frame.f_code is function.__code__:
            frames.append(frame)

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        expected = function(*args, **kwargs)
    finally:
        sys.settrace(before)
    read_args, read_kwargs = call_arguments(frames[0])
    assert function(*read_args, **read_kwargs) == expected
