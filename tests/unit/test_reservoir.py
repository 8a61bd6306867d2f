"""The reservoir: a bounded, fair choice, of copies, with reasons for what is not kept."""

from __future__ import annotations

import inspect
import io
import random
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from healspan.remediation.reservoir import ROOM, GoodCall, Reservoir


def plain(a: Any, b: Any = 2) -> None: ...
def positional(a: Any, /, b: Any = 2, *rest: Any) -> None: ...
def keyword(a: Any, *, b: Any = 2, **others: Any) -> None: ...
def everything(a: Any, /, b: Any = 2, *rest: Any, c: Any = 3, **others: Any) -> None: ...


@pytest.mark.parametrize("function", [plain, positional, keyword, everything])
@settings(deadline=None)
@given(st.lists(st.integers(), max_size=4), st.dictionaries(st.sampled_from("abcdz"), st.integers()))
def test_a_call_can_be_made_from_its_arguments_by_name(
    function: Callable[..., None], args: list[int], kwargs: dict[str, int]
) -> None:
    signature = inspect.signature(function)
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError:
        return
    reservoir = Reservoir(signature)
    again = reservoir.call_of(reservoir.named(GoodCall(tuple(args), kwargs, None)))
    assert signature.bind(*again[0], **again[1]) == bound


@pytest.mark.parametrize("named", [{}, {"z": 1}, {"a": 1, "z": 2}])
def test_arguments_of_another_function_make_no_call(named: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        Reservoir(inspect.signature(plain)).call_of(named)


def test_every_good_call_has_the_same_chance() -> None:
    rng = random.Random(3)
    kept: Counter[int] = Counter()
    for _ in range(300):
        reservoir = Reservoir(inspect.signature(plain), 1.0, chance=rng.random)
        for number in range(2 * ROOM):
            if reservoir.wants(1):
                reservoir.keep(((number,), {}), number)
        kept.update(one.result for one in reservoir.calls())
    assert sum(kept.values()) == 300 * ROOM
    first, last = (sum(kept[n] for n in part) for part in (range(ROOM), range(ROOM, 2 * ROOM)))
    assert 0.9 < first / last < 1.1


def test_the_rate_is_that_of_all_calls_as_far_as_they_are_sampled() -> None:
    rng = random.Random(3)
    reservoir = Reservoir(inspect.signature(plain), 0.01, chance=rng.random)
    assert 80 < sum(reservoir.wants(1) for _ in range(10_000)) < 120
    reservoir = Reservoir(inspect.signature(plain), 0.01, chance=rng.random)
    assert 6_000 < sum(reservoir.wants(64) for _ in range(10_000)) < 6_800
    assert not any(Reservoir(inspect.signature(plain), 0.0).wants(64) for _ in range(100))


def test_a_full_reservoir_has_ever_fewer_calls_copied() -> None:
    rng = random.Random(3)
    reservoir = Reservoir(inspect.signature(plain), 1.0, chance=rng.random)
    for number in range(ROOM):
        reservoir.keep(((number,), {}), number)
    assert sum(reservoir.wants(64) for _ in range(100_000)) < 20 * ROOM


class Uncopyable:
    def __deepcopy__(self, memo: object) -> Uncopyable:
        raise RuntimeError("not me")


class Unequal:
    """Equal to nothing, its copy included."""


@pytest.mark.parametrize(
    ("argument", "reason"),
    [
        (iter([1]), "used up"),
        (io.StringIO("text"), "used up"),
        ((n for n in [1]), "used up"),
        (Uncopyable(), "cannot be copied"),
        (threading.Lock(), "cannot be copied"),
        ("x" * 2_000_000, "too large"),
        (list(range(50_000)), "too large"),
    ],
)
def test_arguments_that_cannot_be_kept_are_skipped_with_a_reason(argument: object, reason: str) -> None:
    reservoir = Reservoir(inspect.signature(plain), 1.0)
    assert reservoir.copied((argument,), {}) is None
    assert reason in (reservoir.problem or "")


@pytest.mark.parametrize(
    ("result", "reason"),
    [(iter([1]), "used up"), (Uncopyable(), "cannot be copied"), (Unequal(), "compared"), ("x" * 2_000_000, "large")],
)
def test_results_that_cannot_be_kept_are_skipped_with_a_reason(result: object, reason: str) -> None:
    reservoir = Reservoir(inspect.signature(plain), 1.0)
    assert not reservoir.keep(((1,), {}), result)
    assert len(reservoir) == 0
    assert reason in (reservoir.problem or "")


def test_what_fails_again_and_again_is_tried_less_often() -> None:
    rng = random.Random(3)
    reservoir = Reservoir(inspect.signature(plain), 1.0, chance=rng.random)
    for _ in range(3):
        reservoir.copied((iter([1]),), {})
    assert sum(reservoir.wants(1) for _ in range(1_000)) < 50
    assert reservoir.keep(((1,), {}), 1)
    assert reservoir.wants(1)


def test_a_result_is_the_same_or_not() -> None:
    nan = float("nan")
    good = GoodCall((), {}, {"total": nan, "rows": [1, 2]})
    assert good.gives({"rows": [1, 2], "total": float("nan")})
    assert not good.gives({"rows": [True, 2], "total": nan})
    assert not good.gives({"rows": (1, 2), "total": nan})
    assert not good.gives(None)


def test_many_threads_keep_at_once() -> None:
    reservoir = Reservoir(inspect.signature(plain), 1.0)

    def keep() -> None:
        for number in range(200):
            reservoir.keep(((number,), {}), number)
            reservoir.learned()

    threads = [threading.Thread(target=keep) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(reservoir) == ROOM
    assert all(one.args == (one.result,) for one in reservoir.calls())
