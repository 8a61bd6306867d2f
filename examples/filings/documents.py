"""Reads one filing as a person sees it: visible text and tables in reading order.

Inline XBRL is unwrapped and ignored; its hidden header and everything styled invisible are dropped, so
an answer can only come from what is printed on the page.
"""

from __future__ import annotations

import gzip
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from lxml import etree

from filings.tables import Cell, Table, read_table

__all__ = ["Document", "UnreadableFilingError", "load"]

_BLOCKS = frozenset((
    "address", "article", "blockquote", "body", "center", "dd", "div", "dl", "dt", "footer", "form", "h1", "h2", "h3",
    "h4", "h5", "h6", "header", "hr", "html", "li", "main", "ol", "p", "pre", "section", "table", "tbody", "td",
    "tfoot", "th", "thead", "tr", "ul",
))  # fmt: skip
_SKIPPED = frozenset(("head", "script", "style", "title", "ix:header", "ix:hidden"))
_INVISIBLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_KEPT_ABOVE = 6


class UnreadableFilingError(ValueError):
    """The file holds no readable filing; fetch it again from its source."""


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph of visible text, or a table (`text` is then all of its cells)."""

    text: str
    table: Table | None = None


@dataclass(frozen=True)
class Document:
    """One filing: `key` names it (accession or file name), `blocks` are in reading order."""

    key: str
    blocks: tuple[Block, ...] = field(repr=False)

    @cached_property
    def tables(self) -> tuple[Table, ...]:
        """Every table with at least one amount, in reading order."""
        return tuple(block.table for block in self.blocks if block.table is not None)

    @cached_property
    def paragraphs(self) -> tuple[str, ...]:
        """Running text outside tables, in reading order."""
        return tuple(block.text for block in self.blocks if block.table is None)


def load(path: Path, *, key: str = "") -> Document:
    """Reads a filing from an HTML file, gzipped or not.

    Raises:
        UnreadableFilingError: the file is empty, not HTML or damaged.
    """
    try:
        raw = path.read_bytes()
        if raw[:2] == b"\x1f\x8b":
            raw = gzip.decompress(raw)
    except (OSError, EOFError) as error:
        raise UnreadableFilingError(f"{path.name} cannot be read ({error}); fetch the filing again") from error
    return parse(raw, key=key or path.name)


def parse(raw: bytes, *, key: str) -> Document:
    """Reads a filing from the bytes of its HTML.

    Raises:
        UnreadableFilingError: nothing a person could read is in it.
    """
    parser = etree.HTMLParser(encoding="utf-8", huge_tree=True, remove_comments=True, remove_pis=True)
    try:
        root = etree.fromstring(raw, parser) if raw.strip() else None
    except etree.XMLSyntaxError as error:
        raise UnreadableFilingError(f"{key} is not HTML ({error}); fetch the filing again") from error
    if root is None:
        raise UnreadableFilingError(f"{key} is empty; fetch the filing again")
    try:
        blocks = _Reader().read(root)
    except RecursionError as error:
        raise UnreadableFilingError(f"{key} is nested too deeply; fetch the filing again") from error
    if not blocks:
        raise UnreadableFilingError(f"{key} shows no text; fetch the filing again")
    return Document(key=key, blocks=blocks)


def squeeze(text: str) -> str:
    """The text with every run of white space as one blank."""
    return " ".join(text.split())


def _hidden(element: etree._Element) -> bool:
    style = element.get("style")
    return style is not None and _INVISIBLE.search(style) is not None


class _Reader:
    """Walks the page and collects its blocks; a table remembers the paragraphs just above it."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self._pieces: list[str] = []
        self._above: list[str] = []

    def read(self, root: etree._Element) -> tuple[Block, ...]:
        self._walk(root)
        self._end_paragraph()
        return tuple(self.blocks)

    def _walk(self, element: etree._Element) -> None:
        tag = element.tag
        if isinstance(tag, str) and tag not in _SKIPPED and not _hidden(element):
            if tag == "table" and element.find(".//table") is None:
                self._end_paragraph()
                self._table(_grid(element))
            else:
                self._inside(element, is_block=tag in _BLOCKS)
        if element.tail:
            self._pieces.append(element.tail)

    def _inside(self, element: etree._Element, *, is_block: bool) -> None:
        if is_block:
            self._end_paragraph()
        elif element.tag == "br":
            self._pieces.append(" ")
        if element.text:
            self._pieces.append(element.text)
        for child in element:
            self._walk(child)
        if is_block:
            self._end_paragraph()

    def _end_paragraph(self) -> None:
        text = squeeze("".join(self._pieces))
        self._pieces.clear()
        if text:
            self._paragraph(text)

    def _paragraph(self, text: str) -> None:
        self._above.append(text)
        del self._above[:-_KEPT_ABOVE]
        self.blocks.append(Block(text))

    def _table(self, grid: list[list[Cell]]) -> None:
        text = squeeze(" ".join(cell.text for row in grid for cell in row))
        table = read_table(grid, tuple(self._above))
        if table is not None:
            self._above.clear()
            self.blocks.append(Block(text, table))
        elif text:  # a table that only arranges text, such as a page header
            self._paragraph(text)


def _grid(table: etree._Element) -> list[list[Cell]]:
    """The cells of a table, each with the columns it covers; spans are laid out as a browser would."""
    rows: list[list[Cell]] = []
    hanging: dict[int, int] = {}
    for tr in table.iter("tr"):
        if _hidden(tr):
            continue
        cells: list[Cell] = []
        column = 0
        below: dict[int, int] = {c: left - 1 for c, left in hanging.items() if left > 1}
        for td in tr:
            if td.tag not in ("td", "th") or _hidden(td):
                continue
            while column in hanging:
                column += 1
            width = _span(td, "colspan")
            height = _span(td, "rowspan")
            cells.append(Cell(_text(td), column, column + width))
            if height > 1:
                below.update(dict.fromkeys(range(column, column + width), height - 1))
            column += width
        hanging = below
        rows.append(cells)
    return rows


def _span(td: etree._Element, name: str) -> int:
    value = td.get(name, "1").strip()
    return min(max(int(value), 1), 500) if value.isdigit() else 1


def _text(element: etree._Element) -> str:
    pieces: list[str] = []
    _collect(element, pieces)
    return squeeze("".join(pieces))


def _collect(element: etree._Element, pieces: list[str]) -> None:
    if element.text:
        pieces.append(element.text)
    for child in element:
        tag = child.tag
        if isinstance(tag, str) and tag not in _SKIPPED and not _hidden(child):
            if tag == "br" or tag in _BLOCKS:
                pieces.append(" ")
            _collect(child, pieces)
            if tag in _BLOCKS:
                pieces.append(" ")
        if child.tail:
            pieces.append(child.tail)
