"""The server of `tier2.py`, in a process of its own: what it takes itself is known, and takes no time from the service.

    python benchmarks/tier2_server.py SECONDS

Says where it listens, answers every question after SECONDS with an adapter of its own for each kind of failure, and
when its input ends says what each request took: lines of kind, path and seconds.
"""

from __future__ import annotations

import re
import sys
import time

from healspan.remediation.claude.answer import Answer, ProposedAdapter
from healspan.remediation.testing import Answers, FakeClaude, an_answer
from healspan.remediation.testing.received import Received
from healspan.remediation.testing.serving import Reaction

TEXT = """\
def heal(call, arguments, error):
    known = {{"one": 1.0, "two": 2.0, "number {kind}": {kind}.0}}
    return known[arguments["text"]]
"""


class Clocked(FakeClaude):
    """Takes the time of its own work, from a request that was read to an answer that can be sent."""

    def __init__(self, latency: float) -> None:
        super().__init__(lambda request: Answers(answer=_answer(kind_of(request)), latency=latency))
        self.took: list[tuple[int, str, float]] = []

    def reaction(self, request: Received) -> Reaction:
        """Return what to do about a request."""
        began = time.perf_counter()
        found = super().reaction(request)
        self.took.append((kind_of(request), request.path, time.perf_counter() - began + found.move.latency))
        return found


def kind_of(request: Received) -> int:
    """Return which kind of failure a request is about."""
    found = re.search(rb"tier2_(\d+)", request.body)
    return int(found[1]) if found else -1


def _answer(kind: int) -> Answer:
    step = ProposedAdapter(kind="adapter", text=TEXT.format(kind=kind), strategies=[], repairers=[])
    return an_answer(step, risk_level="low", confidence=0.95)


def main() -> None:
    """Serve until the input ends."""
    with Clocked(float(sys.argv[1])) as server:
        print(server.url, flush=True)
        sys.stdin.read()
    for kind, path, seconds in server.took:
        print(kind, path, f"{seconds:.6f}")


if __name__ == "__main__":
    main()
