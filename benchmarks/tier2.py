"""Tier 2 with Claude against a server on loopback: what a diagnosis costs of ours, and how often one is made.

    python benchmarks/tier2.py [--out FILE] [--quick]

`ours_ms.{p50,p99}`: a whole failing call that Claude heals, from the exception to the value, less what the server
takes: capture, the gateway with its leases and budgets in the store, the prompt, the SDK, two connections, the draft,
the ladder with a sandboxed adapter (budget of p50: 50). `total_ms.{p50,p99}`: the same with the server. `server_ms`:
what the server takes for the two requests, asked over a bare socket. `per_second`: diagnoses of different failures in
four threads. `single_flight`: equal failures at once in several processes: `calls`, `requests` (aim: 1), `healed`,
`failed` (with their own exception, as another process was diagnosing), `wrong`.
"""

from __future__ import annotations

import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

from figures import command_line, tell

from healspan.instrumentation import error_boundary
from healspan.remediation.claude.answer import ProposedAdapter
from healspan.remediation.runtime import shut_down
from healspan.remediation.testing import Answers, FakeClaude, an_answer

WORDS = 'def heal(call, arguments, error):\n    return {"one": 1.0, "two": 2.0}[arguments["text"]]\n'
ANSWER = an_answer(
    ProposedAdapter(kind="adapter", text=WORDS, strategies=[], repairers=[]), risk_level="low", confidence=0.95
)
PROCESSES = 4
LATENCY = 1.0
"""Seconds that the server thinks, so that equal failures meet."""


def read(text: str) -> float:
    """Read a number; fails on words."""
    return float(text)


def declared(number: int) -> Callable[[str], float]:
    """Declare a boundary of its own: a kind of failure of its own."""
    return error_boundary(f"tier2_{number}", output=float, retry_safe=True)(
        type(read)(read.__code__, globals(), f"read_{number}")
    )


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


def cost_of_ours(number: int) -> dict[str, Any]:
    """Time diagnoses one after the other, and then in threads."""
    functions = iter([declared(each) for each in range(2 * number + 5)])
    with tempfile.TemporaryDirectory() as directory, FakeClaude(lambda _: Answers(answer=ANSWER)) as server:
        prepared(directory, server.url)
        for _ in range(5):
            next(functions)("one")  # imports, certificates, the first sandbox
        begun = len(server.received)
        totals = [timed(next(functions)) for _ in range(number)]
        requests = server.received[begun : begun + 2]
        bare = [bare_ms(server.url, [(each.path, each.body) for each in requests]) for _ in range(50)]
        started = time.perf_counter()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(timed, functions))
        seconds = time.perf_counter() - started
        shut_down()
    server_ms = statistics.median(bare)
    cuts = statistics.quantiles(totals, n=100)
    return {
        "ours_ms": {"p50": round(cuts[49] - server_ms, 1), "p99": round(cuts[98] - server_ms, 1)},
        "total_ms": {"p50": round(cuts[49], 1), "p99": round(cuts[98], 1)},
        "server_ms": round(server_ms, 2),
        "per_second": round(number / seconds, 1),
    }


def timed(function: Callable[[str], float]) -> float:
    """Return the milliseconds of a call that Claude heals."""
    started = time.perf_counter()
    if function("one") != 1.0:
        sys.exit("a wrong value")
    return (time.perf_counter() - started) * 1e3


def bare_ms(url: str, requests: list[tuple[str, bytes]]) -> float:
    """Return the milliseconds that the server takes for two requests, without the SDK."""
    place = urlsplit(url)
    started = time.perf_counter()
    for path, body in requests:
        connection = http.client.HTTPConnection(place.hostname or "", place.port)
        headers = {"content-type": "application/json", "x-api-key": "none", "anthropic-version": "2023-06-01"}
        connection.request("POST", path, body, headers)
        connection.getresponse().read()
        connection.close()
    return (time.perf_counter() - started) * 1e3


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
    here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - goes to another interpreter as text
    with (
        tempfile.TemporaryDirectory() as directory,
        FakeClaude(lambda _: Answers(answer=ANSWER, latency=LATENCY)) as server,
    ):
        prepared(directory, server.url)
        start = time.time() + 12.0
        children = [
            subprocess.Popen(
                [sys.executable, "-c", CHILD, here, str(threads), str(start), str(1 + each)],
                stdout=subprocess.PIPE,
                text=True,
            )
            for each in range(PROCESSES)
        ]
        came = [one for child in children for one in json.loads(child.communicate(timeout=300)[0])]
        return {
            "processes": PROCESSES,
            "calls": len(came),
            "requests": sum("tier2_0" in one.wire for one in server.asked),
            "healed": came.count("healed"),
            "failed": came.count("failed"),
            "wrong": len(came) - came.count("healed") - came.count("failed"),
        }


def main() -> None:
    """Measure, each part in a data directory of its own, and print."""
    parser = command_line(__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds: to see that it runs")
    options = parser.parse_args()
    figures = cost_of_ours(20 if options.quick else 200)
    figures["single_flight"] = single_flight(20 if options.quick else 250)
    tell(figures, options.out)


if __name__ == "__main__":
    main()
