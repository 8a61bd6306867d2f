"""The budgets of a boundary, measured against references in the same run: value, budget and verdict of each.

    python benchmarks/overhead.py [--json] [--out FILE] [--quick]

Keys: `boundary_ns`, `wrapper_ns` (a bare ``functools.wraps`` try/except wrapper), `ratio` of the two, likewise
`ratio_1000_fixes` with that many active fixes of other boundaries, `capture_us` (four frames, locals on; with
sentry-sdk installed also `capture_to_sentry`, the ratio to its own capture), `tier1_ms.{p50,p99}` (exception to healed
value, the incident durable), `repair_install_ms`, `guarded_ns` (a guarded expression that does not fail, over the same
one unguarded), `repair_us` (a repaired input over a clean one, through an installed repair).
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from healspan.instrumentation import error_boundary
from healspan.instrumentation.capture import capture
from healspan.remediation.fix import Fix, FixDraft, FixState, Match, RiskLevel, Scope, StateChange
from healspan.remediation.runtime import runtime, shut_down
from healspan.remediation.step import StrategyStep

# By key, with a dot where the figure is one of several: what may be measured at most.
BUDGETS: dict[str, float] = {
    "ratio": 1.5,
    "ratio_1000_fixes": 1.5,
    "capture_to_sentry": 1.0,
    "tier1_ms.p50": 1.0,
    "tier1_ms.p99": 5.0,
    "guarded_ns": 40.0,
    "repair_us": 20.0,
}


def identity(value: object) -> object:
    return value


def bare(function: Callable[..., Any]) -> Callable[..., Any]:
    """The reference: what anybody would write by hand."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except Exception:  # noqa: TRY203 - the reference does nothing on purpose
            raise

    return wrapper


def plain(value):  # type: ignore[no-untyped-def]
    return value


bounded = error_boundary("overhead")(plain)


def read_amount(text):  # type: ignore[no-untyped-def]
    return float(text)


repaired = error_boundary("overhead_repaired", retry_safe=True)(read_amount)


def no_luck(text):  # type: ignore[no-untyped-def]
    return lookup({"known": text})


def lookup(table: dict[str, str]) -> str:
    return table["unknown key of another name"]


known_fix = error_boundary("overhead_tier1")(no_luck)


@known_fix.strategy("other")
def other_way(text: str) -> str:
    return text


def nanoseconds(function: Callable[[Any], Any], argument: object, calls: int) -> float:
    """Time one call, the loop included for every candidate alike.

    In CPU time of this thread: other programs on the machine must not decide.
    """
    times = range(calls)
    started = time.thread_time()
    for _ in times:
        function(argument)
    return (time.thread_time() - started) / calls * 1e9


def boundary(rounds: int, calls: int) -> dict[str, float]:
    """Pair the boundary with the reference, round by round: the machine's speed drifts."""
    wrapper = bare(plain)
    for _ in range(2):
        nanoseconds(wrapper, 1, calls)
        nanoseconds(bounded, 1, calls)
    pairs = [(nanoseconds(wrapper, 1, calls), nanoseconds(bounded, 1, calls)) for _ in range(rounds)]
    return {
        "wrapper_ns": round(statistics.median(reference for reference, _ in pairs), 1),
        "boundary_ns": round(statistics.median(ours for _, ours in pairs), 1),
        "ratio": round(statistics.median(ours / reference for reference, ours in pairs), 3),
    }


def four_frames(depth: int, label: str, items: list[int]) -> None:
    local = {"depth": depth, "label": label}
    if depth:
        four_frames(depth - 1, label, items)
    raise LookupError(f"nothing for {label} in {len(items)} items ({len(local)})")


def capture_us(rounds: int) -> float:
    """Time one scrubbed capture with locals."""
    live = runtime()
    seconds = []
    for _ in range(rounds):
        try:
            four_frames(3, "alice@example.com", [1, 2, 3])
        except LookupError as error:
            started = time.perf_counter()
            capture(
                error,
                error.__traceback__,
                module="overhead",
                target=f"{__name__}:four_frames",
                arguments={"depth": 3, "label": "alice@example.com"},
                capture_locals=True,
                scrubber=live.scrubber,
                resource=live.resource,
            )
            seconds.append(time.perf_counter() - started)
    return round(statistics.median(seconds) * 1e6, 1)


def tier1(rounds: int) -> dict[str, float]:
    """Time whole failing calls of a boundary whose fix is known."""
    known_fix("x")  # the diagnosis
    live = runtime()
    milliseconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        known_fix("x")
        milliseconds.append((time.perf_counter() - started) * 1e3)
    if live.spool.counts.dropped:
        sys.exit("incidents were dropped: the figure would not be of durable ones")
    cuts = statistics.quantiles(milliseconds, n=100)
    return {"p50": round(cuts[49], 3), "p99": round(cuts[98], 3)}


