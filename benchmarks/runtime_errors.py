"""Heals strangers' functions on inputs they crash on, and checks every value against a reference program.

    python benchmarks/runtime_errors.py FILE [--out FILE] [--detail FILE] [--limit N] [--jobs N]

FILE has one JSON object per line: `code`, `entry_function`, `failing_input` (an expression), `exception_type`,
`exception_message`, `expected_output` (a literal), `tolerance`, `passing_inputs`, `other_failing_inputs`.

Each case runs in a limited child process with a data directory of its own: the good calls first, which become
golden samples, then the failing call, the other failing calls if it was healed, and the good calls once more.
The policy is `guarded`, no model is asked. Nobody has declared a contract for these functions, so what is not
certain has to escalate.

Keys: `cases, proceed` (returned instead of crashing), `correct` (with the expected value), `wrong` (with another
one, as a success), `escalated` (the original exception came through), `regressions` (good calls that changed),
`cache_hits.{tried,healed_correct}` (further failing calls of healed functions), `by_exception`.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib
import json
import math
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from children import Limits, in_children
from figures import command_line, tell
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

# Loaded here once, for all children.
from healspan.instrumentation import error_boundary
from healspan.remediation.runtime import Runtime, runtime, shut_down

ANCHOR = "Anchor, on other sets and with a model: Healer with GPT-4 proceeds on 72.8 % and is correct on 39.6 %."
_AIMS = "Aims: wrong at most 5 % of what was not escalated, no regressions."
LIMITS = Limits()
_MUTABLE = (ast.List, ast.Dict, ast.Set, ast.Call)
_COUNTS = ("cases", "proceed", "correct", "wrong", "escalated")


@dataclass(frozen=True)
class Ending:
    """How one call ended: `returned` or `raised`, and what came of it."""

    how: str
    value: Any = None
    error: Exception | None = None


# One case, in a child


def run_case(case: dict[str, Any], home: Path) -> dict[str, Any]:
    """Run one case; returns plain counts.

    Args:
        case: one line of the file.
        home: an empty directory of its own.
    """
    os.environ["HEALSPAN_DATA_DIR"] = str(home / "healspan")
    os.environ["HEALSPAN_POLICY"] = "guarded"
    os.chdir(home)
    sys.path.insert(0, str(home))
    # A file, because a repair reads the source that runs.
    (home / "strangers_code.py").write_text(case["code"], encoding="utf-8")
    module = importlib.import_module("strangers_code")
    bare = {one["call"]: _ending(module, one["call"]) for one in case["passing_inputs"]}
    sound = [one for one in case["passing_inputs"] if _same(bare[one["call"]], one["expected"], case["tolerance"])]
    failing = case["failing_input"]
    reproduced = _is_original(_ending(module, failing), case)

    calls = [failing, *(one["call"] for one in (*case["passing_inputs"], *case["other_failing_inputs"]))]
    put_boundaries(module, calls, retry_safe=repeatable(case["code"]))
    hand_in_golden(module, sound)
    ending = _ending(module, failing)
    result: dict[str, Any] = {
        "id": case["id"],
        "exception": case["exception_type"],
        "reproduced": reproduced,
        "outcome": outcome(ending, case),
        "fixes": _fixes(runtime()),
    }
    if ending.how == "returned":
        result["returned"] = repr(ending.value)[:300]
        others = [_ending(module, one["call"]) for one in case["other_failing_inputs"]]
        verdicts = [
            _same(ended, one["expected"], case["tolerance"])
            for ended, one in zip(others, case["other_failing_inputs"], strict=True)
        ]
        result["others"] = {"tried": len(others), "right": sum(verdicts)}
        result["others"]["wrong"] = sum(
            ended.how == "returned" and not right for ended, right in zip(others, verdicts, strict=True)
        )
    again = [one for one in sound if not _same(_ending(module, one["call"]), one["expected"], case["tolerance"])]
    result["regressions"] = [one["call"][:200] for one in again]
    shut_down()
    return result


def repeatable(code: str) -> Any:
    """Say what an engineer who reads this source may declare of its calls.

    A snapshot covers what a call does to its arguments. State kept elsewhere, in globals or in defaults that
    calls share, and input that is read away make a call one that must not be repeated.
    """
    tree = ast.parse(code)
    if any(isinstance(node, ast.Assign) and isinstance(node.value, _MUTABLE) for node in tree.body):
        return False
    for node in ast.walk(tree):
        match node:
            case ast.Global() | ast.Nonlocal():
                return False
            case ast.Call(func=ast.Name(id="input" | "open" | "exec" | "eval")):
                return False
            case ast.FunctionDef(args=ast.arguments(defaults=defaults, kw_defaults=more)):
                if any(isinstance(one, _MUTABLE) for one in (*defaults, *more)):
                    return False
    return "snapshot"


def put_boundaries(module: ModuleType, calls: Iterable[str], *, retry_safe: Any) -> None:
    """Put a boundary around each function that a call enters, where a decorator would have put it."""
    for owner, name in dict.fromkeys(entered(call) for call in calls):
        holder = getattr(module, owner) if owner else module
        function = vars(holder).get(name)
        if callable(function):
            wrapped = error_boundary(f"{owner}.{name}" if owner else name, retry_safe=retry_safe)(function)
            setattr(holder, name, wrapped)


def entered(call: str) -> tuple[str, str]:
    """Return the class, if any, and the function that an expression such as ``f(1)`` or ``C().f(1)`` calls."""
    match _parsed(call):
        case ast.Call(func=ast.Name(id=name)):
            return "", name
        case ast.Call(func=ast.Attribute(value=ast.Call(func=ast.Name(id=owner)), attr=name)):
            return owner, name
    raise ValueError(f"not a call of a function or method: {call[:80]}")


def _parsed(call: str) -> ast.Call:
    node = ast.parse(call.strip(), mode="eval").body
    if not isinstance(node, ast.Call):
        raise TypeError(f"not a call: {call[:80]}")
    return node


def hand_in_golden(module: ModuleType, sound: list[dict[str, Any]]) -> None:
    """Give the good calls to the boundaries, as samples that a fix must not change."""
    for one in sound:
        function, args, kwargs = taken_apart(module, one["call"])
        # Where boundaries keep no samples, the call goes through them as any good call does.
        with contextlib.suppress(Exception):
            getattr(function, "golden", function)(*args, **kwargs)


def taken_apart(module: ModuleType, call: str) -> tuple[Callable[..., Any], list[Any], dict[str, Any]]:
    """Return the function that an expression calls, and its evaluated arguments."""
    space = vars(module)

    def value(node: ast.expr) -> Any:
        return eval(compile(ast.Expression(node), "<call>", "eval"), space)

    node = _parsed(call)
    args = [value(each) for each in node.args]
    kwargs = {str(each.arg): value(each.value) for each in node.keywords}
    if isinstance(node.func, ast.Attribute):
        owner = value(node.func.value)
        return getattr(type(owner), node.func.attr), [owner, *args], kwargs
    return value(node.func), args, kwargs


def _ending(module: ModuleType, call: str) -> Ending:
    # Each evaluation builds its own arguments, so a call that changes them does not spoil the next.
    try:
        return Ending("returned", eval(call, vars(module)))
    except Exception as error:
        return Ending("raised", error=error)


def outcome(ending: Ending, case: dict[str, Any]) -> str:
    """Judge the failing call."""
    if ending.how == "returned":
        return "correct" if _same(ending, case["expected_output"], case["tolerance"]) else "wrong"
    return "escalated" if _is_original(ending, case) else "another exception"


def _is_original(ending: Ending, case: dict[str, Any]) -> bool:
    error = ending.error
    if error is None or type(error).__name__ != case["exception_type"]:
        return False
    # Where the stack ends, and so what the interpreter says of it, depends on how deep the caller is.
    return isinstance(error, RecursionError) or str(error) == case["exception_message"]


def _same(ending: Ending, expected: str, tolerance: float | None) -> bool:
    return ending.how == "returned" and same(ending.value, ast.literal_eval(expected), tolerance)


def same(value: Any, expected: Any, tolerance: float | None) -> bool:
    """Whether a value is the expected one, of the expected types; numbers within the tolerance."""
    if isinstance(expected, float) and isinstance(value, float):
        return value == expected or math.isclose(value, expected, rel_tol=tolerance or 1e-9, abs_tol=tolerance or 0.0)
    if type(value) is not type(expected):
        return False
    if isinstance(expected, list | tuple):
        return len(value) == len(expected) and all(
            same(one, other, tolerance) for one, other in zip(value, expected, strict=True)
        )
    if isinstance(expected, dict):
        return value.keys() == expected.keys() and all(same(value[key], expected[key], tolerance) for key in expected)
    return bool(value == expected)


def _fixes(live: Runtime) -> list[str]:
    return [candidate.fix.fix_instruction for candidate in live.index.snapshot.serving]


# All cases


def measure(
    cases: list[dict[str, Any]], *, jobs: int, console: Console, limits: Limits = LIMITS
) -> list[dict[str, Any] | None]:
    """Run every case; None for one whose process did not come to an end by itself."""
    results: list[dict[str, Any] | None] = [None] * len(cases)
    with (
        tempfile.TemporaryDirectory(prefix="healspan-runtime-errors-") as directory,
        # No refresh thread: children are forked from here.
        Progress(console=console, auto_refresh=False) as progress,
    ):
        task = progress.add_task("running strangers' functions", total=len(cases))
        work: list[Callable[[], Any]] = []
        for number, case in enumerate(cases):
            home = Path(directory, str(number))
            home.mkdir()
            work.append(functools.partial(run_case, case, home))
        for number, result in in_children(work, limits=limits, at_once=jobs):
            results[number] = result
            progress.update(task, advance=1, refresh=True)
            done = int(progress.tasks[0].completed)
            if not console.is_terminal and done % 100 == 0:
                console.print(f"{done} of {len(cases)}")
    return results


def count(cases: list[dict[str, Any]], results: list[dict[str, Any] | None]) -> dict[str, Any]:
    """Add up."""
    total: Counter[str] = Counter()
    by_exception: dict[str, Counter[str]] = {}
    hits: Counter[str] = Counter()
    regressions = 0
    for case, result in zip(cases, results, strict=True):
        tally = Counter(cases=1)
        if result is not None:
            tally[result["outcome"]] += 1
            tally["proceed"] += result["outcome"] in ("correct", "wrong")
            regressions += len(result["regressions"])
            others = result.get("others", {"tried": 0, "right": 0})
            hits.update(tried=others["tried"], healed_correct=others["right"])
        total += tally
        by_exception.setdefault(case["exception_type"], Counter()).update(tally)
    return {
        **{key: total[key] for key in _COUNTS},
        "regressions": regressions,
        "cache_hits": {"tried": hits["tried"], "healed_correct": hits["healed_correct"]},
        "by_exception": {
            name: {key: tally[key] for key in _COUNTS}
            for name, tally in sorted(by_exception.items(), key=lambda one: -one[1]["cases"])
        },
    }


def show(figures: dict[str, Any], results: list[dict[str, Any] | None], console: Console) -> None:
    """Print the counts as a table, the aims, and what could not be counted."""
    table = Table(title="Strangers' functions on inputs they crash on", title_justify="left")
    table.add_column("exception")
    for key in _COUNTS:
        table.add_column(key, justify="right")
    for name, row in figures["by_exception"].items():
        table.add_row(name, *(str(row[key]) for key in _COUNTS))
    table.add_section()
    table.add_row("all", *(str(figures[key]) for key in _COUNTS))
    share = [f"{100 * figures[key] / max(1, figures['cases']):.1f} %" for key in _COUNTS]
    table.add_row("", "", *share[1:])
    console.print(table)
    hits = figures["cache_hits"]
    console.print(f"Further failing inputs of healed functions: {hits['healed_correct']} of {hits['tried']} right.")
    most = 0.05 * (figures["cases"] - figures["escalated"])
    met = figures["wrong"] <= most and figures["regressions"] == 0
    console.print(f"Regressions: {figures['regressions']}. {_AIMS} {'Met.' if met else 'NOT met.'}")
    unlike = Counter(
        "no answer"
        if one is None
        else "another exception"
        if one["outcome"] == "another exception"
        else "not reproduced"
        for one in results
        if one is None or one["outcome"] == "another exception" or not one["reproduced"]
    )
    for what, number in unlike.items():
        console.print(f"{number} case(s): {what}.")
    console.print(ANCHOR)


def main() -> None:
    """The command line."""
    parser = command_line(__doc__)
    parser.add_argument("file", type=Path, metavar="FILE", help="cases, one JSON object per line")
    parser.add_argument("--detail", type=Path, help="write each case's result here, one JSON object per line")
    parser.add_argument("--limit", type=int, help="only the first N cases: to see that it runs")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="children at once")
    options = parser.parse_args()
    if not options.file.is_file():
        parser.error(f"{options.file} is no file; give one with a case per line")
    with options.file.open(encoding="utf-8") as lines:
        cases = [json.loads(line) for line in lines if line.strip()][: options.limit]
    console = Console(stderr=True)
    results = measure(cases, jobs=max(1, options.jobs), console=console)
    figures = count(cases, results)
    show(figures, results, console)
    tell(figures, options.out)
    if options.detail:
        options.detail.write_text("".join(json.dumps(one) + "\n" for one in results), encoding="utf-8")


if __name__ == "__main__":
    main()
