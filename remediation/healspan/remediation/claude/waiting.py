"""How long a server asks to wait, from the headers of its refusal.

Pure. Understood are ``retry-after-ms``; ``retry-after`` in seconds or as a date; and where neither is given, the reset
of an exhausted rate limit, in the notations of Anthropic (a time) and of common gateways (seconds, a duration such as
``6m0s``, or seconds since 1970).
"""

from __future__ import annotations

import email.utils
import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

__all__ = ["MOST_WAIT", "asked_to_wait"]

MOST_WAIT = 86_400.0
"""Seconds; nobody waits for a server longer than a day, whatever it says."""

_RESET = re.compile(r"(?:anthropic|x)-ratelimit-(?:[a-z-]+-)?reset(?:-[a-z-]+)?")
_DURATION = re.compile(
    r"(?:(\d{1,9})h)?(?:(\d{1,9})m(?!s))?(?:(\d{1,9}(?:\.\d{1,9})?)s)?(?:(\d{1,9}(?:\.\d{1,9})?)ms)?"
)
_EPOCH = 10_000_000.0
"""Numbers beyond this are seconds since 1970; no limit lasts for four months."""


def asked_to_wait(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return the seconds that a server asks to wait, at most `MOST_WAIT`; None where it does not say.

    Args:
        headers: by their names in lower case.
        now: an aware time.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return _bounded(milliseconds / 1_000)
    said = headers.get("retry-after")
    wait = _number(said)
    if wait is None:
        wait = _until_date(said, now)
    if wait is None:
        wait = _until_reset(headers, now)
    return None if wait is None else _bounded(wait)


def _bounded(seconds: float) -> float:
    return min(max(seconds, 0.0), MOST_WAIT)


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return None if math.isnan(number) else number


def _until_date(text: str | None, now: datetime) -> float | None:
    try:
        when = email.utils.parsedate_to_datetime(text) if text is not None else None
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return None if when is None else _seconds_between(when, now)


def _seconds_between(when: datetime, now: datetime) -> float:
    return ((when if when.tzinfo is not None else when.replace(tzinfo=UTC)) - now).total_seconds()


def _until_reset(headers: Mapping[str, str], now: datetime) -> float | None:
    """Wait for the last of the exhausted limits; where it is not said what remains, for the first of those."""
    resets = list(_resets(headers, now))
    exhausted = [wait for wait, remaining in resets if remaining == 0]
    if exhausted:
        return max(exhausted)
    return min((wait for wait, remaining in resets if remaining is None), default=None)


def _resets(headers: Mapping[str, str], now: datetime) -> Iterator[tuple[float, float | None]]:
    """Yield when each limit is whole again, and what remains of it."""
    for name, text in headers.items():
        wait = _wait(text.strip(), now) if _RESET.fullmatch(name) else None
        if wait is not None:
            yield wait, _number(headers.get(name.replace("reset", "remaining")))


def _wait(text: str, now: datetime) -> float | None:
    number = _number(text)
    if number is not None:
        return number - now.timestamp() if number > _EPOCH else number
    match = _DURATION.fullmatch(text)
    if match and text:
        hours, minutes, seconds, milliseconds = (float(part or 0) for part in match.groups())
        return hours * 3_600 + minutes * 60 + seconds + milliseconds / 1_000
    try:
        return _seconds_between(datetime.fromisoformat(text), now)
    except (ValueError, OverflowError):
        return None
