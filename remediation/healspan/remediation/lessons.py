"""Lessons: which fixes have failed a rung that speaks of the fix itself, and so are left alone for a while.

What a fix does to one operand says nothing about the next one: a failed call or a broken contract is no lesson. A
good call that it changes is.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from datetime import datetime, timedelta

from healspan.remediation.validation import Rung, RungResult, Validation

__all__ = ["TELLING", "Lessons"]

TELLING = frozenset({Rung.GOLDEN, Rung.NEIGHBOURS})
"""Rungs that speak of the fix, not of the input."""

_MOST = 10_000


class Lessons:
    """What this process has learned about fixes, by fix and exact pattern; safe to share between threads.

    Args:
        rest: how long a fix is left alone.
    """

    def __init__(self, rest: timedelta) -> None:
        self._rest = rest
        self._lock = threading.RLock()
        self._known: OrderedDict[tuple[str, str], tuple[datetime, RungResult]] = OrderedDict()

    def learn(self, validation: Validation, pattern: str) -> bool:
        """Take in a climb; whether there was a lesson in it."""
        failed = validation.failed
        if failed is None or failed.rung not in TELLING:
            return False
        with self._lock:
            self._known[validation.fix_id, pattern] = (validation.at + self._rest, failed)
            if len(self._known) > _MOST:
                self._known.popitem(last=False)
        return True

    def about(self, fix_id: str, pattern: str, now: datetime) -> str | None:
        """Say why a fix is not to be tried on a pattern now; None if nothing is known against it."""
        with self._lock:
            known = self._known.get((fix_id, pattern))
            if known is None:
                return None
            until, failed = known
            if until <= now:
                del self._known[fix_id, pattern]
                return None
        return f"until {until:%H:%M} UTC it is not tried again: it failed rung {failed.rung!s} ({failed.reason})"
