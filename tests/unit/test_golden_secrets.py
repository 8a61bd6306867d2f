"""No secret reaches a golden sample, wherever in a good call it hides."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.canaries import Canary, canaries

from healspan.remediation.errors import NotPlain
from healspan.remediation.golden import golden_sample
from healspan.remediation.reservoir import GoodCall, Reservoir
from healspan.remediation.scrubbing import Scrubber

CORPUS = canaries()


def take(value: Any, *more: Any, password: str = "", **others: Any) -> Any:
    """Take anything."""


RESERVOIR = Reservoir(inspect.signature(take))

PLACES: dict[str, Callable[[Any], GoodCall]] = {
    "argument": lambda value: GoodCall((value,), {}, 1),
    "further argument": lambda value: GoodCall((1, value), {}, 1),
    "keyword": lambda value: GoodCall((1,), {"other": value}, 1),
    "result": lambda value: GoodCall((1,), {}, value),
    "list": lambda value: GoodCall(([value],), {}, 1),
    "tuple": lambda value: GoodCall(((0, value),), {}, 1),
    "mapping": lambda value: GoodCall(({1: value, "of": 2},), {}, 1),
}


def stored(good: GoodCall) -> object:
    return golden_sample("take", RESERVOIR, good, scrubber=Scrubber(), at=datetime.now(UTC))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("canary", CORPUS, ids=lambda canary: canary.name)
def test_a_call_with_a_secret_is_not_stored(canary: Canary, place: str) -> None:
    with pytest.raises(NotPlain, match="must not be stored"):
        stored(PLACES[place](canary.value))


@pytest.mark.parametrize("canary", [one for one in CORPUS if one.is_text], ids=lambda canary: canary.name)
def test_bytes_are_looked_into(canary: Canary) -> None:
    with pytest.raises(NotPlain, match="must not be stored"):
        stored(GoodCall((canary.value.encode(),), {}, 1))


@pytest.mark.parametrize(
    "good",
    [
        GoodCall((1,), {"password": "short"}, 1),
        GoodCall(({"password": "short"},), {}, 1),
        GoodCall(({1: 2, "password": "short"},), {}, 1),
        GoodCall(("x" * 200_000,), {}, 1),
    ],
)
def test_neither_is_one_that_a_name_convicts_or_that_is_too_large_to_be_read(good: GoodCall) -> None:
    with pytest.raises(NotPlain):
        stored(good)


def test_a_harmless_one_is() -> None:
    assert stored(GoodCall(("1,234",), {"other": [1, (2.5, None)]}, {"total": 1234}))
