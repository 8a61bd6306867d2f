"""What a contract learned from good calls refuses, and what it lets pass."""

from __future__ import annotations

from typing import Any

import pytest

from healspan.remediation.learned import Learned, learn


def learned(*results: Any) -> Learned:
    found = learn([({}, one) for one in results])
    assert found is not None
    return found


NUMBERS = (3, 10, 25, 7, 12)
TEXTS = ("ab", "abc", "abcd", "x", "yy")
ROWS = (
    {"id": 1, "name": "a"},
    {"id": 2, "name": "b"},
    {"id": 3, "name": "c"},
    {"id": 4, "name": "d"},
    {"id": 5, "name": "e"},
)
WORDS = ({"a": 1}, {"b": 2}, {"a": 1, "c": 2}, {"d": 7}, {"e": 1, "f": 2})


@pytest.mark.parametrize(
    ("good", "refused", "why"),
    [
        (NUMBERS, None, "NoneType"),
        (NUMBERS, True, "bool"),
        (NUMBERS, 3.5, "float"),
        (NUMBERS, "3", "str"),
        (NUMBERS, -1, "negative"),
        (NUMBERS, 10_000, "range"),
        ((-1, -5, -3, 0, -2), 1, "positive"),
        ((1.0, 2.0, 3.0, 4.0, 5.0), float("nan"), "nan"),
        ((1.0, 2.0, 3.0, 4.0, 5.0), float("inf"), "inf"),
        (TEXTS, "", "empty"),
        (TEXTS, "x" * 1_000, "length"),
        (([1], [2, 3], [1], [4], [9]), [], "empty"),
        (([1], [2, 3], [1], [4], [9]), ["1"], "a part of the result is a str"),
        (((1, "a"), (2, "b"), (3, "c"), (4, "d"), (5, "e")), (1, "a", 2), "places"),
        (((1, "a"), (2, "b"), (3, "c"), (4, "d"), (5, "e")), ("a", 1), "a part of the result"),
        (ROWS, {"id": 6}, "keys"),
        (ROWS, {"id": 6, "name": None}, "NoneType"),
        (WORDS, {"a": "1"}, "str"),
    ],
)
def test_what_no_good_call_gave_is_refused(good: tuple[Any, ...], refused: Any, why: str) -> None:
    reason = learned(*good).refuses(refused, {})
    assert reason is not None
    assert why in reason


@pytest.mark.parametrize(
    ("good", "passes"),
    [
        (NUMBERS, 200),
        ((1.0, 2.0, 3.0, 4.0, 5.0), 7),
        (TEXTS, "another one"),
        (ROWS, {"id": 40, "name": "other"}),
        (WORDS, {"quite": 3, "other": 2}),
        ((1, "a", None, 2, "b"), "c"),
        (([], [], [], [], [1]), ["seen too seldom to speak of"]),
    ],
)
def test_what_is_like_the_good_ones_passes(good: tuple[Any, ...], passes: Any) -> None:
    assert learned(*good).refuses(passes, {}) is None


def test_the_result_is_as_long_as_an_argument() -> None:
    calls = [({"rows": list(range(n)), "key": "k"}, list(range(n))) for n in (1, 2, 3, 2, 4)]
    found = learn(calls)
    assert found is not None
    assert found.refuses([1, 2], {"rows": [5, 6], "key": "k"}) is None
    assert "as long as the argument rows" in (found.refuses([1], {"rows": [5, 6], "key": "k"}) or "")


def test_the_result_is_no_longer_than_an_argument() -> None:
    calls = [({"rows": list(range(n))}, list(range(n - 1))) for n in (3, 2, 4, 2, 5)]
    found = learn(calls)
    assert found is not None
    assert found.refuses([], {"rows": [1]}) is not None
    assert found.refuses([1, 2], {"rows": [1, 2, 3]}) is None
    assert "no longer than" in (found.refuses([1, 2, 3], {"rows": [1, 2]}) or "")


def test_a_relation_seen_at_one_length_is_none() -> None:
    found = learn([({"row": [1, 2]}, [1, 2]) for _ in range(6)])
    assert found is not None
    assert found.refuses([1, 2], {"row": [1]}) is None
