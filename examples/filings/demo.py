"""`healspan demo`: runs the travelling filings through the pipeline and tells what healing did, twice.

The first run meets failures that nobody has seen; the second meets the same ones and knows them.
"""

from __future__ import annotations

import csv
import json
import statistics
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from filings.records import Metric, NotDisclosed
from filings.statements import open_filing
from filings.valuation import QUESTIONS, Answers, value
from healspan.remediation.run import Heal

__all__ = ["DATA", "Tally", "main", "run"]

DATA = Path(__file__).parent / "data"

_WORDS: dict[Metric, str] = {
    "revenue": "revenue",
    "cogs": "cost of sales",
    "current_assets": "current assets",
    "current_liabilities": "current liabilities",
}


@dataclass
class Tally:
    """What one run over the filings gave."""

    filings: int = 0
    valued: int = 0
    seconds: float = 0.0
    unreadable: dict[str, str] = field(default_factory=dict)
    right_away: Counter[Metric] = field(default_factory=Counter)
    absent: Counter[Metric] = field(default_factory=Counter)
    healed: Counter[tuple[Metric, str]] = field(default_factory=Counter)
    """By metric and tier."""
    degraded: Counter[Metric] = field(default_factory=Counter)
    escalated: list[tuple[str, Metric, str]] = field(default_factory=list)
    heals: list[Heal] = field(default_factory=list)
    """Those that gave a value."""
    step_heals: Counter[str] = field(default_factory=Counter)
    """What was healed in the steps of a valuation, by boundary."""
    step_diagnoses: int = 0
    """Of these, those that no known fix could handle."""
    cascades: Counter[tuple[str, ...]] = field(default_factory=Counter)
    """Boundaries healed one after the other in one valuation that came to its end."""

    @property
    def diagnoses(self) -> int:
        """Failures that no known fix could handle, and that healed only after a diagnosis."""
        return sum(heal.diagnosed for heal in self.heals)

    def counts(self) -> dict[str, object]:
        """The counts as JSON knows them."""
        tiers = Counter(str(heal.tier) for heal in self.heals)
        return {
            "filings": self.filings,
            "valued": self.valued,
            "seconds": round(self.seconds, 3),
            "right_away": sum(self.right_away.values()),
            "healed_by_tier": dict(sorted(tiers.items())),
            "healed_by_step": dict(Counter("+".join(heal.steps) for heal in self.heals)),
            "degraded": sum(self.degraded.values()),
            "absent": sum(self.absent.values()),
            "escalated": len(self.escalated),
            "diagnoses": self.diagnoses,
            "step_heals": dict(self.step_heals),
            "step_diagnoses": self.step_diagnoses,
            "cascades": {" -> ".join(chain): count for chain, count in sorted(self.cascades.items())},
            "heal_ms": sorted(round(heal.elapsed_ms, 3) for heal in self.heals),
            "unreadable": self.unreadable,
        }

    def add(self, filing: str, answers: Answers) -> None:
        """Counts one filing."""
        self.filings += 1
        self.valued += answers.valuation is not None
        chain = tuple(dict.fromkeys(heal.boundary for heal in answers.steps if str(heal.outcome) == "healed"))
        self.step_heals.update(chain)
        self.step_diagnoses += sum(heal.diagnosed for heal in answers.steps if str(heal.outcome) == "healed")
        if len(chain) > 1 and answers.error is None:
            self.cascades[chain] += 1
        for metric in QUESTIONS:
            heal = answers.heals.get(metric)
            if metric in answers.errors:
                self.escalated.append((filing, metric, _reason(answers.errors[metric])))
                continue
            self.absent[metric] += isinstance(answers.figures[metric], NotDisclosed)
            if heal is None:
                self.right_away[metric] += 1
                continue
            self.heals.append(heal)
            if str(heal.outcome) == "degraded":
                self.degraded[metric] += 1
            else:
                self.healed[metric, str(heal.tier)] += 1


