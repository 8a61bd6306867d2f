"""Prices: exact sums, bounds that hold, and no price for a model that is not known."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from healspan.remediation.claude.ask import Usage
from healspan.remediation.claude.prices import PRICES, LongPrompts, Price, cost, most, price_of, with_prices
from healspan.remediation.errors import ConfigurationError

MODELS = st.sampled_from(sorted(PRICES))
TOKENS = st.integers(min_value=0, max_value=10**7)
USAGES = st.builds(
    Usage, input_tokens=TOKENS, output_tokens=TOKENS, cache_read_tokens=TOKENS, cache_write_tokens=TOKENS
)
AMOUNTS = st.decimals(min_value=0, max_value=1_000, places=4)
PRICE = st.builds(Price, input=AMOUNTS, output=AMOUNTS, cache_read=AMOUNTS, cache_write=AMOUNTS)


def known(usage: Usage, model: str) -> Decimal:
    found = cost(usage, model)
    assert found is not None
    return found


@given(USAGES, MODELS)
def test_no_request_costs_more_than_the_most(usage: Usage, model: str) -> None:
    prompt_tokens = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
    bound = most(prompt_tokens, usage.output_tokens, model)
    assert bound is not None
    assert 0 <= known(usage, model) <= bound


@given(USAGES, MODELS, st.sampled_from(sorted(Usage.model_fields)))
def test_one_more_token_never_costs_less(usage: Usage, model: str, field: str) -> None:
    more = usage.model_copy(update={field: getattr(usage, field) + 1})
    assert known(more, model) >= known(usage, model)


@given(USAGES, USAGES, PRICE)
def test_costs_add_up_exactly(one: Usage, other: Usage, price: Price) -> None:
    prices = {"m": price}
    both = Usage(**{name: getattr(one, name) + getattr(other, name) for name in Usage.model_fields})
    parts = [cost(each, "m", prices) for each in (one, other)]
    assert cost(both, "m", prices) == sum(part for part in parts if part is not None)


@given(USAGES, st.text(max_size=30))
def test_what_is_not_known_has_no_price(usage: Usage, model: str) -> None:
    assert cost(usage, f"other-{model}") is None
    assert most(1, 1, f"other-{model}") is None


@given(MODELS, st.dates(min_value=date(2023, 1, 1)))
def test_a_dated_name_is_the_same_model(model: str, day: date) -> None:
    for end in (f"-{day:%Y%m%d}", f"@{day:%Y%m%d}", "-latest"):
        assert price_of(model + end) == PRICES[model]


@given(MODELS, st.from_regex(r"-?[a-z0-9.]{1,6}", fullmatch=True))
def test_a_name_that_only_begins_alike_is_another_model(model: str, more: str) -> None:
    assert price_of(model + more) == PRICES.get(model + more)


@given(st.dictionaries(st.text(min_size=1, max_size=12), PRICE, max_size=4))
def test_a_setting_replaces_what_it_names_and_nothing_else(given_prices: dict[str, Price]) -> None:
    text = json.dumps({name: price.model_dump(mode="json") for name, price in given_prices.items()})
    table = with_prices(text)
    assert {name: table[name] for name in given_prices} == given_prices
    assert {name: price for name, price in table.items() if name not in given_prices} == {
        name: price for name, price in PRICES.items() if name not in given_prices
    }


def test_a_long_prompt_costs_more_as_a_whole() -> None:
    short, long = (
        known(Usage(input_tokens=tokens, output_tokens=10), "claude-haiku-5-5") for tokens in (10**5, 10**5 + 1)
    )
    assert short == Decimal("0.010005")
    assert long == Decimal("0.0500255")
    cached = Usage(input_tokens=1, cache_read_tokens=10**5, output_tokens=10)
    assert known(cached, "claude-haiku-5-5") == Decimal("0.0050255"), "what is read from the cache is prompt too"


def test_numbers_in_a_setting_keep_their_digits() -> None:
    table = with_prices('{"m": {"input": 0.1, "output": 0.3, "cache_read": 0, "cache_write": 1e-3}}')
    assert cost(Usage(input_tokens=1_000_000), "m", table) == Decimal("0.1")
    assert with_prices("  ") is PRICES


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "[" * 100_000,
        '{"m": {"input": 1}}',
        '{"m": {"input": -1, "output": 1, "cache_read": 1, "cache_write": 1}}',
        '{"m": {"input": NaN, "output": 1, "cache_read": 1, "cache_write": 1}}',
        '{"m": {"input": Infinity, "output": 1, "cache_read": 1, "cache_write": 1}}',
        '{"m": {"input": 1, "output": 1, "cache_read": 1, "cache_write": 1, "typo": 1}}',
    ],
)
def test_a_setting_that_cannot_be_used_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="prices"):
        with_prices(text)


def test_the_table_is_plausible() -> None:
    for name, price in PRICES.items():
        for rates in (price, *([price.long_prompts] if price.long_prompts else [])):
            assert 0 < rates.cache_read < rates.input < rates.cache_write < rates.output, name
        if price.long_prompts is not None:
            assert isinstance(price.long_prompts, LongPrompts)
            assert price.long_prompts.input > price.input
