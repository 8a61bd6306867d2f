"""A service in which one call can fail at several expressions, one behind the other."""

from __future__ import annotations

import asyncio
from typing import Any

from healspan.instrumentation import error_boundary


def read_price(text: str) -> float:
    """Read a price, in a function of its own."""
    return float(text)


@error_boundary("two_faults", retry_safe=True)
def two_faults(text: str, payload: dict[str, Any]) -> float:
    """Fail at a number, then at a key."""
    price = float(text)
    return price * payload["unit_count"]


@error_boundary("two_functions", retry_safe=True)
def two_functions(text: str, payload: dict[str, Any]) -> float:
    """Fail in a function below, then here."""
    return read_price(text) * payload["unit_count"]


@error_boundary("three_faults", retry_safe=True)
def three_faults(first: str, second: str, payload: dict[str, Any]) -> float:
    """Fail three times."""
    one = float(first)
    other = int(second)
    return one + other + payload["unit_count"]


@error_boundary("four_faults", retry_safe=True)
def four_faults(first: str, second: str, third: str, payload: dict[str, Any]) -> float:
    """Fail once too often."""
    one = float(first)
    other = int(second)
    more = float(third)
    return one + other + more + payload["unit_count"]


@error_boundary("two_faults_async", retry_safe=True)
async def two_faults_async(text: str, payload: dict[str, Any]) -> float:
    """Fail twice, awaiting in between."""
    price = float(text)
    await asyncio.sleep(0)
    return price * payload["unit_count"]


@error_boundary("hopeless", retry_safe=True)
def hopeless(text: str, divisor: int) -> float:
    """Fail at a number, then where nothing helps."""
    price = float(text)
    return price / divisor


flaky_calls: list[str] = []


@error_boundary("flaky_behind", retry_safe=True)
def flaky(text: str) -> float:
    """Fail at a number, then at a connection that comes back."""
    price = float(text)
    flaky_calls.append(text)
    if len(flaky_calls) < 3:
        raise ConnectionError("reset")
    return price


@error_boundary("by_strategy", retry_safe=True)
def by_strategy(text: str) -> float:
    """Fail where nothing helps."""
    raise LookupError(text)


@by_strategy.strategy("prose")
def from_prose(text: str) -> float:
    """Fail at a number."""
    return read_price(text.partition(" ")[2])
