"""An allowance: so many at once, and after that so many a second."""

from __future__ import annotations

import math

__all__ = ["EQUAL_BURST", "Allowance"]

EQUAL_BURST = 6.0
"""Seconds' worth of equal failures that are dealt with at once: a batch shows many of its values before it is a storm.
"""


class Allowance:
    """What is left of it.

    Without a lock: threads that meet here are let through a few more times, or a few less.
    """

    __slots__ = ("_left", "_refilled", "empty_until")

    def __init__(self) -> None:
        self._left: float | None = None
        """None: all, nobody has asked yet."""
        self._refilled = 0.0
        self.empty_until = -math.inf
        """Until then nobody need ask: in a storm nearly all would in vain."""

    def take(self, now: float, *, rate: float, burst: float) -> bool:
        """Tell whether there is one left, and take it.

        Args:
            now: seconds, monotonic.
            rate: how many come back in a second.
            burst: the most there ever are.
        """
        left = burst if self._left is None else min(burst, self._left + (now - self._refilled) * rate)
        self._refilled = now
        enough = left >= 1.0
        # Who gets none takes nothing: else a storm would eat up the bits that come back between two of its failures.
        self._left = left - 1.0 if enough else left
        if not enough:
            self.empty_until = now + (1.0 - left) / rate
        return enough
