"""Puts faults into real inputs of a small data service and counts what healing makes of them.

    python benchmarks/faults.py --data DIR [--cases N] [--seed N ...] [--out FILE] [--only NAME ...]

DIR is laid out like the filings data. Every case has its truth from before the fault was put in. The service
(`faulty.service`) knows none of the faults (`faulty.healable`, `faulty.lasting`); a server on loopback does break
its connections.

Per fault: `cases`; `healed_correct`, the call failed without healing and returned the truth with it; `wrong`, it
returned something else; `escalated`, the original failure came through, or the declared contract refused the
result; `unseen`, healing changed nothing, because nothing failed; `p50_ms` of the healed calls, else of all.
Faults `by_convention` can be read, but by a convention that does not hold for this service, and that no check of its
contract can tell from the truth: they are counted apart.
`controls.touched` counts good calls, and calls whose failure the application handles, that were not as they are
without healing or left an incident behind. Several seeds are run one after the other, each from an empty store.
"""

from __future__ import annotations

import functools
import inspect
import os
import random
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faulty.case import FAULTS, Case, Fault, World
from faulty.material import Material
from faulty.server import Server
from faulty.service import declare
from figures import command_line, filings_data, tell
from rich.console import Console
from rich.progress import track
from rich.table import Table

from healspan.instrumentation import pipeline
from healspan.instrumentation.errors import ContractViolation
from healspan.remediation.runtime import runtime, shut_down

_COUNTS = ("cases", "healed_correct", "wrong", "escalated", "unseen")
_SLOW = 4
"""How many times fewer cases of a slow fault there are."""
_CONTROLS = 0.15
_KINDS = {
    "healable": "one fault",
    "compound": "two at once",
    "lasting": "not to be healed",
    "convention": "conventions that do not hold here",
}


@dataclass(frozen=True)
class Result:
    """What came of one case."""

    fault: Fault
    outcome: str
    milliseconds: float
    touched: bool
    detail: str


def plan(cases: int, chance: random.Random) -> list[Fault]:
    """Return which faults occur, in the order in which they do."""
    controls = [one for one in FAULTS if one.kind == "control"]
    faults = [one for one in FAULTS if one.kind != "control"]
    number_of_controls = round(cases * _CONTROLS)
    weights = [1 if one.slow else _SLOW for one in faults]
    planned = [controls[i % len(controls)] for i in range(number_of_controls)]
    left = cases - number_of_controls
    shares = [left * weight // sum(weights) for weight in weights]
    for index in range(left - sum(shares)):
        shares[[i for i, one in enumerate(faults) if not one.slow][index]] += 1
    for one, share in zip(faults, shares, strict=True):
        planned += [one] * share
    chance.shuffle(planned)
    return planned


def run(
    material: Material,
    *,
    seed: int,
    cases: int,
    functions: dict[str, Callable[[Any], Any]],
    only: Iterable[str] = (),
    progress: Callable[[list[Fault]], Iterable[Fault]] = lambda planned: planned,
) -> list[Result]:
    """Run the cases of one seed in a store of their own; deterministic but for time."""
    chance = random.Random(seed)
    planned = plan(cases, chance)
    if only:
        planned = [one for one in planned if one.name in only]
    with store(), Server() as server:
        runtime()
        world = World(material, server, chance)
        return [judge(one, draw(one, world, functions), functions) for one in progress(planned)]


def draw(fault: Fault, world: World, functions: dict[str, Callable[[Any], Any]]) -> Case:
    """Make a case that fails, or misleads, without healing: some notations some readers take as they are."""
    for _ in range(100):
        case = fault.make(world)
        if fault.kind == "control" or _bare(case, functions) != case.truth:
            return case
    raise ValueError(f"{fault.name} is no fault to the service; take it out of the catalogue of faults")


def _bare(case: Case, functions: dict[str, Callable[[Any], Any]]) -> Any:
    return _call(inspect.unwrap(functions[case.function]), case.argument())


@contextmanager
def store() -> Iterator[None]:
    """A data directory of its own, and a runtime in it."""
    before = os.environ.get("HEALSPAN_DATA_DIR")
    shut_down()
    with tempfile.TemporaryDirectory(prefix="healspan-faults-") as directory:
        os.environ["HEALSPAN_DATA_DIR"] = directory
        try:
            yield
        finally:
            shut_down()
            if before is None:
                del os.environ["HEALSPAN_DATA_DIR"]
            else:
                os.environ["HEALSPAN_DATA_DIR"] = before


def judge(fault: Fault, case: Case, functions: dict[str, Callable[[Any], Any]]) -> Result:
    """Make one call without and one with healing, and compare."""
    function = functions[case.function]
    bare = _bare(case, functions)
    argument = case.argument()
    with pipeline("request", context={"function": case.function}) as run_of_it:
        started = time.perf_counter()
        healed = _call(function, argument)
        milliseconds = (time.perf_counter() - started) * 1e3
    same = _same(bare, healed)
    touched = not same or bool(run_of_it.heals)
    if isinstance(healed, _Raised):
        original = type(healed.error) is type(bare.error) if isinstance(bare, _Raised) else False
        outcome = "escalated" if original or isinstance(healed.error, ContractViolation) else "another exception"
    elif not isinstance(bare, _Raised) and same:
        outcome = "right already" if healed == case.truth else "unseen"
    else:
        outcome = "healed_correct" if healed == case.truth else "wrong"
    detail = f"{fault.name}: {case.function}({argument!r:.200}) -> {healed!r:.200}; true: {case.truth!r:.200}"
    return Result(fault, outcome, milliseconds, touched, detail)


@dataclass(frozen=True)
class _Raised:
    error: Exception


def _call(function: Callable[[Any], Any], argument: Any) -> Any:
    try:
        return function(argument)
    except Exception as error:
        return _Raised(error)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, _Raised) or isinstance(other, _Raised):
        return isinstance(one, _Raised) and isinstance(other, _Raised) and type(one.error) is type(other.error)
    return type(one) is type(other) and one == other


