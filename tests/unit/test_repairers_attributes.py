"""An attribute that was renamed or is declared with a default is found, without running the object's code."""

from __future__ import annotations

import collections
import enum
import pickle
from dataclasses import dataclass, field
from functools import cached_property
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from healspan.remediation.repairers import Failure, Loss, Repaired, repairer


def find(name: str, owner: object, asked: str, **parameters: Any) -> Repaired | None:
    chosen = repairer(name)
    try:
        getattr(owner, asked)
    except AttributeError as error:
        return chosen.repair(Failure("attribute", owner, asked, error, chosen.parameters(**parameters)))
    raise AssertionError("it does not fail")


def renamed(owner: object, asked: str, **parameters: Any) -> Repaired | None:
    return find("renamed_attribute", owner, asked, **parameters)


def declared(owner: object, asked: str, **parameters: Any) -> Repaired | None:
    return find("declared_default", owner, asked, **parameters)


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Plain:
    user_name: str
    qty: int = 0
    tags: tuple[str, ...] = field(default_factory=tuple)
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Slotted:
    user_name: str
    retries: int = 3
    colour: Colour = Colour.RED
    pair: tuple[int, tuple[str, ...]] = (1, ("a",))
    nested: tuple[list[int], ...] = ([],)
    maybe: str | None = None
    must: str | None = field(kw_only=True)


class Model(BaseModel):
    user_name: str
    retries: int = 3
    tags: tuple[str, ...] = Field(default_factory=tuple)
    notes: list[str] = Field(default_factory=list)
    must: str | None


class Row(NamedTuple):
    user_name: str
    count_: int


def without(owner: Any, *names: str) -> Any:
    """Return an object as a pickle of an older version gives it back."""
    copy = pickle.loads(pickle.dumps(owner))
    for name in names:
        object.__delattr__(copy, name)
    return copy


PLAIN = Plain("x", qty=2)
MODEL = Model(user_name="x", must=None)


@pytest.mark.parametrize(
    "owner",
    [PLAIN, Slotted("x", must=None), MODEL, Row("x", 1), SimpleNamespace(user_name="x"), object.__new__(Slotted)],
)
def test_the_same_name_written_otherwise_is_found_in_whatever_holds_it(owner: Any) -> None:
    holds = hasattr(owner, "user_name")
    for asked in ("userName", "UserName", "USER_NAME", "username"):
        assert renamed(owner, asked) == (Repaired("user_name", Loss.NONE) if holds else None)
        assert renamed(owner, asked, accept="none") == (Repaired("user_name", Loss.NONE) if holds else None)


def test_the_same_words_and_the_aliases_are_found_as_normalised() -> None:
    assert renamed(PLAIN, "quantity") == Repaired("qty", Loss.NORMALISED)
    assert renamed(PLAIN, "quantity", accept="none") is None
    assert renamed(PLAIN, "login", aliases=("user-name",)) == Repaired("user_name", Loss.NORMALISED)


class Rival(SimpleNamespace):
    def user_name(self) -> str:
        return "a method"


class Method:
    def close(self) -> None:
        raise AssertionError("never called")


class Secret:
    def __init__(self) -> None:
        self._token = 1


class Own:
    def __init__(self) -> None:
        self.user_name = 1

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


class Looks:
    def __init__(self) -> None:
        self.user_name = 1

    def __getattribute__(self, name: str) -> Any:
        return object.__getattribute__(self, name)


class Raising:
    def __init__(self) -> None:
        self.total_ = 1

    @property
    def Total(self) -> int:
        raise AttributeError("not yet")

    @cached_property
    def inner(self) -> int:
        return int(SimpleNamespace(user_name=1).userName)


class Dictionary:
    """Says that it holds what it does not."""

    user_name_ = 1

    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]
        raise AssertionError("code of the object")


