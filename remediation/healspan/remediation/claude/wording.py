"""A consultation in words, as the command line and the console say them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

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
from healspan.remediation.claude.ask import UNCHARGED
from healspan.remediation.claude.consultation import Asked

__all__ = ["cost_words", "proposed_words"]


def proposed_words(step: ProposedStep) -> str:
    """Say what a step does that Claude proposed, before anybody knows whether it can be a step here."""
    match step:
        case ProposedAdapter():
            return f"adapter:\n{step.text.rstrip()}"
        case ProposedStrategy():
            return f"strategy {step.strategy!r}{_set(step.arguments)}"
        case ProposedRepair():
            return f"repair with {step.repairer!r}{_set(step.parameters)}"
        case ProposedParameters():
            return f"parameters{_set(step.arguments)}"
        case ProposedRetry():
            return f"retry, {step.attempts} attempts"
        case ProposedFallback():
            return "fallback"
        case _:
            assert_never(step)


def _set(settings: Sequence[Setting]) -> str:
    return f" with {', '.join(f'{one.name}={one.value!r}' for one in settings)}" if settings else ""


def cost_words(asked: Asked) -> str:
    """Say what a request has cost."""
    usage = asked.usage
    if usage is None:
        if asked.failed in UNCHARGED:
            return "nothing: the server has declined it"
        return "not told by the server; the budgets count the most that it can have been"
    tokens = usage.input_tokens + usage.output_tokens + usage.cache_read_tokens + usage.cache_write_tokens
    if not tokens:
        return "nothing: it was not asked"
    parts = (
        f"{usage.input_tokens:,} in",
        f"{usage.cache_write_tokens:,} written to the cache" if usage.cache_write_tokens else "",
        f"{usage.cache_read_tokens:,} read from it" if usage.cache_read_tokens else "",
        f"{usage.output_tokens:,} out",
    )
    money = "price not known" if asked.cost_usd is None else f"${asked.cost_usd:.4f}"
    took = f", {asked.seconds:.1f} s" if asked.seconds else ""
    return f"{money} for {tokens:,} tokens ({', '.join(part for part in parts if part)}){took}"
