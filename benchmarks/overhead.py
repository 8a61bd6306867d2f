"""The budgets of a boundary, measured against references in the same run.

    python benchmarks/overhead.py [--json] [--out FILE] [--quick]

Prints value, budget and verdict of each figure (`budgets`), or JSON.

Keys: `boundary_ns` (in a wrapper), `wrapper_ns` (a bare ``functools.wraps`` try/except wrapper), `ratio` (budget
1.5), `boundary_with_1000_fixes` (that ratio with 1,000 active fixes of other boundaries), `bare_ns` and
`compiled_boundary_ns` (a boundary inside its function, over the bare function: counter, sampling, open runs and fired
repairs included; budget 30), `compiled_unsampled_ns` (the same without the one call in 64 that is sampled),
`guarded_helper_ns` (a guarded expression that does not fail; budget 40), `guarded_statement_ns` (likewise, where the
statement is guarded whole; budget 5), `capture_us` (four frames, locals on), `repair_install_ms`,
`tier1_ms.{p50,p99}` (exception to healed value, the incident durable; budget 1 and 5), `repair_us` (a repaired input
over a clean one; budget 20), each as the least of the rounds with a `_median` beside it, `capture_to_sentry` (where
sentry-sdk is installed: our capture over its own; budget 1), `adapter_ms.{p50,p99}` (a warm sandboxed adapter that
calls again, on a real boundary, from its arguments to its result; budget 1; beside it `call_p50`, `call_p99`: the whole
failing call that it heals, capture and durable incident included, and `bare_p50`, `bare_p99`: the same text and host
call in the sandbox alone, in this process), `span_processor_us.{clean,exception}`
(ours for a span of the SDK without and with an exception; budget 2 for a clean one), and what `incident_costs.py`
measures in a process of its own: `memory_mib_per_10000_incidents` and `scrape_ms` at 200 boundaries (budget 50).
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pydantic_monty
from budgets import report
from figures import command_line
from opentelemetry.sdk.trace import TracerProvider

from healspan.instrumentation import error_boundary
from healspan.instrumentation.capture import capture
from healspan.instrumentation.exposure import CallCounter
from healspan.instrumentation.signals.processors import SpanWatcher
from healspan.instrumentation.signals.watcher import Watcher
from healspan.remediation.boundary import FailedCall, Invocation
from healspan.remediation.fix import Fix, FixDraft, FixState, Match, RiskLevel, Scope, StateChange
from healspan.remediation.runtime import Runtime, runtime, shut_down
from healspan.remediation.signing import KeyRing, Reviewer, enrol
from healspan.remediation.step import AdapterStep, StrategyStep


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


# Without annotations: a return type would be a contract, and each result be held against it.


def plain(value):  # type: ignore[no-untyped-def]
    return value


def declared(name: str, *, inside: bool) -> Any:
    """Declare a boundary around `plain`, in one of the two forms."""
    os.environ["HEALSPAN_COMPILED_BOUNDARIES"] = str(int(inside))
    function = error_boundary(name)(plain)
    del os.environ["HEALSPAN_COMPILED_BOUNDARIES"]
    return function


bounded, compiled = declared("overhead", inside=False), declared("overhead_compiled", inside=True)


def read_amount(text):  # type: ignore[no-untyped-def]
    return float(text)


def read_amount_too(text):  # type: ignore[no-untyped-def]
    return float(text)


def read_scaled(text):  # type: ignore[no-untyped-def]
    return 1.0 * float(text)


def read_scaled_too(text):  # type: ignore[no-untyped-def]
    return 1.0 * float(text)


repaired = error_boundary("overhead_repaired", retry_safe=True)(read_amount)
repaired_within = error_boundary("overhead_repaired_within", retry_safe=True)(read_scaled)


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


def paired(
    reference: Callable[[Any], Any],
    ours: Callable[[Any], Any],
    rounds: int,
    calls: int,
    argument: object = 1,
) -> list[tuple[float, float]]:
    """Time two functions round by round: the machine's speed drifts."""
    for _ in range(2):
        nanoseconds(reference, argument, calls)
        nanoseconds(ours, argument, calls)
    return [(nanoseconds(reference, argument, calls), nanoseconds(ours, argument, calls)) for _ in range(rounds)]


def added(name: str, pairs: Sequence[tuple[float, float]], scale: float = 1.0) -> dict[str, float]:
    """Return what ours adds: the difference of the least times, and the median of the differences beside it.

    What else runs on a machine adds to a time and takes nothing from it, so the least of many rounds is nearest to what
    the instructions cost; the median says what they cost there and then.
    """
    least = min(ours for _, ours in pairs) - min(reference for reference, _ in pairs)
    median = statistics.median(ours - reference for reference, ours in pairs)
    return {name: round(least / scale, 2), f"{name}_median": round(median / scale, 2)}


