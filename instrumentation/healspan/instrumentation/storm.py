"""A storm: the very same failure, over and over, that nothing here can heal.

Each costs what it costs to capture, write down and look for a fix, which a service that fails a thousand times a second
has not got. So of those that fail in the same place with the same type, and for which no fix serves, some a second are
dealt with in full, and the rest goes on as it would have, counted. As soon as a fix serves, none is passed over.

The same place is the same way to it as well, and the same causes: libraries raise all they have to say in one line.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import CodeType, TracebackType
from typing import NamedTuple

from healspan.instrumentation.allowance import Allowance
from healspan.instrumentation.exceptions import traceback_of
from healspan.instrumentation.signals.mark import chain_of
from healspan.remediation.incident import Pattern
from healspan.remediation.store import FixIndex

__all__ = ["Place", "Storm", "raised_at"]

BURST = 2.5
"""Seconds' worth of failures that are dealt with in full at once."""
_MOST_PLACES = 256
_MOST_PATTERNS = 16
_DEEPEST = 64
"""Frames below the boundary that are gone down; where it failed deeper, nothing is passed over."""


class Place(NamedTuple):
    """Where, and as what, an exception was raised."""

    error_type: type[BaseException]
    code: CodeType
    line: int
    """Not the instruction, which is another one once the interpreter has specialised it."""
    way: frozenset[tuple[int, int]]
    """The lines that it has left, and those that its causes and members have, with their types; of a recursion each
    once. By ids: to hash a code object reads all of it, and to hash a class runs the application's code."""
    held: Mapping[tuple[int, int], object]
    """What has these ids: kept, so that nothing else gets them."""


_Key = tuple[int, int, int, frozenset[tuple[int, int]]]
_A_TYPE = -1
"""In the place of a line."""


class _Known:
    """Failures of one place that have been dealt with."""

    __slots__ = ("allowance", "patterns", "place")

    def __init__(self, place: Place) -> None:
        self.place = place
        self.patterns: dict[str, Pattern] = {}
        """By `Pattern.exact`: one line may lack several names."""
        self.allowance = Allowance()


def raised_at(error: BaseException) -> Place | None:
    """Return where an exception was raised; None where that is too deep, or unknown."""
    innermost: TracebackType | None = None
    way: dict[tuple[int, int], object] = {}
    for one in chain_of(error):
        kind = type(one)
        way[id(kind), _A_TYPE] = kind
        trace = traceback_of(one)
        for _ in range(_DEEPEST):
            if trace is None:
                break
            code = trace.tb_frame.f_code
            way[id(code), trace.tb_lineno or 0] = code
            if one is error:
                innermost = trace
            trace = trace.tb_next
        if one is error and (innermost is None or trace is not None):
            return None
    if innermost is None:
        return None
    return Place(type(error), innermost.tb_frame.f_code, innermost.tb_lineno or 0, frozenset(way), way)


class Storm:
    """What one boundary knows of failures that come again and again.

    Without a lock, as `Allowance`.

    Args:
        clock: monotonic, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[_Key, _Known] = {}

    def ended(self, place: Place | None, pattern: Pattern) -> None:
        """Note that a failure was dealt with in full, healed or not."""
        if place is None:
            return
        key = _key(place)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _MOST_PLACES:
                self._known.clear()
            known = self._known[key] = _Known(place)
        if pattern.exact not in known.patterns:
            if len(known.patterns) >= _MOST_PATTERNS:
                known.patterns = {}
            # Another one takes its place, since other threads may be reading it.
            known.patterns = {**known.patterns, pattern.exact: pattern}

    def passes_over(self, place: Place | None, index: FixIndex, module: str, *, rate: float) -> Pattern | None:
        """Return the pattern of a failure that is not dealt with; None if it is to be.

        Args:
            place: where it was raised.
            index: of the fixes that serve.
            module: the boundary's name.
            rate: failures of one place and type a second that are dealt with in full.
        """
        known = self._known.get(_key(place)) if place is not None else None
        if known is None or known.allowance.take(self._clock(), rate=rate, burst=BURST * rate):
            return None
        pattern: Pattern | None = None
        for pattern in known.patterns.values():
            if index.serves(pattern, module):
                return None
        return pattern


def _key(place: Place) -> _Key:
    return id(place.error_type), id(place.code), place.line, place.way
