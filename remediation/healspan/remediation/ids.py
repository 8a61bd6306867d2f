"""Identifiers: UUID version 7 (RFC 9562), so that rows sort by the time they were made."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from uuid import UUID

__all__ = ["IdSource", "uuid7"]

_STEPS = 4096
"""Sub-millisecond steps of the 12 bits after the timestamp."""
_AT_ONCE = 256
"""Identifiers whose random bits are asked for together: the system takes longer to answer than all the rest, and lets
another thread have the interpreter meanwhile, in the middle of a request."""


class IdSource:
    """Makes UUIDs of version 7 that rise strictly within a process, also when the clock stands still.

    Args:
        now_ns: The clock, in nanoseconds since 1970.
        random: Gives that many random bytes.
    """

    def __init__(
        self,
        now_ns: Callable[[], int] = time.time_ns,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._now_ns = now_ns
        self._random = random
        self._last = 0
        self._renew()
        # A child of a fork must not inherit a lock that another thread holds, nor bits that its parent will use.
        os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self._lock = threading.RLock()
        self._tails: list[int] = []

    def __call__(self) -> UUID:
        """Return the next identifier."""
        milliseconds, rest = divmod(self._now_ns(), 1_000_000)
        tick = milliseconds * _STEPS + rest * _STEPS // 1_000_000
        with self._lock:
            tick = self._last = max(tick, self._last + 1)
            if not self._tails:
                self._tails = memoryview(self._random(8 * _AT_ONCE)).cast("Q").tolist()
            tail = self._tails.pop() >> 2
        milliseconds, step = divmod(tick, _STEPS)
        return UUID(int=(milliseconds << 80) | (7 << 76) | (step << 64) | (2 << 62) | tail)


uuid7 = IdSource()
"""The process's own source."""
