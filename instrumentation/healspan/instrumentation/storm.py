"""A storm: the very same failure, over and over, that nothing here can heal.

Each costs what it costs to capture, write down and look for a fix, which a service that fails a thousand times a second
has not got. So of those that fail in the same place with the same type, and for which no fix serves, some a second are
dealt with in full, and the rest goes on as it would have, counted. As soon as a fix serves, none is passed over.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import CodeType
from typing import NamedTuple

from healspan.instrumentation.allowance import Allowance
from healspan.instrumentation.exceptions import traceback_of
from healspan.remediation.incident import Pattern
from healspan.remediation.store import FixIndex

__all__ = ["Place", "Storm", "raised_at"]

BURST = 2.5
"""Seconds' worth of failures that are dealt with in full at once."""
_MOST_PLACES = 256
_DEEPEST = 64
"""Frames below the boundary that are gone down; where it failed deeper, nothing is passed over."""


class Place(NamedTuple):
    """Where, and as what, an exception was raised."""

    error_type: type[BaseException]
    code: CodeType
    line: int
    """Not the instruction, which is another one once the interpreter has specialised it."""


class _Unhealed:
    """Failures of one place that have ended without a fix."""

    __slots__ = ("allowance", "code", "pattern")

    def __init__(self, pattern: Pattern, code: CodeType) -> None:
        self.pattern = pattern
        self.code = code
        """Kept, so that no other one gets its id."""
        self.allowance = Allowance()


def raised_at(error: BaseException) -> Place | None:
    """Return where an exception was raised; None where that is too deep, or unknown."""
    trace = traceback_of(error)
    for _ in range(_DEEPEST):
        if trace is None:
            return None
        if trace.tb_next is None:
            return Place(type(error), trace.tb_frame.f_code, trace.tb_lineno or 0)
        trace = trace.tb_next
    return None


class Storm:
    """What one boundary knows of failures that come again and again.

    Without a lock, as `Allowance`.

    Args:
        clock: monotonic, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._unhealed: dict[tuple[type[BaseException], int, int], _Unhealed] = {}

    def ended(self, place: Place | None, pattern: Pattern) -> None:
        """Note that a failure was dealt with in full, and not healed."""
        if place is None:
            return
        key = _key(place)
        known = self._unhealed.get(key)
        if known is None or known.pattern.exact != pattern.exact:
            if len(self._unhealed) >= _MOST_PLACES:
                self._unhealed.clear()
            self._unhealed[key] = _Unhealed(pattern, place.code)

    def passes_over(self, place: Place | None, index: FixIndex, module: str, *, rate: float) -> Pattern | None:
        """Return the pattern of a failure that is not dealt with; None if it is to be.

        Args:
            place: where it was raised.
            index: of the fixes that serve.
            module: the boundary's name.
            rate: failures of one place and type a second that are dealt with in full.
        """
        known = self._unhealed.get(_key(place)) if place is not None else None
        if known is None or known.allowance.take(self._clock(), rate=rate, burst=BURST * rate):
            return None
        return None if index.serves(known.pattern, module) else known.pattern


def _key(place: Place) -> tuple[type[BaseException], int, int]:
    """Return what tells a place: hashing a code object reads all of it."""
    return place.error_type, id(place.code), place.line
