"""What many incidents leave behind: memory in the service that had them, and the time a scrape of /metrics takes.

Run by `overhead.py` as a process of its own, since memory that another benchmark has given back would hide a growth:

    python benchmarks/incident_costs.py [--incidents 10000]

200 boundaries of one service fail in turn; half of them have an alternative and are healed, the others escalate. Prints
one line of JSON: `memory_mib_per_10000_incidents` (resident memory from the moment when each boundary had failed
once to the end), `scrape_ms.service` (the default registry, over HTTP), `scrape_ms.exporter` (the store of those
incidents, over HTTP, a new incident before each scrape) and `scrape_ms.exporter_first` (of an exporter that has just
started). Medians.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Callable
from typing import Any

from figures import command_line
from prometheus_client import REGISTRY

from healspan.instrumentation import error_boundary
from healspan.instrumentation.resource import memory_usage_mb
from healspan.remediation.claude.budget import Limits
from healspan.remediation.exporter import MetricsServer, StoreCollector
from healspan.remediation.runtime import runtime, shut_down
from healspan.remediation.settings import load_settings
from healspan.remediation.store.drainer import drain_all
from healspan.remediation.store.repository import Store

BOUNDARIES = 200
SCRAPES = 25


def failing(number: int) -> Callable[[str], str]:
    """Make a boundary that fails at whatever it is given; every second one knows another way."""

    def read(text):  # type: ignore[no-untyped-def] # a return type would be a contract
        return {"known": text}["a key of another name"]

    boundary: Any = error_boundary(f"incident_costs_{number}")(read)
    if number % 2:

        @boundary.strategy("other")
        def other(text: str) -> str:
            return text

    called: Callable[[str], str] = boundary
    return called


def fail(boundary: Callable[[str], str], text: str) -> None:
    """Call it, and let it fail."""
    with contextlib.suppress(KeyError):
        boundary(text)


def milliseconds(url: str) -> float:
    """Time one scrape."""
    started = time.perf_counter()
    with urllib.request.urlopen(url, timeout=60) as answer:
        answer.read()
    return (time.perf_counter() - started) * 1e3


def measure(incidents: int) -> dict[str, Any]:
    """Let the service fail, and scrape what came of it."""
    boundaries = [failing(number) for number in range(BOUNDARIES)]
    for boundary in boundaries:
        fail(boundary, "first")
    time.sleep(3.0)  # what starts with the first failure, and what is learned from it, is not counted
    gc.collect()
    before = memory_usage_mb() or 0.0
    for number in range(incidents):
        fail(boundaries[number % BOUNDARIES], f"document {number}")
    gc.collect()
    grown = (memory_usage_mb() or 0.0) - before
    dropped = runtime().spool.counts.dropped
    service = MetricsServer(REGISTRY, host="127.0.0.1", port=0)
    in_service = statistics.median(milliseconds(service.url) for _ in range(SCRAPES))
    service.close()
    settings = load_settings()
    shut_down()
    drain_all(settings)
    first, later = [], []
    with Store.open(settings) as store:
        for _ in range(3):
            collector = StoreCollector(store, budget=Limits.of(settings).day)
            exporter = MetricsServer(collector, host="127.0.0.1", port=0)
            first.append(milliseconds(exporter.url))
            for number in range(SCRAPES // 3):
                fail(boundaries[0], f"later document {number}")
                time.sleep(1.0)  # the store has it then: something is new at each scrape
                later.append(milliseconds(exporter.url))
            exporter.close()
    return {
        "memory_mib_per_10000_incidents": round(grown * 10_000 / incidents, 2),
        "incidents_dropped": dropped,
        "scrape_ms": {
            "service": round(in_service, 2),
            "exporter": round(statistics.median(later), 2),
            "exporter_first": round(statistics.median(first), 2),
        },
    }


def main() -> None:
    """Measure in a data directory of its own and print."""
    parser = command_line(__doc__)
    parser.add_argument("--incidents", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        os.environ["HEALSPAN_DATA_DIR"] = directory
        os.environ["HEALSPAN_SAME_FAILURES_PER_SECOND"] = "1000000"
        print(json.dumps(measure(options.incidents)))
        shut_down()


if __name__ == "__main__":
    main()
