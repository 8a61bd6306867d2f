"""A storm of failures: does the service answer its other requests as fast as without healspan?

    python benchmarks/storm.py [--seconds 10] [--rate 2000] [--out F]

One process with 8 threads answers requests, each in a span: so many of them fail each second, and a fourth as many are
good. Each waits a millisecond, as for a database, then reads a number and does a little work; so its latency is also
that of getting the interpreter back, from the other requests and from threads of healspan's. It is taken without
healspan, with its signals (the failing requests only leave their spans), with a boundary around what fails, and with
both, in processes of their own, turn by turn, every other round backwards; and without healspan once more, whose ratios
to the other one say how much is the machine. The figures are ratios to those two together in the same round, as median,
least and most of the rounds: of the 99th percentile of all requests, of the good ones, of the failing ones, and of the
processor time that all of it took; memory in MiB grown during the storm, without healspan as well; and how many
failures there were, how many incidents came of them and how many were dropped, which together are all.

Where the service takes nearly all of one processor without healspan (`cpu_share` near 1) every bit more is waited for,
and the ratio of the percentiles says little but that; a lower `--rate` says the rest.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

from figures import command_line, tell

THREADS = 8
WAYS = ("without", "again", "signals", "boundary", "both")
BARE = WAYS[:2]
ROUNDS = 5
COUNTED = {"incidents": "healspan_incidents_total", "dropped": "healspan_dropped_total"}
GOOD_EVERY = 4
"""Of the failing requests, one is followed by a good one."""


def number(text: str) -> float:
    """Read a number; what fails."""
    return float(text)


def serve(way: str, seconds: float, rate: float) -> dict[str, Any]:
    """Be the service, in a process of its own."""
    from opentelemetry.sdk.trace import TracerProvider

    from healspan.instrumentation.resource import memory_usage_mb

    provider = TracerProvider()
    tracer = provider.get_tracer("storm")

    read = number
    if way in ("signals", "both"):
        from healspan.instrumentation import HealspanInstrumentor

        HealspanInstrumentor().instrument(tracer_provider=provider, logs=False)
    if way in ("boundary", "both"):
        from healspan.instrumentation import error_boundary

        read = error_boundary("storm")(number)

    def request(text: str) -> None:
        with tracer.start_as_current_span("request"):
            time.sleep(0.001)
            read(text)
            sum(range(2_000))

    good: list[float] = []
    failing: list[float] = []
    lock = threading.Lock()

    def timed(text: str, times: list[float]) -> None:
        started = time.perf_counter()
        with contextlib.suppress(ValueError):
            request(text)
        times.append((time.perf_counter() - started) * 1e3)

    def work() -> None:
        mine: list[float] = []
        failed: list[float] = []
        began = time.perf_counter()
        pause = THREADS / rate
        while time.perf_counter() - began < seconds:
            timed("no number", failed)
            if len(failed) % GOOD_EVERY == 0:
                timed("1.5", mine)
            # Failures come at a rate, not as fast as they can: else a slower service would have fewer of them.
            time.sleep(max(0.0, began + len(failed) * pause - time.perf_counter()))
        with lock:
            good.extend(mine)
            failing.extend(failed)

    timed("no number", [])
    time.sleep(5.0)  # what starts with the first failure, or a second after it, is no part of a storm
    before, used = memory_usage_mb() or 0.0, time.process_time()
    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    used = time.process_time() - used
    grown = (memory_usage_mb() or 0.0) - before
    return {
        "p99_ms": statistics.quantiles(good + failing, n=100)[98],
        "p99_good_ms": statistics.quantiles(good, n=100)[98],
        "p99_failing_ms": statistics.quantiles(failing, n=100)[98],
        "cpu_us": used / len(failing) * 1e6,
        "cpu_share": used / seconds,
        "failures": len(failing) + 1,
        "grown_mib": grown,
        **(counted() if way not in BARE else {}),
    }


def counted() -> dict[str, float]:
    """Return what the service's own metrics say of the failures, once everything has been looked at."""
    from prometheus_client import REGISTRY

    from healspan.instrumentation.signals.watcher import watcher
    from healspan.remediation.runtime import runtime

    watcher.flush()
    runtime().flush()
    samples = [sample for metric in REGISTRY.collect() for sample in metric.samples]
    return {key: sum(sample.value for sample in samples if sample.name == name) for key, name in COUNTED.items()}


def main() -> None:
    """Run the services turn by turn, and print."""
    parser = command_line(__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each storm")
    parser.add_argument("--rate", type=float, default=2_000.0, help="failures a second")
    parser.add_argument("--way", choices=WAYS, help="be the service itself, and print its figures")
    options = parser.parse_args()
    if options.way:
        print(json.dumps(serve(options.way, options.seconds, options.rate)))
        return
    rounds: list[dict[str, dict[str, float]]] = []
    for number in range(ROUNDS):
        ways = WAYS if number % 2 == 0 else WAYS[::-1]
        rounds.append({way: in_a_process(way, options.seconds, options.rate) for way in ways})
    figures: dict[str, Any] = {
        "without": {
            "p99_ms": median(rounds, "p99_ms"),
            "p99_good_ms": median(rounds, "p99_good_ms"),
            "p99_failing_ms": median(rounds, "p99_failing_ms"),
            "cpu_us_a_failure": median(rounds, "cpu_us"),
            "cpu_share": median(rounds, "cpu_share"),
            "failures": rounds[-1]["without"]["failures"],
            "grown_mib": round(max(one["without"]["grown_mib"] for one in rounds), 1),
        }
    }
    for way in WAYS[1:]:
        figures[way] = {
            **ratios(rounds, way, "p99_ratio", "p99_ms"),
            **ratios(rounds, way, "p99_good_ratio", "p99_good_ms"),
            **ratios(rounds, way, "p99_failing_ratio", "p99_failing_ms"),
            **ratios(rounds, way, "cpu_ratio", "cpu_us"),
            "failures": rounds[-1][way]["failures"],
            **{key: rounds[-1][way][key] for key in COUNTED if key in rounds[-1][way]},
            "grown_mib": round(max(one[way]["grown_mib"] for one in rounds), 1),
        }
    tell(figures, options.out)


def median(rounds: list[dict[str, dict[str, float]]], key: str) -> float:
    """Return a figure of the service without healspan."""
    return round(statistics.median(one[way][key] for one in rounds for way in BARE), 3)


def ratios(rounds: list[dict[str, dict[str, float]]], way: str, name: str, key: str) -> dict[str, Any]:
    """Return a figure of one way relative to that without healspan, round by round: the median, least and most."""
    reference = [other for other in BARE if other != way]
    found = sorted(one[way][key] / statistics.mean(one[other][key] for other in reference) for one in rounds)
    return {name: round(statistics.median(found), 3), f"{name}_from_to": [round(found[0], 3), round(found[-1], 3)]}


def in_a_process(way: str, seconds: float, rate: float) -> dict[str, float]:
    """Return the figures of one service, run in a data directory of its own."""
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, __file__, "--way", way, "--seconds", str(seconds), "--rate", str(rate)]
        environment = {**os.environ, "HEALSPAN_DATA_DIR": directory}
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(ran.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
