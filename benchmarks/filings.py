"""Measures the filings example against what the filers' own XBRL says.

    python benchmarks/filings.py --data DIR [--out FILE]

DIR holds `index.csv` (file, company, form), `truth.csv` (file, metric, window, value, display, scale) and the
filings. Every 10-K and 10-Q is asked for revenue, cogs, current assets and current liabilities of its own main
window in four passes, each in a process and a store of its own:

    off       healing disabled
    cascade   the registered strategies in plain try/except order, healing disabled
    first     healing from an empty store
    reviewed  healing after importing the reviewed fixes

Prints one JSON document; progress goes to stderr.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from figures import command_line, filings_data, tell

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
REVIEWED = EXAMPLES / "filings" / "reviewed_fixes"
PASSES = ("off", "cascade", "first", "reviewed")
METRICS = ("revenue", "cogs", "current_assets", "current_liabilities")
WINDOW = {"10-K": "FY", "10-Q": "Q"}
KEYS = ("truth", "correct", "wrong", "absent_wrong", "degraded", "escalated", "absent_right")


@dataclass(frozen=True)
class Entry:
    """One filing of the index."""

    file: str
    company: str
    form: str

    @property
    def half(self) -> str:
        """The half of the companies it belongs to."""
        return "odd" if int(hashlib.sha256(self.company.encode()).hexdigest(), 16) % 2 else "even"


@dataclass(frozen=True)
class Truth:
    """What the filer's XBRL says, and how finely it is displayed."""

    value: Decimal
    precision: Decimal
    ambiguous: bool

    def equals(self, value: Decimal) -> bool:
        """Whether a value is the same to the displayed precision."""
        return abs(value - self.value) * 2 < self.precision


@dataclass
class Answer:
    """How one question of one filing ended."""

    file: str
    metric: str
    outcome: str
    """value, absent, degraded or escalated."""
    value: str = ""
    reason: str = ""
    tier: str = ""
    steps: tuple[str, ...] = ()
    heal_ms: float | None = None


def read_index(data: Path) -> list[Entry]:
    """The 10-K and 10-Q filings of the index."""
    with (data / "index.csv").open(newline="", encoding="utf-8") as file:
        return [Entry(r["file"], r["company"], r["form"]) for r in csv.DictReader(file) if r["form"] in WINDOW]


