"""The invisible repairer takes out what nobody sees, and leaves everything that a reader sees."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from ipaddress import ip_address
from typing import Any
from uuid import UUID

import pytest

from healspan.remediation.repairers import Failure, Loss, Repaired, repairer
from healspan.remediation.repairers.invisible import InvisibleParameters

INVISIBLE = repairer("invisible")
UUID_TEXT = "3fa85f64-5717-4562-b3fc-2c963f66afa6"


def read(target: Any, text: object, *rest: object, **parameters: Any) -> Repaired | None:
    try:
        target(text, *rest)
    except (ValueError, ArithmeticError, AttributeError) as error:
        return INVISIBLE.repair(Failure("call", target, text, error, InvisibleParameters(**parameters), rest))
    raise AssertionError("the callee reads it itself")


def find(asked: object, mapping: Mapping[Any, Any]) -> Repaired | None:
    return INVISIBLE.repair(Failure("subscript", mapping, asked, KeyError(asked), InvisibleParameters()))


@pytest.mark.parametrize(
    ("target", "text", "seen", "rest"),
    [
        (UUID, f"\ufeff{UUID_TEXT}", UUID_TEXT, ()),
        (UUID, f" {UUID_TEXT}\n", UUID_TEXT, ()),
        (UUID, f"{UUID_TEXT}\u200e", UUID_TEXT, ()),
        (int, "1f\u200b", "1f", (16,)),
        (int, "0x1f\u200d", "0x1f", (0,)),
        (float, "1e5\u2060", "1e5", ()),
        (float, "\u2066-inf\u2069", "-inf", ()),
        (Decimal, "1E+3\u200b", "1E+3", ()),
        (ip_address, "10.0.0.1\u200b", "10.0.0.1", ()),
        (ip_address, "\u00a010.0.0.1", "10.0.0.1", ()),
        (ip_address, "10.0.0.1 ", "10.0.0.1", ()),
        (date.fromisoformat, "\u200f2024-09-28", "2024-09-28", ()),
        (date.fromisoformat, "2024-09-28\r\n", "2024-09-28", ()),
    ],
)
def test_what_stands_around_a_text_goes_without_loss(target: Any, text: str, seen: str, rest: tuple[Any, ...]) -> None:
    assert read(target, text, *rest) == Repaired(seen, Loss.NONE)
    assert target(seen, *rest) is not None


def test_what_may_have_parted_two_words_goes_as_normalised() -> None:
    assert read(ip_address, "10.0.0.1\u200b0") == Repaired("10.0.0.10", Loss.NORMALISED)
    assert read(ip_address, "10.0.0.1\u200b0", accept="none") is None
    assert read(ip_address, "10.\u00ad0.0.1") == Repaired("10.0.0.1", Loss.NONE)


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (float, "\u202e123"),
        (float, "123\u202d"),
        (float, "2\u20622"),
        (float, "1\ufe0f x"),
        (float, "٣\u200c٣ x\u200b"),
        (ip_address, "10.0.0.x"),
        (UUID, "\u200b"),
        (UUID, "x" * 300 + "\u200b"),
        (UUID, None),
    ],
)
def test_declines_where_nothing_is_invisible_or_it_has_a_meaning(target: Any, text: Any) -> None:
    repaired = (
        read(target, text)
        if text is not None
        else INVISIBLE.repair(
            Failure("call", target, text, ValueError("badly formed hexadecimal UUID string"), InvisibleParameters())
        )
    )
    assert repaired is None


def test_a_space_inside_stays_a_space() -> None:
    assert read(int, "1\u00a02\u200b") == Repaired("1 2", Loss.NONE)


@pytest.mark.parametrize(
    ("asked", "present"),
    [("1", "\ufeff1"), ("C\u200b", "C"), ("a\u00a0b", "a b"), ("№ 1 ", "№ 1"), ("2024-01-02", "2024-01-02\u200e")],
)
def test_a_key_that_looks_the_same_is_found(asked: str, present: str) -> None:
    assert find(asked, {present: 1, "other": 2, 5: 3}) == Repaired(present, Loss.NONE)


@pytest.mark.parametrize(
    ("asked", "mapping"),
    [
        ("1", {"\ufeff1": 1, "1\u200b": 2}),
        ("1", {"2": 1}),
        ("c", {"C": 1}),
        ("می\u200cخواهم", {"میخواهم": 1}),
        ("میخواهم", {"می\u200cخواهم": 1}),
        ("👩\u200d💻", {"👩💻": 1}),
        ("\u200b", {"": 1}),
        ("", {"\u200b": 1}),
    ],
)
def test_two_keys_or_another_word_decline(asked: str, mapping: Mapping[str, int]) -> None:
    assert find(asked, mapping) is None


def test_keys_of_a_text_type_of_their_own_are_left_alone() -> None:
    class Key(str):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            raise AssertionError

        __hash__ = str.__hash__

    assert find("1\u200b", {Key("1"): 1}) is None


class Number(int):
    pass


@pytest.mark.parametrize("target", [Number, bool, str, len])
def test_declines_callees_that_it_does_not_know(target: Any) -> None:
    error = ValueError("invalid literal for int() with base 10: '1\\u200b'")
    assert INVISIBLE.repair(Failure("call", target, "1\u200b", error, InvisibleParameters())) is None


@pytest.mark.parametrize(
    "error",
    [ValueError("could not convert string to float: 'abc'"), ValueError("\u200b", 1), TypeError("\\u200b"), OSError()],
)
def test_applies_only_where_the_error_shows_something_invisible(error: Exception) -> None:
    assert not INVISIBLE.applies("call", error)
