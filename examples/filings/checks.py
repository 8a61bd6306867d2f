"""What every answer must satisfy, whichever way it was found. The labels vary; the arithmetic does not.

A check sees the answer and the call's arguments and says yes or no. In doubt it says no: a value that is
refused can be looked at, a value that is wrong is believed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal

from filings.labels import core, same_line
from filings.records import Figure, NotDisclosed, Place
from filings.statements import Filing, Kind, Statement, is_of_the_group, kind_of, marks
from filings.structure import adds_up, is_part_of_a_total, leftovers
from filings.tables import Row

__all__ = [
    "COGS_CHECKS",
    "CURRENT_ASSETS_CHECKS",
    "CURRENT_LIABILITIES_CHECKS",
    "GROSS_PROFIT_LABELS",
    "REVENUE_CHECKS",
    "absence_is_proven",
    "gross_profit",
]

Check = Callable[[object, Mapping[str, object]], bool]

GROSS_PROFIT_LABELS = ("Gross profit", "Gross margin")
TOTAL_ASSETS_LABELS = ("Total assets",)

_COST = re.compile(r"\bcosts?\b|\bproducts?\b|\bservices?\b|\bsales\b|\brevenues?\b|\binterest\b", re.IGNORECASE)
_COST_OF = re.compile(r"\bcosts? of\b", re.IGNORECASE)
_EXPENSE = re.compile(r"\bcosts?\b|\bexpenses?\b|\bdeductions?\b|\btax(?:es)?\b|\bless\b", re.IGNORECASE)
_EXPENSE_BEFORE_SALES = re.compile(
    r"\b(?:costs?|expenses?|deferred|proceeds|purchases|income|loss|earnings|margin|profit)\b.*\b(?:sales?|revenues?)\b",
    re.IGNORECASE,
)
_FAMILY = {
    "revenue": re.compile(r"\brevenues?\b|\bsales\b", re.IGNORECASE),
    "cogs": re.compile(
        r"\bcosts? of (?:\w+ )*(?:sales|sold|revenues?|products?|services?|goods|merchandise|operations)\b"
        r"|^(?:total )?costs?$|^(?:total )?costs? and expenses\b|\bgross (?:profit|margin)\b",
        re.IGNORECASE,
    ),
    "current_assets": re.compile(r"(?<!non-)(?<!non)\bcurrent assets\b", re.IGNORECASE),
    "current_liabilities": re.compile(r"(?<!non-)(?<!non)\bcurrent liabilities\b", re.IGNORECASE),
}
_AT_LEAST = 3


def is_printed_in_the_statement(result: Figure, filing: Filing) -> bool:
    """The figure is the printed amount of a line of the group's statement, in its own period and unit."""
    if result.place is None:
        return False
    kind = kind_of(result.metric)
    statement = _statement(result, filing)
    column = filing.main_column(kind, statement)
    printed = statement.printed(column)[result.place.line]
    return (
        column == result.place.column
        and printed is not None
        and abs(printed) * result.unit == abs(result.value)
        and result.unit == filing.unit_of(statement, result.unit_rule)
        and marks(kind, statement.table) >= max(_AT_LEAST, _most_marks(kind, filing) - 1)
        and is_of_the_group(statement.table)
    )


def likelier_statements_agree(result: Figure, filing: Filing) -> bool:
    """No table that reads more like this statement, or as much and earlier, prints another amount under its label.

    Where a filing serves several registrants the group's statement comes first.
    """
    kind = kind_of(result.metric)
    own = _statement(result, filing)
    for other in filing.statements(kind):
        if (*filing.likeliness(kind, other), other.index) >= (*filing.likeliness(kind, own), own.index):
            continue
        try:
            column = filing.main_column(kind, other)
            unit = other.unit
        except LookupError:
            continue
        if unit != result.unit:
            continue
        amounts = {
            abs(value) * unit
            for line, value in zip(other.table.lines, other.printed(column), strict=True)
            if value is not None and line.label and line.label == result.label
        }
        if amounts and abs(result.value) not in amounts:
            return False
    return True


def is_positive(result: Figure, filing: Filing) -> bool:  # noqa: ARG001 - a check's signature
    """Revenue, costs and balances are told as positive amounts."""
    return result.value > 0