def boundary(rounds: int, calls: int) -> dict[str, float]:
    """Pair the boundary in a wrapper with what one would write by hand."""
    pairs = paired(bare(plain), bounded, rounds, calls)
    return {
        "wrapper_ns": round(statistics.median(reference for reference, _ in pairs), 1),
        "boundary_ns": round(statistics.median(ours for _, ours in pairs), 1),
        "ratio": round(statistics.median(ours / reference for reference, ours in pairs), 3),
    }


def inside(rounds: int, calls: int) -> dict[str, float]:
    """Pair the boundary inside its function with the bare function."""
    if compiled.boundary.form != "compiled":
        sys.exit(f"the boundary could not be compiled: {compiled.boundary.form_reason}")
    pairs = paired(plain, compiled, rounds, calls)
    counter = next(each for each in compiled.__code__.co_consts if isinstance(each, CallCounter))
    kept, counter.ticks = counter.ticks, itertools.repeat(())
    unsampled = paired(plain, compiled, rounds, calls)
    counter.ticks = kept
    return {
        "bare_ns": round(min(reference for reference, _ in pairs), 1),
        "bare_ns_median": round(statistics.median(reference for reference, _ in pairs), 1),
        **added("compiled_boundary_ns", pairs),
        **added("compiled_unsampled_ns", unsampled),
    }


def serve(live: Runtime, draft: FixDraft, signer: KeyRing | Reviewer, *, actor: str) -> None:
    """Let a fix be active in this process."""
    now = datetime.now(UTC)
    fix = signer.sign_fix(Fix.from_draft(draft, created_at=now))
    change = StateChange(
        fix_id=fix.fix_id,
        sequence=1,
        state=FixState.ACTIVE,
        policy="guarded",
        actor=actor,
        reason="to be measured",
        at=now,
    )
    live.index.add(fix, signer.sign_change(change))


def with_many_fixes(rounds: int, calls: int) -> dict[str, float]:
    """Pair them again while 1,000 fixes of other boundaries are active."""
    live = runtime()
    for number in range(1_000):
        scope = Scope(module=f"other_{number}", match=Match.EXACT, exact=f"v1:exact:{number}")
        draft = FixDraft(
            pattern=f"KeyError::other_{number}::read",
            scope=scope,
            diagnosis="An alternative fits.",
            fix_type="strategy",
            fix_instruction="Use the strategy 'other'.",
            affected_module="other",
            confidence=0.6,
            risk_level=RiskLevel.LOW,
            risk_assessment="Calls an alternative.",
            steps=(StrategyStep(strategy="other"),),
            origin="playbook:strategy",
            source_hash={"other:other": "0" * 64},
        )
        serve(live, draft, live.keys, actor="engine")
    active = [one for one in live.index.snapshot.serving if one.change.state is FixState.ACTIVE]
    if len(active) < 1_000:
        sys.exit(f"only {len(active)} fixes are active")
    return {"boundary_with_1000_fixes": boundary(rounds, calls)["ratio"]}


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


def to_sentry(rounds: int, ours: float) -> dict[str, float]:
    """Hold our capture against sentry-sdk's with a transport that sends nothing, where it is installed."""
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


def installed_repair(rounds: int) -> dict[str, float]:
    """Time installing a repair, both forms of a guard, and a call through one on a clean and on a repaired input."""
    live = runtime()
    deadline = time.monotonic() + 10
    while len(live.repairs.installed()) < 2:
        if time.monotonic() > deadline:
            sys.exit("the repairs were not installed within 10 s")
        # The diagnosis. Where the machine is so busy that an incident is not kept in time, the call fails as it would.
        for function in (repaired, repaired_within):
            with contextlib.suppress(ValueError):
                function("$1,234.50")
        time.sleep(0.01)
    active = next(each for each in live.repairs.installed() if each.boundary == "overhead_repaired")
    seconds = []
    for _ in range(20):
        live.repairs.uninstall(active.fix_id)
        started = time.perf_counter()
        live.repairs.install([active])
        seconds.append(time.perf_counter() - started)
    for function, whole in ((repaired, True), (repaired_within, False)):
        if ("caught" in function.__wrapped__.__code__.co_names) is not whole:
            sys.exit("a guard has another form than the one to be measured")
    statement = paired(read_amount_too, repaired.__wrapped__, rounds, 2_000, "1234.50")
    helper = paired(read_scaled_too, repaired_within.__wrapped__, rounds, 2_000, "1234.50")
    calls = [(nanoseconds(repaired, "1234.50", 200), nanoseconds(repaired, "$1,234.50", 200)) for _ in range(rounds)]
    return {
        "repair_install_ms": round(statistics.median(seconds) * 1e3, 3),
        **added("guarded_statement_ns", statement),
        **added("guarded_helper_ns", helper),
        **added("repair_us", calls, scale=1e3),
    }


