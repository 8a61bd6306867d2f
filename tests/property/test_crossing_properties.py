"""Crossing is total and bounded, and what crosses comes back as it was."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import OrderedDict, UserDict, defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from healspan.remediation.sandbox.crossing import error_facts, plain, same, texts
from healspan.remediation.sandbox.notation import (
    MOST_DEPTH,
    MOST_ITEMS,
    MOST_SIZE,
    Opaque,
    Room,
    Unplain,
    decode,
    encode,
)
from healspan.remediation.sandbox.rebuilding import rebuild

ZONES = st.one_of(st.none(), st.integers(-1_439, 1_439).map(lambda minutes: timezone(timedelta(minutes=minutes))))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
KEYS = st.one_of(TEXTS, st.integers(), st.booleans(), st.none(), st.dates())
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.complex_numbers(),
    TEXTS,
    st.binary(max_size=20),
    st.decimals(allow_nan=True, allow_infinity=True).filter(lambda number: not number.is_snan()),
    st.dates(),
    st.datetimes(timezones=ZONES).map(lambda moment: moment.replace(fold=0)),
    st.times().map(lambda moment: moment.replace(fold=0)),
    st.timedeltas(),
    st.builds(Opaque, st.integers(0, 9)),
)
PLAIN = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(KEYS, inner, max_size=4),
        st.sets(KEYS, max_size=4),
        st.frozensets(KEYS, max_size=4),
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(PLAIN)
def test_what_is_written_reads_as_what_it_was(value: Any) -> None:
    assert same(decode(json.loads(json.dumps(encode(value)))), value)


@settings(max_examples=150, deadline=None)
@given(PLAIN.filter(lambda value: not isinstance(value, Opaque) and "Opaque" not in repr(value)))
def test_a_plain_value_crosses_as_a_copy_of_itself(value: Any) -> None:
    copied = plain(value)
    assert same(copied, value)
    if isinstance(value, list | dict | set):
        assert copied is not value


@settings(max_examples=100, deadline=None)
@given(PLAIN, PLAIN)
def test_same_means_written_alike(one: Any, other: Any) -> None:
    if not isinstance(one, set | frozenset | dict):
        assert same(one, other) is (encode(one) == encode(other) and type(one) is type(other))
    assert same(one, other) is same(other, one)


@settings(max_examples=150, deadline=None)
@given(st.recursive(st.none() | st.integers() | st.text(), lambda i: st.lists(i) | st.dictionaries(st.text(), i)))
def test_nothing_that_arrives_makes_anything_but_plain_values_or_a_refusal(written: Any) -> None:
    try:
        value = decode(written)
    except Unplain:
        return
    assert {type(one) for one in _all(value)} <= {
        *(type(None), int, str, list, dict, tuple, set, frozenset, float, complex, bytes),
        *(Decimal, date, datetime, time, timedelta, Opaque),
    }


def _all(value: Any) -> Iterator[Any]:
    yield value
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _all(key)
            yield from _all(one)
    elif isinstance(value, list | tuple | set | frozenset):
        for one in value:
            yield from _all(one)


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    LOW = 1


class Word(StrEnum):
    YES = "yes"


@dataclasses.dataclass
class Row:
    name: str
    colour: Colour = Colour.RED
    inner: Row | None = None
    total: int = dataclasses.field(init=False, default=0)

    def __post_init__(self) -> None:
        self.total = len(self.name)


class Model(BaseModel):
    rows: list[Row] = Field(default_factory=list, alias="Rows")
    at: PurePosixPath | None = None


class Pair(NamedTuple):
    key: UUID
    level: Level


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        raise AssertionError("nobody may ask a subclass")


SELF: list[Any] = []
SELF.append(SELF)
WIDE: list[Any] = [1]
for _ in range(41):
    WIDE = [WIDE, WIDE]
DEEP: list[Any] = []
for _ in range(5_000):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("value", "crossed"),
    [
        (Row("a"), {"name": "a", "colour": "red", "inner": None, "total": 1}),
        (Model(Rows=[Row("b")]), {"rows": [{"name": "b", "colour": "red", "inner": None, "total": 1}], "at": None}),
        (Pair(UUID(int=1), Level.LOW), {"key": str(UUID(int=1)), "level": 1}),
        (PurePosixPath("/a"), "/a"),
        (Text("a"), "a"),
        (Word.YES, "yes"),
        (defaultdict(list, a=[1]), {"a": [1]}),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (MappingProxyType({"a": 1}), {"a": 1}),
        (UserDict({"a": 1}), {"a": 1}),
        (bytearray(b"a"), b"a"),
        (memoryview(b"a"), b"a"),
        (datetime(2024, 7, 1, 12, tzinfo=ZoneInfo("Europe/Paris")), datetime(2024, 7, 1, 10, tzinfo=UTC)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_the_application_has_crosses_as_plain_values(value: Any, crossed: Any) -> None:
    found = plain(value)
    assert found == crossed
    assert type(found) in (dict, str, bytes, datetime)
    encode(found)


class Hostile(Mapping[str, int]):
    def __getitem__(self, key: str) -> int:
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError

    def __len__(self) -> int:
        return 1


class Endless(Mapping[int, int]):
    def __getitem__(self, key: int) -> int:
        return key

    def __iter__(self) -> Iterator[int]:
        number = 0
        while True:
            yield number
            number += 1

    def __len__(self) -> int:
        return 1


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (SELF, "nested more than"),
        (DEEP, "nested more than"),
        (WIDE, "more than 100,000 values"),
        ([0] * (MOST_ITEMS + 1), "more than 100,000 values"),
        ("a" * (MOST_SIZE + 1), "characters and bytes"),
        (["a" * (MOST_SIZE // 2)] * 3, "characters and bytes"),
        (b"a" * (MOST_SIZE + 1), "characters and bytes"),
        (Endless(), "more than 100,000 values"),
        (Hostile(), "reading it raised RuntimeError"),
        (object(), "builtins.object cannot cross"),
        (Row, "builtins.type cannot cross"),
        (len, "cannot cross"),
        ((x for x in ()), "cannot cross"),
        ({1: "a", Level.LOW: "b", "c": Level.LOW}, None),
        ({Colour.RED: 1, "red": 2}, "would become one"),
        ({Pair(UUID(int=1), Level.LOW): 1}, "reading it raised TypeError"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else value[:20],
)
def test_what_cannot_cross_is_refused_in_words(value: Any, words: str | None) -> None:
    if words is None:
        encode(plain(value))
        return
    with pytest.raises(Unplain, match=words):
        plain(value)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("\ud800", "half a character"),
        (2**5_000, "more than 4,096 bits"),
        (SELF, "nested more than"),
        (WIDE, "more than 100,000 values"),
        (object(), "is not plain"),
        (Text("a"), "is not plain"),
        (datetime(2024, 1, 1, fold=1), "the second of two"),
    ],
    ids=range(7),
)
def test_what_cannot_be_written_is_refused_in_words(value: Any, words: str) -> None:
    with pytest.raises(Unplain, match=words):
        encode(value)


def test_room_is_shared_by_all_that_crosses_at_once() -> None:
    room = Room(items=3)
    plain(1, room)
    plain([2], room)
    with pytest.raises(Unplain):
        plain(4, room)


@pytest.mark.parametrize(
    ("value", "declared"),
    [
        (Row("a", inner=Row("b")), Row),
        (Model(Rows=[Row("b")], at=PurePosixPath("/x")), Model),
        (Pair(UUID(int=1), Level.LOW), Pair),
        ([Row("a")], list[Row]),
        ({"k": Row("a")}, dict[str, Row]),
        ((Row("a"), 1), tuple[Row, int]),
        ((Row("a"), Row("b")), tuple[Row, ...]),
        (Row("a"), Row | None),
        (None, Row | None),
        ("text", Row | str),
        ({Colour.RED}, set[Colour]),
        ({"a": 1}, dict[str, int]),
        ({"a": 1}, Mapping[str, int]),
        (1.5, float),
        ("1", int),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_crossed_is_rebuilt_as_what_is_declared(value: Any, declared: Any) -> None:
    built = rebuild(plain(value), declared)
    assert built == value
    assert type(built) is type(value)


@pytest.mark.parametrize(
    ("value", "declared"),
    [
        ({"name": "a", "shoe": 1}, Row),
        ({}, Row),
        ({"x": 1}, Pair),
        ("blue", Colour),
        ({"Rows": 1}, Model),
        ({"name": "a", "colour": "blue"}, Row),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(value: Any, declared: Any) -> None:
    with pytest.raises(Unplain):
        rebuild(value, declared)


def test_nothing_else_is_converted() -> None:
    assert rebuild("1", int) == "1"
    assert rebuild(1, str) == 1
    assert rebuild([1], tuple[int, ...]) == [1]


def test_texts_are_all_found() -> None:
    assert sorted(texts({"a": ["b", ("c", {"d"})], 1: b"x"})) == ["a", "b", "c", "d"]


def test_a_hostile_exception_is_told_of_all_the_same() -> None:
    class Rude(ValueError):
        def __str__(self) -> str:
            raise RuntimeError

    facts = error_facts(Rude("a", object(), 2**5_000, "\ud800"))
    assert (facts["name"], facts["message"], facts["args"]) == ("Rude", "", ["a", None, None, None])
    encode(facts)


def test_equal_numbers_of_different_types_are_not_the_same() -> None:
    assert not same(1, 1.0)
    assert not same(1, True)
    assert not same(0.0, -0.0)
    assert same(math.nan, math.nan)
    assert not same(Decimal("1.0"), Decimal("1.00"))
    assert MOST_DEPTH < 100
