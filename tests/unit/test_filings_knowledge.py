"""What the example knows, and from where: its own labels from three filings, all else from reviewed fixes."""

from __future__ import annotations

import ast
import csv
import json
import re
from functools import cache
from pathlib import Path

import filings.valuation  # noqa: F401 - declares the boundaries
import pytest
from filings import balance, checks, extraction, statements, strategies
from filings.demo import DATA
from filings.documents import Document, load

from healspan.remediation.boundary import boundaries
from healspan.remediation.drafts import complete_draft, read_draft
from healspan.remediation.fix import Match

THREE = (
    "aapl_10-k_0000320193-24-000123.html.gz",
    "ko_10-k_filed2025-02-20.html.gz",
    "hd_10-k_filed2025-03-21.html.gz",
)
REVIEWED = sorted((Path(statements.__file__).parent / "reviewed_fixes").glob("*.json"))
LABEL = re.compile(r"[A-Z][a-z]+(?: [A-Za-z]+)+")
WORD = re.compile(r"[a-z]{4,}")


@cache
def three() -> tuple[Document, ...]:
    return tuple(load(DATA / name) for name in THREE)


@cache
def printed_labels() -> frozenset[str]:
    return frozenset(line.label.casefold() for document in three() for table in document.tables for line in table.lines)


def label_literals() -> list[str]:
    """Every literal of the pipeline and its strategies that reads like a label."""
    found: set[str] = set()
    for module in (balance, extraction, strategies, checks):
        tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
        told = {ast.get_docstring(node, clean=False) for node in ast.walk(tree) if isinstance(node, DOCUMENTED)}
        for node in ast.walk(tree):
            text = node.value if isinstance(node, ast.Constant) else None
            if isinstance(text, str) and text not in told and LABEL.fullmatch(text):
                found.add(text)
    return sorted(found)


DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef)


def test_the_labels_are_found_at_all() -> None:
    assert {"Net sales", "Total current assets", "Cost of goods sold", "Gross margin"} <= set(label_literals())


@pytest.mark.parametrize("label", label_literals())
def test_every_label_is_printed_in_one_of_the_three_filings(label: str) -> None:
    assert label.casefold() in printed_labels()


@pytest.mark.parametrize("title", [*statements.INCOME_TITLES, statements.BALANCE_TITLE])
def test_every_title_is_printed_in_one_of_the_three_filings(title: str) -> None:
    assert any(title in (p.upper() for p in document.paragraphs) for document in three())


@pytest.mark.parametrize("mark", [mark for kind in statements.MARKS.values() for mark in kind])
def test_the_words_of_every_mark_stand_together_in_one_of_the_three_filings(mark: str) -> None:
    assert any(all(word in label for word in mark.split()) for label in printed_labels())


def test_the_words_by_which_checks_know_a_family_are_those_of_the_three_filings() -> None:
    text = " ".join(block.text.casefold() for document in three() for block in document.blocks)
    patterns = [*checks._FAMILY.values(), checks._COST, checks._COST_OF]
    assert [
        word
        for pattern in patterns
        for word in WORD.findall(re.sub(r"\\[bw]", " ", pattern.pattern))
        if word not in text
    ] == []


# Reviewed fixes


@pytest.mark.parametrize("path", REVIEWED, ids=lambda path: path.stem)
def test_a_reviewed_fix_is_complete_against_the_pipeline(path: Path) -> None:
    draft = complete_draft(read_draft(path).draft, boundaries())
    assert draft.scope.match is Match.BOUNDARY
    assert draft.origin.startswith("human:")


@pytest.mark.parametrize("path", REVIEWED, ids=lambda path: path.stem)
def test_a_reviewed_fix_names_no_filing_and_no_figure(path: Path) -> None:
    draft = json.loads(path.read_text(encoding="utf-8"))
    told = json.dumps({**draft, "version": None, "confidence": None}, ensure_ascii=False)
    assert not re.search(r"\d", told)


@pytest.mark.parametrize("path", REVIEWED, ids=lambda path: path.stem)
def test_a_reviewed_fix_names_no_company(path: Path) -> None:
    with (DATA / "index.csv").open(newline="", encoding="utf-8") as file:
        tickers = {row["company"].casefold() for row in csv.DictReader(file)}
    names = {"apple", "coca", "depot", "netflix", "alphabet", "google", "boeing", "honeywell", "verizon", "johnson"}
    words = set(re.findall(r"[a-z]+", path.read_text(encoding="utf-8").casefold()))
    assert not words & (tickers | names)


def test_declaring_an_absence_takes_a_human() -> None:
    absent = [s for b in boundaries().values() for s in b.strategies.values() if s.name == "not_disclosed"]
    assert len(absent) >= 3
    assert not any(strategy.automatic for strategy in absent)


# The filings that travel


def test_the_travelling_filings_are_small_and_licensed() -> None:
    with (DATA / "index.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 25
    assert set(THREE) == {row["file"] for row in rows[:3]}
    assert {row["form"] for row in rows} == {"10-K", "10-Q"}
    assert sum(path.stat().st_size for path in DATA.iterdir()) < 5 * 1024 * 1024
    assert all((DATA / f"LICENSE.{name}").is_file() for name in ("edgartools", "sec-parser-test-data"))
    assert all((DATA / row["file"]).is_file() for row in rows)
