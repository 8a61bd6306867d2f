"""The page about asking: its tables are those of the code."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import get_args

from healspan.remediation.claude.ask import FailureKind
from healspan.remediation.claude.messages import MOST_BYTES
from healspan.remediation.claude.prices import AS_OF, PRICES, Rates, with_prices

PAGE = (Path(__file__).parents[2] / "docs/asking.md").read_text(encoding="utf-8")


def rows(width: int) -> list[list[str]]:
    lines = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if line.startswith("| ")]
    return [line for line in lines if len(line) == width]


def test_every_price_is_in_the_table() -> None:
    expected: dict[str, Rates] = {}
    for name, price in PRICES.items():
        expected[name] = price
        if price.long_prompts is not None:
            expected[f"{name}, prompt over {price.long_prompts.beyond:,} tokens"] = price.long_prompts
    written = {name: tuple(map(Decimal, figures)) for name, *figures in rows(5)[1:]}
    assert written == {
        name: (rates.input, rates.output, rates.cache_read, rates.cache_write) for name, rates in expected.items()
    }


def test_the_date_of_the_prices_is_told() -> None:
    assert str(AS_OF) in PAGE


def test_every_kind_of_failure_is_in_the_table() -> None:
    assert {name.strip("`") for name, _ in rows(2)} >= set(get_args(FailureKind))


def test_the_prices_of_the_example_can_be_used() -> None:
    (example,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert with_prices(example)["claude-opus-5-5"].output == 16


def test_the_size_of_an_answer_is_told() -> None:
    assert f"{MOST_BYTES // 1024**2} MiB" in PAGE
