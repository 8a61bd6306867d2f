"""Working capital in three steps that need each other: the sheet and its unit, every number of it, the two lines.

Unlike the four questions, which all read the page for themselves, each step takes what the one before it found. So
one filing may fail in all three, one after the other, and only the fix of the first shows the second.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from filings.checks import CURRENT_ASSETS_CHECKS, CURRENT_LIABILITIES_CHECKS, TOTAL_ASSETS_LABELS
from filings.extraction import document_type
from filings.labels import same_line
from filings.records import Figure, Metric, Place, Sheet, UnitRule, WorkingCapital
from filings.statements import Filing, Statement, is_of_the_group, marks
from filings.tables import Row
from healspan.instrumentation import error_boundary

__all__ = ["balances", "detect_unit", "find_section", "read_cells"]

CURRENT_ASSETS_LABELS = ("Total current assets",)
CURRENT_LIABILITIES_LABELS = ("Total current liabilities",)

_DIGITS = re.compile(r"\d")
_MINUS = re.compile(r"[(\-–−]")


def is_the_likeliest_sheet(result: Sheet, arguments: Mapping[str, Any]) -> bool:
    """No table of the group reads more like a balance sheet, and the column is the filing's own."""
    filing: Filing = arguments["filing"]
    statement = _statement(filing, result)
    most = max((marks("balance", other.table) for other in filing.statements("balance")), default=0)
    return (
        is_of_the_group(statement.table)
        and marks("balance", statement.table) >= most - 1
        and filing.main_column("balance", statement) == result.column
        and filing.unit_of(statement, result.unit_rule) == result.unit
    )


def reads_what_is_printed(result: tuple[float | None, ...], arguments: Mapping[str, Any]) -> bool:
    """Each number has the digits of its cell, a minus only where the cell shows one, and none is left out."""
    filing: Filing = arguments["filing"]
    sheet: Sheet = arguments["sheet"]
    printed = [_printed(line, sheet) for line in _statement(filing, sheet).table.lines]
    return len(printed) == len(result) and all(map(_says, result, printed))


def _says(value: float | None, text: str) -> bool:
    digits = "".join(_DIGITS.findall(text))
    if value is None:
        return not text
    told = f"{abs(value):.10f}".replace(".", "").strip("0")
    return told == digits.strip("0") and (value >= 0 or bool(_MINUS.search(text)))


def keeps_the_contracts_of_both_lines(result: WorkingCapital, arguments: Mapping[str, Any]) -> bool:
    """Both figures are such as the questions for them would be believed."""
    return all(check(result.assets, arguments) is True for check in CURRENT_ASSETS_CHECKS) and all(
        check(result.liabilities, arguments) is True for check in CURRENT_LIABILITIES_CHECKS
    )


@error_boundary("unit_detection", output=Sheet, checks=[is_the_likeliest_sheet], retry_safe=True, context=document_type)
def detect_unit(filing: Filing) -> Sheet:
    """The balance sheet under its title, the filing's own column in it, and dollars for one printed number."""
    statement = filing.balance_sheet
    return Sheet(
        table=statement.index, column=filing.main_column("balance", statement), unit=statement.unit, unit_rule="heading"
    )


@detect_unit.strategy("by_its_lines")
def unit_by_lines(filing: Filing, *, unit: UnitRule = "heading") -> Sheet:
    """The table that reads most like a balance sheet, whatever stands above it."""
    for statement in filing.statements("balance"):
        try:
            column = filing.main_column("balance", statement)
        except LookupError:
            continue
        found = filing.unit_of(statement, unit)
        return Sheet(table=statement.index, column=column, unit=found, unit_rule=unit)
    raise LookupError("no table reads like a balance sheet of the filing's own date")


