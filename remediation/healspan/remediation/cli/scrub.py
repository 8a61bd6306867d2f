"""``healspan scrub``: shows what the scrubber removes from a text, and why."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from healspan.remediation.cli.output import AsJson, print_json, print_line, print_table
from healspan.remediation.cli.tools import settings
from healspan.remediation.errors import ConfigurationError

__all__ = ["scrub"]


def scrub(
    file: Annotated[str, typer.Argument(help="A text or JSON file; - reads standard input.")] = "-",
    explain: Annotated[
        bool,
        typer.Option("--explain", help="List what is removed, where and by which rule; never the secret itself."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Remove secrets from a text as capture would, or explain what would be removed.

    The rules are those of this installation: HEALSPAN_SAFE_KEYS and HEALSPAN_DISABLED_PATTERNS apply.

    Example: kubectl logs web | healspan scrub --explain
    """
    from healspan.remediation.scrubbing import MAX_TEXT, Scrubber

    known = settings()
    scrubber = Scrubber(
        safe_keys=frozenset(known.safe_keys),
        disabled_patterns=frozenset(known.disabled_patterns),
    )
    text = _read(file)
    if not explain:
        if as_json:
            print_json({"text": scrubber.scrub_text(text)})
        else:
            sys.stdout.write(scrubber.scrub_text(text))
        return
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    findings = scrubber.explain(value[:MAX_TEXT] if isinstance(value, str) else value)
    if as_json:
        print_json([finding._asdict() for finding in findings])
        return
    if findings:
        places = [_place(text, finding.offset) if finding.path == "$" else finding.path for finding in findings]
        rows = [(place, one.rule, one.why) for place, one in zip(places, findings, strict=True)]
        print_table(("where", "rule", "why"), rows)
    number = len(findings)
    print_line(f"{number} secret{'' if number == 1 else 's'} would be removed.")
    if isinstance(value, str) and len(value) > MAX_TEXT:
        print_line(f"Only the first {MAX_TEXT} characters were read: what lies beyond is dropped from an incident.")


def _read(file: str) -> str:
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read ({error.strerror}); check the path") from error
    return data.decode("utf-8", "replace")


def _place(text: str, offset: int) -> str:
    before = text[:offset]
    return f"line {before.count(chr(10)) + 1}, column {offset - (before.rfind(chr(10)) + 1) + 1}"
