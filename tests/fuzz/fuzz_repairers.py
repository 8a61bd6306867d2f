"""Coverage-guided fuzzing of the repairers, beyond what the property tests of every run can reach.

    python -m pip install --group fuzz
    python tests/fuzz/fuzz_repairers.py --seconds 300                 # every repairer, 300 s each
    python tests/fuzz/fuzz_repairers.py --repairer number --runs 100000

Each repairer runs in a process of its own, half of its inputs failing operations of its domain, the other half
operations of any form with hostile operands. An input is a finding if `tests.fuzz.contract.check` does not hold, or if
one answer takes more processor time than `--slowest`. The input is kept in the folder of `--findings`; give the file as
argument to try it again. Prints one line of JSON for each repairer; ends with 1 if there is a finding.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

sys.path.insert(0, str(Path(__file__).parents[2]))

import atheris

with atheris.instrument_imports(include=["healspan.remediation.repairers"]):
    from healspan.remediation.repairers import catalogue

    catalogue()

from tests.fuzz.contract import check
from tests.fuzz.operations import OPERATIONS, failing, hostile

_Option = TypeVar("_Option")


class Consumed:
    """Choices made by the bytes of an input."""

    def __init__(self, data: bytes) -> None:
        self._provider = atheris.FuzzedDataProvider(data)

    def number(self, most: int) -> int:
        return int(self._provider.ConsumeIntInRange(0, most))

    def pick(self, options: Sequence[_Option]) -> _Option:
        return options[self.number(len(options) - 1)]

    def text(self, most: int) -> str:
        return str(self._provider.ConsumeUnicode(self.number(most)))

    def data(self, most: int) -> bytes:
        return bytes(self._provider.ConsumeBytes(self.number(most)))


class Target:
    """Tries the inputs of one repairer, and writes down what came of them."""

    def __init__(self, name: str, report: Path, slowest: float) -> None:
        self._name = name
        self._report = report
        self._limit = slowest
        self._longest = 0.0
        self._counts: Counter[str] = Counter(inputs=0, failing=0, hostile=0, none=0, normalised=0)

    def __call__(self, data: bytes) -> None:
        source = Consumed(data)
        odd = source.number(1)
        failure = hostile(source) if odd else failing(self._name, source)
        self._counts["inputs"] += 1
        if failure is not None:
            self._counts["hostile" if odd else "failing"] += 1
            started = time.process_time()
            repaired = check(self._name, failure)
            took = time.process_time() - started
            self._longest = max(self._longest, took)
            if repaired is not None:
                self._counts[repaired.loss.value] += 1
            assert took <= self._limit, f"four answers took {took:.1f} s"
        if self._counts["inputs"] % 500 == 1:
            self.write()

    def write(self) -> None:
        """Write the counts; the fuzzer ends the process without a word to it."""
        about = {"repairer": self._name, **self._counts, "longest_ms": round(self._longest * 1e3, 1)}
        self._report.write_text(json.dumps(about), encoding="utf-8")


def main() -> int:
    """Run every repairer asked for in a process of its own, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inputs", nargs="*", type=Path, help="Inputs to try again; then --repairer is needed.")
    parser.add_argument("--repairer", action="append", choices=list(OPERATIONS), help="May be given several times.")
    parser.add_argument("--seconds", type=int, default=60, help="For each repairer.")
    parser.add_argument("--runs", type=int, default=-1, help="Inputs for each repairer at most.")
    parser.add_argument("--slowest", type=float, default=10.0, help="Seconds of processor time for one input at most.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--findings", type=Path, default=Path("findings"), help="Where inputs of findings are kept.")
    parser.add_argument("--report", type=Path, help=argparse.SUPPRESS)  # given to the process of one repairer
    asked = parser.parse_args()
    if asked.inputs or asked.report is not None:
        return _fuzz(asked)
    failed = False
    for name in asked.repairer or OPERATIONS:
        with tempfile.TemporaryDirectory() as directory:
            report = Path(directory) / "report.json"
            command = [sys.executable, __file__, *sys.argv[1:], "--repairer", name, "--report", str(report)]
            ran = subprocess.run(command, capture_output=True, text=True, check=False)
            if ran.returncode or not report.exists():
                failed = True
                print(ran.stdout[-4_000:], ran.stderr[-1_000:], file=sys.stderr)
            print(report.read_text(encoding="utf-8") if report.exists() else json.dumps({"repairer": name}), flush=True)
    return int(failed)


def _fuzz(asked: argparse.Namespace) -> int:
    if not asked.repairer:
        sys.exit("whose inputs are these? name it with --repairer")
    target = Target(asked.repairer[-1], asked.report or Path(os.devnull), asked.slowest)
    if asked.inputs:
        for path in asked.inputs:
            target(path.read_bytes())
        return 0
    asked.findings.mkdir(parents=True, exist_ok=True)
    options = {
        "max_total_time": asked.seconds,
        "runs": asked.runs,
        "seed": asked.seed,
        "max_len": 600,
        "artifact_prefix": f"{asked.findings / asked.repairer[-1]}-",
    }
    atheris.Setup([sys.argv[0], *(f"-{name}={value}" for name, value in options.items())], target)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
