"""Measures cascades on real filings: the valuation whose steps need each other, and four questions in one run.

    python benchmarks/cascades.py --data DIR [--out FILE]

DIR is laid out as for `benchmarks/filings.py`. Every failure is the filing's own, nothing is injected. Healing
starts from an empty store; each filing is valued twice, so that the second time its fixes are known. Keys:

    chains        boundaries healed one after the other in one valuation, with the number of filings (second reading)
    figures       current assets and liabilities found so, against the filer's XBRL
    plans         every plan with its record
    verdicts      of the fixes of the steps, by boundary
    shared_run    verdicts on fixes whose value is right, with all four questions of a filing in one run
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from figures import command_line, filings_data, tell

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "examples")]

from benchmarks.filings import Entry, Truth, read_index, read_truth  # noqa: E402 - after the path is set

READINGS = 2

Truths = dict[tuple[str, str], Truth]


def steps(filings: list[tuple[Entry, Any]], truth: Truths) -> dict[str, Any]:
    """The valuation in steps, of every filing."""
    from filings.valuation import Answers, value_in_steps

    chains: Counter[str] = Counter()
    figures: Counter[str] = Counter()
    for reading in range(READINGS):
        for entry, filing in filings:
            answers = Answers()
            try:
                value_in_steps(filing, answers)
            except Exception as error:
                answers.error = error
            if reading < READINGS - 1:
                continue
            healed = dict.fromkeys(heal.boundary for heal in answers.steps if heal.outcome == "healed")
            ending = "" if answers.error is None else f" ... {type(answers.error).__name__}"
            chains[" -> ".join(healed) + ending] += 1
            found = answers.working_capital if answers.error is None else None
            for metric in ("current_assets", "current_liabilities"):
                known = truth.get((entry.file, metric))
                if found is None:
                    figures["escalated" if known else "escalated_without_truth"] += 1
                    continue
                value = (found.assets if metric == "current_assets" else found.liabilities).value
                figures["unverifiable" if known is None else "correct" if known.equals(value) else "wrong"] += 1
    return {"chains": dict(chains.most_common()), "figures": {"wrong": 0, **figures}}


def shared(filings: list[tuple[Entry, Any]], truth: Truths) -> set[str]:
    """All four questions of a filing in one run; returns the incidents whose healed value is right."""
    from filings.extraction import document_type
    from filings.records import Figure
    from filings.valuation import QUESTIONS

    from healspan.instrumentation import pipeline

    right: set[str] = set()
    for _ in range(READINGS):
        for entry, filing in filings:
            with pipeline("four questions", key=entry.file, context=document_type(filing)) as run:
                for metric, question in QUESTIONS.items():
                    before = len(run.heals)
                    try:
                        answer = question(filing)
                    except Exception:
                        continue
                    known = truth.get((entry.file, metric))
                    if isinstance(answer, Figure) and known is not None and known.equals(answer.value):
                        right.update(str(heal.error_id) for heal in run.heals[before:] if heal.error_id is not None)
    return right


def measure(data: Path) -> dict[str, Any]:
    """Runs both, in a store of their own."""
    from filings.statements import open_filing

    from healspan.remediation.runtime import runtime, shut_down
    from healspan.remediation.settings import load_settings
    from healspan.remediation.store.repository import Store

    entries = read_index(data)
    truth = read_truth(data, {entry.file: entry.form for entry in entries})
    filings = []
    for number, entry in enumerate(entries, start=1):
        print(f"\rreading {number:3}/{len(entries)}", end="", file=sys.stderr, flush=True)
        filings.append((entry, open_filing(data / entry.file, key=entry.file)))
    runtime()
    print("\nvaluing, twice", file=sys.stderr)
    told = steps(filings, truth)
    print("asking all questions in one run, twice", file=sys.stderr)
    right = shared(filings, truth)
    shut_down()
    with Store.open(load_settings()) as store:
        told["plans"] = [
            {
                "links": " -> ".join(link.boundary for link in one.plan.links),
                "context": one.plan.context_keys,
                "outcomes": [one.successes, one.failures, one.unknown],
                "expected": round(one.reward.expected, 3),
                "lift": round(one.reward.lift, 3),
            }
            for one in store.plans.list(limit=1_000)
        ]
        verdicts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        in_one: Counter[str] = Counter({"true": 0, "false": 0, "unknown": 0})
        for one in store.outcomes.list(limit=1_000_000):
            verdict = {1: "true", 0: "false", None: "unknown"}[one.reward]
            if one.application.pipeline == "working_capital" and one.application.resolved:
                verdicts[one.application.boundary][verdict] += one.application.count
            if str(one.application.error_id) in right and one.application.resolved:
                in_one[verdict] += 1
    return {"filings": len(filings), **told, "verdicts": verdicts, "shared_run": in_one}


def main() -> None:
    """The command line."""
    parser = command_line(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a folder laid out like the filings data")
    options = parser.parse_args()
    data = filings_data(parser, options.data)
    with tempfile.TemporaryDirectory(prefix="healspan-cascades-") as home:
        for name in [name for name in os.environ if name.startswith("HEALSPAN_")]:
            del os.environ[name]
        os.environ["HEALSPAN_DATA_DIR"] = str(Path(home, "data"))
        figures = measure(data)
    tell(figures, options.out)


if __name__ == "__main__":
    main()
