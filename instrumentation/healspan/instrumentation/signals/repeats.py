"""Repeats: signals of the same place and type, over and over, of which a few a second tell all there is to know.

Decided in the application's request, from the end of the traceback's text, before anything is made of a signal.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from healspan.instrumentation.allowance import EQUAL_BURST, Allowance

__all__ = ["Repeats"]

_MOST_PLACES = 256
_MOST_TRACES = 64
_OF_ONE_FAILURE = 8
"""Signals of one trace that need one allowance: each span that an exception leaves tells of it again."""

_FRAME = '  File "'
"""Also behind the margin that a group's traceback has: where its last member failed, since the groups of all tasks are
raised in one line of a library's."""


class _Place:
    __slots__ = ("allowance", "traces")

    def __init__(self) -> None:
        self.allowance = Allowance()
        self.traces: dict[int, int] = {}
        """How many more signals of a trace are looked at."""


class Repeats:
    """What has come lately, by place.

    Without a lock, as `Allowance`.

    Args:
        clock: monotonic, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._places: dict[tuple[object, str], _Place] = {}

    def too_many(self, error_type: object, stack: object, trace_id: int, *, message: object = "", rate: float) -> bool:
        """Tell whether a signal is one of too many equal ones.

        Args:
            error_type: as the signal says it.
            stack: its traceback; one that is none is never too many, here.
            message: likewise; it ends the traceback, and whatever it holds is no place.
            trace_id: 0 outside a trace.
            rate: failures of one place and type a second that are looked at.
        """
        if type(stack) is not str or type(error_type) is not str:
            return False
        said = len(message) if type(message) is str else 0
        start = stack.rfind(_FRAME, 0, max(0, len(stack) - said))
        key = error_type, stack[start : stack.find("\n", start)] if start >= 0 else ""
        place = self._places.get(key)
        if place is None:
            if len(self._places) >= _MOST_PLACES:
                self._places.clear()
            place = self._places[key] = _Place()
        more = place.traces.get(trace_id, 0)
        if more:
            place.traces[trace_id] = more - 1
            return False
        allowance, now = place.allowance, self._clock()
        if now < allowance.empty_until or not allowance.take(now, rate=rate, burst=EQUAL_BURST * rate):
            return True
        if trace_id:
            if len(place.traces) >= _MOST_TRACES:
                place.traces.clear()
            place.traces[trace_id] = _OF_ONE_FAILURE - 1
        return False
