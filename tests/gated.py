"""A process that diagnoses with the gateway before Claude, for the tests that need several: ``python -m tests.gated``.

Arguments: what to do, and a directory. It says ``ready`` and waits for the file ``go`` in the directory.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path

from healspan.remediation.claude.ask import Usage
from healspan.remediation.claude.gateway import Admission, Ended, Gateway
from healspan.remediation.settings import load_settings

THREADS = 250
HELD_SECONDS = 0.01


def cost(usage: Usage, model: str) -> Decimal | None:
    return Decimal(usage.input_tokens + usage.output_tokens) / 1_000_000


class Process:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.gateway = Gateway.open(load_settings(), cost=cost)
        self.seen: Counter[str] = Counter()
        self._lock = threading.Lock()

    def see(self, what: str) -> None:
        with self._lock:
            self.seen[what] += 1

    def diagnose(self, end: Ended) -> None:
        """Diagnose the one pattern that all processes fail with; whoever meets another one at it says so."""
        found = self.gateway.enter("the same", "revenue")
        if not isinstance(found, Admission):
            self.see(found.state)
            return
        with found:
            try:
                alone = (self.directory / "somebody").open("x")
            except FileExistsError:
                self.see("two at once")
                return
            with alone:
                self.see("admitted")
                time.sleep(HELD_SECONDS)
            (self.directory / "somebody").unlink()
            found.end(end)

    def storm(self, end: Ended) -> None:
        threads = [threading.Thread(target=self.diagnose, args=(end,)) for _ in range(THREADS)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()

    def spend(self, number: str) -> None:
        """Ask about a pattern of its own until it may no more."""
        with self._entered(f"pattern {number}") as admission:
            while (refusal := admission.reserve(8, 2, "m")) is None:
                # Every other one is never settled, as if it were still in flight.
                if self.seen["asked"] % 2:
                    admission.settle(Usage(input_tokens=8, output_tokens=1), None, None, 0.1)
                self.see("asked")
            self.see(refusal.state)

    def die(self) -> None:
        """Reserve, say so, and wait to be killed."""
        assert self._entered("the same").reserve(8, 2, "m") is None
        print("asking", flush=True)
        time.sleep(600)

    def _entered(self, pattern: str) -> Admission:
        found = self.gateway.enter(pattern, "revenue")
        assert isinstance(found, Admission), found
        return found


def main() -> None:
    what, directory = sys.argv[1], Path(sys.argv[2])
    process = Process(directory)
    print("ready", flush=True)
    while not (directory / "go").exists():
        time.sleep(0.01)
    if what == "die":
        process.die()
    elif what.isdecimal():
        process.spend(what)
    else:
        process.storm("healed" if what == "healed" else "failed")
    process.gateway.close()
    print(json.dumps(process.seen), flush=True)


if __name__ == "__main__":
    main()
