"""Finds the statements of a filing: which table, in which unit, and which column is the filing's own.

The titles and the marks by which a statement is known are those of the three filings the pipeline was
written for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Literal, assert_never

from filings.documents import Document, load
from filings.periods import read_dates
from filings.records import Metric, UnitRule
from filings.structure import amount
from filings.tables import Column, Row, Table

__all__ = [
    "BALANCE_TITLE",
    "INCOME_TITLES",
    "MARKS",
    "Filing",
    "Kind",
    "Statement",
    "is_of_the_group",
    "kind_of",
    "marks",
    "open_filing",
]

Kind = Literal["income", "balance"]

INCOME_TITLES = (
    "CONSOLIDATED STATEMENTS OF OPERATIONS",
    "CONSOLIDATED STATEMENTS OF INCOME",
    "CONSOLIDATED STATEMENTS OF EARNINGS",
)
BALANCE_TITLE = "CONSOLIDATED BALANCE SHEETS"

MARKS: dict[Kind, tuple[str, ...]] = {
    "income": (
        "income tax", "net income", "net earnings", "basic", "diluted", "per share", "operating income",
        "interest expense", "selling administrative",
    ),
    "balance": (
        "total assets", "total liabilities", "current assets", "current liabilities", "common stock", "total equity",
        "accounts payable", "retained earnings", "cash equivalents", "inventories", "goodwill", "property equipment",
    ),
}  # fmt: skip
"""Words that stand together in lines of a statement, by which it is known where its title is another."""

_ENOUGH_MARKS = 3
_ENOUGH_LINES = 10
_NOT_THE_GROUP = re.compile(
    r"parent[\s-]+(?:company|only)|pro[\s-]?forma|registrant only|condensed financial information of"
    r"|segment|as a percent|percentage of|discontinued|guarantor|unconsolidated|equity method",
    re.IGNORECASE,
)
_FORM = re.compile(r"\bform\s*(10-?[KQ])", re.IGNORECASE)
_ENDED = re.compile(r"(?:period|year|quarter)s?\s+end(?:ed|ing)\b:?(.{0,60})", re.IGNORECASE)
_UNIT = re.compile(
    r"(?:\bdollars (?:and|&) shares in|(?<!shares )\bin|\(|dollars|amounts|expressed|\$)\s*(?:in\s+)?"
    r"(?:u\.?s\.?\s+)?(?:dollars\s+|\$\s*)?(?:in\s+)?(thousand|million|billion)s?\b"
    r"|\b(thousand|million|billion)s\s+of\s+(?:u\.?s\.?\s+)?dollars\b",
    re.IGNORECASE,
)
_UNITS = {"thousand": 10**3, "million": 10**6, "billion": 10**9}
_SLACK = timedelta(days=7)
_EARLY = 2
_DECLARATION_WORDS = 40


@dataclass(frozen=True)
class Statement:
    """A table read as a statement. `index` is its ordinal among the filing's tables."""

    title: str
    index: int
    table: Table = field(repr=False)

    @property
    def rows(self) -> dict[str, Row]:
        """The statement's lines by printed label."""
        return self.table.rows

    @cached_property
    def unit(self) -> int:
        """Dollars for one of the printed number, as the statement's own heading declares.

        Raises:
            LookupError: the heading declares none.
        """
        unit = declared_unit(self.table)
        if unit is None:
            raise LookupError(f"no unit is declared above {self.title!r}")
        return unit

    def printed(self, column: int) -> list[Decimal | None]:
        """The numbers of one column, line by line; None where a line prints none."""
        return [amount(line.values[column]) if line.values else None for line in self.table.lines]


