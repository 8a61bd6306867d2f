"""What a declaration may say: what can never work is refused where it is written; what may work starts as before."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal

import pytest

from healspan.instrumentation import Between, OneOf, error_boundary
from healspan.remediation.errors import ConfigurationError


def amount(text: str, scale: int = 1, *, sign: int = 1) -> float:
    """A boundary's function."""
    return float(text) * scale * sign


def positive(result: float, arguments: Mapping[str, Any]) -> bool:
    return result > 0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"tunable": {"scale": (1, 10)}}, "write OneOf((1, 10)), from healspan.instrumentation"),
        ({"tunable": {"scale": [1, 10]}}, "write OneOf((...)) or Between(low, high)"),
        ({"tunable": [("scale", OneOf((1, 10)))]}, "must be a dict from names of arguments"),
        ({"tunable": {"sacle": OneOf((1, 10))}}, "sacle is declared tunable but no parameter"),
        ({"context": {"kind": "offer"}}, "context must be a function from the call's arguments"),
        ({"context": "offer"}, "context must be a function"),
        ({"checks": positive}, "checks must be a list of functions"),
        ({"checks": [3]}, "a list of functions, not of 3"),
        ({"output": float, "fallback": "none"}, "could never be returned"),
        ({"output": float, "fallback": None}, "could never be returned"),
        ({"fallback": lambda text: 0.0}, "called without arguments"),
        ({"output": 3}, "output must be a type"),
        ({"output": [float]}, "output must be a type"),
        ({"output": positive}, "output must be a type"),
        ({"partial_output": 3}, "partial_output is the name of a variable"),
        ({"in_app": "shop"}, "write in_app=['shop']"),
    ],
)
def test_what_can_never_work_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        error_boundary("declared", **wrong)(amount)
    assert "'declared'" in str(refused.value)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "bounds", [lambda: Between(10, 1), lambda: Between("a", "b"), lambda: OneOf("utf-8"), lambda: OneOf(3)]
)
def test_bounds_that_hold_nothing_are_refused(bounds: Callable[[], object]) -> None:
    with pytest.raises(ConfigurationError):
        bounds()


def too_few(text: str) -> float: ...
def another_name(words: str, factor: int = 1, *, sign: int = 1) -> float: ...
def anything(*args: Any, **kwargs: Any) -> float: ...
def with_tunables(text: str, scale: int = 1, *, sign: int = 1, labels: tuple[str, ...]) -> float: ...
def none_at_all() -> float: ...
def one_more(text: str, scale: int, page: int, line: int) -> float: ...
def wants_a_name(*, txt: str) -> float: ...


class TestStrategies:
    @pytest.mark.parametrize("fit", [too_few, another_name, anything, with_tunables, float])
    def test_one_that_some_call_can_be_handed_to_is_taken(self, fit: Callable[..., float]) -> None:
        error_boundary("declared")(amount).strategy("other")(fit)

    @pytest.mark.parametrize("unfit", [none_at_all, one_more, wants_a_name])
    def test_one_that_no_call_can_be_handed_to_is_refused(self, unfit: Callable[..., float]) -> None:
        with pytest.raises(ConfigurationError, match="strategy 'other' cannot take the arguments"):
            error_boundary("declared")(amount).strategy("other")(unfit)

    def test_what_a_boundary_is_called_with_may_stand_nowhere(self) -> None:
        error_boundary("declared")(anything).strategy("other")(one_more)

    def test_methods_are_called_with_their_object(self) -> None:
        class Reader:
            @error_boundary("declared_method")
            def read(self, text: str) -> float: ...

            @read.strategy("prose")
            def prose(self, text: str) -> float: ...

        with pytest.raises(ConfigurationError, match="cannot take"):
            Reader.read.strategy("forgot self")(none_at_all)  # type: ignore[attr-defined]

    def test_it_needs_a_name_and_a_function(self) -> None:
        boundary = error_boundary("declared")(amount)
        with pytest.raises(ConfigurationError, match="needs a name"):
            boundary.strategy(too_few)(too_few)  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="must be a function"):
            boundary.strategy("other")(3)  # type: ignore[arg-type]


class TestWhatStartsAsBefore:
    """What an application may have declared, and run with, is no reason not to start."""

    def test_a_fallback_against_an_annotation_is_a_doubt(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING, "healspan"):
            boundary = error_boundary("declared", fallback=None)(amount).boundary
        assert "breaks the return annotation" in boundary.doubts[0]
        assert "declared: the fallback" in caplog.text

    def test_a_context_function_that_cannot_be_called_is_a_doubt(self) -> None:
        boundary = error_boundary("declared", context=none_at_all)(amount).boundary  # type: ignore[arg-type]
        assert "no context keys" in boundary.doubts[0]

    def test_an_annotation_that_names_what_comes_later_says_nothing(self) -> None:
        def early() -> Later: ...  # type: ignore[name-defined]  # noqa: F821

        assert error_boundary("declared", fallback=None)(early).boundary.doubts == ()

    @pytest.mark.parametrize("output", ["flaot", list["Later"]])  # type: ignore[name-defined]  # noqa: F821
    def test_an_output_that_is_never_defined_is_told_by_who_asks_late(self, output: object) -> None:
        boundary = error_boundary("declared", output=output)(amount).boundary
        assert boundary.doubts == ()
        assert "output cannot be checked" in (boundary.why_unchecked() or "")

    @pytest.mark.parametrize(
        "output", [float, None, float | None, "float", list[float], Literal[1], Annotated[float, "x"]]
    )
    def test_an_output_that_is_a_type_is_taken(self, output: object) -> None:
        assert error_boundary("declared", output=output)(amount).boundary.why_unchecked() is None

    def test_a_generator_hands_out_items_whatever_its_annotation(self) -> None:
        def items() -> Iterator[int]:
            yield 1

        assert error_boundary("declared", fallback=[7])(items).boundary.doubts == ()

    @pytest.mark.parametrize(
        "right",
        [
            {"fallback": 0.0},
            {"fallback": dict},
            {"fallback": lambda: "computed later"},
            {"output": float, "fallback": 0},
            {"checks": {positive}},
            {"checks": (one for one in [positive])},
            {"tunable": {"scale": OneOf((1, 10)), "sign": Between(-1, 1)}},
            {"context": lambda text, scale=1, sign=1: {}},
            {"context": anything},
            {"in_app": ("shop",)},
        ],
    )
    def test_what_is_right_gives_no_doubt(self, right: dict[str, Any]) -> None:
        boundary = error_boundary("declared", **right)(amount).boundary
        assert boundary.doubts == ()
        assert boundary.has_checks == ("checks" in right)
