"""Functions whose failures an adapter answers: what goes in and out of the sandbox, and what cannot."""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import NamedTuple

from pydantic import BaseModel
from tests.adapters import body

from healspan.instrumentation import error_boundary
from healspan.remediation.step import AdapterStep

WHO: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")


class Unit(Enum):
    ONES = 1
    THOUSANDS = 1_000


@dataclasses.dataclass(frozen=True)
class Money:
    amount: Decimal
    unit: Unit = Unit.ONES
    on: date | None = None


class Report(BaseModel):
    title: str
    lines: list[Money] = []


class Point(NamedTuple):
    x: int
    y: int


class Handle:
    """What cannot cross."""


@error_boundary("adapted_amount", retry_safe=True)
def amount(text: str, factor: int = 1) -> float:
    """Read an amount."""
    return float(text) * factor


@error_boundary("adapted_once")
def once(text: str) -> float:
    """Read an amount; cannot be done twice."""
    return float(text)


@error_boundary("adapted_async", retry_safe=True)
async def waiting(text: str) -> tuple[float, str]:
    """Read an amount, awaiting."""
    await asyncio.sleep(0)
    return float(text), WHO.get()


@error_boundary("adapted_money", retry_safe=True)
def money(row: Money) -> Money:
    """Only takes thousands."""
    if row.unit is not Unit.THOUSANDS:
        raise ValueError("thousands only")
    return row


@error_boundary("adapted_report", retry_safe=True)
def report(title: str) -> Report:
    """Never works."""
    raise ValueError(title)


@error_boundary("adapted_point", retry_safe=True)
def point(text: str) -> Point:
    """Never works."""
    raise ValueError(text)


@error_boundary("adapted_handle", retry_safe=True)
def handle(name: str, near: Handle | None = None) -> Handle:
    """Gives an object that cannot cross."""
    if name != "good":
        raise ValueError(name)
    return Handle()


@handle.strategy("other", automatic=False)
def other_handle(name: str, near: Handle | None = None, *, kind: str = "x") -> Handle:
    """Gives another one."""
    made = Handle()
    made.__dict__["kind"] = kind
    return made


class Reader:
    """Has a method that is a boundary."""

    @error_boundary("adapted_method", retry_safe=True)
    def read(self, text: str) -> float:
        """Read an amount."""
        return float(text)


@error_boundary("adapted_snapshot", retry_safe="snapshot")
def popped(rows: list[str]) -> float:
    """Takes the last row away."""
    return float(rows.pop())


@error_boundary("adapted_fallback", fallback=-1.0)
def falling(text: str) -> float:
    """Has a fallback."""
    return float(text)


CLEAN = AdapterStep(text=body("text = arguments['text'].strip('$').replace(',', '')", "return call(text=text)"))
"""Takes the signs of a currency and of thousands away, and makes the call again."""