@error_boundary(
    "cell_reading",
    output=tuple[float | None, ...],
    checks=[reads_what_is_printed],
    retry_safe=True,
    context=lambda filing, sheet: document_type(filing),  # noqa: ARG005 - called as the function is
)
def read_cells(filing: Filing, sheet: Sheet) -> tuple[float | None, ...]:
    """The number that each line prints in the filing's own column, as it is printed; None where it prints none."""
    texts = [_printed(line, sheet) for line in _statement(filing, sheet).table.lines]
    return tuple(number(text) if text else None for text in texts)


def number(text: str) -> float:
    """A printed number; brackets are a minus."""
    plain = text.replace("$", "").replace(",", "").strip()
    if plain.startswith("(") and plain.endswith(")"):
        return -float(plain[1:-1])
    return float(plain)


@error_boundary(
    "section_finding",
    output=WorkingCapital,
    checks=[keeps_the_contracts_of_both_lines],
    retry_safe=True,
    context=lambda filing, sheet, cells: document_type(filing),  # noqa: ARG005 - likewise
)
def find_section(filing: Filing, sheet: Sheet, cells: tuple[float | None, ...]) -> WorkingCapital:
    """Current assets and current liabilities, by the exact labels of their lines."""
    lines = {line.label: place for place, line in enumerate(_statement(filing, sheet).table.lines) if line.values}
    if "Total Current Assets" in lines:
        places = lines["Total Current Assets"], lines["Total Current Liabilities"]
    else:
        places = lines["Total current assets"], lines["Total current liabilities"]
    return _working_capital(filing, sheet, cells, *places)


@find_section.strategy("label_search")
def section_by_label(
    filing: Filing,
    sheet: Sheet,
    cells: tuple[float | None, ...],
    *,
    assets: tuple[str, ...] = CURRENT_ASSETS_LABELS,
    liabilities: tuple[str, ...] = CURRENT_LIABILITIES_LABELS,
) -> WorkingCapital:
    """The lines that say so in the words of a known label."""
    lines = _statement(filing, sheet).table.lines
    places = [
        next((i for i, line in enumerate(lines) if cells[i] is not None and same_line(line.label, labels)), None)
        for labels in (assets, liabilities)
    ]
    if places[0] is None or places[1] is None:
        raise LookupError("the sheet has no such section")
    return _working_capital(filing, sheet, cells, places[0], places[1])


def balances(filing: Filing) -> Callable[[Mapping[str, Any]], bool]:
    """Make the invariant of a run: what the sheet totals as assets, it totals once more as liabilities and equity."""

    def sheet_balances(results: Mapping[str, Any]) -> bool:
        sheet: Sheet = results["unit_detection"]
        cells: tuple[float | None, ...] = results["cell_reading"]
        lines = _statement(filing, sheet).table.lines
        total = next((cells[i] for i, line in enumerate(lines) if same_line(line.label, TOTAL_ASSETS_LABELS)), None)
        return total is None or cells.count(total) > 1

    return sheet_balances


def _working_capital(
    filing: Filing, sheet: Sheet, cells: tuple[float | None, ...], assets: int, liabilities: int
) -> WorkingCapital:
    return WorkingCapital(
        assets=_figure(filing, sheet, cells, "current_assets", assets),
        liabilities=_figure(filing, sheet, cells, "current_liabilities", liabilities),
    )


def _figure(filing: Filing, sheet: Sheet, cells: tuple[float | None, ...], metric: Metric, line: int) -> Figure:
    value = cells[line]
    if value is None:
        raise LookupError("the line prints no amount")
    return Figure(
        metric=metric,
        value=Decimal(str(value)) * sheet.unit,
        unit=sheet.unit,
        unit_rule=sheet.unit_rule,
        label=_statement(filing, sheet).table.lines[line].label,
        place=Place(table=sheet.table, line=line, column=sheet.column),
    )


def _statement(filing: Filing, sheet: Sheet) -> Statement:
    return Statement("", sheet.table, filing.document.tables[sheet.table])


def _printed(line: Row, sheet: Sheet) -> str:
    return line.values[sheet.column] if line.values else ""
