"""The learned contract refuses only what it has reason to, and plain values survive storing."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from healspan.remediation.errors import NotPlain
from healspan.remediation.learned import FEWEST, learn
from healspan.remediation.plain import decode, digest_of, encode

# The machine that runs this may be slow; what is tested is not how fast.
few_examples = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=8)
    | st.decimals(allow_nan=False)
    | st.dates()
    | st.datetimes(timezones=st.sampled_from((None, UTC))).map(lambda moment: moment.replace(fold=0))
)
hashables = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.binary(max_size=4),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3),
    max_leaves=3,
)
values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(hashables, inner, max_size=3)
        | st.sets(hashables, max_size=3)
        | st.frozensets(hashables, max_size=3)
    ),
    max_leaves=6,
)
calls = st.lists(st.tuples(st.dictionaries(st.sampled_from("ab"), values, max_size=2), values), max_size=9)


def same(one: Any, other: Any) -> bool:
    """Equal, to the last type."""
    return repr(one) == repr(other) or (type(one) is type(other) and one == other)


@few_examples
@given(values)
def test_a_plain_value_comes_back_as_it_was(value: Any) -> None:
    payload = encode(value)
    stored = json.loads(json.dumps(payload))
    assert same(decode(stored), value)
    assert digest_of(stored) == digest_of(payload)


@few_examples
@given(values, values)
def test_digests_are_equal_where_the_values_are_the_same(one: Any, other: Any) -> None:
    if digest_of(encode(one)) == digest_of(encode(other)):
        assert same(one, other) or one == other
    elif type(one) is type(other) and type(one) in {str, bytes, int}:
        assert one != other


@few_examples
@given(st.dictionaries(hashables, scalars, min_size=2, max_size=4))
def test_the_order_of_a_mapping_does_not_count(mapping: dict[Any, Any]) -> None:
    turned = dict(reversed(mapping.items()))
    assert digest_of(encode(turned)) == digest_of(encode(mapping))


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, True), (1, 1.0), ("1", b"1"), ([1], (1,)), ({1}, frozenset({1})), (0.0, -0.0), ({"$tuple": [1]}, (1,))],
)
def test_types_count(one: object, other: object) -> None:
    assert digest_of(encode(one)) != digest_of(encode(other))


class Text(str):
    """No plain text: a subclass may override anything."""

    __slots__ = ()


endless: list[object] = []
endless.append(endless)


@pytest.mark.parametrize("value", [object(), Text("a"), [Text("a")], {1: print}, endless, list(range(30_000))])
def test_what_is_not_plain_is_refused(value: object) -> None:
    with pytest.raises(NotPlain):
        encode(value)


@pytest.mark.parametrize("payload", [{"$tuple": "a"}, {"$dict": [1]}, {"$int": "z"}, {"$open": "x"}, {"$date": "no"}])
def test_what_encode_never_writes_is_not_read(payload: Any) -> None:
    with pytest.raises(NotPlain):
        decode(payload)


@few_examples
@given(calls)
def test_no_result_is_refused_from_which_was_learned(examples: list[tuple[dict[str, Any], Any]]) -> None:
    learned = learn(examples)
    assert (learned is None) == (len(examples) < FEWEST)
    if learned is not None:
        assert [learned.refuses(result, arguments) for arguments, result in examples] == [None] * len(examples)


@few_examples
@given(calls, values)
def test_the_order_of_the_calls_does_not_count(examples: list[tuple[dict[str, Any], Any]], value: Any) -> None:
    one, other = learn(examples), learn(examples[::-1])
    if one is not None and other is not None:
        assert (one.refuses(value, {}) is None) == (other.refuses(value, {}) is None)


@few_examples
@given(st.lists(values, min_size=FEWEST, max_size=8), st.lists(values, max_size=8), values)
def test_more_good_calls_only_let_more_pass(few: list[Any], more: list[Any], value: Any) -> None:
    # Of the kinds of values that were seen: a place seen too seldom to speak of may be spoken of later.
    narrow, wide = learn([({}, one) for one in few]), learn([({}, one) for one in [*few, *more]])
    assert narrow is not None
    assert wide is not None
    if type(value) in {str, bytes, type(None), bool, Decimal, date, datetime} and narrow.refuses(value, {}) is None:
        lengths = [len(one) for one in few if type(one) is type(value) and type(one) in {str, bytes}]
        if len(lengths) >= FEWEST or type(value) not in {str, bytes}:
            assert wide.refuses(value, {}) is None


@few_examples
@given(st.lists(values, max_size=FEWEST - 1), values)
def test_nothing_is_learned_from_too_little(few: list[Any], value: Any) -> None:
    assert learn([({}, one) for one in few]) is None
