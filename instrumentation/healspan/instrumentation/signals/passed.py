"""Passed: the failure of a storm that each thread has let go on last, whose signals are nothing new.

Its spans end in the same thread while it is on its way out. So no mark has to be left on it, and nobody else be told.
"""

from __future__ import annotations

import sys
import threading

from healspan.instrumentation.exceptions import traceback_of

__all__ = ["Passed", "raised_in"]

_ident, _exception = threading.get_ident, sys.exception

_MOST_THREADS = 1_000
_DEEPEST = 1_000

_Raised = tuple[int, int]
"""The id of the code object that raised an exception, and its instruction: the exception's own id may be another one's
by now."""


class Passed:
    """The last one of each thread. Without a lock: each thread looks at its own."""

    def __init__(self) -> None:
        self._last: dict[int, tuple[int, _Raised]] = {}

    def note(self, error: BaseException, raised: _Raised | None = None) -> None:
        """Note that a boundary has passed over an exception, and counted it.

        Args:
            error: the exception.
            raised: `raised_in` of it, where that is at hand.
        """
        if len(self._last) >= _MOST_THREADS:
            self._last.clear()  # most of them have ended
        if raised is None:
            raised = raised_in(error)
        if raised is not None:
            self._last[_ident()] = id(error), raised

    def under_way(self, error_type: object) -> bool:
        """Whether that is what is being handled, and what a signal of this type, qualified or not, tells of."""
        last, error = self._last.get(_ident()), _exception()
        if last is None or error is None or id(error) != last[0] or type(error_type) is not str:
            return False
        return error_type.rpartition(".")[2] == type(error).__name__ and raised_in(error) == last[1]


def raised_in(error: BaseException) -> _Raised | None:
    """Return which code has raised an exception, and at which instruction; None where that is too deep, or unknown."""
    trace = traceback_of(error)
    if trace is None:
        return None
    deeper = _DEEPEST
    while (below := trace.tb_next) is not None:
        trace, deeper = below, deeper - 1
        if not deeper:
            return None
    return id(trace.tb_frame.f_code), trace.tb_lasti
