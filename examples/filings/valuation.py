"""One filing from its file to a value: four questions, then working capital and a simple discounted cash flow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

import filings.strategies  # noqa: F401 - registers the alternatives with the boundaries
from filings.balance import balances, detect_unit, find_section, read_cells
from filings.extraction import (
    document_type,
    extract_cogs,
    extract_current_assets,
    extract_current_liabilities,
    extract_revenue,
)
from filings.records import Figure, Metric, NotDisclosed, Valuation, WorkingCapital
from filings.statements import Filing
from healspan.instrumentation import pipeline
from healspan.remediation.run import Heal

__all__ = ["QUESTIONS", "Answers", "ask", "discounted_cash_flow", "value", "value_in_steps"]

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
    working_capital: WorkingCapital | None = None
    steps: list[Heal] = field(default_factory=list)
    """What healing did in the steps of the valuation, in order: more than one, and they are a cascade."""
    error: Exception | None = None
    """Of the valuation."""


def value(filing: Filing) -> Answers:
    """Asks every question of a filing, and values the company if it tells revenue and cost of sales."""
    answers = ask(filing)
    try:
        value_in_steps(filing, answers)
    except Exception as error:  # whatever a document breaks, the next filing is valued
        answers.error = error
    return answers


def value_in_steps(filing: Filing, answers: Answers) -> None:
    """Finds working capital and the value in one run whose steps need each other.

    Unlike the questions: a step that fails ends the run, and what heals it may show that the next one fails as well.
    Working capital must come out as the questions were answered, on another way to the same two lines.
    """

    def agrees_with_the_answers(_: Mapping[str, object]) -> bool:
        found = answers.working_capital
        told = {metric: figure.value for metric, figure in answers.figures.items() if isinstance(figure, Figure)}
        return found is None or all(
            told.get(figure.metric, figure.value) == figure.value for figure in (found.assets, found.liabilities)
        )

    checks = (balances(filing), agrees_with_the_answers)
    with pipeline("working_capital", key=filing.key, context=document_type(filing), checks=checks) as run:
        answers.steps = run.heals
        sheet = detect_unit(filing)
        cells = read_cells(filing, sheet)
        answers.working_capital = find_section(filing, sheet, cells)
        revenue, cogs = answers.figures.get("revenue"), answers.figures.get("cogs")
        if isinstance(revenue, Figure) and isinstance(cogs, Figure):
            answers.valuation = discounted_cash_flow(
                revenue, cogs, answers.working_capital, periods=QUARTERS[filing.form]
            )


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


def discounted_cash_flow(revenue: Figure, cogs: Figure, capital: WorkingCapital, *, periods: int) -> Valuation:
    """Values five years of growing cash flow and a perpetuity; `periods` of the filing's length make a year."""
    gross_profit = revenue.value - cogs.value
    cash_flow = gross_profit * periods * FREE_SHARE_OF_GROSS_PROFIT
    growing = [cash_flow * (1 + GROWTH) ** year / (1 + DISCOUNT) ** year for year in range(1, YEARS + 1)]
    terminal = growing[-1] * (1 + GROWTH) / (DISCOUNT - GROWTH)
    return Valuation(
        gross_margin=gross_profit / revenue.value,
        working_capital=capital.assets.value - capital.liabilities.value,
        enterprise_value=sum(growing, terminal),
    )