def read_truth(data: Path, forms: dict[str, str]) -> dict[tuple[str, str], Truth]:
    """Truth by file and metric, in the filing's own main window."""
    found: dict[tuple[str, str], Truth] = {}
    with (data / "truth.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            metric, form = row["metric"], forms.get(row["file"])
            if form is None or metric not in METRICS:
                continue
            if row["window"] != ("instant" if metric.startswith("current_") else WINDOW[form]):
                continue
            decimals = len(row["display"].partition(".")[2]) if "." in row["display"] else 0
            found.setdefault(
                (row["file"], metric),
                Truth(
                    value=Decimal(row["value"]),
                    precision=Decimal(10) ** (int(row["scale"] or 0) - decimals),
                    ambiguous=bool(row["other_tags_with_other_value"]),
                ),
            )
    return found


# One pass, in a process of its own


def run_pass(name: str, data: Path) -> list[Answer]:
    """Asks every filing every question."""
    sys.path.insert(0, str(EXAMPLES))
    if name == "reviewed":
        import_reviewed()
    answers: list[Answer] = []
    entries = read_index(data)
    for number, entry in enumerate(entries, start=1):
        print(f"\r{name:9} {number:4}/{len(entries)}", end="", file=sys.stderr, flush=True)
        answers.extend(ask_cascade(data, entry) if name == "cascade" else ask_pipeline(data, entry))
    print(file=sys.stderr)
    return answers


def ask_pipeline(data: Path, entry: Entry) -> list[Answer]:
    """The pipeline as it is, healing or not as the environment says."""
    from filings.statements import open_filing
    from filings.valuation import ask

    try:
        answers = ask(open_filing(data / entry.file, key=entry.file))
    except Exception as error:
        return [Answer(entry.file, metric, "escalated", reason=repr(error)) for metric in METRICS]
    found: list[Answer] = []
    for metric in METRICS:
        heal = answers.heals.get(metric)
        answer = _answer(entry.file, metric, answers.figures.get(metric), answers.errors.get(metric))
        if heal is not None:
            answer.tier = str(heal.tier)
            answer.steps = tuple(str(step) for step in heal.steps)
            answer.heal_ms = heal.elapsed_ms
            if str(heal.outcome) == "degraded":
                answer.outcome = "degraded"
        found.append(answer)
    return found


def ask_cascade(data: Path, entry: Entry) -> list[Answer]:
    """The primary, then each automatic strategy, taking whatever comes first."""
    from filings.statements import open_filing
    from filings.valuation import QUESTIONS

    try:
        filing = open_filing(data / entry.file, key=entry.file)
    except Exception as error:
        return [Answer(entry.file, metric, "escalated", reason=repr(error)) for metric in METRICS]
    found: list[Answer] = []
    for metric, question in QUESTIONS.items():
        strategies = question.boundary.strategies.values()
        ways = [question, *(strategy.function for strategy in strategies if strategy.automatic)]
        result, reason = None, None
        for way in ways:
            try:
                result = way(filing)
                break
            except Exception as error:
                reason = reason or error
        found.append(_answer(entry.file, metric, result, reason))
    return found


def _answer(file: str, metric: str, result: Any, error: Exception | None) -> Answer:
    from filings.records import Figure, NotDisclosed

    if isinstance(result, Figure):
        return Answer(file, metric, "value", value=str(result.value))
    if isinstance(result, NotDisclosed):
        return Answer(file, metric, "absent", reason=result.reason)
    return Answer(file, metric, "escalated", reason=f"{type(error).__name__}: {error}"[:200])


# The score


def score(answers: Iterable[Answer], truth: dict[tuple[str, str], Truth]) -> dict[str, Any]:
    """Counts one pass."""
    counts: dict[str, Counter[str]] = {metric: Counter() for metric in METRICS}
    apart: Counter[str] = Counter()
    tiers: Counter[str] = Counter()
    steps: Counter[str] = Counter()
    durations: list[float] = []
    for answer in answers:
        known = truth.get((answer.file, answer.metric))
        verdict = judge(answer, known)
        counts[answer.metric][verdict] += 1
        if known is not None:
            counts[answer.metric]["truth"] += 1
            if known.ambiguous:
                apart[verdict] += 1
        if answer.tier:
            tiers[answer.tier] += 1
        if answer.heal_ms is not None and answer.outcome != "escalated":
            durations.append(answer.heal_ms)
            steps["+".join(answer.steps)] += 1
    scored: dict[str, Any] = {m: {key: counts[m][key] for key in (*KEYS, "unverifiable")} for m in METRICS}
    scored["ambiguous_truth"] = dict(sorted(apart.items()))
    scored["tiers"] = dict(sorted(tiers.items()))
    scored["by_step"] = dict(sorted(steps.items()))
    scored["heal_ms"] = {"p50": percentile(durations, 50), "p99": percentile(durations, 99)}
    return scored


def judge(answer: Answer, truth: Truth | None) -> str:
    """The verdict on one answer; a value where there is no truth cannot be verified, nor can an escalation count."""
    if truth is None:
        return {"absent": "absent_right", "escalated": "escalated_without_truth"}.get(answer.outcome, "unverifiable")
    if answer.outcome == "absent":
        return "absent_wrong"
    if answer.outcome == "value":
        return "correct" if truth.equals(Decimal(answer.value)) else "wrong"
    return answer.outcome


def percentile(values: list[float], percent: int) -> float | None:
    """A percentile in the values' own unit; None of no values."""
    if len(values) < 2:
        return round(values[0], 3) if values else None
    return round(statistics.quantiles(values, n=100, method="inclusive")[percent - 1], 3)


# All passes


def measure(data: Path) -> dict[str, Any]:
    """Runs the four passes and scores them, whole and by half of the companies."""
    entries = read_index(data)
    truth = read_truth(data, {entry.file: entry.form for entry in entries})
    half = {entry.file: entry.half for entry in entries}
    answers = {name: _in_its_own_process(name, data) for name in PASSES}
    passes = {name: score(given, truth) for name, given in answers.items()}
    halves = {
        side: {"passes": {n: score([a for a in given if half[a.file] == side], truth) for n, given in answers.items()}}
        for side in ("even", "odd")
    }
    return {
        "filings": len(entries),
        "passes": passes,
        "halves": halves,
        "escalations": [
            asdict(a) for a in answers["reviewed"] if judge(a, truth.get((a.file, a.metric))) == "escalated"
        ],
    }


def _in_its_own_process(name: str, data: Path) -> list[Answer]:
    with tempfile.TemporaryDirectory(prefix="healspan-filings-") as home:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("HEALSPAN_")}
        environment["HEALSPAN_DATA_DIR"] = str(Path(home, "data"))
        environment["HEALSPAN_REVIEWER_KEY"] = str(Path(home, "reviewer.pem"))
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(EXAMPLES), environment.get("PYTHONPATH", ""))))
        if name in ("off", "cascade"):
            environment["HEALSPAN_DISABLED"] = "1"
        command = [sys.executable, str(Path(__file__).resolve()), "--data", str(data), "--pass", name]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    return [Answer(**answer) for answer in json.loads(done.stdout)]


def import_reviewed() -> None:
    """Loads the reviewed fixes into this process's store, as `healspan review import` does."""
    import filings.valuation  # noqa: F401 - declares the boundaries that the fixes are for

    from healspan.remediation.importing import ImportOutcome, import_drafts
    from healspan.remediation.reviewers import make_reviewer
    from healspan.remediation.settings import load_settings
    from healspan.remediation.store.database import Database

    settings = load_settings()
    reviewer = make_reviewer(settings, name="benchmark").reviewer
    database = Database.for_tool(settings)
    try:
        results = import_drafts([REVIEWED], database, reviewer, keys_dir=settings.keys_dir, preset=settings.policy)
    finally:
        database.close()
    failed = [
        f"{Path(result.path).name}: {result.message}" for result in results if result.outcome != ImportOutcome.ACTIVE
    ]
    if failed:
        raise SystemExit("not all reviewed fixes serve; correct them: " + "; ".join(failed))


def main() -> None:
    """The command line."""
    parser = command_line(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a folder laid out like the filings data")
    parser.add_argument("--pass", dest="one", choices=PASSES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    data = filings_data(parser, options.data)
    if options.one:
        print(json.dumps([asdict(answer) for answer in run_pass(options.one, data)]))
        return
    tell(measure(data), options.out)


if __name__ == "__main__":
    main()