ADAPTER = """def heal(call, arguments, error):
    return call(text=arguments["text"].strip("$"))
"""

adapted = error_boundary("overhead_adapted", retry_safe=True)(read_amount)


def adapter_ms(rounds: int, keys: Path) -> dict[str, float]:
    """Time whole failing calls that a sandboxed adapter heals, and the bare sandbox beside them, turn by turn."""
    live = runtime()
    reviewer = Reviewer.open(keys / "reviewer.pem", name="bench", create=True)
    enrol(live.settings.keys_dir, reviewer)
    draft = FixDraft(
        pattern="overhead_adapted::dollars",
        scope=Scope(module="overhead_adapted", match=Match.BOUNDARY),
        diagnosis="The amount has a sign of its currency.",
        fix_type="adapter",
        fix_instruction="Read the amount without the sign.",
        affected_module=__name__,
        confidence=0.9,
        risk_level=RiskLevel.MEDIUM,
        risk_assessment="Measured only.",
        steps=(AdapterStep(text=ADAPTER),),
        origin="human:bench",
    )
    serve(live, draft, reviewer, actor="human:bench")
    times: dict[str, list[float]] = {"": [], "call_": [], "bare_": []}
    apply = live.sandbox.apply

    def timed(step: AdapterStep, failed: FailedCall) -> Generator[Invocation, Any, Any]:
        started = time.perf_counter()
        value = yield from apply(step, failed)
        times[""].append((time.perf_counter() - started) * 1e3)
        return value

    live.sandbox.apply = timed  # type: ignore[method-assign]

    def call(text: str) -> float:
        return float(text)

    with pydantic_monty.Monty(max_processes=1) as pool:

        def bare() -> float:
            inputs = {"arguments": {"text": "$12.5"}, "error": {}}
            with pool.checkout() as session:
                found = session.feed_run(
                    f"{ADAPTER}heal(call, arguments, error)", inputs=inputs, external_lookup={"call": call}
                )
                return float(found)

        for _ in range(rounds + 10):
            for name, made in (("call_", lambda: adapted("$12.5")), ("bare_", bare)):
                started = time.perf_counter()
                if made() != 12.5:
                    sys.exit("the adapter did not heal the call")
                times[name].append((time.perf_counter() - started) * 1e3)
    figures = {}
    for name, milliseconds in times.items():
        cuts = statistics.quantiles(milliseconds[10:], n=100)  # the first ones start the processes
        figures |= {f"{name}p50": round(cuts[49], 3), f"{name}p99": round(cuts[98], 3)}
    return figures


def span_processor_us(rounds: int) -> dict[str, float]:
    """Pair spans of the SDK with and without our processor, without an exporter: clean ones, and with an exception."""
    watcher = Watcher()
    watcher.active = True
    plain_provider, watched_provider = TracerProvider(), TracerProvider()
    watched_provider.add_span_processor(SpanWatcher(watcher))
    error = ValueError("could not convert string to float: 'x'")

    def spans(provider: TracerProvider, *, failing: bool) -> Callable[[Any], None]:
        tracer = provider.get_tracer("overhead")

        def one(_: object) -> None:
            span = tracer.start_span("request")
            if failing:
                span.record_exception(error)
            span.end()

        return one

    figures: dict[str, float] = {}
    for name, failing, calls in (("clean", False, 500), ("exception", True, 50)):
        pairs = paired(spans(plain_provider, failing=failing), spans(watched_provider, failing=failing), rounds, calls)
        figures |= added(name, pairs, scale=1e3)
    return figures


def many_incidents(number: int) -> dict[str, Any]:
    """Return what so many incidents cost a process of their own."""
    command = [sys.executable, str(Path(__file__).with_name("incident_costs.py")), "--incidents", str(number)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        sys.exit(ran.stderr)
    found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Measure in a data directory of its own and print."""
    parser = command_line(__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON, the table to stderr")
    parser.add_argument("--quick", action="store_true", help="fewer rounds: to see that it runs")
    options = parser.parse_args()
    rounds, pairs = (200, 25) if options.quick else (2_000, 250)
    with tempfile.TemporaryDirectory() as directory:
        os.environ["HEALSPAN_DATA_DIR"] = directory
        figures: dict[str, Any] = {
            **boundary(pairs, 20_000),
            **inside(pairs, 20_000),
            "capture_us": (ours := capture_us(rounds)),
            **to_sentry(rounds // 4, ours),
            "tier1_ms": tier1(rounds),
            **installed_repair(rounds),
            **with_many_fixes(pairs, 20_000),
            "span_processor_us": span_processor_us(pairs),
            "adapter_ms": adapter_ms(rounds // 2, Path(directory)),
            **many_incidents(rounds * 5),
        }
        shut_down()
    report(figures, as_json=options.json, out=options.out)


if __name__ == "__main__":
    main()
