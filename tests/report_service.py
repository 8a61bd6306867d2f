"""A small service whose boundaries depend on each other: a unit, numbers in it, their sum; the tests make it fail."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from healspan.instrumentation import error_boundary, pipeline
from healspan.remediation.run import Run

__all__ = [
    "adds_up",
    "read_rows",
    "report",
    "report_and",
    "report_async",
    "report_catching",
    "report_in_threads",
    "report_or_none",
    "report_quietly",
]


@error_boundary("unit", checks=[lambda result, arguments: result > 0])
def unit(page: Mapping[str, Any]) -> int:
    """Dollars for one printed number."""
    return {"thousands": 1_000}[page["unit"]]


@unit.strategy("other words")
def unit_in_other_words(page: Mapping[str, Any]) -> int:
    """Knows more words than the primary."""
    return {"millions": 1_000_000}[page["unit"]]


@error_boundary("numbers", checks=[lambda result, arguments: len(result) == len(arguments["page"]["cells"])])
def numbers(page: Mapping[str, Any], one: int) -> list[float]:
    """Every cell in dollars."""
    return [int(cell) * one for cell in page["cells"]]


@numbers.strategy("with commas")
def numbers_with_commas(page: Mapping[str, Any], one: int) -> list[float]:
    """Knows thousands separators."""
    return [int(cell.replace(",", "")) * one for cell in page["cells"]]


@error_boundary("section", checks=[lambda result, arguments: result >= 0])
def section(page: Mapping[str, Any], values: Sequence[float]) -> float:
    """The amount of one line."""
    return values[page["lines"].index("total")]


@section.strategy("last line")
def last_line(page: Mapping[str, Any], values: Sequence[float]) -> float:
    """A total stands last."""
    return values[-1]


@error_boundary("ratio", checks=[lambda result, arguments: True])
def ratio(page: Mapping[str, Any], total: float) -> float:
    """What one share gets."""
    return total / page["shares"][0]


@ratio.strategy("one share")
def one_share(page: Mapping[str, Any], total: float) -> float:
    """Where the shares are not told, all of it."""
    return total


def adds_up(results: Mapping[str, Any]) -> bool:
    """The last number is the sum of those before it."""
    values = results["numbers"]
    return bool(values[-1] == sum(values[:-1]))


def report(page: Mapping[str, Any], *, checks: Sequence[Any] = ()) -> tuple[float, Run]:
    """Each step takes what the one before it gave; a failure leaves the run."""
    with pipeline("report", key="one", context={"form": "10-K"}, checks=checks) as run:
        one = unit(page)
        values = numbers(page, one)
        total = section(page, values)
        return (ratio(page, total) if "shares" in page else total), run


def report_catching(page: Mapping[str, Any]) -> tuple[list[object], Run]:
    """Each step goes on without the one before it."""
    found: list[object] = []
    with pipeline("catching", key="one") as run:
        for step in (lambda: unit(page), lambda: numbers(page, 1), lambda: section(page, [1.0])):
            try:
                found.append(step())
            except LookupError as error:
                found.append(error)
            except ValueError as error:
                found.append(error)
    return found, run


def report_or_none(page: Mapping[str, Any]) -> float | None:
    """A failure leaves the run, and is handled outside it."""
    try:
        with pipeline("report", key="one", context={"form": "10-K"}):
            one = unit(page)
            return section(page, numbers(page, one))
    except Exception:
        return None


def report_quietly(page: Mapping[str, Any]) -> float | None:
    """A failure is swallowed before it can leave the run."""
    with pipeline("report", key="one", context={"form": "10-K"}), contextlib.suppress(Exception):
        one = unit(page)
        return section(page, numbers(page, one))
    return None


def report_and(page: Mapping[str, Any], afterwards: Callable[[], object]) -> tuple[float | None, object]:
    """The last step may fail; the run goes on."""
    with pipeline("report", key="one", context={"form": "10-K"}):
        one = unit(page)
        values = numbers(page, one)
        total = section(page, values)
        share: float | None = None
        try:
            share = ratio(page, total)
        except IndexError:
            share = None
        return share, afterwards()


async def report_async(page: Mapping[str, Any]) -> float:
    """Likewise, between awaits."""
    async with pipeline("report", key="one", context={"form": "10-K"}):
        one = unit(page)
        await asyncio.sleep(0)
        values = numbers(page, one)
        return section(page, values)


def report_in_threads(page: Mapping[str, Any]) -> float:
    """Likewise, each step in a thread of a pool."""
    with ThreadPoolExecutor(2) as pool, pipeline("report", key="one", context={"form": "10-K"}) as run:
        one = pool.submit(run.bind(unit), page).result()
        values = pool.submit(run.bind(numbers), page, one).result()
        return float(pool.submit(run.bind(section), page, values).result())


@error_boundary("name", checks=[lambda result, arguments: True])
def name(row: Mapping[str, str]) -> str:
    """What a row is called."""
    return row["name"]


@name.strategy("title")
def title(row: Mapping[str, str]) -> str:
    """By another column."""
    return row["title"]


@error_boundary("size", checks=[lambda result, arguments: True])
def size(row: Mapping[str, str]) -> int:
    """How large it is."""
    return int(row["size"])


@size.strategy("zero")
def zero(row: Mapping[str, str]) -> int:
    """Where it is not told, nothing."""
    return 0


def read_rows(number: int) -> tuple[list[tuple[str, int]], Run]:
    """Row by row, each of which needs the same two fixes."""
    rows = ({"title": str(one), "size": "none"} for one in range(number))
    with pipeline("rows", key="1") as run:
        return [(name(row), size(row)) for row in rows], run
