"""A printed table: labelled rows, and the period that each column of amounts stands for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from filings.periods import Period, read_period

__all__ = ["Cell", "Column", "Row", "Table", "read_table"]

_YEAR = re.compile(r"(?:19|20)\d\d")
_AMOUNT = re.compile(r"[$€£]?\s*[(\-–—−]*\s*[$€£]?\s*(?:\d[\d,]*\.?\d*|\.\d+)\s*\)?\s*%?(?:\s*\(\w\))?")
_NOTHING = re.compile(r"[$€£]?\s*[—–−-]+\s*")
_TITLE_WORDS = 14
_SHARE = re.compile(r"%|\bpercent|\bchange\b|\bvariance\b|\bvs\.?\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Cell:
    """The text of one cell and the columns `start` to `end` (exclusive) it covers."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Column:
    """One column of amounts: its heading, what that says, and where it stands."""

    heading: str
    period: Period
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a table. `values` are the printed amounts, one for each column; none under a bare heading."""

    label: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table with amounts; `above` are the paragraphs just before it, the nearest last."""

    above: tuple[str, ...] = field(repr=False)
    heading: tuple[tuple[Cell, ...], ...] = field(repr=False)
    body: tuple[tuple[Cell, ...], ...] = field(repr=False)

    @cached_property
    def heading_text(self) -> tuple[str, ...]:
        """The lines of the table's own heading."""
        return tuple(text for row in self.heading if (text := " ".join(c.text for c in row if c.text)))

    @cached_property
    def titles(self) -> tuple[str, ...]:
        """The short paragraphs just above, the nearest first: what may be a title."""
        return tuple(line for line in reversed(self.above) if len(line.split()) <= _TITLE_WORDS)

    @property
    def captions(self) -> tuple[str, ...]:
        """The table's own heading and what may be its title."""
        return (*self.heading_text, *self.titles)

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """The columns headed by a date or a year, left to right; columns of shares and changes are left out."""
        return _columns(self)

    @cached_property
    def lines(self) -> tuple[Row, ...]:
        """Every row below the heading, with its amounts under `columns`."""
        shares = _share_columns(self.body)
        return tuple(_row(cells, self.columns, shares) for cells in self.body)

    @cached_property
    def rows(self) -> dict[str, Row]:
        """Rows with amounts by their printed label; the first of a label wins."""
        found: dict[str, Row] = {}
        for line in self.lines:
            if line.label:
                found.setdefault(line.label, line)
        return found


def is_amount(text: str) -> bool:
    """Whether a cell holds a number, or a dash for nothing."""
    return bool(_AMOUNT.fullmatch(text) or _NOTHING.fullmatch(text))


def read_table(grid: list[list[Cell]], above: tuple[str, ...]) -> Table | None:
    """The table in a grid of cells, or None where it only arranges text."""
    rows = [tuple(cells) for cells in grid]
    first = next((i for i, cells in enumerate(rows) if _has_amounts(cells)), None)
    if first is None:
        return None
    # A line of words right above the first amounts ("Net sales:", "Current assets:") belongs to the body.
    while first and not _looks_like_heading(rows[first - 1]):
        first -= 1
    return Table(above=above, heading=tuple(rows[:first]), body=tuple(rows[first:]))


def _has_amounts(cells: tuple[Cell, ...]) -> bool:
    texts = [c.text for c in cells[1:] if c.text]
    amounts = [text for text in texts if is_amount(text)]
    return bool(amounts) and not all(_YEAR.fullmatch(text) for text in amounts)


def _looks_like_heading(cells: tuple[Cell, ...]) -> bool:
    filled = [c for c in cells if c.text]
    if not filled:
        return True
    if len(filled) > 1 or filled[0].start > 0:
        return True
    text = filled[0].text
    return (
        bool(_YEAR.search(text)) or "(" in text or " in " in f" {text.lower()} " or filled[0].end - filled[0].start > 3
    )


def _columns(table: Table) -> tuple[Column, ...]:
    dated = [[c for c in row if c.start > 0 and _YEAR.search(c.text)] for row in table.heading]
    if not any(dated):
        return ()
    most = max(len(cells) for cells in dated)
    anchors = next(cells for cells in reversed(dated) if len(cells) == most)
    side = " ".join(row[0].text for row in table.heading if row and row[0].start == 0 and row[0].text)
    row = next(i for i, cells in enumerate(dated) if cells is anchors)
    columns = []
    for anchor in anchors:
        over = [c.text for c in _under(table.heading[: row + 1], anchor)]
        below = _under(table.heading[row + 1 :], anchor)
        plain = [c for c in below if not _SHARE.search(c.text)]
        if len(plain) < len(below):  # "Amount | % of sales" below one date
            if len(plain) != 1:
                continue
            anchor = plain[0]
        heading = " ".join((*over, *(c.text for c in plain)))
        if _SHARE.search(heading) or (period := read_period(heading, side)) is None:
            continue
        columns.append(Column(heading, period, anchor.start, anchor.end))
    return tuple(columns)


def _under(rows: Sequence[tuple[Cell, ...]], anchor: Cell) -> list[Cell]:
    """The filled cells that stand over or under a cell, labels left out."""
    return [c for row in rows for c in row if c.text and 0 < c.start < anchor.end and c.end > anchor.start]


def _row(cells: tuple[Cell, ...], columns: tuple[Column, ...], shares: frozenset[int]) -> Row:
    label = ""
    amounts: list[Cell] = []
    for cell in cells:
        if cell.start > 0 and is_amount(cell.text):
            if not shares.intersection(range(cell.start, cell.end)):
                amounts.append(cell)
        elif not label and not amounts and any(c.isalpha() for c in cell.text):
            label = cell.text
    values = []
    for column in columns:
        under = [c.text for c in amounts if c.start < column.end and c.end > column.start]
        values.append(under[0] if len(under) == 1 else "")
    return Row(label, tuple(values) if any(values) else ())


def _share_columns(body: tuple[tuple[Cell, ...], ...]) -> frozenset[int]:
    """Grid columns that hold percentages somewhere: an amount never stands there."""
    found: set[int] = set()
    for cells in body:
        for position, cell in enumerate(cells):
            if cell.start == 0 or not is_amount(cell.text):
                continue
            follower = next((c.text for c in cells[position + 1 :] if c.text), "")
            if cell.text.endswith("%") or follower.startswith(("%", ")%")):
                found.update(range(cell.start, cell.end))
    return frozenset(found)
