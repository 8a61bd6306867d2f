"""Claude as a service has it: put together from the settings, or a sentence that says why it is not there."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import UTC, datetime

from pydantic import SecretStr

from healspan.remediation.claude.budget import Limits, reservation, why_over
from healspan.remediation.claude.consultation import Consultation
from healspan.remediation.claude.diagnoser import ClaudeDiagnoser
from healspan.remediation.claude.gateway import Gateway
from healspan.remediation.claude.material import GivenUp, SolvedLike
from healspan.remediation.claude.messages import MessagesAsker, is_installed, usable
from healspan.remediation.claude.prices import Prices, cost, price_of, with_prices
from healspan.remediation.claude.prompt import Prompter
from healspan.remediation.errors import ConfigurationError
from healspan.remediation.sandbox import Sandbox
from healspan.remediation.scrubbing import Scrubber
from healspan.remediation.settings import Settings
from healspan.remediation.store.views import Amount

__all__ = ["Claude", "price_is_known", "prices", "why_never_asked", "why_off"]

_SLACK_SECONDS = 10.0
"""What a failing call waits beyond the time of its request: for the count before it, and for the store."""


class Claude:
    """Tier 2 with Claude, in one process.

    Args:
        settings: with a model.
        scrubber: removes secrets from what is sent and from what comes back.
        solved: what solved failures like one, the most alike first.
        given_up: what somebody has said no to of what was for a failure.
        sandbox: of this process.
        keep: makes a consultation durable.

    Raises:
        ConfigurationError: it cannot be asked; the message says what to do.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        scrubber: Scrubber,
        solved: SolvedLike,
        given_up: GivenUp,
        sandbox: Sandbox,
        keep: Callable[[Consultation], object],
    ) -> None:
        reason = why_off(settings)
        if reason is not None:
            raise ConfigurationError(reason)
        known = prices(settings)
        timeout = settings.claude_timeout_seconds
        adapters = sandbox.why_off is None
        asker = MessagesAsker(
            model=settings.claude_model,
            api_key=settings.claude_api_key or SecretStr("none"),
            base_url=settings.claude_base_url,
            effort=settings.claude_effort,
            max_tokens=settings.claude_max_tokens,
            timeout=timeout,
            retries=settings.claude_retries,
            scrub=scrubber.scrub_text,
            adapters=adapters,
        )
        self.gateway = Gateway.open(settings, cost=functools.partial(cost, prices=known))
        self.diagnoser = ClaudeDiagnoser(
            asker,
            Prompter(scrubber, settings.claude_values, solved=solved, given_up=given_up, adapters=adapters),
            self.gateway,
            keep=keep,
            cost=functools.partial(cost, prices=known),
            sandbox=sandbox,
            most_output=settings.claude_max_tokens,
            wait_seconds=2 * timeout + _SLACK_SECONDS,
        )

    def close(self) -> None:
        """Give back what is held and write down what was not yet, within a bound."""
        self.diagnoser.close()
        self.gateway.close()


def prices(settings: Settings) -> Prices:
    """Return the price table with what the settings say.

    Raises:
        ConfigurationError: they cannot be read.
    """
    try:
        return with_prices(settings.claude_prices or "{}")
    except ConfigurationError as error:
        what = str(error).removeprefix("prices: ")
        raise ConfigurationError(f"Claude is not asked: HEALSPAN_CLAUDE_PRICES: {what}") from error


def why_off(settings: Settings) -> str | None:
    """Say in one line why Claude is not asked; None if it is."""
    if not settings.claude_model:
        return "Claude is not asked: HEALSPAN_CLAUDE_MODEL names no model"
    if not is_installed():
        return "Claude is not asked: pip install 'healspan[claude]' brings the SDK"
    if settings.claude_api_key is None and not settings.claude_base_url:
        return "Claude is not asked: set ANTHROPIC_API_KEY, or HEALSPAN_CLAUDE_BASE_URL for a server that needs no key"
    if not settings.claude_tokens_per_request:
        return "Claude is not asked: HEALSPAN_CLAUDE_TOKENS_PER_REQUEST is 0"
    try:
        usable(settings.claude_base_url)
    except ConfigurationError as error:
        return f"Claude is not asked: {error} (HEALSPAN_CLAUDE_BASE_URL, or ANTHROPIC_BASE_URL)"
    return None


def why_never_asked(settings: Settings) -> str | None:
    """Say why Claude is never asked: it is off, or the longest answer alone passes a budget; None if it may be.

    Raises:
        ConfigurationError: the prices cannot be read.
    """
    off = why_off(settings)
    if off is not None:
        return off
    need = reservation(
        0,
        settings.claude_max_tokens,
        settings.claude_model,
        functools.partial(cost, prices=prices(settings)),
    )
    over = why_over(Limits.of(settings), need, pattern=Amount(), day=Amount(), now=datetime.now(UTC))
    return None if over is None else f"Claude is not asked: {over}"


def price_is_known(settings: Settings) -> bool:
    """Whether the budgets in money hold for the model of the settings."""
    return price_of(settings.claude_model, prices(settings)) is not None
