"""Tier 2 with Claude against a server on loopback: what a diagnosis costs of ours, and how often one is made.

    python benchmarks/tier2.py [--out FILE] [--quick]

`ours_ms.{p50,p99}`: a whole failing call that Claude heals, from the exception to the value, less what the server
takes: capture, the gateway with its leases and budgets in the store, the prompt, the SDK, the wire, the draft, the
ladder with a sandboxed adapter (budget of p50: 50); one after the other without a pause, so that what a failure leaves
to be done in the background is done meanwhile. `ours_in_references`: in times of `reference_ms`, a million additions
in this process, each five compared with the one before them. `cpu_ms`: processor time of the whole process for a
diagnosis, with the background and without the sandbox. `total_ms`: with the server; `server_ms`: what it takes, by its
own clock, in a process of its own; `requests`: that it gets for a diagnosis. `thinking`: the same where the server
thinks for a quarter of a second, which is less than any model does. `per_second`: diagnoses of different failures in
four threads. `single_flight`: equal failures at once in several processes: `calls`, `requests` (aim: 1), `healed`,
`failed` (with their own exception, as another process was diagnosing), `wrong`.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from figures import command_line, tell

from healspan.instrumentation import error_boundary
from healspan.remediation.runtime import shut_down

HERE = Path(__file__).resolve().parent
WARM = 5
"""Diagnoses that are not counted: imports, certificates, the first sandbox."""
PROCESSES = 4
LATENCY = 1.0
"""Seconds that the server thinks, so that equal failures meet."""
THINKS = 0.25
EVERY = 5
"""Diagnoses between two looks at the reference."""
PAUSE = 0.15
"""Seconds before such a look, in which what is left to be done in the background is done."""


def read(text: str) -> float:
    """Read a number; fails on words."""
    return float(text)


def declared(number: int) -> Callable[[str], float]:
    """Declare a boundary of its own: a kind of failure of its own."""
    return error_boundary(f"tier2_{number}", output=float, retry_safe=True)(
        type(read)(read.__code__, globals(), f"read_{number}")
    )


@dataclass
class Served:
    """A server in a process of its own."""

    url: str
    requests: list[tuple[int, str, float]] = field(default_factory=list)
    """Kind of failure, path, seconds that it took; known when the server has ended."""

    def seconds(self, kind: int) -> float:
        """Return what the server took for a kind of failure."""
        return sum(seconds for one, _, seconds in self.requests if one == kind)


@contextlib.contextmanager
def server(latency: float) -> Iterator[Served]:
    """Run the server for as long as the block lasts."""
    command = [sys.executable, str(HERE / "tier2_server.py"), f"{latency}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        if process.stdout is None:
            raise RuntimeError("the server has no output")
        served = Served(process.stdout.readline().strip())
        yield served
        for line in process.communicate()[0].splitlines():
            kind, path, seconds = line.split()
            served.requests.append((int(kind), path, float(seconds)))


def prepared(directory: str, url: str) -> None:
    """Point this process, and its children, at a store and a server of their own, with budgets that do not end."""
    os.environ |= {
        "HEALSPAN_DATA_DIR": directory,
        "HEALSPAN_CLAUDE_MODEL": "claude-opus-5-5",
        "HEALSPAN_CLAUDE_BASE_URL": url,
        "HEALSPAN_CLAUDE_TOKENS_PER_DAY": "1000000000",
        "HEALSPAN_CLAUDE_USD_PER_DAY": "1000000",
        "HEALSPAN_CLAUDE_CONCURRENT": "4",
        "HEALSPAN_SANDBOX_WORKERS": "4",
        "HEALSPAN_ADOPTIONS_PER_DAY": "100000",
        "ANTHROPIC_API_KEY": "none",
    }


@dataclass(frozen=True)
class Cost:
    """What diagnoses of one kind each have cost, in milliseconds."""

    totals: Sequence[float]
    servers: Sequence[float]
    references: Sequence[float]
    """Each before `EVERY` of them."""
    cpu_ms: float
    per_second: float | None
    requests: float

    def figures(self) -> dict[str, Any]:
        """Return them as they are reported."""
        ours = [total - own for total, own in zip(self.totals, self.servers, strict=True)]
        compared = [
            statistics.median(ours[at * EVERY : (at + 1) * EVERY]) / each for at, each in enumerate(self.references)
        ]
        found = {
            "ours_ms": _cuts(ours),
            "ours_in_references": round(statistics.median(compared), 2),
            "reference_ms": round(statistics.median(self.references), 1),
            "cpu_ms": round(self.cpu_ms, 1),
            "total_ms": _cuts(self.totals),
            "server_ms": round(statistics.median(self.servers), 2),
            "requests": round(self.requests, 2),
        }
        return found if self.per_second is None else {**found, "per_second": round(self.per_second, 1)}


def cost_of_ours(number: int, latency: float, *, threads: bool) -> Cost:
    """Time diagnoses one after the other, and then in threads."""
    functions = [declared(each) for each in range((2 if threads else 1) * number + WARM)]
    with tempfile.TemporaryDirectory() as directory, server(latency) as served:
        prepared(directory, served.url)
        totals, references, cpu, per_second = [], [], 0.0, None
        for function in functions[:WARM]:
            function("one")
        for begin in range(WARM, WARM + number, EVERY):
            time.sleep(PAUSE)
            references.append(reference_ms())
            began = time.process_time()
            totals += [timed(function) for function in functions[begin : min(begin + EVERY, WARM + number)]]
            cpu += time.process_time() - began
        if threads:
            started = time.perf_counter()
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(timed, functions[WARM + number :]))
            per_second = number / (time.perf_counter() - started)
        shut_down()
    kinds = range(WARM, WARM + number)
    asked = Counter(kind for kind, _, _ in served.requests)
    return Cost(
        totals,
        [served.seconds(kind) * 1e3 for kind in kinds],
        references,
        cpu / number * 1e3,
        per_second,
        statistics.mean(asked[kind] for kind in kinds),
    )


def timed(function: Callable[[str], float]) -> float:
    """Return the milliseconds of a call that Claude heals."""
    started = time.perf_counter()
    if function("one") != 1.0:
        sys.exit("a wrong value")
    return (time.perf_counter() - started) * 1e3


def reference_ms() -> float:
    """Return the milliseconds of a million additions: what this machine is worth at this moment."""
    started, total = time.perf_counter(), 0
    for number in range(1_000_000):
        total += number
    return (time.perf_counter() - started) * 1e3


def _cuts(times: Sequence[float]) -> dict[str, float]:
    cuts = statistics.quantiles(times, n=100, method="inclusive")
    return {"p50": round(cuts[49], 1), "p99": round(cuts[98], 1)}


CHILD = """
import json, sys, threading, time
sys.path.insert(0, sys.argv[1])
from tier2 import declared
threads, start = int(sys.argv[2]), float(sys.argv[3])
function, came = declared(0), []
declared(int(sys.argv[4]))("one")  # a service that runs has met a failure before
def call():
    time.sleep(max(0.0, start - time.time()))
    try:
        came.append("healed" if function("one") == 1.0 else "wrong")
    except ValueError:
        came.append("failed")
    except BaseException as error:
        came.append(type(error).__name__)
