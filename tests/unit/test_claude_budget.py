"""What requests may cost: the arithmetic, and the sentence that says no."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from healspan.remediation.claude.ask import Usage
from healspan.remediation.claude.budget import Limits, charge, end_of_day, left_of, reservation, why_over
from healspan.remediation.settings import load_settings
from healspan.remediation.store.views import Amount

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def cost(usage: Usage, model: str) -> Decimal | None:
    """A dollar per million; cache writes a quarter more, reads a tenth, answers five times as much."""
    if model != "known":
        return None
    weighed = (
        usage.input_tokens
        + usage.cache_write_tokens * Decimal("1.25")
        + usage.cache_read_tokens * Decimal("0.1")
        + usage.output_tokens * 5
    )
    return weighed / 1_000_000


def limits(**settings: object) -> Limits:
    return Limits.of(load_settings(**settings))


def test_what_is_reserved_is_the_dearest_way_that_the_request_can_go() -> None:
    need = reservation(1_000, 200, "known", cost)
    assert need == Amount(tokens=1_200, micro_usd=2_250)  # all of it written to the cache
    for usage in (
        Usage(input_tokens=1_000, output_tokens=200),
        Usage(cache_read_tokens=900, input_tokens=100, output_tokens=200),
        Usage(cache_write_tokens=1_000, output_tokens=200),
    ):
        spent = charge(usage, "known", cost)
        assert spent.tokens <= need.tokens
        assert (spent.micro_usd or 0) <= (need.micro_usd or 0)


def test_a_model_without_a_price_costs_tokens_only() -> None:
    assert reservation(1_000, 200, "mine", cost) == Amount(tokens=1_200, micro_usd=None)
    assert charge(Usage(input_tokens=3, cache_read_tokens=4), "mine", cost) == Amount(tokens=7, micro_usd=None)


def test_a_fraction_of_a_millionth_is_not_free() -> None:
    assert charge(Usage(cache_read_tokens=1), "known", cost).micro_usd == 1


@pytest.mark.parametrize(
    ("setting", "need", "pattern", "day"),
    [
        ("HEALSPAN_CLAUDE_TOKENS_PER_REQUEST", Amount(tokens=101), Amount(), Amount()),
        ("HEALSPAN_CLAUDE_USD_PER_REQUEST", Amount(tokens=1, micro_usd=1_000_001), Amount(), Amount()),
        ("HEALSPAN_CLAUDE_TOKENS_PER_PATTERN", Amount(tokens=100), Amount(tokens=101), Amount(tokens=101)),
        ("HEALSPAN_CLAUDE_USD_PER_PATTERN", Amount(micro_usd=1), Amount(micro_usd=2_000_000), Amount()),
        ("HEALSPAN_CLAUDE_TOKENS_PER_DAY", Amount(tokens=100), Amount(tokens=100), Amount(tokens=901)),
        ("HEALSPAN_CLAUDE_USD_PER_DAY", Amount(micro_usd=2), Amount(), Amount(micro_usd=2_999_999)),
    ],
)
def test_a_refusal_names_the_setting_and_says_until_when(
    setting: str, need: Amount, pattern: Amount, day: Amount
) -> None:
    held = limits(
        claude_tokens_per_request=100,
        claude_tokens_per_pattern=200,
        claude_tokens_per_day=1_000,
        claude_usd_per_request=1,
        claude_usd_per_pattern=2,
        claude_usd_per_day=3,
    )
    reason = why_over(held, need, pattern=pattern, day=day, now=NOON)
    assert reason is not None
    assert setting in reason
    assert "REQUEST" in setting or "2026-03-02 00:00 UTC" in reason


def test_a_budget_may_be_used_up_to_the_last_token() -> None:
    held = limits(claude_tokens_per_request=100, claude_tokens_per_pattern=200, claude_tokens_per_day=300)
    assert why_over(held, Amount(tokens=100), pattern=Amount(tokens=100), day=Amount(tokens=200), now=NOON) is None


def test_money_is_left_out_of_account_where_nobody_knows_the_price() -> None:
    held = limits(claude_usd_per_request=0, claude_usd_per_day=0)
    unpriced = Amount(tokens=1, micro_usd=None)
    assert why_over(held, unpriced, pattern=Amount(), day=Amount(), now=NOON) is None
    assert why_over(held, Amount(tokens=1, micro_usd=1), pattern=Amount(), day=Amount(), now=NOON) is not None


def test_a_budget_of_nothing_allows_nothing() -> None:
    held = limits(claude_tokens_per_request=0)
    assert why_over(held, Amount(tokens=1, micro_usd=None), pattern=Amount(), day=Amount(), now=NOON) is not None


def test_what_is_left_is_never_less_than_nothing() -> None:
    assert left_of(Amount(tokens=10, micro_usd=10), Amount(tokens=4, micro_usd=11)) == Amount(tokens=6, micro_usd=0)


def test_a_day_ends_at_midnight_in_utc_wherever_the_process_is() -> None:
    here = datetime.fromisoformat("2026-03-01T23:30:00-05:00")
    assert end_of_day(here) == datetime(2026, 3, 3, tzinfo=UTC)


def test_a_request_that_no_new_day_makes_room_for_is_not_put_off_to_one() -> None:
    held = limits(claude_tokens_per_day=100)
    alone = why_over(held, Amount(tokens=101), pattern=Amount(), day=Amount(tokens=50), now=NOON)
    later = why_over(held, Amount(tokens=60), pattern=Amount(), day=Amount(tokens=50), now=NOON)
    assert alone is not None
    assert later is not None
    assert "begins anew" not in alone
    assert "HEALSPAN_CLAUDE_TOKENS_PER_DAY raises it" in alone
    assert "begins anew at 2026-03-02 00:00 UTC" in later
