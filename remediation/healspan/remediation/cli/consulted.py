"""Prints what Claude was asked about an incident, what it answered, what came of it, and what it cost."""

from __future__ import annotations

from collections.abc import Sequence

from healspan.remediation.claude.consultation import Asked, Consultation
from healspan.remediation.claude.wording import cost_words, proposed_words
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
