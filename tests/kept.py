"""A service whose boundaries keep good calls."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from healspan.instrumentation import error_boundary
from healspan.remediation.boundary import OneOf
from healspan.remediation.repair import current_probe


@error_boundary("kept", retry_safe=True, golden=1.0)
def kept(text: str, factor: int = 1) -> float:
    """Read an amount."""
    return float(text) * factor


@error_boundary("kept_async", retry_safe=True, golden=1.0)
async def kept_async(text: str) -> float:
    """Read an amount, awaiting."""
    await asyncio.sleep(0)
    return float(text)


@error_boundary("unasked", retry_safe=True)
def unasked(text: str) -> float:
    """Read an amount; nobody asked for good calls."""
    return float(text)


@error_boundary("drains", golden=1.0)
def drains(rows: list[int]) -> int:
    """Change the argument."""
    total = sum(rows)
    rows.clear()
    return total


@error_boundary("consumes", golden=1.0)
def consumes(rows: Iterator[int]) -> int:
    """Use the argument up."""
    return sum(rows)


@dataclass
class Money:
    """An amount that is no plain value."""

    amount: float


@error_boundary("opaque", retry_safe=True, golden=1.0)
def opaque(money: Money) -> float:
    """Read an amount of another class."""
    return float(money.amount)


@error_boundary("secretive", golden=1.0)
def secretive(user: str, password: str) -> int:
    """Take a secret."""
    return len(user) + len(password)


@error_boundary("changed", retry_safe=True)
def changed(text: str) -> float:
    """Give good calls another result while a fix is tried, as a repair below a handler in C would."""
    return float(text) + (1.0 if current_probe.get() is not None and text == "1" else 0.0)


counted: list[str] = []


@error_boundary("restless", retry_safe=True)
def restless(text: str) -> float:
    """Give another result each time."""
    counted.append(text)
    return float(text) + len(counted)


@error_boundary("undeclared", retry_safe=True)
def undeclared(text):  # type: ignore[no-untyped-def]
    """Read an amount, with no contract."""
    return float(text)


@error_boundary("passing", retry_safe=True)
def passing(text: str) -> float:
    """Fail once, with an operand that the second call does not see."""
    counted.append(text)
    return float(text if len(counted) < 2 else text.strip("$"))


@error_boundary("tuned_late", retry_safe=True, tunable={"labels": OneOf(("old", "new"))})
def tuned(payload: dict[str, Any], labels: str = "old") -> int:
    """Look under a label; the first call finds nothing, whatever the label."""
    counted.append(labels)
    if len(counted) < 2:
        raise LookupError(labels)
    return int(payload[labels])


@error_boundary("behind", retry_safe=True, mode="background")
def behind(text: str) -> float:
    """Read an amount; fixes are looked for later."""
    return float(text)


@error_boundary("behind_async", retry_safe=True, mode="background")
async def behind_async(text: str) -> float:
    """Likewise, awaiting."""
    await asyncio.sleep(0)
    return float(text)


@error_boundary("behind_list", retry_safe=True, mode="background", checks=[lambda result, arguments: result >= 0])
def behind_list(rows: list[str]) -> float:
    """Read a row that the caller takes away."""
    return float(rows[0])


@error_boundary("inner", retry_safe=True)
def inner(text: str) -> str:
    """Reached by good calls only."""
    return text


@error_boundary("outer", retry_safe=True)
def outer(text: str, *, further: bool = False) -> float:
    """Read an amount; a good call also reaches another boundary."""
    return float(inner(text) if further else text)


@error_boundary("outer_async", retry_safe=True)
async def outer_async(text: str, *, further: bool = False) -> float:
    """Likewise, awaiting."""
    await asyncio.sleep(0)
    return float(inner(text) if further else text)
