"""A contract checks a value strictly and leaves it as it is."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from pydantic import BaseModel

from healspan.instrumentation.contract import Arguments, Contract
from healspan.instrumentation.fields import broken_field


class Revenue(BaseModel):
    value: float


@dataclass
class Plain:
    value: float


def returns_revenue(text: str) -> Revenue:
    raise NotImplementedError


def returns_anything(text):
    raise NotImplementedError


def returns_later() -> Later:
    raise NotImplementedError


class Later(BaseModel):
    x: int


def verify(contract: Contract, value: object, **arguments: Any) -> bool | None:
    return contract.verify(value, arguments).valid


def test_an_annotation_that_everything_fulfils_is_none() -> None:
    def anything(value: object) -> Any:
        return value

    def written(value: object) -> Any:
        return value

    written.__annotations__["return"] = Any
    for says_nothing in (anything, written):
        contract = Contract(says_nothing)
        assert not contract.declared, "nothing is looked at in each call"
        assert contract.verify(7, {}).valid is None
    written.__annotations__["return"] = float
    assert Contract(written).declared


def test_the_return_annotation_is_the_default_output() -> None:
    contract = Contract(returns_revenue)
    assert contract.declared
    assert verify(contract, Revenue(value=1.0)) is True
    assert verify(contract, {"value": 1.0}) is False
    assert verify(contract, None) is False


def test_an_annotation_that_is_defined_later_is_found_at_first_use() -> None:
    assert verify(Contract(returns_later), Later(x=1)) is True


def test_no_annotation_and_no_check_is_unknown() -> None:
    contract = Contract(returns_anything)
    assert not contract.declared
    assert verify(contract, object()) is None


@pytest.mark.parametrize(
    ("output", "good", "bad"),
    [
        (int, 3, "3"),
        (int, 3, True),
        (float, 1.5, "1.5"),
        (list[int], [1], ["1"]),
        (Revenue | None, None, 3),
        (Plain, Plain(1.0), {"value": 1.0}),
    ],
)
def test_the_check_is_strict(output: Any, good: object, bad: object) -> None:
    contract = Contract(returns_anything, output)
    assert verify(contract, good) is True
    assert verify(contract, bad) is False


def test_every_check_must_be_exactly_true() -> None:
    def truthy(result: object, arguments: Mapping[str, Any]) -> Any:
        return 1

    assert verify(Contract(returns_anything, checks=[truthy]), 5) is False


def test_a_check_that_raises_has_not_confirmed_the_value() -> None:
    def raises(result: object, arguments: Mapping[str, Any]) -> bool:
        raise RuntimeError

    verdict = Contract(returns_anything, checks=[raises]).verify(5, {})
    assert verdict.valid is False
    assert "raises raised RuntimeError" in verdict.reason


def test_a_check_sees_the_arguments_by_name_with_defaults() -> None:
    def call(a: int, *, b: int = 2) -> int:
        return a + b

    def adds_up(result: int, arguments: Mapping[str, Any]) -> bool:
        return result == arguments["a"] + arguments["b"]

    arguments = Arguments(inspect.signature(call), (1,), {})
    assert Contract(call, checks=[adds_up]).verify(3, arguments).valid is True
    assert dict(arguments) == {"a": 1, "b": 2}


def test_arguments_that_do_not_fit_the_signature_do_not_raise_in_the_boundary() -> None:
    def check(result: object, arguments: Mapping[str, Any]) -> bool:
        return arguments["a"] is not None

    arguments = Arguments(inspect.signature(lambda a: a), (1, 2, 3), {})
    assert Contract(returns_anything, checks=[check]).verify(1, arguments).valid is False


@dataclasses.dataclass(frozen=True)
class Line:
    label: str
    amount: Decimal
    rest: Any = None


class Pair(NamedTuple):
    first: int
    second: str


class Order(BaseModel):
    number: str
    lines: list[Line] = []


SOUND = Line("Net sales", Decimal(1))


@pytest.mark.parametrize(
    "value",
    [
        SOUND,
        [SOUND],
        {"a": SOUND},
        Pair(1, "b"),
        Order(number="1", lines=[SOUND]),
        Line("a", Decimal(1), SOUND),
        1,
        None,
    ],
)
def test_records_that_hold_what_their_classes_declare_are_sound(value: object) -> None:
    assert broken_field(value) is None


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (Line("a", "1"), "amount"),
        (Line(5, Decimal(1)), "label"),
        ([SOUND, Line("a", "1")], "1.amount"),
        ({"a": Line("a", "1")}, "a.amount"),
        (Pair("1", "b"), "first"),
        (Order.model_construct(number=1), "number"),
        (Line("a", Decimal(1), Line("a", "1")), "rest.amount"),
    ],
)
def test_what_a_field_must_not_hold_is_found(value: object, where: str) -> None:
    assert str(broken_field(value)).startswith(f"{where}: ")


def test_only_what_a_fix_has_led_to_is_looked_at_so_closely() -> None:
    def read() -> Line: ...

    contract = Contract(read, Line)
    wrong = Line("a", "1")
    assert contract.verify(wrong, {}).valid is True
    healed = contract.verify_healed(wrong, {})
    assert healed.valid is False
    assert healed.reason.startswith("output.amount: ")
    assert contract.verify_healed(SOUND, {}).valid is True


def test_a_boundary_that_declares_nothing_has_no_fields_to_keep() -> None:
    def read(): ...

    assert Contract(read).verify_healed(Line("a", "1"), {}).valid is None
