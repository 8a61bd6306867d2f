"""What people read of one request to Claude: what it would do, and what it cost."""

from __future__ import annotations

from decimal import Decimal

import pytest

from healspan.remediation.claude.answer import (
    ProposedAdapter,
    ProposedFallback,
    ProposedParameters,
    ProposedRepair,
    ProposedRetry,
    ProposedStep,
    ProposedStrategy,
    Setting,
)
from healspan.remediation.claude.ask import Usage
from healspan.remediation.claude.consultation import Asked
from healspan.remediation.claude.wording import cost_words, proposed_words

COMMA = [Setting(name="separator", value=",")]
USAGE = Usage(input_tokens=1_000, cache_read_tokens=3_000, output_tokens=200)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (
            Asked(sent="?", usage=USAGE, cost_usd=Decimal("0.0231"), seconds=2.04),
            "$0.0231 for 4,200 tokens (1,000 in, ",
        ),
        (Asked(sent="?", usage=USAGE, seconds=2.04), "3,000 read from it, 200 out), 2.0 s"),
        (Asked(sent="?", failed="refused", usage=USAGE), "price not known for 4,200 tokens"),
        (Asked(sent="?", failed="unauthorized"), "nothing: the server has declined it"),
        (Asked(sent="?", failed="unreachable", usage=Usage()), "nothing: it was not asked"),
        (Asked(sent="?", failed="timeout"), "the budgets count the most that it can have been"),
    ],
)
def test_what_a_request_cost_is_said_with_what_is_known(asked: Asked, words: str) -> None:
    assert words in cost_words(asked)


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (ProposedAdapter(kind="adapter", text="def heal():\n    pass\n", strategies=[], repairers=[]), "    pass"),
        (ProposedStrategy(kind="strategy", strategy="comma", arguments=COMMA), "strategy 'comma' with separator=','"),
        (ProposedRepair(kind="repair", repairer="number", accept="none", parameters=[]), "repair with 'number'"),
        (ProposedParameters(kind="parameters", arguments=COMMA), "parameters with separator=','"),
        (ProposedRetry(kind="retry", attempts=3), "retry, 3 attempts"),
        (ProposedFallback(kind="fallback"), "fallback"),
    ],
)
def test_what_was_proposed_can_be_read_where_it_came_to_nothing(step: ProposedStep, words: str) -> None:
    assert words in proposed_words(step)
