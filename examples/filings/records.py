"""What the pipeline returns: figures with the evidence for them, or a statement that there is none."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Figure", "Metric", "NotDisclosed", "Place", "Sheet", "UnitRule", "Valuation", "WorkingCapital"]

Metric = Literal["revenue", "cogs", "current_assets", "current_liabilities"]

UnitRule = Literal["heading", "document", "dollars"]
"""Where the unit comes from: the statement's own heading, the one unit all statements of the document share,
or whole dollars, where the document declares none."""


class Place(BaseModel):
    """Where in a document a figure is printed: ordinals of the table, its line and its dated column."""

    model_config = ConfigDict(frozen=True)

    table: int = Field(ge=0)
    line: int = Field(ge=0)
    column: int = Field(ge=0)


class Figure(BaseModel):
    """One reported amount in dollars: the printed number times the statement's unit."""

    model_config = ConfigDict(frozen=True)

    metric: Metric
    value: Decimal
    unit: int = Field(gt=0, description="dollars for one of the printed number")
    label: str
    unit_rule: UnitRule = "heading"
    place: Place | None = Field(default=None, description="None: read in running text")


class NotDisclosed(BaseModel):
    """The filing was read and does not report this metric; `reason` says what was looked at."""

    model_config = ConfigDict(frozen=True)

    metric: Metric
    reason: str


class Sheet(BaseModel):
    """The balance sheet of a filing: ordinals of its table and of the filing's own column, and its unit."""

    model_config = ConfigDict(frozen=True)

    table: int = Field(ge=0)
    column: int = Field(ge=0)
    unit: int = Field(gt=0, description="dollars for one of the printed number")
    unit_rule: UnitRule


class WorkingCapital(BaseModel):
    """What a company owns and owes within a year."""

    model_config = ConfigDict(frozen=True)

    assets: Figure
    liabilities: Figure


class Valuation(BaseModel):
    """A deliberately simple discounted cash flow, in dollars."""

    model_config = ConfigDict(frozen=True)

    gross_margin: Decimal
    working_capital: Decimal
    enterprise_value: Decimal