def is_named_so(result: Figure, filing: Filing) -> bool:
    """Its label says what it is; for a total without a label, the heading of its lines does."""
    _, line = _column(result, filing)
    lines = _statement(result, filing).table.lines
    label = lines[line].label or next((lines[i].label for i in range(line - 1, -1, -1) if _is_heading(lines[i])), "")
    if result.metric == "revenue":
        return bool(_FAMILY["revenue"].search(label) and not _EXPENSE_BEFORE_SALES.search(label))
    return core(label) == core(result.metric.replace("_", " "))


def tops_the_statement(result: Figure, filing: Filing) -> bool:
    """Everything printed above adds up to it, is no more than it, and it is no part of a larger total."""
    values, line = _column(result, filing)
    own = _own(values, line)
    return (
        adds_up(values[:line], own)
        and all(abs(value) <= own for value in values[:line] if value is not None)
        and not is_part_of_a_total(values, line)
    )


def no_revenue_follows(result: Figure, filing: Filing) -> bool:
    """What comes next is a cost, not another revenue that no total takes in."""
    _, line = _column(result, filing)
    lines = _statement(result, filing).table.lines
    label = next((other.label for other in lines[line + 1 :] if other.label), "")
    return not (_FAMILY["revenue"].search(label) and not _EXPENSE.search(label))


def gross_profit_agrees(result: Figure, filing: Filing) -> bool:
    """Revenue less cost of sales is gross profit, where the statement shows one."""
    values, line = _column(result, filing)
    statement = _statement(result, filing)
    shown = gross_profit(statement, values)
    if shown is None:
        return True
    own = abs(_own(values, line))
    others = [abs(v) for v in values if v is not None]
    if result.metric == "revenue":
        return any(abs(own - other - shown) <= 1 for other in others) or any(
            abs(own - sum(part, Decimal()) - shown) <= 1
            for part in _runs([v for v in values[line + 1 :] if v is not None])
        )
    return any(abs(other - own - shown) <= 1 for other in others)


def follows_revenue(result: Figure, filing: Filing) -> bool:
    """Above it stand revenue, which tops the statement, and only the parts it adds up."""
    values, line = _column(result, filing)
    own = abs(_own(values, line))
    rest = leftovers(values[:line])
    if not rest:
        return False
    revenue, *parts = rest
    return revenue > 0 and (not any(parts) or abs(abs(sum(parts, Decimal())) - own) <= 1)


def is_the_whole_cost(result: Figure, filing: Filing) -> bool:
    """Gross profit is struck right below it (without a label: below costs alone), or no other line tells a cost."""
    values, line = _column(result, filing)
    lines = _statement(result, filing).table.lines
    revenue = leftovers(values[:line])[0]
    top = values.index(revenue)
    below = next((i for i in range(line + 1, len(values)) if values[i] is not None), None)
    if below is not None and abs(revenue - abs(_own(values, line)) - (values[below] or 0)) <= 1:
        if same_line(lines[below].label, GROSS_PROFIT_LABELS):
            return True
        if not lines[below].label and all(_COST.search(lines[i].label) for i in range(top + 1, line) if values[i]):
            return True
    others = [other.label for other in lines[line + 1 :] if _COST_OF.search(other.label)]
    return not others and bool(_COST_OF.search(lines[line].label))


def adds_up_in_the_assets(result: Figure, filing: Filing) -> bool:
    """The lines above add up to it, or with the lines below it adds up to total assets, which it does not exceed."""
    values, line = _column(result, filing)
    own = _own(values, line)
    total = _total_assets(_statement(result, filing), values)
    above = values[_heading_above(result, filing, line) : line]
    parts = any(above) and adds_up(above, own)
    if total is None or total <= line:
        return parts and total is None
    whole = _own(values, total)
    return own <= whole and (parts or (own in leftovers(values[:total]) and adds_up(values[:total], whole)))


def adds_up_in_the_liabilities(result: Figure, filing: Filing) -> bool:
    """The lines between total assets and it add up to it."""
    values, line = _column(result, filing)
    total = _total_assets(_statement(result, filing), values[:line])
    between = values[0 if total is None else total + 1 : line]
    above = values[_heading_above(result, filing, line) : line]
    own = _own(values, line)
    return any(between) and (adds_up(between, own) or (any(above) and adds_up(above, own)))


