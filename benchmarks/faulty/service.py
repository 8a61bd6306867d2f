"""The data service of the fault-injection benchmark: small functions that fetch and read what others publish.

Written as their authors would have written them, before any of the faults was known; `declare` puts the boundaries
around them. Amounts are in the unit that the service has always used; nothing in the functions looks for another.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import requests

from healspan.instrumentation import error_boundary

__all__ = ["TIMEOUT", "Entity", "Fact", "Income", "declare"]

TIMEOUT = 0.3
"""Seconds until a request is given up."""


@dataclass(frozen=True)
class Fact:
    """One reported value of a concept."""

    value: Decimal
    end: date
    form: str
    filed: date
    accession: str


@dataclass(frozen=True)
class Entity:
    """Who a document of company facts is about."""

    cik: int
    name: str
    concepts: int


@dataclass(frozen=True)
class Income:
    """The head of an income statement."""

    revenue: Decimal
    cost: Decimal
    gross_profit: Decimal


def read_document(text: str | bytes) -> dict[str, Any]:
    return json.loads(text)


def decode(data: bytes) -> str:
    return data.decode("utf-8")


def read_amount(text: str) -> Decimal:
    return Decimal(text)


def read_day(text: str) -> date:
    return date.fromisoformat(text)


def read_filing_day(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d")


def read_fact(record: Mapping[str, Any]) -> Fact:
    return Fact(
        value=Decimal(record["val"]),
        end=date.fromisoformat(record["end"]),
        form=record["form"],
        filed=date.fromisoformat(record["filed"]),
        accession=record["accn"],
    )


def read_entity(document: Mapping[str, Any]) -> Entity:
    name = document["entityName"]
    cik = int(document["cik"])
    return Entity(cik=cik, name=name, concepts=sum(len(one) for one in document["facts"].values()))


def read_income(rows: Mapping[str, str]) -> Income:
    revenue = rows["Total revenue"]
    cost = rows["Cost of sales"]
    gross_profit = rows["Gross profit"]
    return Income(Decimal(revenue), Decimal(cost), Decimal(gross_profit))


def read_share(record: Mapping[str, Any]) -> Decimal:
    """Read a share of ownership; the interface gives it in points, ``37.5`` for three eighths."""
    return Decimal(record["share"])


def currency_of(record: Mapping[str, Any]) -> str:
    return record["unit"].upper()


def growth(now: str, before: str) -> Decimal:
    return (Decimal(now) - Decimal(before)) / Decimal(before)


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
        return response.read()


def fetch_document(url: str) -> dict[str, Any]:
    response = requests.get(url, timeout=TIMEOUT)
    response.raise_for_status()
    return json.loads(response.text)


def read_or_skip(text: str) -> Decimal | None:
    """Read an amount; the application itself handles what is none."""
    try:
        return Decimal(text)
    except ArithmeticError:
        return None


def _complete(result: dict[str, Any], _: Mapping[str, Any]) -> bool:
    return result.keys() >= {"cik", "entityName", "facts"} and isinstance(result["facts"], dict)


def _points(result: Decimal, _: Mapping[str, Any]) -> bool:
    return 0 <= result <= 100


def _finite(result: Decimal, _: Mapping[str, Any]) -> bool:
    return result.is_finite()


def _in_order(result: Fact, _: Mapping[str, Any]) -> bool:
    return result.value.is_finite() and result.end <= result.filed


def _adds_up(result: Income, _: Mapping[str, Any]) -> bool:
    return result.revenue - result.cost == result.gross_profit


def _in_range(result: date, _: Mapping[str, Any]) -> bool:
    return 1900 <= result.year <= 2100


def declare() -> dict[str, Callable[[Any], Any]]:
    """Put the boundaries around the functions; every call here may be made again, and says so."""
    safe: dict[str, Any] = {"retry_safe": True}
    return {
        "document": error_boundary("document", checks=[_complete], **safe)(read_document),
        "text": error_boundary("text", checks=[lambda result, _: "\ufffd" not in result], **safe)(decode),
        "amount": error_boundary("faulty_amount", checks=[_finite], **safe)(read_amount),
        "day": error_boundary("day", checks=[_in_range], **safe)(read_day),
        "filing_day": error_boundary("filing_day", checks=[_in_range], **safe)(read_filing_day),
        "fact": error_boundary("fact", checks=[_in_order], **safe)(read_fact),
        "entity": error_boundary("entity", checks=[lambda result, _: result.cik > 0], **safe)(read_entity),
        "income": error_boundary("income", checks=[_adds_up], **safe)(read_income),
        "share": error_boundary("faulty_share", checks=[_points], **safe)(read_share),
        "currency": error_boundary("currency", **safe)(currency_of),
        "growth": error_boundary("growth", checks=[_finite], **safe)(lambda pair: growth(*pair)),
        "fetch": error_boundary("fetch", **safe)(fetch),
        "fetch_document": error_boundary("fetch_document", checks=[_complete], **safe)(fetch_document),
        "amount_or_none": error_boundary("amount_or_none", **safe)(read_or_skip),
    }
