"""Prints what Claude was asked about an incident, what it answered, what came of it, and what it cost."""

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
from healspan.remediation.claude.consultation import Asked, Consultation
from healspan.remediation.cli.output import print_fields, print_heading, print_line

__all__ = ["print_consultations"]

_SHOWN = 400
"""Characters of what was sent; ``--json`` has all of it."""


def print_consultations(consultations: Sequence[Consultation]) -> None:
    """Print them under a heading, or nothing."""
    if not consultations:
        return
    print_heading("What Claude was asked")
    for one in consultations:
        said = f": {one.reason}" if one.reason else ""
        print_line(f"  {one.model}, prompt {one.prompt_version}, values {one.values}: {one.state}{said}")
        for asked in one.asked:
            _print_asked(asked)


def _print_asked(asked: Asked) -> None:
    sent = " ".join(asked.sent.split())
    cut = "" if len(sent) <= _SHOWN else f" ... ({len(asked.sent):,} characters; --json shows all)"
    fields: list[tuple[str, object]] = [("    sent", sent[:_SHOWN] + cut)]
    if asked.answer is not None:
        fields += [
            ("    root cause", asked.answer.root_cause),
            ("    proposal", asked.answer.instruction),
            ("    steps", ", then ".join(map(proposed_words, asked.answer.steps)) or "none"),
            ("    confidence", f"{asked.answer.confidence:.2f}, risk {asked.answer.risk_level}"),
        ]
    if asked.failed is not None:
        fields.append(("    no answer", f"{asked.failed}: {asked.detail}"))
    if asked.verdict:
        fields.append(("    came of it", asked.verdict))
    fields.append(("    cost", cost_words(asked)))
    print_fields(fields)


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
