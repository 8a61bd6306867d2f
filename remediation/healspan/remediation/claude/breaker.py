"""A circuit breaker: a server that fails is left alone for a while, and then one request tries whether it is back.

Pure: time comes in, in seconds of a clock that never goes backwards. Not safe between threads; the gateway locks it.
"""

from __future__ import annotations

from typing import Literal

from healspan.remediation.claude.ask import FailureKind
from healspan.remediation.record import Record

__all__ = ["OF_THE_SERVER", "Breaker", "BreakerState", "BreakerView"]

OF_THE_SERVER: frozenset[FailureKind] = frozenset(
    {"unauthorized", "rate_limited", "overloaded", "timeout", "unreachable", "server_error", "bad_request"},
)
"""Failures that speak of the server or of how it is asked. The others are answers, only not good ones."""

_LONGEST = 3_600.0
"""Seconds; a server that asks for more is asked again after this."""

BreakerState = Literal["closed", "open", "half_open"]


class BreakerView(Record):
    """Where a breaker stands."""

    state: BreakerState = "closed"
    failures: int = 0
    """In a row."""
    last: FailureKind | None = None
    """The last failure."""
    seconds: float = 0.0
    """Until a probe may go out."""


class Breaker:
    """Closed: all may ask. Open: nobody. Half-open: one, the probe, whose outcome closes or opens it.

    Args:
        failures: so many in a row open it.
        rest: seconds that it stays open, unless the server says how long.
        patience: seconds after which a probe that told nothing no longer stands in the way of the next one.
    """

    def __init__(self, *, failures: int, rest: float, patience: float) -> None:
        self._most = failures
        self._rest = rest
        self._patience = patience
        self._failures = 0
        self._last: FailureKind | None = None
        self._until: float | None = None
        self._probe: object = None
        self._probe_ends = 0.0

    def admits(self, caller: object, time: float) -> bool:
        """Tell whether somebody may ask; in the half-open state whoever is admitted is the probe from now on."""
        if self._until is None:
            return True
        if self._probe is not None and time < self._probe_ends:
            return self._probe is caller
        if time < self._until:
            return False
        self._probe, self._probe_ends = caller, time + self._patience
        return True

    def tell(self, caller: object, time: float, failed: FailureKind | None, retry_after: float | None = None) -> None:
        """Take in the outcome of a request; while not closed, that of the probe only."""
        if self._until is not None and self._probe is not caller:
            return
        if failed is not None and failed in OF_THE_SERVER:
            self._failures += 1
            self._last = failed
            # A key that is refused stays refused; a server that says when to come back means everybody.
            is_down = self._failures >= self._most or failed == "unauthorized"
            if is_down or retry_after or self._until is not None:
                wait = max(retry_after or 0.0, self._rest if is_down or not retry_after else 0.0)
                self._until = time + min(wait, _LONGEST)
        else:
            self._failures, self._until = 0, None
        self._probe = None

    def leave(self, caller: object) -> None:
        """Let another be the probe, if this one was and told nothing."""
        if self._probe is caller:
            self._probe = None

    def view(self, time: float) -> BreakerView:
        """Say where it stands."""
        if self._until is None:
            return BreakerView(failures=self._failures, last=self._last)
        left = max(self._until - time, 0.0)
        return BreakerView(
            state="open" if left > 0 else "half_open", failures=self._failures, last=self._last, seconds=left
        )
