"""Dates and spans of time as column headings and covers print them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

__all__ = ["Period", "read_dates", "read_period"]

_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "january jan", "february feb", "march mar", "april apr", "may", "june jun", "july jul", "august aug",
            "september sept sep", "october oct", "november nov", "december dec",
        ),
        start=1,
    )
    for name in names.split()
}  # fmt: skip
_MONTH = "|".join(sorted(_MONTHS, key=len, reverse=True))
_DATE = re.compile(rf"\b({_MONTH})\.?\s*(\d{{1,2}})\b\s*,?\s*((?:19|20)\d\d)\b", re.IGNORECASE)
_DAY = re.compile(rf"\b({_MONTH})\.?\s*(\d{{1,2}})\b(?!\s*,?\s*(?:19|20)\d\d)", re.IGNORECASE)
_YEAR = re.compile(r"(?<![\d,.$])((?:19|20)\d\d)(?![\d,])")
_NUMBERS = {
    "three": 3, "six": 6, "nine": 9, "twelve": 12, "thirteen": 13, "fourteen": 14, "sixteen": 16, "twenty-four": 24,
    "twenty-six": 26, "twenty-seven": 27, "thirty-six": 36, "thirty-nine": 39, "forty": 40, "fifty-two": 52,
    "fifty-three": 53,
}  # fmt: skip
_LENGTH = re.compile(
    rf"\b({'|'.join(sorted(_NUMBERS, key=len, reverse=True))}|\d{{1,2}})[\s-]+(months?|weeks?)\b"
    r"|\b(quarter(?:ly)?)\b|\b(years?|annual|fiscal)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Period:
    """What a heading says: the year, the last day where printed, the length in months where printed."""

    year: int
    end: date | None = None
    months: int | None = None


def read_period(heading: str, side: str = "") -> Period | None:
    """The one period a column heading names; None if it names none or several.

    `side` is the text at the head of the labels ("Year Ended December 31,"), used where the heading is silent.
    """
    dates = set(read_dates(heading))
    years = {int(y) for y in _YEAR.findall(heading)}
    if len(dates) > 1 or len(years) != 1:
        return None
    year = years.pop()
    end = dates.pop() if dates else _day_of(heading, year) or _day_of(side, year)
    return Period(year, end, _months(heading) or _months(side))


def read_dates(text: str) -> list[date]:
    """Every full date in the text, in order."""
    found = []
    for month, day, year in _DATE.findall(text):
        try:
            found.append(date(int(year), _MONTHS[month.lower()], int(day)))
        except ValueError:
            continue
    return found


def _day_of(text: str, year: int) -> date | None:
    days = {(_MONTHS[m.lower()], int(d)) for m, d in _DAY.findall(text)}
    if len(days) != 1:
        return None
    month, day = days.pop()
    try:
        return date(year, month, day)
    except ValueError:
        return None


def _months(text: str) -> int | None:
    """The length a text names; None where it names none or more than one."""
    lengths = set()
    for number, unit, quarter, year in _LENGTH.findall(text):
        if quarter:
            lengths.add(3)
        elif year:
            lengths.add(12)
        else:
            count = _NUMBERS.get(number.lower()) or int(number)
            lengths.add(count if unit.lower().startswith("month") else round(count / 13) * 3)
    if len(lengths) == 2 and 12 in lengths:  # "Fiscal quarter", "three months of the year"
        lengths.discard(12)
    return lengths.pop() if len(lengths) == 1 else None
