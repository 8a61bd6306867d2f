"""Debuggers and coverage tools see a compiled boundary's function as it was written."""

from __future__ import annotations

import asyncio
import inspect
import pdb
import sys
from collections.abc import Callable
from io import StringIO
from types import ModuleType
from typing import Any

import pytest
from tests.bounded import EVENTFUL, FAILING, VERIFIED, bare, only_compiled, outcome
from tests.observe import uninstall_for_good, wait_until

from healspan.remediation.runtime import Runtime

pytestmark = only_compiled

SHAPES = [
    "shapes", "falls", "one", "nothing", "documented", "multi", "tries", "raising", "generators", "matches", "waiting",
]  # fmt: skip
VALUES = [5, 0, 2, 1, 3, -1, -2, -3, -9, (1, 2)]


def events(function: Any, value: object) -> list[tuple[str, str, int | None]]:
    """What a debugger or a coverage tool is told of a call."""
    seen: list[tuple[str, str, int | None]] = []
    file = bare(function).__code__.co_filename

    def trace(frame: Any, event: str, argument: object) -> Any:
        if frame.f_code.co_filename == file:
            seen.append((event, frame.f_code.co_qualname, frame.f_lineno))
            return trace
        return None

    def run() -> None:
        result = function(value)
        if inspect.iscoroutine(result):
            asyncio.run(result)

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    except Exception:
        pass
    finally:
        sys.settrace(before)
    return seen


def without_the_handler(seen: list[tuple[str, str, int | None]], start: int) -> list[tuple[str, str, int | None]]:
    """Leave out the step to the ``def`` line that an exception makes before it leaves the function."""
    return [
        (event, name, None if event == "return" else line)
        for event, name, line in seen
        if event == "return" or line != start
    ]


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("text", [EVENTFUL, VERIFIED], ids=["plain", "verified"])
def test_lines_are_reached_in_the_same_order(
    live: Runtime,
    module: Callable[[str], ModuleType],
    text: str,
    name: str,
) -> None:
    function = getattr(module(text), name)
    assert function.boundary.form == "compiled", function.boundary.form_reason
    assert function.boundary.has_contract is (text is VERIFIED)
    for value in VALUES:
        ours, plain = events(function, value), events(bare(function), value)
        assert all(line is not None for _, _, line in ours), "a debugger compares lines"
        if any(event == "exception" for event, _, _ in plain):
            start = bare(function).__code__.co_firstlineno + 1
            ours, plain = without_the_handler(ours, start), without_the_handler(plain, start)
        assert ours == plain, value


def test_coverage_sees_the_lines_of_the_bare_function(
    live: Runtime,
    module: Callable[[str], ModuleType],
) -> None:
    app = module(EVENTFUL)

    def reached(function: Any) -> set[int | None]:
        return {line for value in VALUES for event, _, line in events(function, value) if event == "line"}

    for name in SHAPES:
        function = getattr(app, name)
        start = bare(function).__code__.co_firstlineno + 1
        assert reached(function) - {start} == reached(bare(function)) - {start}


def test_a_debugger_steps_over_a_failing_call(live: Runtime, module: Callable[[str], ModuleType]) -> None:
    app = module(FAILING)
    said = StringIO()
    debugger = pdb.Pdb(
        stdin=StringIO("step\n" * 6 + "next\n" * 6 + "continue\n"), stdout=said, nosigint=True, readrc=False
    )
    debugger.use_rawinput = False
    with pytest.raises(ValueError, match="no x"):
        debugger.runcall(app.raises, "x")
    assert "TypeError" not in said.getvalue()
    assert "raise ValueError(" in said.getvalue()


REPAIRED = """
@boundary('amount', retry_safe=True)
def amount(text):
    found = 0
    for _ in range(2):
        found = float(text)
    return found
"""


def test_a_statement_guarded_whole_is_reached_like_the_bare_one(
    live: Runtime,
    module: Callable[[str], ModuleType],
) -> None:
    app = module(REPAIRED)
    plain = [events(bare(app.amount), value) for value in ("5", "word")]
    before = outcome(app.amount, "word")
    app.amount("$1")
    wait_until(live.repairs.installed, "the repair to be installed")
    assert all("caught" in each.__code__.co_names for each in (app.amount, bare(app.amount)))
    start = bare(app.amount).__code__.co_firstlineno + 1
    for value, theirs in zip(("5", "word"), plain, strict=True):
        assert only_lines(events(bare(app.amount), value)) == only_lines(theirs)
        ours = without_the_handler(events(app.amount, value), start)
        assert all(line is not None for _, _, line in events(app.amount, value))
        expected = only_lines(without_the_handler(theirs, start))
        assert only_lines(ours)[: len(expected)] == expected, "a failing call may be made again"
    assert only_lines(events(app.amount, "$5")) == only_lines(events(app.amount, "5"))
    assert outcome(app.amount, "word") == before
    uninstall_for_good(live)


def only_lines(seen: list[tuple[str, str, int | None]]) -> list[int | None]:
    return [line for event, _, line in seen if event == "line"]