def absence_is_proven(result: NotDisclosed, filing: Filing) -> bool:
    """Nothing in the filing could be what was not found."""
    return not still_there(result, filing)


def still_there(result: NotDisclosed, filing: Filing) -> list[str]:
    """Lines that speak against the absence of a metric: words of its family in any dated table."""
    words = _FAMILY[result.metric]
    return [
        line.label
        for table in filing.document.tables
        for line in table.lines
        if line.values and words.search(line.label)
    ]


def gross_profit(statement: Statement, values: list[Decimal | None]) -> Decimal | None:
    """The gross profit the statement shows, if it does."""
    return next(
        (
            value
            for line, value in zip(statement.table.lines, values, strict=True)
            if value is not None and same_line(line.label, GROSS_PROFIT_LABELS)
        ),
        None,
    )


def _runs(values: list[Decimal]) -> list[list[Decimal]]:
    return [values[:end] for end in range(2, min(len(values), 12) + 1)]


def _place(result: Figure) -> Place:
    if result.place is None:
        raise LookupError("the figure stands in no statement")
    return result.place


def _statement(result: Figure, filing: Filing) -> Statement:
    table = _place(result).table
    return Statement("", table, filing.document.tables[table])


def _column(result: Figure, filing: Filing) -> tuple[list[Decimal | None], int]:
    place = _place(result)
    return _statement(result, filing).printed(place.column), place.line


def _own(values: list[Decimal | None], line: int) -> Decimal:
    value = values[line]
    if value is None:
        raise LookupError("the line prints no amount")
    return value


def _heading_above(result: Figure, filing: Filing, line: int) -> int:
    """The nearest line above that names the figure and prints no amount ("Current assets:"), else the top."""
    lines = _statement(result, filing).table.lines
    words = core(result.metric.replace("_", " "))
    return next((i for i in range(line - 1, -1, -1) if _is_heading(lines[i]) and core(lines[i].label) == words), 0)


def _most_marks(kind: Kind, filing: Filing) -> int:
    return max((marks(kind, other.table) for other in filing.statements(kind)), default=0)


def _is_heading(row: Row) -> bool:
    return bool(row.label) and not row.values


def _total_assets(statement: Statement, values: list[Decimal | None]) -> int | None:
    """The line of total assets: by its label, or as the total that liabilities and equity come to again."""
    for i, (line, value) in enumerate(zip(statement.table.lines, values, strict=False)):
        if same_line(line.label, TOTAL_ASSETS_LABELS) and value is not None:
            return i
    for i, value in enumerate(values):
        if value and value in values[i + 1 :] and value == max(v for v in values if v is not None):
            return i
    return None


def _of_figures(check: Callable[[Figure, Filing], bool]) -> Check:
    def declared(result: object, arguments: Mapping[str, object]) -> bool:
        filing = arguments["filing"]
        if isinstance(result, NotDisclosed):
            return True
        return isinstance(result, Figure) and isinstance(filing, Filing) and check(result, filing)

    declared.__name__ = check.__name__
    declared.__doc__ = check.__doc__
    return declared


def _of_absence(result: object, arguments: Mapping[str, object]) -> bool:
    filing = arguments["filing"]
    if not isinstance(result, NotDisclosed):
        return True
    return isinstance(filing, Filing) and absence_is_proven(result, filing)


_COMMON = (is_printed_in_the_statement, is_positive, likelier_statements_agree)

REVENUE_CHECKS: tuple[Check, ...] = (
    *map(_of_figures, (*_COMMON, is_named_so, tops_the_statement, no_revenue_follows, gross_profit_agrees)),
    _of_absence,
)
COGS_CHECKS: tuple[Check, ...] = (
    *map(_of_figures, (*_COMMON, follows_revenue, is_the_whole_cost, gross_profit_agrees)),
    _of_absence,
)
CURRENT_ASSETS_CHECKS: tuple[Check, ...] = (
    *map(_of_figures, (*_COMMON, is_named_so, adds_up_in_the_assets)),
    _of_absence,
)
CURRENT_LIABILITIES_CHECKS: tuple[Check, ...] = (
    *map(_of_figures, (*_COMMON, is_named_so, adds_up_in_the_liabilities)),
    _of_absence,
)
