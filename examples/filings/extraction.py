"""The four questions: revenue, cost of sales, current assets, current liabilities.

Each is a boundary with a contract of its own. The primaries read exact labels, as three filings print them;
the strategies of `strategies.py` are other ways to the same figure.
"""

from __future__ import annotations

from decimal import Decimal

from filings.checks import COGS_CHECKS, CURRENT_ASSETS_CHECKS, CURRENT_LIABILITIES_CHECKS, REVENUE_CHECKS
from filings.records import Figure, Metric, NotDisclosed, Place
from filings.statements import Filing, Statement, kind_of
from filings.tables import Row
from healspan.instrumentation import error_boundary

__all__ = ["extract_cogs", "extract_current_assets", "extract_current_liabilities", "extract_revenue"]


def document_type(filing: Filing) -> dict[str, str]:
    """The context of a call: few values, by which failures are counted."""
    try:
        return {"document_type": filing.form}
    except LookupError:
        return {"document_type": "unknown"}


@error_boundary(
    "revenue_extraction",
    output=Figure | NotDisclosed,
    checks=REVENUE_CHECKS,
    retry_safe=True,
    context=document_type,
)
def extract_revenue(filing: Filing) -> Figure | NotDisclosed:
    """Revenue of the filing's own period, by the exact label of its line."""
    statement = filing.income_statement
    for label in ("Total net sales", "Net Operating Revenues"):
        if label in statement.rows:
            return figure(filing, "revenue", statement, statement.rows[label])
    return figure(filing, "revenue", statement, statement.rows["Net sales"])


@error_boundary(
    "cogs_extraction",
    output=Figure | NotDisclosed,
    checks=COGS_CHECKS,
    retry_safe=True,
    context=document_type,
)
def extract_cogs(filing: Filing) -> Figure | NotDisclosed:
    """Cost of sales of the filing's own period, by the exact label of its line."""
    statement = filing.income_statement
    for label in ("Total cost of sales", "Cost of goods sold"):
        if label in statement.rows:
            return figure(filing, "cogs", statement, statement.rows[label])
    return figure(filing, "cogs", statement, statement.rows["Cost of sales"])


@error_boundary(
    "current_assets_extraction",
    output=Figure | NotDisclosed,
    checks=CURRENT_ASSETS_CHECKS,
    retry_safe=True,
    context=document_type,
)
def extract_current_assets(filing: Filing) -> Figure | NotDisclosed:
    """Current assets at the filing's own balance date."""
    statement = filing.balance_sheet
    if "Total Current Assets" in statement.rows:
        return figure(filing, "current_assets", statement, statement.rows["Total Current Assets"])
    return figure(filing, "current_assets", statement, statement.rows["Total current assets"])


@error_boundary(
    "current_liabilities_extraction",
    output=Figure | NotDisclosed,
    checks=CURRENT_LIABILITIES_CHECKS,
    retry_safe=True,
    context=document_type,
)
def extract_current_liabilities(filing: Filing) -> Figure | NotDisclosed:
    """Current liabilities at the filing's own balance date."""
    statement = filing.balance_sheet
    if "Total Current Liabilities" in statement.rows:
        return figure(filing, "current_liabilities", statement, statement.rows["Total Current Liabilities"])
    return figure(filing, "current_liabilities", statement, statement.rows["Total current liabilities"])


def figure(filing: Filing, metric: Metric, statement: Statement, row: Row) -> Figure:
    """The amount of one line in the filing's own column."""
    column = filing.main_column(kind_of(metric), statement)
    number = float(row.values[column].replace(",", ""))
    return Figure(
        metric=metric,
        value=Decimal(str(number)) * statement.unit,
        unit=statement.unit,
        label=row.label,
        place=Place(table=statement.index, line=statement.table.lines.index(row), column=column),
    )