@dataclass(frozen=True)
class Filing:
    """A filing ready to be asked: its form, the last day it covers, and its statements."""

    document: Document

    @property
    def key(self) -> str:
        """The name of the filing: its accession or file name."""
        return self.document.key

    @cached_property
    def cover(self) -> str:
        """The text of the cover page."""
        return " ".join(block.text for block in self.document.blocks[:80])[:12_000]

    @cached_property
    def form(self) -> str:
        """`10-K` or `10-Q`, as the cover says.

        Raises:
            LookupError: the cover names neither.
        """
        found = _FORM.search(self.cover)
        if found is None:
            raise LookupError("the cover names no form 10-K or 10-Q")
        return "10-" + found[1][-1].upper()

    @cached_property
    def period_end(self) -> date:
        """The last day of the fiscal period, as the cover says.

        Raises:
            LookupError: the cover names none.
        """
        for rest in _ENDED.findall(self.cover):
            if dates := read_dates(rest):
                return dates[0]
        raise LookupError("the cover does not say which period ended")

    @cached_property
    def titled(self) -> dict[str, Statement]:
        """Tables with dated columns by the short lines just above them, in capitals; the first of a title wins."""
        found: dict[str, Statement] = {}
        for index, table in enumerate(self.document.tables):
            for line in table.titles if table.columns else ():
                found.setdefault(line.upper(), Statement(line, index, table))
        return found

    @property
    def income_statement(self) -> Statement:
        """The statement of income, by its title.

        Raises:
            KeyError: no table stands under such a title.
        """
        for title in INCOME_TITLES[:-1]:
            if title in self.titled:
                return self.titled[title]
        return self.titled[INCOME_TITLES[-1]]

    @property
    def balance_sheet(self) -> Statement:
        """The balance sheet, by its title.

        Raises:
            KeyError: no table stands under such a title.
        """
        return self.titled[BALANCE_TITLE]

    def statements(self, kind: Kind) -> list[Statement]:
        """Every table that reads like this statement of the whole group, whatever its title, the likeliest first."""
        return self._by_kind[kind]

    @cached_property
    def _by_kind(self) -> dict[Kind, list[Statement]]:
        kinds: tuple[Kind, ...] = ("income", "balance")
        return {kind: sorted(self._alike(kind), key=lambda s: self.likeliness(kind, s)) for kind in kinds}

    def _alike(self, kind: Kind) -> Iterator[Statement]:
        for index, table in enumerate(self.document.tables):
            if len(table.lines) >= _ENOUGH_LINES and marks(kind, table) >= _ENOUGH_MARKS and is_of_the_group(table):
                title = next((line for line in reversed(table.above) if line), "an untitled table")
                yield Statement(title, index, table)

    def likeliness(self, kind: Kind, statement: Statement) -> tuple[bool, int]:
        """How a table sorts among those alike: under a known title first, then by the most marks."""
        titles = INCOME_TITLES if kind == "income" else (BALANCE_TITLE,)
        known = any(title in line.upper() for line in statement.table.captions for title in titles)
        return not known, -marks(kind, statement.table)

    def main_column(self, kind: Kind, statement: Statement) -> int:
        """The ordinal of the column for the filing's own period: the year, the quarter, or the balance date.

        Raises:
            LookupError: no column, or more than one, is that period.
        """
        columns = statement.table.columns
        wanted = [i for i, column in enumerate(columns) if self._is_window(kind, column)]
        newest = [i for i in wanted if _rank(columns[i]) == max(_rank(columns[j]) for j in wanted)]
        if len(newest) != 1 or not self._is_current(columns[newest[0]]):
            raise LookupError(
                f"no single column of {statement.title!r} is the main period among {[c.heading for c in columns]}"
            )
        return newest[0]

    def unit_of(self, statement: Statement, rule: UnitRule) -> int:
        """Dollars for one of the printed number, by one of the rules.

        Raises:
            LookupError: the rule finds no unit, or more than one.
        """
        declared = {unit for table in self.document.tables if (unit := declared_unit(table)) is not None}
        match rule:
            case "heading":
                return statement.unit
            case "document":
                if len(declared) != 1:
                    raise LookupError(f"the document declares {len(declared)} units, not one")
                return declared.pop()
            case "dollars":
                if declared:
                    raise LookupError("the document declares a unit; it cannot be taken for dollars")
                return 1
            case _:
                assert_never(rule)

    def _is_window(self, kind: Kind, column: Column) -> bool:
        months = column.period.months
        if kind == "balance":
            return True
        return months == 3 if self.form == "10-Q" else months in (12, None)

    def _is_current(self, column: Column) -> bool:
        if column.period.end is not None:
            return abs(column.period.end - self.period_end) <= _SLACK
        # A fiscal year that ends in January or February bears the year before, as often as not.
        named_before = self.period_end.month <= _EARLY and column.period.year == self.period_end.year - 1
        return column.period.year == self.period_end.year or named_before


def open_filing(path: Path, *, key: str = "") -> Filing:
    """Reads the filing at `path`; `key` names it, else its file name does."""
    return Filing(load(path, key=key))


def kind_of(metric: Metric) -> Kind:
    """The statement that tells a metric."""
    return "income" if metric in ("revenue", "cogs") else "balance"


def marks(kind: Kind, table: Table) -> int:
    """How many of the marks of a statement a table's lines show."""
    if len(table.columns) == 0:
        return 0
    labels = [line.label.casefold() for line in table.lines if line.label]
    return sum(1 for mark in MARKS[kind] if any(all(word in label for word in mark.split()) for label in labels))


def is_of_the_group(table: Table) -> bool:
    """Whether no title near the table says that it is of the parent alone, a segment, or only pro forma."""
    return not any(_NOT_THE_GROUP.search(line) for line in table.captions)


def declared_unit(table: Table) -> int | None:
    """The first unit declared in the table's heading or the lines just above it, the nearest first."""
    for line in (*table.heading_text, *reversed(table.above)):
        if len(line.split()) <= _DECLARATION_WORDS and (found := _UNIT.search(line)):
            return _UNITS[(found[1] or found[2]).lower()]
    return None


def _rank(column: Column) -> tuple[int, date]:
    return column.period.year, column.period.end or date.min
