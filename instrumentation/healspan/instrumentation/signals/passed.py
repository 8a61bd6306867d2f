"""Passed: the failure of a storm that each thread has let go on last, whose signals are nothing new.

Its spans end in the same thread while it is on its way out. So no mark has to be left on it, and nobody else be told.
"""

from __future__ import annotations

import sys
import threading
from types import TracebackType

from healspan.instrumentation.exceptions import traceback_of

__all__ = ["Passed", "Steps", "steps_of"]

_ident, _exception = threading.get_ident, sys.exception

_MOST_THREADS = 1_000
_DEEPEST = 1_000

Steps = tuple[int, ...]
"""The ids of the code objects that an exception has left, each with its instruction: its own id may be another one's by
now, and what raised it may have been called past the boundary."""


class Passed:
    """The last one of each thread. Without a lock: each thread looks at its own."""

    def __init__(self) -> None:
        self._last: dict[int, tuple[int, Steps]] = {}

    def note(self, error: BaseException, steps: Steps | None = None) -> None:
        """Note that a boundary has passed over an exception, and counted it.

        Args:
            error: the exception.
            steps: from the boundary's function on, where they are at hand.
        """
        if len(self._last) >= _MOST_THREADS:
            self._last.clear()  # most of them have ended
        trace = traceback_of(error)
        if steps is None:
            steps = steps_of(trace)
        if steps or trace is None:  # a broken contract has none: its type is no other exception's
            self._last[_ident()] = id(error), steps

    def under_way(self, error_type: object) -> bool:
        """Whether that is what is being handled, and what a signal of this type, qualified or not, tells of."""
        last, error = self._last.get(_ident()), _exception()
        if last is None or error is None or id(error) != last[0] or type(error_type) is not str:
            return False
        if error_type.rpartition(".")[2] != type(error).__name__:
            return False
        steps = last[1]
        return not steps or steps_of(traceback_of(error))[-len(steps) :] == steps


def steps_of(trace: TracebackType | None) -> Steps:
    """Return the steps of a traceback; none where it is too deep."""
    steps: list[int] = []
    while trace is not None:
        steps += (id(trace.tb_frame.f_code), trace.tb_lasti)
        trace = trace.tb_next
        if len(steps) > 2 * _DEEPEST:
            return ()
    return tuple(steps)
