"""Rest: an adapter that the sandbox had to stop several times in a row is left alone for a while.

Each such use costs the failing call all of an adapter's time, and a worker. It may still be right on other documents,
and a human may have approved it, so its state is not touched: this process only stops asking, and tries again later.
Pure but for its lock: time comes in, in seconds of a clock that never goes backwards.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

__all__ = ["Resting"]

IN_A_ROW = 3
"""So many uses that had to be stopped, without another in between, begin a rest."""

FIRST, LONGEST = 60.0, 3_600.0
"""Seconds of rest; each one that ends with another such use is followed by one of twice the length."""

_MOST = 1_000
"""Adapters remembered; those not heard of for longest make room."""


@dataclass(slots=True)
class _Record:
    stopped: int = 0
    """In a row."""
    until: float = 0.0


class Resting:
    """Which adapters rest in this process."""

    def __init__(self) -> None:
        self._records: OrderedDict[str, _Record] = OrderedDict()
        self._lock = threading.RLock()

    def left(self, text: str, time: float) -> float:
        """Return the seconds for which an adapter is not to be used; 0: use it, and `tell` how it went.

        At the end of a rest one caller is let through; the others wait for what comes of it.
        """
        with self._lock:
            record = self._records.get(text)
            if record is None or record.stopped < IN_A_ROW:
                return 0.0
            if time < record.until:
                return record.until - time
            record.until = time + FIRST
            return 0.0

    def tell(self, text: str, time: float, *, stopped: bool) -> None:
        """Take in how a use went: whether the sandbox had to stop it."""
        with self._lock:
            if not stopped:
                self._records.pop(text, None)
                return
            record = self._records.setdefault(text, _Record())
            self._records.move_to_end(text)
            if len(self._records) > _MOST:
                self._records.popitem(last=False)
            record.stopped += 1
            if record.stopped >= IN_A_ROW:
                record.until = time + min(FIRST * 2.0 ** (record.stopped - IN_A_ROW), LONGEST)
