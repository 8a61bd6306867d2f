"""One filing from its file to a value: four questions, then a simple discounted cash flow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

import filings.strategies  # noqa: F401 - registers the alternatives with the boundaries
from filings.extraction import (
    document_type,
    extract_cogs,
    extract_current_assets,
    extract_current_liabilities,
    extract_revenue,
)
from filings.records import Figure, Metric, NotDisclosed, Valuation
from filings.statements import Filing
from healspan.instrumentation import pipeline
from healspan.remediation.run import Heal

__all__ = ["QUESTIONS", "Answers", "ask", "discounted_cash_flow", "value"]

QUESTIONS: Mapping[Metric, Callable[[Filing], Figure | NotDisclosed]] = {
    "revenue": extract_revenue,
    "cogs": extract_cogs,
    "current_assets": extract_current_assets,
    "current_liabilities": extract_current_liabilities,
}

QUARTERS = {"10-K": 1, "10-Q": 4}
FREE_SHARE_OF_GROSS_PROFIT = Decimal("0.3")
GROWTH = Decimal("0.03")
DISCOUNT = Decimal("0.09")
YEARS = 5


@dataclass
class Answers:
    """What one filing gave: figures, the errors of the questions that failed, and what healing did."""

    figures: dict[Metric, Figure | NotDisclosed] = field(default_factory=dict)
    errors: dict[Metric, Exception] = field(default_factory=dict)
    heals: dict[Metric, Heal] = field(default_factory=dict)
    valuation: Valuation | None = None


def value(filing: Filing) -> Answers:
    """Asks every question of a filing and values the company if all were answered with a figure."""
    answers = ask(filing)
    figures = {metric: answer for metric, answer in answers.figures.items() if isinstance(answer, Figure)}
    if len(figures) == len(QUESTIONS):
        answers.valuation = discounted_cash_flow(figures, periods=QUARTERS[filing.form])
    return answers


def ask(filing: Filing) -> Answers:
    """Asks every question of a filing; one that fails does not hide the others.

    Each question is a run of its own: all four read the same page and none reads another's answer, so that a failure
    of one says nothing about a fix that was applied to another.
    """
    answers = Answers()
    for metric, question in QUESTIONS.items():
        with pipeline("valuation", key=f"{filing.key}#{metric}", context=document_type(filing)) as run:
            try:
                answers.figures[metric] = question(filing)
            except Exception as error:  # whatever a document breaks, the next question is asked
                answers.errors[metric] = error
        if run.heals:
            answers.heals[metric] = run.heals[-1]
    return answers


def discounted_cash_flow(figures: Mapping[Metric, Figure], *, periods: int) -> Valuation:
    """Values five years of growing cash flow and a perpetuity; `periods` of the filing's length make a year."""
    revenue, cogs = figures["revenue"].value, figures["cogs"].value
    cash_flow = (revenue - cogs) * periods * FREE_SHARE_OF_GROSS_PROFIT
    growing = [cash_flow * (1 + GROWTH) ** year / (1 + DISCOUNT) ** year for year in range(1, YEARS + 1)]
    terminal = growing[-1] * (1 + GROWTH) / (DISCOUNT - GROWTH)
    return Valuation(
        gross_margin=(revenue - cogs) / revenue,
        working_capital=figures["current_assets"].value - figures["current_liabilities"].value,
        enterprise_value=sum(growing, terminal),
    )