@pytest.mark.parametrize(
    ("owner", "asked"),
    [
        (None, "user_name"),
        (Plain, "UserName"),
        (collections, "NamedTuple_"),
        (Rival(userName=1), "UserName"),
        (Method(), "Close"),
        (Secret(), "_Token"),
        (Secret(), "Token"),
        (Own(), "userName"),
        (Looks(), "userName"),
        (Raising(), "Total"),
        (Raising(), "inner"),
        (Dictionary(), "userName"),
        (PLAIN, "users_name"),
        (SimpleNamespace(user_name=1, userName=2), "UserName"),
        ("text", "Upper"),
    ],
)
def test_declines_methods_two_names_and_types_that_answer_in_their_own_way(owner: Any, asked: str) -> None:
    assert renamed(owner, asked) is None
    assert declared(owner, asked) is None


@pytest.mark.parametrize(
    ("owner", "asked", "default"),
    [
        (without(Slotted("x", must=None), "retries"), "retries", 3),
        (without(Slotted("x", must=None), "colour"), "colour", Colour.RED),
        (without(Slotted("x", must=None), "pair"), "pair", (1, ("a",))),
        (without(Slotted("x", must=None), "maybe"), "maybe", None),
        (without(PLAIN, "tags"), "tags", ()),
        (without(MODEL, "retries"), "retries", 3),
        (without(MODEL, "tags"), "tags", ()),
    ],
)
def test_a_field_that_an_older_object_lacks_has_the_default_that_its_class_declares(
    owner: Any, asked: str, default: object
) -> None:
    found = declared(owner, asked)
    assert found is not None
    assert (found.value, found.loss) == (asked, Loss.NORMALISED)
    assert getattr(found.owner, asked) == default
    assert not hasattr(owner, asked)
    assert declared(owner, asked, accept="none") is None
    assert renamed(owner, asked) is None


@pytest.mark.parametrize(
    ("owner", "asked"),
    [
        (without(Slotted("x", must=None), "must"), "must"),
        (without(Slotted("x", must=None), "nested"), "nested"),
        (without(PLAIN, "notes"), "notes"),
        (without(PLAIN, "user_name"), "user_name"),
        (without(MODEL, "notes"), "notes"),
        (without(MODEL, "must"), "must"),
        (PLAIN, "retries"),
        (SimpleNamespace(__dataclass_fields__=3), "retries"),
        (None, "retries"),
    ],
)
def test_nothing_is_made_up_where_no_default_is_declared_or_it_could_be_changed(owner: Any, asked: str) -> None:
    assert declared(owner, asked) is None


class Overridden(Slotted):
    @property
    def retries(self) -> int:  # type: ignore[override]
        raise AttributeError("not for this kind")


def test_a_property_that_raises_has_its_reason_whatever_a_base_class_declares() -> None:
    assert declared(object.__new__(Overridden), "retries") is None
    assert declared(object.__new__(Overridden), "maybe") is not None


def test_an_error_of_another_object_declines() -> None:
    with pytest.raises(AttributeError) as caught:
        _ = SimpleNamespace(user_name=1).userName
    other = SimpleNamespace(user_name=1)
    for name in ("renamed_attribute", "declared_default"):
        chosen = repairer(name)
        assert chosen.repair(Failure("attribute", other, "userName", caught.value, chosen.parameters())) is None
        assert chosen.repair(Failure("attribute", other, "x", AttributeError(), chosen.parameters())) is None


words = st.lists(st.text("abcdefgh", min_size=2, max_size=6), min_size=1, max_size=3)


@given(words, words)
def test_every_case_style_finds_every_other_and_no_other_words(parts: list[str], others: list[str]) -> None:
    present = "_".join(parts)
    owner = SimpleNamespace(**{present: 1, "unrelated_and_long_name": 2})
    asked = parts[0] + "".join(map(str.title, parts[1:]))
    if asked != present:
        assert renamed(owner, asked) == Repaired(present, Loss.NONE)
    other = "_".join(others)
    if "".join(others) != "".join(parts):
        assert renamed(owner, other, accept="none") is None
