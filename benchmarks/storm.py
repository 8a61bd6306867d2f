"""A storm of failures: does the service answer its other requests as fast as without healspan?

    python benchmarks/storm.py [--seconds 10] [--rate 2000] [--out F]

One process with 8 threads answers requests, each in a span: so many of them fail each second, the others do a little
work. The latency of those is taken without healspan, with its signals (the failing requests only leave their spans),
and with a boundary around what fails, in processes of their own, turn by turn. The figures are ratios of the 99th
percentile to that without healspan in the same round; memory in MiB grown during the storm, without healspan as well;
and how many failures there were, how many incidents came of them and how many were dropped, which together are all.
"""

from __future__ import annotations

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
WAYS = ("without", "signals", "boundary")
ROUNDS = 3


def serve(way: str, seconds: float, rate: float) -> dict[str, Any]:
    """Be the service, in a process of its own."""
    from opentelemetry.sdk.trace import TracerProvider

    from healspan.instrumentation.resource import memory_usage_mb

    provider = TracerProvider()
    tracer = provider.get_tracer("storm")

    def read(text: str) -> float:
        return float(text)

    if way == "signals":
        from healspan.instrumentation import HealspanInstrumentor

        HealspanInstrumentor().instrument(tracer_provider=provider, logs=False)
    elif way == "boundary":
        from healspan.instrumentation import error_boundary

        read = error_boundary("storm")(read)

    def request(text: str) -> None:
        with tracer.start_as_current_span("request"):
            read(text)
            sum(range(2_000))

    milliseconds: list[float] = []
    failed = 0
    lock = threading.Lock()

    def work() -> None:
        nonlocal failed
        mine: list[float] = []
        failures = 0
        began = time.perf_counter()
        pause = THREADS / rate
        while time.perf_counter() - began < seconds:
            try:
                request("no number")
            except ValueError:
                failures += 1
            started = time.perf_counter()
            request("1.5")
            mine.append((time.perf_counter() - started) * 1e3)
            # Failures come at a rate, not as fast as they can: else a slower service would have fewer of them.
            time.sleep(max(0.0, began + failures * pause - time.perf_counter()))
        with lock:
            milliseconds.extend(mine)
            failed += failures

    try:
        request("no number")
    except ValueError:
        time.sleep(2.0)  # what starts with the first failure is no part of a storm
    before = memory_usage_mb() or 0.0
    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    grown = (memory_usage_mb() or 0.0) - before
    return {
        "p99_ms": statistics.quantiles(milliseconds, n=100)[98],
        "failures": failed + 1,
        "grown_mib": grown,
        **(counted() if way != "without" else {}),
    }


def counted() -> dict[str, float]:
    """Return what the service's own metrics say of the failures, once everything has been looked at."""
    from prometheus_client import REGISTRY

    from healspan.instrumentation.signals.watcher import watcher

    watcher.flush()
    samples = [sample for metric in REGISTRY.collect() for sample in metric.samples]
    return {
        key: sum(sample.value for sample in samples if sample.name == name)
        for key, name in (("incidents", "healspan_incidents_total"), ("dropped", "healspan_dropped_total"))
    }


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
    for _ in range(ROUNDS):
        rounds.append({way: in_a_process(way, options.seconds, options.rate) for way in WAYS})
    figures: dict[str, Any] = {
        "p99_ms_without": round(statistics.median(one["without"]["p99_ms"] for one in rounds), 3),
        "grown_mib_without": round(max(one["without"]["grown_mib"] for one in rounds), 1),
    }
    for way in WAYS[1:]:
        figures[way] = {
            "p99_ratio": round(statistics.median(one[way]["p99_ms"] / one["without"]["p99_ms"] for one in rounds), 3),
            "failures": rounds[-1][way]["failures"],
            "incidents": rounds[-1][way]["incidents"],
            "dropped": rounds[-1][way]["dropped"],
            "grown_mib": round(max(one[way]["grown_mib"] for one in rounds), 1),
        }
    tell(figures, options.out)


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
