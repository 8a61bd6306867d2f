"""The main job on real filings: they fail, healing heals what it can prove, a second run knows it."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import filings.valuation  # noqa: F401 - declares the boundaries
import pytest
from benchmarks.filings import METRICS, Answer, Truth, judge, score
from filings.demo import DATA, Tally, main, run
from filings.documents import Block, load
from filings.records import Figure
from filings.statements import Filing
from filings.tables import is_amount
from filings.valuation import ask, value
from rich.console import Console
from tests.observe import drained

from healspan.instrumentation import ContractViolation
from healspan.remediation.importing import ImportOutcome, import_drafts
from healspan.remediation.reviewers import make_reviewer
from healspan.remediation.runtime import Runtime, runtime
from healspan.remediation.settings import load_settings
from healspan.remediation.store.database import Database
from healspan.remediation.store.repository import Store

THREE = (
    "aapl_10-k_0000320193-24-000123.html.gz",
    "ko_10-k_filed2025-02-20.html.gz",
    "hd_10-k_filed2025-03-21.html.gz",
)
ALL = tuple(row["file"] for row in csv.DictReader((DATA / "index.csv").open(newline="", encoding="utf-8")))


def quietly(files: tuple[str, ...], title: str = "run") -> Tally:
    return run(DATA, files, console=Console(file=io.StringIO()), title=title)


def test_the_three_filings_it_was_written_for_need_no_healing(live: Runtime) -> None:
    tally = quietly(THREE)
    assert (tally.valued, tally.heals, tally.escalated) == (3, [], [])


def test_without_healing_the_others_fail_loudly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEALSPAN_DISABLED", "1")
    answers = [ask(Filing(load(DATA / file))) for file in ALL]
    errors = [error for answer in answers for error in answer.errors.values()]
    assert len(errors) > len(ALL)
    assert {type(error) for error in errors} <= {KeyError, LookupError, IndexError, ValueError}


@pytest.mark.slow
def test_a_first_run_diagnoses_and_a_second_run_knows(live: Runtime) -> None:
    first, second = quietly(ALL), quietly(ALL)
    assert first.diagnoses > 0
    assert second.diagnoses == 0
    assert {str(heal.tier) for heal in second.heals} == {"1"}
    assert len(second.heals) >= len(first.heals) > sum(first.right_away.values()) // 2


@pytest.mark.slow
def test_healing_answers_nothing_that_it_would_not_answer_again(live: Runtime) -> None:
    def told() -> list[object]:
        return [ask(Filing(load(DATA / file))).figures for file in ALL[:8]]

    assert told() == told()


@pytest.mark.slow
def test_reviewed_fixes_heal_what_escalated() -> None:
    settings = load_settings()
    reviewer = make_reviewer(settings, name="test").reviewer
    before = quietly(ALL)
    database = Database.for_tool(settings)
    results = import_drafts(
        [DATA.parent / "reviewed_fixes"], database, reviewer, keys_dir=settings.keys_dir, preset=settings.policy
    )
    database.close()
    assert {result.outcome for result in results} == {ImportOutcome.ACTIVE}
    runtime().index.refresh()
    after = quietly(ALL)
    assert len(after.escalated) < len(before.escalated) / 2
    assert sum(after.absent.values()) > 0


def test_one_question_that_fails_does_not_hide_the_others(live: Runtime, tmp_path: Path) -> None:
    page = load(DATA / THREE[0])
    without_sheet = [block for block in page.blocks if "Total current assets" not in block.text]
    answers = value(Filing(type(page)(key="no balance sheet", blocks=tuple(without_sheet))))
    assert {metric for metric, figure in answers.figures.items() if isinstance(figure, Figure)} == {"revenue", "cogs"}
    assert set(answers.errors) == {"current_assets", "current_liabilities"}
    assert answers.valuation is None


CASCADE = "jci_10-q_0000833444-23-000030.html.gz"
"""A filing in whose valuation three fixes need each other: no known title, a dash for zero, another label."""
CHAIN = "1 x unit_detection -> cell_reading -> section_finding"


def test_one_fix_lets_the_next_failure_show_and_all_are_judged_as_one(live: Runtime) -> None:
    answers = value(Filing(load(DATA / CASCADE)))
    steps = ["unit_detection", "cell_reading", "section_finding"]
    assert [(heal.boundary, heal.outcome) for heal in answers.steps] == [(step, "healed") for step in steps]
    asked = answers.figures["current_assets"]
    assert isinstance(asked, Figure)
    assert answers.working_capital is not None
    assert answers.working_capital.assets.value == asked.value
    drained(live)
    with Store.open(live.settings) as store:
        [plan] = store.plans.list()
    assert [link.boundary for link in plan.plan.links] == steps
    assert (plan.successes, plan.failures, plan.unknown) == (1, 0, 0)


def test_a_sheet_that_does_not_balance_is_not_valued(live: Runtime) -> None:
    page = load(DATA / THREE[0])
    damaged = tuple(_with_other_total(block) for block in page.blocks)
    answers = value(Filing(type(page)(key="does not balance", blocks=damaged)))
    assert isinstance(answers.error, ContractViolation)
    assert "sheet_balances" in str(answers.error)


def _with_other_total(block: Block) -> Block:
    """Print another total of liabilities and equity, as a mistake in typesetting would."""
    if block.table is None:
        return block
    body = tuple(
        tuple(replace(cell, text="1") if is_amount(cell.text) and cell.start > 0 else cell for cell in cells)
        if any(cell.text.startswith("Total liabilities and") for cell in cells)
        else cells
        for cells in block.table.body
    )
    return replace(block, table=replace(block.table, body=body))


def test_the_demo_prints_what_happened(live: Runtime, tmp_path: Path) -> None:
    small = tmp_path / "data"
    small.mkdir()
    (small / "empty.html").write_bytes(b"")
    (small / "index.csv").write_text(
        "file,company,form\nempty.html,NONE,10-K\n"
        + "".join(f"{DATA / file},ANY,10-K\n" for file in (THREE[0], ALL[3], CASCADE))
    )
    out = io.StringIO()
    assert main(data=small, console=Console(file=out, width=120)) == 0
    printed = out.getvalue()
    for words in ("run 1", "run 2", "right away", "escalated", "needed a diagnosis", "unreadable: empty.html", CHAIN):
        assert words in printed


def test_the_demo_says_what_is_missing(tmp_path: Path) -> None:
    out = io.StringIO()
    assert main(data=tmp_path, console=Console(file=out)) == 2
    assert "index.csv" in out.getvalue()


# The benchmark's own arithmetic


@pytest.mark.parametrize(
    ("outcome", "answered", "truth", "verdict"),
    [
        ("value", "1000000", "1000000", "correct"),
        ("value", "1400000", "1000000", "correct"),
        ("value", "1500000", "1000000", "wrong"),
        ("value", "-1000000", "1000000", "wrong"),
        ("absent", "", "1000000", "absent_wrong"),
        ("escalated", "", "1000000", "escalated"),
        ("degraded", "1000000", "1000000", "degraded"),
        ("absent", "", None, "absent_right"),
        ("value", "1000000", None, "unverifiable"),
    ],
)
def test_verdicts_of_the_benchmark(outcome: str, answered: str, truth: str | None, verdict: str) -> None:
    known = None if truth is None else Truth(Decimal(truth), Decimal(10**6), ambiguous=False)
    assert judge(Answer("a", "revenue", outcome, value=answered), known) == verdict


def test_every_truth_of_the_benchmark_ends_in_exactly_one_verdict() -> None:
    truth = {("a", metric): Truth(Decimal(1), Decimal(1), ambiguous=False) for metric in METRICS}
    outcomes = ("value", "absent", "degraded", "escalated")
    counts = score([Answer("a", m, o, value="1") for m, o in zip(METRICS, outcomes, strict=True)], truth)
    for metric in METRICS:
        told = counts[metric]
        parts = ("correct", "wrong", "absent_wrong", "degraded", "escalated")
        assert told["truth"] == sum(told[part] for part in parts) == 1
