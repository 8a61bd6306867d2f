"""Other ways to a figure than its exact label; importing this module registers them with the boundaries.

Keyword-only parameters are what a fix may set: a reviewed fix brings a family of labels as data.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal

from filings.checks import gross_profit, still_there
from filings.extraction import extract_cogs, extract_current_assets, extract_current_liabilities, extract_revenue
from filings.labels import same_line
from filings.records import Figure, Metric, NotDisclosed, Place, UnitRule
from filings.statements import Filing, Kind, Statement
from filings.structure import adds_up, is_part_of_a_total, leftovers

__all__ = [
    "assets_by_label",
    "assets_not_disclosed",
    "assets_not_in_document",
    "cogs_by_gross_profit",
    "cogs_by_label",
    "cogs_from_prose",
    "cogs_not_disclosed",
    "cogs_not_in_document",
    "cogs_under_heading",
    "liabilities_by_label",
    "liabilities_not_disclosed",
    "liabilities_not_in_document",
    "revenue_by_label",
    "revenue_from_prose",
    "revenue_not_in_document",
    "revenue_under_heading",
]

REVENUE_LABELS = ("Net sales", "Total net sales", "Net operating revenues")
COGS_LABELS = ("Cost of sales", "Total cost of sales", "Cost of goods sold")
CURRENT_ASSETS_LABELS = ("Total current assets",)
CURRENT_LIABILITIES_LABELS = ("Total current liabilities",)

_AMOUNT = r"[^.$]{0,80}\$\s?([\d,]+(?:\.\d+)?) (million|billion)"
_REVENUE_SENTENCE = re.compile(r"\b(?:net sales|net operating revenues|revenues?)\b" + _AMOUNT, re.IGNORECASE)
_COGS_SENTENCE = re.compile(r"\b(?:cost of sales|cost of goods sold)\b" + _AMOUNT, re.IGNORECASE)
_KINDS: tuple[Kind, ...] = ("income", "balance")
_ELSEWHERE = re.compile(
    r"(?:financial statements|balance sheets?|statements? of (?:income|earnings|operations)).{0,400}"
    r"\bincorporated\b.{0,40}\bby reference\b|\bincorporated\b.{0,40}\bby reference\b.{0,400}"
    r"(?:financial statements|balance sheets?|statements? of (?:income|earnings|operations))",
    re.IGNORECASE,
)
_UNITS = {"million": 10**6, "billion": 10**9}


@extract_revenue.strategy("label_search")
def revenue_by_label(filing: Filing, *, labels: tuple[str, ...] = REVENUE_LABELS, unit: UnitRule = "heading") -> Figure:
    """The line of any statement of income that says revenue in the words of a known label."""
    return _by_label(filing, "revenue", "income", labels, unit)


@extract_revenue.strategy("section_total")
def revenue_under_heading(
    filing: Filing, *, headings: tuple[str, ...] = REVENUE_LABELS, unit: UnitRule = "heading"
) -> Figure:
    """The line, labelled or not, that adds up the lines under a heading without an amount."""
    return _under_heading(filing, "revenue", "income", headings, unit)


@extract_revenue.strategy("prose")
def revenue_from_prose(filing: Filing) -> Figure:
    """The first sentence that tells revenue in dollars."""
    return _from_prose(filing, "revenue", _REVENUE_SENTENCE)


@extract_cogs.strategy("label_search")
def cogs_by_label(filing: Filing, *, labels: tuple[str, ...] = COGS_LABELS, unit: UnitRule = "heading") -> Figure:
    """The line of any statement of income that says cost of sales in the words of a known label."""
    return _by_label(filing, "cogs", "income", labels, unit)


@extract_cogs.strategy("section_total")
def cogs_under_heading(
    filing: Filing, *, headings: tuple[str, ...] = COGS_LABELS, unit: UnitRule = "heading"
) -> Figure:
    """The line, labelled or not, that adds up the lines under a heading without an amount."""
    return _under_heading(filing, "cogs", "income", headings, unit)


@extract_cogs.strategy("gross_profit")
def cogs_by_gross_profit(filing: Filing, *, unit: UnitRule = "heading") -> Figure:
    """The line that, taken from revenue, leaves the gross profit that is shown."""
    for statement, column, values in _readable(filing, "income"):
        shown = gross_profit(statement, values)
        if shown is None:
            continue
        end = values.index(shown)
        for line in range(end - 1, 0, -1):
            cost = values[line]
            rest = leftovers(values[:line])
            if cost and rest and abs(rest[0] - abs(cost) - shown) <= 1:
                return _figure(filing, "cogs", statement, column, line, unit)
    raise LookupError("no statement strikes a gross profit below a cost")


@extract_cogs.strategy("prose")
def cogs_from_prose(filing: Filing) -> Figure:
    """The first sentence that tells cost of sales in dollars."""
    return _from_prose(filing, "cogs", _COGS_SENTENCE)


@extract_current_assets.strategy("label_search")
def assets_by_label(
    filing: Filing, *, labels: tuple[str, ...] = CURRENT_ASSETS_LABELS, unit: UnitRule = "heading"
) -> Figure:
    """The line of any balance sheet that says current assets in the words of a known label."""
    return _by_label(filing, "current_assets", "balance", labels, unit)


@extract_current_liabilities.strategy("label_search")
def liabilities_by_label(
    filing: Filing, *, labels: tuple[str, ...] = CURRENT_LIABILITIES_LABELS, unit: UnitRule = "heading"
) -> Figure:
    """The line of any balance sheet that says current liabilities in the words of a known label."""
    return _by_label(filing, "current_liabilities", "balance", labels, unit)


@extract_cogs.strategy("not_disclosed", automatic=False)
def cogs_not_disclosed(filing: Filing) -> NotDisclosed:
    """The statement of income is there and tells no cost of sales."""
    return _not_disclosed(filing, "cogs", "income")


@extract_current_assets.strategy("not_disclosed", automatic=False)
def assets_not_disclosed(filing: Filing) -> NotDisclosed:
    """The balance sheet is there and does not set current assets apart."""
    return _not_disclosed(filing, "current_assets", "balance")


@extract_current_liabilities.strategy("not_disclosed", automatic=False)
def liabilities_not_disclosed(filing: Filing) -> NotDisclosed:
    """The balance sheet is there and does not set current liabilities apart."""
    return _not_disclosed(filing, "current_liabilities", "balance")


@extract_revenue.strategy("not_in_document", automatic=False)
def revenue_not_in_document(filing: Filing) -> NotDisclosed:
    """The document refers to the annual report for its statement of income."""
    return _not_in_document(filing, "revenue")


@extract_cogs.strategy("not_in_document", automatic=False)
def cogs_not_in_document(filing: Filing) -> NotDisclosed:
    """The document refers to the annual report for its statement of income."""
    return _not_in_document(filing, "cogs")


@extract_current_assets.strategy("not_in_document", automatic=False)
def assets_not_in_document(filing: Filing) -> NotDisclosed:
    """The document refers to the annual report for its balance sheet."""
    return _not_in_document(filing, "current_assets")


@extract_current_liabilities.strategy("not_in_document", automatic=False)
def liabilities_not_in_document(filing: Filing) -> NotDisclosed:
    """The document refers to the annual report for its balance sheet."""
    return _not_in_document(filing, "current_liabilities")


def _by_label(filing: Filing, metric: Metric, kind: Kind, labels: tuple[str, ...], unit: UnitRule) -> Figure:
    for statement, column, values in _readable(filing, kind):
        lines = [i for i, line in enumerate(statement.table.lines) if values[i] and same_line(line.label, labels)]
        whole = [i for i in lines if not is_part_of_a_total(values, i)] if kind == "income" else lines
        for line in whole or lines:
            return _figure(filing, metric, statement, column, line, unit)
    raise LookupError(f"no statement has a line like any of {', '.join(labels)}")


def _under_heading(filing: Filing, metric: Metric, kind: Kind, headings: tuple[str, ...], unit: UnitRule) -> Figure:
    for statement, column, values in _readable(filing, kind):
        for start, heading in enumerate(statement.table.lines):
            if heading.values or not same_line(heading.label, headings):
                continue
            for line in range(start + 3, min(start + 16, len(values))):
                value = values[line]
                if value and adds_up(values[start:line], value):
                    return _figure(filing, metric, statement, column, line, unit)
    raise LookupError(f"no statement totals lines under any of {', '.join(headings)}")


def _from_prose(filing: Filing, metric: Metric, sentence: re.Pattern[str]) -> Figure:
    for paragraph in filing.document.paragraphs:
        if found := sentence.search(paragraph):
            unit = _UNITS[found[2].lower()]
            value = Decimal(found[1].replace(",", "")) * unit
            return Figure(metric=metric, value=value, unit=unit, label=found[0])
    raise LookupError(f"no sentence tells {metric} in dollars")


def _not_disclosed(filing: Filing, metric: Metric, kind: Kind) -> NotDisclosed:
    readable = [statement for statement, _, _ in _readable(filing, kind)]
    if not readable:
        raise LookupError("there is no statement that could show the absence")
    absent = NotDisclosed(metric=metric, reason=f"{readable[0].title!r} has no such line")
    if lines := still_there(absent, filing):
        raise LookupError(f"it may be disclosed after all: {lines[:3]}")
    return absent


def _not_in_document(filing: Filing, metric: Metric) -> NotDisclosed:
    if any(filing.statements(kind) for kind in _KINDS):
        raise LookupError("a statement is in this document")
    referring = next((p for p in filing.document.paragraphs if _ELSEWHERE.search(p)), None)
    if referring is None:
        raise LookupError("the document does not say that its statements are elsewhere")
    absent = NotDisclosed(metric=metric, reason="the statements are incorporated by reference")
    if lines := still_there(absent, filing):
        raise LookupError(f"it may be disclosed after all: {lines[:3]}")
    return absent


def _readable(filing: Filing, kind: Kind) -> Iterator[tuple[Statement, int, list[Decimal | None]]]:
    """The tables that read like the statement and have a column for the filing's own period."""
    for statement in filing.statements(kind):
        try:
            column = filing.main_column(kind, statement)
        except LookupError:
            continue
        yield statement, column, statement.printed(column)


def _figure(filing: Filing, metric: Metric, statement: Statement, column: int, line: int, rule: UnitRule) -> Figure:
    printed = statement.printed(column)[line]
    unit = filing.unit_of(statement, rule)
    if printed is None:
        raise LookupError("the line prints no amount")
    return Figure(
        metric=metric,
        # Some statements print costs in brackets; a cost is told as a positive amount.
        value=abs(printed) * unit if metric == "cogs" else printed * unit,
        unit=unit,
        unit_rule=rule,
        label=statement.table.lines[line].label,
        place=Place(table=statement.index, line=line, column=column),
    )