# Figures


def count(results: list[Result]) -> dict[str, Any]:
    """Add up, by fault and by kind."""
    by_fault: dict[str, list[Result]] = defaultdict(list)
    by_kind: dict[str, list[Result]] = defaultdict(list)
    for one in results:
        by_fault[one.fault.name].append(one)
        by_kind[one.fault.kind].append(one)
    controls = by_kind.pop("control", [])
    healable = [*by_kind.get("healable", ()), *by_kind.get("compound", ())]
    return {
        "faults": {
            one.name: {"kind": one.kind, **_row(by_fault[one.name])}
            for one in FAULTS
            if one.kind != "control" and one.name in by_fault
        },
        "controls": {"cases": len(controls), "touched": sum(one.touched for one in controls)},
        "single": _row(by_kind.get("healable", [])),
        "compound": _row(by_kind.get("compound", [])),
        "healable": _row(healable),
        "not_healable": _row(by_kind.get("lasting", [])),
        "by_convention": _row(by_kind.get("convention", [])),
    }


def _row(results: list[Result]) -> dict[str, Any]:
    outcomes = Counter(one.outcome for one in results)
    healed = [one.milliseconds for one in results if one.outcome == "healed_correct"]
    times = healed or [one.milliseconds for one in results]
    return {
        **{key: outcomes[key] for key in _COUNTS},
        "cases": len(results),
        "p50_ms": round(statistics.median(times), 3) if times else None,
    }


def show(figures: dict[str, Any], title: str, console: Console) -> bool:
    """Print a table and the verdicts; return whether every aim is met."""
    table = Table(title=title, title_justify="left")
    table.add_column("fault", no_wrap=True)
    for key in (*_COUNTS, "p50_ms"):
        table.add_column(key.replace("_", " "), justify="right")
    kind = None
    for name, row in sorted(figures["faults"].items(), key=lambda one: tuple(_KINDS).index(one[1]["kind"])):
        if row["kind"] != kind:
            kind = row["kind"]
            table.add_section()
            table.add_row(f"[italic]{_KINDS[kind]}")
        table.add_row(name, *(str(row[key]) for key in (*_COUNTS, "p50_ms")))
    table.add_section()
    for name in ("single", "compound", "healable", "not_healable", "by_convention"):
        table.add_row(name, *(str(figures[name][key]) for key in (*_COUNTS, "p50_ms")))
    console.print(table)
    verdicts = aims(figures)
    for what, met in verdicts:
        console.print(f"{'met    ' if met else 'NOT MET'}  {what}")
    return all(met for _, met in verdicts)


def aims(figures: dict[str, Any]) -> list[tuple[str, bool]]:
    """Return the aims with the figures, and whether each is met."""
    healable, rest, controls = figures["healable"], figures["not_healable"], figures["controls"]
    single, convention = figures["single"], figures["by_convention"]["wrong"]

    def share(row: dict[str, Any]) -> float:
        return 100.0 * int(row["healed_correct"]) / max(1, int(row["cases"]))

    return [
        (f"healed correctly, of the healable: {share(healable):.1f} % (aim: 95 %)", share(healable) >= 95),
        (f"healed correctly, of single faults: {share(single):.1f} % (aim: 95 %)", share(single) >= 95),
        (f"wrong values where healing was possible: {healable['wrong']} (aim: 0)", healable["wrong"] == 0),
        (f"wrong values where it was not: {rest['wrong']} (aim: 0)", rest["wrong"] == 0),
        (f"wrong values by a convention that checks let pass: {convention} (aim: 0)", convention == 0),
        (f"controls touched: {controls['touched']} of {controls['cases']} (aim: 0)", controls["touched"] == 0),
    ]


def main() -> None:
    """The command line."""
    parser = command_line(__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/filings"), help="the filings data")
    parser.add_argument("--cases", type=int, default=1_200, help="per seed (1200)")
    parser.add_argument("--seed", type=int, nargs="+", default=[1], help="one or more (1)")
    parser.add_argument("--only", nargs="+", default=(), help="these faults only")
    parser.add_argument("--detail", type=Path, help="write what was not healed right here, a line each")
    options = parser.parse_args()
    console = Console(stderr=True)
    if not console.is_terminal:
        console.width = 110
    material = Material(filings_data(parser, options.data, "number_formats.csv.gz"))
    functions = declare()
    by_seed: dict[int, list[Result]] = {}
    for seed in options.seed:
        by_seed[seed] = run(
            material,
            seed=seed,
            cases=options.cases,
            functions=functions,
            only=options.only,
            progress=functools.partial(track, description=f"seed {seed}", console=console),
        )
    everything = [one for results in by_seed.values() for one in results]
    figures = count(everything)
    figures["by_seed"] = {
        str(seed): {key: value for key, value in count(results).items() if key != "faults"}
        for seed, results in by_seed.items()
    }
    met = show(figures, f"{len(everything)} cases, seed {' '.join(map(str, options.seed))}", console)
    tell(figures, options.out)
    if options.detail:
        lines = [f"{one.outcome}: {one.detail}\n" for one in everything if _remarkable(one)]
        options.detail.write_text("".join(lines), encoding="utf-8")
    sys.exit(0 if met else 1)


def _remarkable(one: Result) -> bool:
    match one.fault.kind:
        case "control":
            return one.touched
        case "lasting" | "convention":
            return one.outcome not in ("escalated", "unseen")
    return one.outcome != "healed_correct"


if __name__ == "__main__":
    main()
