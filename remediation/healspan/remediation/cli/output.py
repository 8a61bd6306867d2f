"""How commands print: tables and sections for people, JSON for programs, errors in one line.

What is printed came from failing programs, so control characters, which a terminal would obey, are shown as
symbols and nothing is taken for markup.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from healspan.remediation.shown import shown

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

__all__ = [
    "AsJson",
    "clean",
    "console",
    "print_fields",
    "print_heading",
    "print_json",
    "print_line",
    "print_table",
    "say_error",
    "short",
    "styled",
    "when",
]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]

_PIPED_WIDTH = 200
_STYLES = {
    "healed": "green",
    "active": "green",
    "trial": "cyan",
    "proposed": "yellow",
    "degraded": "yellow",
    "escalated": "red",
    "suspended": "red",
    "failed": "red",
    "retired": "dim",
    "ok": "green",
    "warning": "yellow",
    "problem": "red",
}


def clean(text: object) -> str:
    """Return a text with control characters as visible symbols."""
    return shown(text)


def console(*, stderr: bool = False) -> Console:
    """Return a console for this moment's stdout; wide where nobody looks, so that pipes see whole lines."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else _PIPED_WIDTH
    return Console(file=stream, width=width, markup=False, highlight=False, emoji=False)


def short(identifier: object) -> str:
    """Return the part of an identifier that tells it from others: a fix's beginning, the end of an incident's."""
    text = str(identifier)
    return text.rpartition("-")[2] if "-" in text else text[:12]


def when(moment: datetime | None) -> str:
    """Return a moment to the second, in UTC."""
    return "" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def styled(text: object) -> Text:
    """Return a word in the colour of what it says."""
    from rich.text import Text

    word = clean(text)
    return Text(word, style=_STYLES.get(word.partition(" ")[0].rstrip(","), ""))


def print_json(payload: Any) -> None:
    """Print records, or what JSON knows, as JSON."""
    sys.stdout.write(json.dumps(_plain(payload), indent=2, ensure_ascii=True) + "\n")


def _plain(payload: Any) -> Any:
    from pydantic import BaseModel

    if isinstance(payload, BaseModel):
        return payload.model_dump(mode="json")
    if isinstance(payload, Mapping):
        return {str(key): _plain(value) for key, value in payload.items()}
    if isinstance(payload, list | tuple):
        return [_plain(each) for each in payload]
    if isinstance(payload, datetime):
        return payload.isoformat()
    return payload if payload is None or isinstance(payload, str | int | float | bool) else str(payload)


def print_line(text: object = "", *, style: str = "") -> None:
    """Print a line."""
    from rich.text import Text

    console().print(Text(clean(text), style=style), soft_wrap=True)


def print_heading(text: str) -> None:
    """Print the heading of a section."""
    print_line()
    print_line(text, style="bold")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Iterable[str] = ()) -> None:
    """Print a table; columns named in `right` are aligned there."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for place, name in enumerate(columns):
        # The first column holds what people copy: an id must never be broken over two lines.
        justify: Literal["right", "left"] = "right" if name in set(right) else "left"
        table.add_column(name, justify=justify, overflow="fold", no_wrap=place == 0)
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else styled(cell) for cell in row))
    console().print(table)


def print_fields(fields: Iterable[tuple[str, object]]) -> None:
    """Print names and values, one a line; a value that is empty is left out."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in fields:
        if value is not None and value != "":
            grid.add_row(name, value if isinstance(value, Text) else styled(value))
    console().print(grid)


def say_error(message: str) -> None:
    """Print one line on stderr."""
    sys.stderr.write(f"healspan: {' '.join(clean(message).split())}\n")