working = [threading.Thread(target=call) for _ in range(threads)]
for thread in working:
    thread.start()
for thread in working:
    thread.join()
from healspan.remediation.runtime import shut_down
shut_down()
print(json.dumps(came))
"""


def single_flight(threads: int) -> dict[str, Any]:
    """Let equal failures happen at once in several processes."""
    with tempfile.TemporaryDirectory() as directory, server(LATENCY) as served:
        prepared(directory, served.url)
        start = time.time() + 12.0
        children = [
            subprocess.Popen(
                [sys.executable, "-c", CHILD, str(HERE), str(threads), str(start), str(1 + each)],
                stdout=subprocess.PIPE,
                text=True,
            )
            for each in range(PROCESSES)
        ]
        came = [one for child in children for one in json.loads(child.communicate(timeout=300)[0])]
    return {
        "processes": PROCESSES,
        "calls": len(came),
        "requests": sum(kind == 0 and path == "/v1/messages" for kind, path, _ in served.requests),
        "healed": came.count("healed"),
        "failed": came.count("failed"),
        "wrong": len(came) - came.count("healed") - came.count("failed"),
    }


def main() -> None:
    """Measure, each part in a data directory of its own, and print."""
    parser = command_line(__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds: to see that it runs")
    options = parser.parse_args()
    figures = cost_of_ours(20 if options.quick else 200, 0.0, threads=True).figures()
    figures["thinking"] = cost_of_ours(10 if options.quick else 60, THINKS, threads=False).figures()
    figures["single_flight"] = single_flight(20 if options.quick else 250)
    tell(figures, options.out)


if __name__ == "__main__":
    main()