def with_many_fixes(rounds: int, calls: int, number: int = 1_000) -> dict[str, float]:
    """Pair the boundary with the reference again while many fixes of other boundaries serve."""
    live, now = runtime(), datetime.now(UTC)
    for count in range(number):
        name = f"other_{count}"
        draft = FixDraft(
            pattern=f"LookupError::{name}::read",
            scope=Scope(module=name, match=Match.EXACT, exact=f"v1:{name}", loose=f"v1:{name}"),
            diagnosis="an alternative fits",
            fix_type="strategy",
            fix_instruction=f"When {name} fails this way, use its strategy 'other'.",
            affected_module="overhead",
            confidence=0.6,
            risk_level=RiskLevel.LOW,
            risk_assessment="Calls what the application registered.",
            steps=(StrategyStep(strategy="other"),),
            origin="benchmark",
        )
        fix = live.keys.sign_fix(Fix.from_draft(draft, created_at=now))
        change = StateChange(
            fix_id=fix.fix_id,
            sequence=1,
            state=FixState.TRIAL,
            previous=None,
            policy="guarded",
            actor="engine",
            reason="made by the benchmark",
            at=now,
        )
        live.index.add(fix, live.keys.sign_change(change))
    serving = len(live.index.snapshot.serving)
    if serving < number:
        sys.exit(f"only {serving} of {number} fixes serve: the figure would not be of that many")
    return {"ratio_1000_fixes": boundary(rounds, calls)["ratio"]}


def to_sentry(rounds: int, ours: float) -> dict[str, float]:
    """Time sentry-sdk's own capture with a transport that sends nothing, where it is installed."""
    try:
        import sentry_sdk
        from sentry_sdk.transport import Transport
    except ImportError:
        return {}

    class Nowhere(Transport):
        def capture_envelope(self, envelope: Any) -> None:
            """Send nothing."""

    sentry_sdk.init(dsn="http://key@localhost/1", transport=Nowhere, default_integrations=False)
    seconds = []
    for _ in range(rounds):
        try:
            four_frames(3, "alice@example.com", [1, 2, 3])
        except LookupError as error:
            started = time.perf_counter()
            sentry_sdk.capture_exception(error)
            seconds.append(time.perf_counter() - started)
    return {"capture_to_sentry": round(ours / (statistics.median(seconds) * 1e6), 3)}


def installed_repair(rounds: int) -> dict[str, float]:
    """Time installing a repair, and calls through it: on a clean input with and without it, and on a repaired one."""
    live = runtime()
    deadline = time.monotonic() + 20
    while not live.repairs.installed():
        if time.monotonic() > deadline:
            sys.exit("the repair was not installed within 20 s")
        # Where the machine is so busy that an incident cannot be kept in time, its call fails as it would have.
        with contextlib.suppress(ValueError):
            repaired("$1,234.50")
        time.sleep(0.05)
    [active] = live.repairs.installed()
    seconds, guarded, repairing = [], [], []
    for _ in range(rounds // 50):
        live.repairs.uninstall(active.fix_id)
        unguarded = nanoseconds(repaired, "1234.50", 4_000)
        started = time.perf_counter()
        live.repairs.install([active])
        seconds.append(time.perf_counter() - started)
        clean = nanoseconds(repaired, "1234.50", 4_000)
        guarded.append(clean - unguarded)
        repairing.append(nanoseconds(repaired, "$1,234.50", 200) - clean)
    return {
        "repair_install_ms": round(statistics.median(seconds) * 1e3, 3),
        "guarded_ns": round(statistics.median(guarded), 1),
        "repair_us": round(statistics.median(repairing) / 1e3, 2),
    }


def verdicts(figures: dict[str, Any]) -> list[tuple[str, Any, float | None]]:
    """Return each figure with its budget; None where it is for orientation only."""
    flat: dict[str, Any] = {}
    for key, value in figures.items():
        flat.update(
            {f"{key}.{inner}": one for inner, one in value.items()} if isinstance(value, dict) else {key: value}
        )
    return [(key, value, BUDGETS.get(key)) for key, value in flat.items()]


def show(figures: dict[str, Any], console: Console) -> None:
    """Print value, budget and verdict of each figure."""
    table = Table(title="What healspan costs", title_justify="left")
    for heading, justify in (("figure", "left"), ("value", "right"), ("budget", "right"), ("verdict", "left")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for key, value, budget in verdicts(figures):
        met = "" if budget is None else "met" if value <= budget else "[red]NOT met"
        table.add_row(key, f"{value:g}", "" if budget is None else f"{budget:g}", met)
    console.print(table)


def main() -> None:
    """Measure in a data directory of its own and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON, the table to stderr")
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    parser.add_argument("--quick", action="store_true", help="fewer rounds: to see that it runs")
    options = parser.parse_args()
    rounds = 200 if options.quick else 2_000
    pairs = 25 if options.quick else 250
    with tempfile.TemporaryDirectory() as directory:
        os.environ["HEALSPAN_DATA_DIR"] = directory
        figures: dict[str, Any] = {**boundary(pairs, 20_000), "capture_us": capture_us(rounds)}
        figures |= to_sentry(rounds // 4, figures["capture_us"])
        figures["tier1_ms"] = tier1(rounds)
        figures |= installed_repair(rounds)
        figures |= with_many_fixes(pairs, 20_000)
        shut_down()
    show(figures, Console(stderr=options.json))
    text = json.dumps(figures, indent=2)
    if options.json:
        print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
