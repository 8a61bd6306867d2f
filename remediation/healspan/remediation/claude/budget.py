"""Budgets: what a request, a kind of failure in a day, and a day may cost, in tokens and in money. Pure.

What was reserved counts like what was spent, so several requests in flight cannot pass one budget together.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from decimal import ROUND_CEILING, Decimal

from healspan.remediation.claude.ask import Usage
from healspan.remediation.record import Record
from healspan.remediation.settings import Settings
from healspan.remediation.store.views import Amount

__all__ = ["Cost", "Limits", "charge", "end_of_day", "left_of", "reservation", "why_over"]

Cost = Callable[[Usage, str], Decimal | None]
"""What a model's usage costs in US dollars; None where its price is not known."""

_MICRO = Decimal(1_000_000)
_MOST = 10**12
"""Beyond every budget, and sums of it are still whole numbers to a database: a server may say anything."""


class Limits(Record):
    """What Claude may cost, and when it is left alone; each from the setting of the same meaning."""

    request: Amount
    pattern: Amount
    """A kind of failure, in a day."""
    day: Amount
    concurrent: int
    breaker_failures: int
    breaker_seconds: float
    cooldown: timedelta
    lease: timedelta

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """Take them from the settings."""
        return cls(
            request=Amount(
                tokens=settings.claude_tokens_per_request, micro_usd=_micro(settings.claude_usd_per_request)
            ),
            pattern=Amount(
                tokens=settings.claude_tokens_per_pattern, micro_usd=_micro(settings.claude_usd_per_pattern)
            ),
            day=Amount(tokens=settings.claude_tokens_per_day, micro_usd=_micro(settings.claude_usd_per_day)),
            concurrent=settings.claude_concurrent,
            breaker_failures=settings.claude_breaker_failures,
            breaker_seconds=settings.claude_breaker_seconds,
            cooldown=timedelta(minutes=settings.claude_cooldown_minutes),
            lease=timedelta(seconds=settings.claude_lease_seconds),
        )

    def halved(self) -> Limits:
        """Return them with half of what a day has, for a kind of failure and in all."""
        return self.model_copy(update={"pattern": _half(self.pattern), "day": _half(self.day)})


def reservation(input_tokens: int, most_output_tokens: int, model: str, cost: Cost) -> Amount:
    """Return the most that a request can cost.

    How much of the prompt the cache reads or writes is known afterwards only, so the dearest way counts.
    """
    most = max(most_output_tokens, 0)
    prompt = max(input_tokens, 0)
    ways = (
        Usage(input_tokens=prompt, output_tokens=most),
        Usage(cache_read_tokens=prompt, output_tokens=most),
        Usage(cache_write_tokens=prompt, output_tokens=most),
    )
    prices = [price for way in ways if (price := cost(way, model)) is not None]
    return _bounded(prompt + most, _micro(max(prices)) if prices else None)


def charge(usage: Usage, model: str, cost: Cost) -> Amount:
    """Return what a request has cost; all its tokens count, cached ones included."""
    tokens = usage.input_tokens + usage.output_tokens + usage.cache_read_tokens + usage.cache_write_tokens
    price = cost(usage, model)
    return _bounded(tokens, None if price is None else _micro(price))


def why_over(limits: Limits, need: Amount, *, pattern: Amount, day: Amount, now: datetime) -> str | None:
    """Say which budget a request would pass, and what can be done; None if it passes none.

    Args:
        limits: the budgets.
        need: what the request costs at most; money is left out of account where its price is not known.
        pattern: spent and reserved today for this kind of failure.
        day: spent and reserved today in all.
        now: the moment, in UTC.
    """
    scopes = (
        ("one request", "REQUEST", Amount(), limits.request),
        ("this kind of failure in a day", "PATTERN", pattern, limits.pattern),
        ("a day", "DAY", day, limits.day),
    )
    for scope, name, spent, budget in scopes:
        if spent.tokens + need.tokens > budget.tokens:
            setting, used, asked, most = "TOKENS", f"{spent.tokens:,}", f"{need.tokens:,}", f"{budget.tokens:,} tokens"
            alone = need.tokens > budget.tokens
        elif need.micro_usd is not None and (spent.micro_usd or 0) + need.micro_usd > (budget.micro_usd or 0):
            setting, used, asked = "USD", _usd(spent.micro_usd), _usd(need.micro_usd)
            most = f"{_usd(budget.micro_usd)} US dollars"
            alone = need.micro_usd > (budget.micro_usd or 0)
        else:
            continue
        variable = f"HEALSPAN_CLAUDE_{setting}_PER_{name}"
        if alone:
            return (
                f"the budget of {scope} is {most}, and this request alone may need {asked}: its prompt, and an answer "
                f"as long as HEALSPAN_CLAUDE_MAX_TOKENS allows; {variable} raises it"
            )
        until = f"{end_of_day(now):%Y-%m-%d %H:%M} UTC"
        return (
            f"the budget of {scope} is {most}, of which {used} are spent or reserved, and this request may need "
            f"{asked}; it begins anew at {until}, and {variable} raises it"
        )
    return None


def left_of(budget: Amount, spent: Amount) -> Amount:
    """Return what is left of a budget; never less than nothing."""
    return Amount(
        tokens=max(budget.tokens - spent.tokens, 0),
        micro_usd=max((budget.micro_usd or 0) - (spent.micro_usd or 0), 0),
    )


def end_of_day(now: datetime) -> datetime:
    """Return when the day of a moment ends, in UTC."""
    return datetime.combine(now.astimezone(UTC).date() + timedelta(days=1), time(), UTC)


def _half(budget: Amount) -> Amount:
    return Amount(tokens=budget.tokens // 2, micro_usd=None if budget.micro_usd is None else budget.micro_usd // 2)


def _bounded(tokens: int, micro_usd: int | None) -> Amount:
    return Amount(tokens=min(tokens, _MOST), micro_usd=None if micro_usd is None else min(micro_usd, _MOST))


def _micro(usd: Decimal) -> int:
    # Up, so that many small amounts are never free.
    return int((usd * _MICRO).to_integral_value(ROUND_CEILING))


def _usd(micro: int | None) -> str:
    return f"{(micro or 0) / 1e6:.4f}"
