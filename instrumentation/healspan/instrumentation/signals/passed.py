"""Passed: the failure of a storm that each thread has let go on last, whose signals are nothing new.

Its spans end in the same thread while it is on its way out. So no mark has to be left on it, and nobody else be told.
"""

from __future__ import annotations

import sys
import threading
from types import TracebackType

from healspan.instrumentation.exceptions import traceback_of

__all__ = ["Passed"]

_MOST_THREADS = 1_000
_DEEPEST = 1_000

_Place = tuple[int, int, int]
"""An exception's id, and the code and line where it was raised: the id alone may be another one's by now."""


class Passed:
    """The last one of each thread. Without a lock: each thread looks at its own."""

    def __init__(self) -> None:
        self._last: dict[int, _Place] = {}

    def note(self, error: BaseException) -> None:
        """Note that a boundary has passed over an exception, and counted it."""
        if len(self._last) >= _MOST_THREADS:
            self._last.clear()  # most of them have ended
        place = _place(error)
        if place is not None:
            self._last[threading.get_ident()] = place

    def under_way(self, error_type: object) -> bool:
        """Whether that is what is being handled, and what a signal of this type, qualified or not, tells of."""
        last = self._last.get(threading.get_ident())
        if last is None:
            return False
        error = sys.exception()
        if error is None or id(error) != last[0] or type(error_type) is not str:
            return False
        return error_type.rpartition(".")[2] == type(error).__name__ and _place(error) == last


def _place(error: BaseException) -> _Place | None:
    trace: TracebackType | None = traceback_of(error)
    for _ in range(_DEEPEST):
        if trace is None:
            return None
        below = trace.tb_next
        if below is None:
            return id(error), id(trace.tb_frame.f_code), trace.tb_lineno or 0
        trace = below
    return None
