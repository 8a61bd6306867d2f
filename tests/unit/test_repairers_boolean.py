"""The boolean repairer finds a truth word in a table of truth words, and nothing in any other table."""

from collections import OrderedDict
from typing import Any

import pytest

from healspan.remediation.repairers import Failure, Loss, Repaired, repairer
from healspan.remediation.repairers.boolean import BooleanParameters

BOOLEAN = repairer("boolean")
PLAIN = {"true": True, "false": False}


def find(asked: object, table: Any, **parameters: Any) -> Repaired | None:
    return BOOLEAN.repair(Failure("subscript", table, asked, KeyError(asked), BooleanParameters(**parameters)))


@pytest.mark.parametrize("asked", ["True", "TRUE", " true ", "true\n", "\ufefftrue", "true\u00a0"])
def test_the_same_word_written_otherwise_is_found_without_loss(asked: str) -> None:
    assert find(asked, PLAIN) == Repaired("true", Loss.NONE)


@pytest.mark.parametrize(
    ("asked", "key"),
    [("Yes", "true"), ("y", "true"), ("ON", "true"), ("1", "true"), ("n", "false"), ("0", "false"), ("F", "false")],
)
def test_another_truth_word_is_found_as_normalised(asked: str, key: str) -> None:
    assert find(asked, PLAIN) == Repaired(key, Loss.NORMALISED)
    assert find(asked, PLAIN, accept="none") is None


@pytest.mark.parametrize(
    "asked", ["", "maybe", "n/a", "-1", "2", "none", "null", "wahr", "enabled", "truee", "tru", "x" * 17]
)
def test_any_other_word_declines(asked: str) -> None:
    assert find(asked, PLAIN) is None


@pytest.mark.parametrize(
    "table",
    [
        {"true": True},
        {"true": True, "yes": True},
        {"true": False, "false": True},
        {"true": True, "false": False, "maybe": False},
        {"true": 1, "false": 0},
        {"true": True, "false": None},
        {"m": False, "f": True},
        {1: True, 0: False},
        {"true": True, "false": False, "yes": True},
        OrderedDict(true=True, false=False),
        {},
        ["true", "false"],
        None,
    ],
)
def test_a_table_that_does_not_say_that_it_reads_booleans_declines(table: Any) -> None:
    assert find("Yes", table) == (Repaired("yes", Loss.NONE) if table == {**PLAIN, "yes": True} else None)


def test_a_word_that_is_none_of_them_is_no_truth_word_even_if_its_value_is_none() -> None:
    assert find("y", {"maybe": None, "yes": True}) is None
    assert find("no", {"maybe": None, "yes": True}) is None
    assert find("y", {"maybe": None, "yes": True, "no": False}) is None


def test_a_present_key_is_never_replaced() -> None:
    assert find("true", PLAIN) is None


def test_an_error_about_another_key_declines() -> None:
    failure = Failure("subscript", PLAIN, "Yes", KeyError("No"), BooleanParameters())
    assert BOOLEAN.repair(failure) is None


@pytest.mark.parametrize(
    "error", [KeyError("user_name"), KeyError(), KeyError(5), LookupError("Yes"), ValueError("Yes")]
)
def test_applies_only_where_a_truth_word_is_missing(error: Exception) -> None:
    assert not BOOLEAN.applies("subscript", error)
    assert not BOOLEAN.applies("call", KeyError("Yes"))
