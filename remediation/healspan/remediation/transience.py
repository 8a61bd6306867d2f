"""Transient failures: which exceptions may pass by themselves, and how long to wait for that.

Pure but for reading a few attributes of foreign exceptions, each read guarded.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from healspan.remediation.errors import StepInapplicable
from healspan.remediation.step import RetryStep

__all__ = ["is_transient", "retry_after", "says_status", "wait_seconds"]

_TYPES = (ConnectionError, TimeoutError, InterruptedError)
_WORDS = (
    *("timeout", "timedout", "temporar", "unavailable", "ratelimit", "toomanyrequests", "throttl", "overloaded"),
    # requests, httpx, aiohttp, redis, http.client: the connection broke, and their class is none of the builtin ones.
    *("connectionerror", "connecterror", "networkerror", "disconnected", "incompleteread", "chunkedencoding"),
)
_STATUSES = (408, 425, 429, 502, 503, 504, 529)
_FINAL = tuple(status for status in range(400, 500) if status not in _STATUSES)


def is_transient(error: BaseException) -> bool:
    """Tell whether a failure says of itself that it may pass: by its type, its name, or an HTTP status."""
    if issubclass(type(error), _TYPES):
        return True
    names = [cls.__name__.lower().replace("_", "") for cls in type(error).__mro__]
    if any(word in name for name in names for word in _WORDS):
        return True
    # urllib puts what broke inside an error of its own.
    if isinstance(_guarded(lambda: getattr(error, "reason", None)), _TYPES):
        return True
    return says_status(error, *_STATUSES)


def says_status(error: BaseException, *statuses: int) -> bool:
    """Tell whether a failure carries one of these HTTP statuses."""
    return any(_read(error, *path) in statuses for path in (("status_code",), ("status",), ("response", "status_code")))


def retry_after(
    error: BaseException,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> float | None:
    """Return the seconds that a failure asks to wait, from `retry_after` or a Retry-After header; None if none.

    The header holds seconds or a date; a date that has passed asks for nothing.
    """
    headers = _read(error, "response", "headers") or _read(error, "headers")
    stated = _read(error, "retry_after")
    if stated is None and headers is not None:
        stated = _guarded(lambda: headers.get("retry-after") or headers.get("Retry-After"))
    seconds = _guarded(lambda: float(stated)) if isinstance(stated, int | float | str) else None
    if seconds is None and isinstance(stated, str):
        seconds = _guarded(lambda: (parsedate_to_datetime(stated).astimezone(UTC) - now()).total_seconds())
    return seconds if isinstance(seconds, float) and seconds >= 0 else None


def wait_seconds(
    step: RetryStep,
    number: int,
    error: BaseException,
    jitter: Callable[[], float] = random.random,
) -> float:
    """Return how long to wait before a further call.

    Args:
        step: the bounds.
        number: of the call, from 0.
        error: what the last call raised.
        jitter: a number in [0, 1): equal failures of many processes must not come back together.

    Raises:
        StepInapplicable: the other side asks for more patience than the step has, or has answered for good. One
            pattern covers every status that a client raises the same exception for.
    """
    if says_status(error, *_FINAL):
        raise StepInapplicable("the other side has refused the request for good, and would again")
    asked = retry_after(error)
    if asked is not None:
        if asked > step.longest_wait:
            raise StepInapplicable(f"it asks to wait {asked:g} s, the fix waits {step.longest_wait:g} s at most")
        return asked
    full = min(step.longest_wait, step.first_wait * 2.0**number)
    return float(full * (0.5 + jitter() / 2))


def _read(value: Any, *names: str) -> Any:
    """Return an attribute of an attribute, where it is plain or a mapping; None otherwise."""
    for name in names:
        value = _guarded(functools.partial(getattr, value, name, None))
        if value is None:
            return None
    return value if isinstance(value, int | float | str) or hasattr(type(value), "get") else None


def _guarded(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except Exception:
        # An exception's own attributes may raise; then it has said nothing.
        return None
