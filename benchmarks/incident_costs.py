"""What many incidents leave behind: memory in the service that had them, and the time a scrape of /metrics takes.

Run by `overhead.py` as a process of its own, since memory that another benchmark has given back would hide a growth:

    python benchmarks/incident_costs.py [--incidents 10000]

200 boundaries of one service fail in turn; half of them have an alternative and are healed, the others escalate. Prints
one line of JSON: `memory_mib_per_10000_incidents` (resident memory from the moment when each boundary had failed once
to the end), `scrape_ms.service` (the default registry, over HTTP), `scrape_ms.exporter` (the store of those incidents,
over HTTP, a new incident before each scrape), `scrape_ms.exporter_prometheus` (likewise, in the format that Prometheus
asks for, and packed), `scrape_ms.exporter_cpu` (what of `exporter` this process computes, whatever else the machine
does), `scrape_ms.exporter_still` (nothing new), `scrape_ms.exporter_first` (of an exporter that has just started), and
`scrape_ms.written_whole` (the reference: prometheus_client writing the same lines, with all the numbers at hand).
Medians.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import json
import os
import statistics
import tempfile
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

from figures import command_line
from prometheus_client import REGISTRY, Metric, generate_latest
from prometheus_client.registry import Collector

from healspan.instrumentation import error_boundary
from healspan.instrumentation.resource import memory_usage_mb
from healspan.remediation.claude.budget import Limits
from healspan.remediation.exporter import StoreCollector
from healspan.remediation.metrics_server import MetricsServer
from healspan.remediation.runtime import runtime, shut_down
from healspan.remediation.settings import Settings, load_settings
from healspan.remediation.store.drainer import drain_all
from healspan.remediation.store.repository import Store

BOUNDARIES = 200
SCRAPES = 25
AS_PROMETHEUS = {"Accept": "application/openmetrics-text;version=1.0.0", "Accept-Encoding": "gzip"}


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


class Took(NamedTuple):
    """Milliseconds."""

    wall: float
    cpu: float
    """Of this process, whichever thread."""


def took(work: Callable[[], object]) -> Took:
    """Time something once."""
    started, computed = time.perf_counter(), time.process_time()
    work()
    return Took((time.perf_counter() - started) * 1e3, (time.process_time() - computed) * 1e3)


def scrape(url: str, headers: Mapping[str, str] | None = None) -> Took:
    """Time one scrape."""

    def get() -> None:
        with urllib.request.urlopen(urllib.request.Request(url, headers=dict(headers or {})), timeout=60) as answer:
            answer.read()

    return took(get)


class Ready(Collector):
    """Families that were found before."""

    def __init__(self, found: Collector) -> None:
        self._families = [*found.collect()]

    def collect(self) -> Iterable[Metric]:
        """Return them."""
        return self._families


def scrapes_of_exporters(settings: Settings, fail_once: Callable[[], None]) -> dict[str, float]:
    """Start exporters of a store, scrape them as incidents arrive, and return the medians by what was scraped."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    with Store.open(settings) as store:
        for _ in range(3):
            collector = StoreCollector(store, budget=Limits.of(settings).day)
            exporter = MetricsServer(collector, host="127.0.0.1", port=0)
            found["exporter_first"].append(scrape(exporter.url).wall)
            scrape(exporter.url, AS_PROMETHEUS)
            for _ in range(SCRAPES // 3):
                fail_once()
                time.sleep(1.0)  # the store has it then: something is new at each scrape
                plain = scrape(exporter.url)
                found["exporter"].append(plain.wall)
                found["exporter_cpu"].append(plain.cpu)
                fail_once()
                time.sleep(1.0)
                found["exporter_prometheus"].append(scrape(exporter.url, AS_PROMETHEUS).wall)
                found["exporter_still"].append(scrape(exporter.url).wall)
                found["written_whole"].append(took(partial(generate_latest, Ready(collector))).wall)
            exporter.close()
    return {name: round(statistics.median(times), 2) for name, times in found.items()}


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
    in_service = statistics.median(scrape(service.url).wall for _ in range(SCRAPES))
    service.close()
    settings = load_settings()
    shut_down()
    drain_all(settings)
    later = itertools.count()
    in_exporter = scrapes_of_exporters(settings, lambda: fail(boundaries[0], f"later document {next(later)}"))
    return {
        "memory_mib_per_10000_incidents": round(grown * 10_000 / incidents, 2),
        "incidents_dropped": dropped,
        "scrape_ms": {"service": round(in_service, 2), **in_exporter},
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
