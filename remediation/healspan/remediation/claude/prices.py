"""What tokens cost: a dated table, and the arithmetic on it.

The table is a copy of Anthropic's published prices, for requests to its own API at the standard tier with the cache of
five minutes. No server says what it charges, and prices change: whoever pays checks `AS_OF` against the price list, and
writes what differs, or what a gateway or another model costs, into the setting (`with_prices`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Final

from pydantic import Field, TypeAdapter, ValidationError

from healspan.remediation.claude.ask import Usage
from healspan.remediation.errors import ConfigurationError
from healspan.remediation.record import Record

__all__ = ["AS_OF", "PRICES", "LongPrompts", "Price", "Prices", "Rates", "cost", "most", "price_of", "with_prices"]

AS_OF: Final = date(2026, 10, 24)
"""When the table was last the same as the published list, by the newest copy of it at hand."""

_MILLION = 1_000_000
_DATED = re.compile(r"[-@]\d{8}|-latest")


class Rates(Record):
    """US dollars per million tokens."""

    input: Decimal = Field(ge=0, allow_inf_nan=False)
    """Neither read from the cache nor written to it."""
    output: Decimal = Field(ge=0, allow_inf_nan=False)
    cache_read: Decimal = Field(ge=0, allow_inf_nan=False)
    cache_write: Decimal = Field(ge=0, allow_inf_nan=False)
    """For the cache of five minutes."""


class LongPrompts(Rates):
    """What every token of a request costs whose prompt is longer than so many tokens, cached ones included."""

    beyond: int = Field(ge=0)


class Price(Rates):
    """What a model costs."""

    long_prompts: LongPrompts | None = None
    """None: a long prompt costs the same."""

    def rates(self, prompt_tokens: int) -> Rates:
        """Return the rates for a prompt of so many tokens."""
        long = self.long_prompts
        return long if long is not None and prompt_tokens > long.beyond else self


Prices = Mapping[str, Price]
"""By the name of the model, without a date."""


def _rates(input_: str, output: str, cache_read: str, cache_write: str) -> dict[str, Decimal]:
    names = ("input", "output", "cache_read", "cache_write")
    return dict(zip(names, map(Decimal, (input_, output, cache_read, cache_write)), strict=True))


def _price(input_: str, output: str, cache_read: str, cache_write: str) -> Price:
    return Price(**_rates(input_, output, cache_read, cache_write))


PRICES: Final[Prices] = {
    "claude-fable-5-1": _price("10", "50", "0.25", "12.50"),
    "claude-fable-5": _price("10", "50", "1", "12.50"),
    "claude-opus-5-5": _price("4", "20", "0.20", "5"),
    "claude-opus-5": _price("5", "25", "0.50", "6.25"),
    "claude-opus-4-8": _price("5", "25", "0.50", "6.25"),
    "claude-opus-4-7": _price("5", "25", "0.50", "6.25"),
    "claude-opus-4-6": _price("5", "25", "0.50", "6.25"),
    "claude-opus-4-5": _price("5", "25", "0.50", "6.25"),
    "claude-sonnet-5-5": _price("2", "10", "0.10", "2.50"),
    "claude-sonnet-5": _price("2", "10", "0.20", "2.50"),
    "claude-sonnet-4-6": _price("3", "15", "0.30", "3.75"),
    "claude-sonnet-4-5": _price("3", "15", "0.30", "3.75"),
    "claude-haiku-5-5": Price(
        **_rates("0.10", "0.50", "0.01", "0.125"),
        long_prompts=LongPrompts(**_rates("0.50", "2.50", "0.05", "0.625"), beyond=100_000),
    ),
    "claude-haiku-4-5": _price("1", "5", "0.10", "1.25"),
}
"""Taken from the published list and the pages of the models, but for two figures that are reported by others only: the
0.10 of claude-sonnet-5-5 (its page of September says 0.20) and the cache writes of claude-haiku-5-5."""

_TABLE = TypeAdapter(dict[str, Price])


def with_prices(text: str, prices: Prices = PRICES) -> Prices:
    """Return the table with the prices of a setting in the place of its own.

    Args:
        text: JSON by model, ``{"mine": {"input": "1", "output": "5", "cache_read": "0.1", "cache_write": "1.25"}}``;
            empty: nothing is replaced.
        prices: the table.

    Raises:
        ConfigurationError: it is no such JSON.
    """
    if not text.strip():
        return prices
    try:
        # Through the decoder of the standard library, which keeps the digits of a number as they are written.
        given = _TABLE.validate_python(json.loads(text, parse_float=Decimal))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(f"prices: {first['msg']} at {place or 'the beginning'}; correct it") from error
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"prices: no JSON ({error}); write them as an object by model") from error
    return {**prices, **given}


def price_of(model: str, prices: Prices = PRICES) -> Price | None:
    """Return the price of a model, whose name may end with a date or ``-latest``; None where it is not known.

    A name that only begins alike is another model: ``claude-opus-5-5`` is not ``claude-opus-5``.
    """
    exact = prices.get(model)
    if exact is not None:
        return exact
    match = _DATED.search(model)
    return prices.get(model[: match.start()]) if match and match.end() == len(model) else None


def cost(usage: Usage, model: str, prices: Prices = PRICES) -> Decimal | None:
    """Return what a request cost in US dollars, exactly; None where the price of the model is not known."""
    price = price_of(model, prices)
    if price is None:
        return None
    rates = price.rates(usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens)
    return (
        usage.input_tokens * rates.input
        + usage.output_tokens * rates.output
        + usage.cache_read_tokens * rates.cache_read
        + usage.cache_write_tokens * rates.cache_write
    ) / _MILLION


def most(input_tokens: int, output_tokens: int, model: str, prices: Prices = PRICES) -> Decimal | None:
    """Return what a request can cost at most, before it is made; None where the price of the model is not known.

    Args:
        input_tokens: of the prompt; how many of them the cache will read or write is not known yet.
        output_tokens: that the answer may have.
        model: its name.
        prices: the table.
    """
    price = price_of(model, prices)
    if price is None:
        return None
    rates = price.rates(input_tokens)
    dearest = max(rates.input, rates.cache_read, rates.cache_write)
    return (input_tokens * dearest + output_tokens * rates.output) / _MILLION
