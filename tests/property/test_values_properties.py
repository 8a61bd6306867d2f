"""Any value has a bounded picture that JSON and the store can hold."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from healspan.instrumentation.values import Limits, ValuePolicy, ValueReader
from healspan.remediation.scrubbing import Scrubber

_leaf: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.complex_numbers()
    | st.binary(max_size=50)
    | st.text(st.characters(codec=None), max_size=300)
    | st.builds(object)
    | st.just(int)
)
_hashable = st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.tuples(st.integers())
_value = st.recursive(
    _leaf,
    lambda inner: (
        st.lists(inner, max_size=15)
        | st.tuples(inner, inner)
        | st.dictionaries(_hashable, inner, max_size=15)
        | st.sets(_hashable, max_size=15)
    ),
    max_leaves=60,
)


@given(_value, st.sampled_from(ValuePolicy), st.integers(0, 3), st.integers(20, 2_000))
def test_the_picture_is_json_storable_and_bounded(value: Any, policy: ValuePolicy, depth: int, total: int) -> None:
    limits = Limits(depth=depth, items=5, text=50, total=total)
    picture = ValueReader(Scrubber().session(), policy, limits).read(value)
    written = json.dumps(picture, ensure_ascii=False, allow_nan=False)
    written.encode()
    assert _depth(picture) <= 2 * depth
    # One value may overdraw the budget, and every entry after it still says that the budget is spent.
    assert len(written) <= 2 * total + 6**depth * 30 + 200


@given(_value)
def test_reading_twice_gives_the_same_picture(value: Any) -> None:
    assert repr(ValueReader(Scrubber().session()).read(value)) == repr(ValueReader(Scrubber().session()).read(value))


def _depth(picture: Any) -> int:
    if isinstance(picture, dict):
        return 1 + max(map(_depth, picture.values()), default=0)
    if isinstance(picture, list):
        return 1 + max(map(_depth, picture), default=0)
    return 0