def main(
    *,
    data: Path = DATA,
    runs: int = 2,
    filings: int | None = None,
    as_json: bool = False,
    console: Console | None = None,
) -> int:
    """Runs the demo and prints it; returns the exit code.

    Args:
        data: a folder with an `index.csv` (file, company, form) and the filings it names.
        runs: how many times the same filings are read, in the same store.
        filings: read only the first so many.
        as_json: print the counts as JSON on standard output, and everything else on standard error.
        console: where to print.
    """
    console = console or Console(stderr=as_json)
    files = _index(data)[:filings]
    if not files:
        console.print(f"[red]{data} holds no index.csv with filings; give the folder of the example's data.")
        return 2
    console.print(
        f"{len(files)} filings, {len(QUESTIONS)} questions each. The pipeline was written after reading three of them."
    )
    tallies = []
    for number in range(1, runs + 1):
        tally = run(data, files, console=console, title=f"run {number} of {runs}")
        tallies.append(tally)
        _report(console, tally, number)
    if as_json:
        print(json.dumps({"runs": [tally.counts() for tally in tallies]}, indent=2))
    return 0


def run(data: Path, files: Sequence[str], *, console: Console, title: str) -> Tally:
    """Reads and values every filing once, with a progress bar."""
    tally = Tally()
    started = time.perf_counter()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        for file in progress.track(files, description=title):
            try:
                filing = open_filing(data / file, key=file)
            except ValueError as error:
                tally.unreadable[file] = str(error)
                continue
            tally.add(file, value(filing))
    tally.seconds = time.perf_counter() - started
    return tally


def _index(data: Path) -> list[str]:
    path = data / "index.csv"
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [row["file"] for row in csv.DictReader(file) if row["form"] in ("10-K", "10-Q")]


def _report(console: Console, tally: Tally, number: int) -> None:
    tiers = sorted({tier for _, tier in tally.healed})
    table = Table(title=f"run {number}: {tally.filings} filings in {tally.seconds:.1f} s", title_justify="left")
    table.add_column("question")
    headings = ("right away", *(f"tier {tier}" for tier in tiers), "degraded", "escalated", "absent")
    for heading in headings:
        table.add_column(heading, justify="right")
    for metric, words in _WORDS.items():
        escalated = sum(1 for _, other, _ in tally.escalated if other == metric)
        healed = (tally.healed[metric, tier] for tier in tiers)
        counts = (tally.right_away[metric], *healed, tally.degraded[metric], escalated, tally.absent[metric])
        table.add_row(words, *(str(count) for count in counts))
    console.print(table)
    for tier in tiers:
        heals = [heal for heal in tally.heals if str(heal.tier) == tier]
        steps = Counter("+".join(heal.steps) for heal in heals)
        told = ", ".join(f"{count} by {step}" for step, count in steps.most_common())
        console.print(f"healed in tier {tier}: {told}; {_spread(heal.elapsed_ms for heal in heals)}")
    console.print(f"{tally.diagnoses} needed a diagnosis, the other {len(tally.heals) - tally.diagnoses} were known")
    fixes, new = tally.step_heals.total(), tally.step_diagnoses
    console.print(f"{tally.valued} filings valued; {fixes} of their steps needed a fix, {new} of these a diagnosis")
    if tally.cascades:
        console.print(
            f"{tally.cascades.total()} cascades, one fix letting the next failure show ('healspan fixes plans'):"
        )
        for chain, count in tally.cascades.most_common():
            console.print(f"  {count:3} x {' -> '.join(chain)}", highlight=False)
    for file, reason in tally.unreadable.items():
        console.print(f"unreadable: {file}: {reason}", highlight=False)
    if tally.escalated:
        console.print(f"{len(tally.escalated)} escalated to a human ('healspan review list'), because:")
        for reason, count in Counter(f"{_WORDS[m]}: {reason}" for _, m, reason in tally.escalated).most_common():
            console.print(f"  {count:3} x {reason}", highlight=False, markup=False)


def _spread(times: Iterable[float]) -> str:
    ordered = sorted(times)
    return f"{statistics.median(ordered):.1f} ms (median of {len(ordered)}), {ordered[-1]:.1f} ms at most"


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:100]
