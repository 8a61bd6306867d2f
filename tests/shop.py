"""A small application for tests of review and of the command line: one boundary that can be healed by review only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from healspan.instrumentation import error_boundary


def is_positive(result: float, arguments: Mapping[str, Any]) -> bool:
    """A price is above zero."""
    return result > 0


def kind(text: str) -> dict[str, str]:
    """The context of a call."""
    return {"kind": "offer" if text.startswith("only") else "plain"}


@error_boundary("price", checks=[is_positive], retry_safe=True, context=kind)
def price(text: str) -> float:
    """Read a price."""
    words = text.split()
    if len(words) > 1:
        raise LookupError(f"{len(words)} words are no price: {text}")
    return float(words[0])


@price.strategy("last_word", automatic=False)
def last_word(text: str, *, currencies: tuple[str, ...] = ("EUR",)) -> float:
    """The last word, if the one before it is a currency."""
    *_, currency, amount = text.split()
    if currency not in currencies:
        raise LookupError(f"{currency} is no currency")
    return float(amount)


@error_boundary("invoice")
def invoice(customer: dict[str, str]) -> float:
    """Send an invoice, which cannot be sent twice."""
    return float(customer["total"])
