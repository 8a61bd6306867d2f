"""Seven functions that fail: what comes of them with healspan, and beside it with other healers.

    python benchmarks/seven.py [--peers [NAME ...]] [--json] [--out FILE]

The functions, the same text for everybody, are in `seven_functions`: a renamed key, ``float("$1,234")``, an attribute
of None, JSON with trailing commas, 1/0, a connection that breaks twice, Latin-1 bytes. A cell is

    right          the value that is certain from the input
    escalated      the original exception came through
    wrong value    something else was returned as a success
    other failure  another exception, or no end

For c and e no value is certain, so that `escalated` is what should be there; where a fallback is declared, ours returns
it, marked degraded. Each call is made twice, as the second may go another way. ``--peers`` installs the others from
PyPI into temporary environments, which takes a minute or two each; one that cannot be had is reported as such.
"""

from __future__ import annotations

import functools
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from children import Limits, in_children
from figures import command_line, tell
from rich.console import Console
from rich.table import Table
from seven_functions import FUNCTIONS
from seven_peers import PEERS, judge, run_peer

from healspan.instrumentation import error_boundary, pipeline
from healspan.remediation.runtime import shut_down

WHAT = {
    "a": "a renamed key",
    "b": 'float("$1,234")',
    "c": "None.email",
    "d": "JSON, trailing commas",
    "e": "1 / 0",
    "f": "connection, third time good",
    "g": "Latin-1 bytes",
}
AIM = {letter: "escalated" if letter in "ce" else "right" for letter in WHAT}
_FALLBACK = "unknown"


def ours(home: Path) -> dict[str, Any]:
    """Run the seven functions behind boundaries; in a child, with a data directory of its own."""
    os.environ["HEALSPAN_DATA_DIR"] = str(home)
    cells = {letter: _twice(letter, _declared(letter)) for letter in FUNCTIONS}
    degraded = {letter: _with_fallback(letter) for letter in "ce"}
    shut_down()
    return {"cells": cells, "fallback": degraded}


def _declared(letter: str) -> Callable[..., Any]:
    """Return the function behind the boundary that an engineer would declare for it."""
    function = FUNCTIONS[letter][0]
    # Which one-byte encoding it was is decided by convention: low risk only where somebody looks at the text.
    checks = [_printable] if letter == "g" else []
    return error_boundary(f"seven_{letter}", retry_safe=True, checks=checks)(function)


def _printable(result: str, _: Mapping[str, Any]) -> bool:
    return result.isprintable()


def _twice(letter: str, function: Callable[..., Any]) -> str:
    first, second = _cell(letter, function), _cell(letter, function)
    return first if first == second else f"{first}, then {second}"


def _cell(letter: str, function: Callable[..., Any]) -> str:
    try:
        value = function(*FUNCTIONS[letter][1]())
    except Exception as error:
        return judge(letter, None, type(error).__name__)
    return judge(letter, repr(value), None)


def _with_fallback(letter: str) -> str:
    function = error_boundary(f"seven_{letter}_fallback", fallback=_FALLBACK)(FUNCTIONS[letter][0])
    with pipeline("seven") as run:
        value = function(*FUNCTIONS[letter][1]())
    marked = [str(heal.outcome) for heal in run.heals] == ["degraded"]
    return "the declared fallback, marked degraded" if value == _FALLBACK and marked else f"NOT so: {value!r}"


def measure(peers: list[str], console: Console) -> dict[str, Any]:
    """Run ours, then the peers of these names."""
    with tempfile.TemporaryDirectory(prefix="healspan-seven-") as directory:
        [(_, mine)] = in_children([functools.partial(ours, Path(directory))], limits=Limits(), at_once=1)
    if mine is None:
        raise SystemExit("our own run did not come to its end")
    theirs = {}
    for peer in PEERS:
        if peer.name in peers:
            outcome = run_peer(peer, lambda words: console.print(f"[dim]{words}"))
            theirs[peer.name] = {
                "api": peer.api,
                **({"cells": outcome} if isinstance(outcome, dict) else {"why": outcome}),
            }
    return {"healspan": mine, "peers": theirs}


def show(figures: dict[str, Any], console: Console) -> None:
    """Print one table, a column for each healer."""
    columns = {"healspan": figures["healspan"], **figures["peers"]}
    table = Table(title="Seven failing functions, no model", title_justify="left")
    table.add_column("function", no_wrap=True)
    for name in columns:
        table.add_column(name)
    for letter, what in WHAT.items():
        table.add_row(f"{letter}  {what}", *(_colour(one, letter) for one in columns.values()))
    table.add_section()
    for verdict in ("right", "wrong value"):
        table.add_row(verdict, *(_number(one, verdict) for one in columns.values()))
    console.print(table)
    for letter, said in figures["healspan"]["fallback"].items():
        console.print(f"{letter} with a declared fallback: {said}")
    for name, one in figures["peers"].items():
        console.print(f"{name}: {one.get('why') or one['api']}", soft_wrap=True)


def _colour(column: dict[str, Any], letter: str) -> str:
    cell: str = column.get("cells", {}).get(letter, "not available")
    style = "green" if cell == AIM[letter] else "red" if cell.startswith("wrong") else "yellow"
    return f"[{style}]{cell.replace('[', '(')}"


def _number(column: dict[str, Any], verdict: str) -> str:
    if "cells" not in column:
        return "-"
    return str(sum(cell.startswith(verdict) for cell in column["cells"].values()))


def met(figures: dict[str, Any]) -> bool:
    """Whether ours is what it should be."""
    fallbacks = figures["healspan"]["fallback"].values()
    return figures["healspan"]["cells"] == AIM and all(one.startswith("the declared") for one in fallbacks)


def main() -> None:
    """The command line."""
    parser = command_line(__doc__)
    names = [peer.name for peer in PEERS]
    parser.add_argument("--peers", nargs="*", choices=names, help="compare with these, or with all of them")
    parser.add_argument("--json", action="store_true", help="print JSON, the table to stderr")
    options = parser.parse_args()
    progress = Console(stderr=True)
    chosen = [] if options.peers is None else (options.peers or names)
    figures = measure(chosen, progress)
    console = progress if options.json else Console()
    if not console.is_terminal:
        console.width = 140
    show(figures, console)
    tell(figures, options.out, aloud=options.json)
    console.print("Ours as it should be." if met(figures) else "[red]Ours is NOT as it should be.")
    sys.exit(0 if met(figures) else 1)


if __name__ == "__main__":
    main()
