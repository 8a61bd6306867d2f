"""A storm: the very same failure, over and over, that nothing here can heal.

Each costs what it costs to capture, write down and look for a fix, which a service that fails a thousand times a second
has not got. So of those that fail in the same place with the same type, and for which no fix serves, some a second are
dealt with in full, and the rest goes on as it would have, counted. As soon as a fix serves, none is passed over; but
where all that serve are repairs in the function itself, and a dozen in a row was declined by them: what they can heal
does not come here.

The same place is the same way to it as well, and the same causes: libraries raise all they have to say in one line.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from types import CodeType, TracebackType
from typing import NamedTuple

from healspan.instrumentation.allowance import EQUAL_BURST, Allowance
from healspan.instrumentation.errors import ContractViolation
from healspan.instrumentation.exceptions import traceback_of
from healspan.instrumentation.signals.mark import chain_of
from healspan.instrumentation.signals.passed import Steps, steps_of
from healspan.remediation.fix import Fix
from healspan.remediation.incident import Pattern
from healspan.remediation.store import Snapshot

__all__ = ["Known", "Place", "Recalled", "Storm", "raised_at", "way_of"]

_MOST_PLACES = 256
_MOST_PATTERNS = 16
_MOST_WAYS = 256
_IN_VAIN = 12
"""Failures in a row that repairs have declined, after which others like them are passed over."""
_DEEPEST = 64
"""Frames below the boundary that are gone down; where it failed deeper, nothing is passed over."""

_TRACEBACK = BaseException.__dict__["__traceback__"]  # past whatever a class overrides
_CAUSE, _CONTEXT = BaseException.__dict__["__cause__"], BaseException.__dict__["__context__"]


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
_NUMBERS = re.compile(r"\d+")
_A_TYPE = -1
"""In the place of a line."""

_Way = tuple[int, ...]
"""How an exception came, quick to tell: the id of its type, then those of the code objects that it has left, each with
the instruction; then the same of its causes. One place has several, and each of them has one place."""


class Recalled(NamedTuple):
    """What a way leads to."""

    known: Known
    steps: Steps
    """See `signals.passed`."""


class Known:
    """Failures of one place that have been dealt with.

    Args:
        place: where.
        pattern: of the first one.
    """

    __slots__ = ("_allowance", "_place", "_vain", "patterns", "sure")

    def __init__(self, place: Place, pattern: Pattern) -> None:
        self._place = place  # kept for the ids
        self.patterns = {pattern.exact: pattern}
        """By `Pattern.exact`: one line may lack several names."""
        self._allowance = Allowance()
        self.sure: tuple[int, Mapping[str, Pattern], float] = -1, self.patterns, 0.0
        """In which snapshot, by its serial, it was found that no fix serves for any of these very patterns, or that all
        have declined, and until when no more failures are dealt with in full: so long all go on."""
        self._vain = -1, 0
        """In which snapshot failures were dealt with that nothing has healed, and how many in a row."""

    @property
    def pattern(self) -> Pattern:
        """The newest kind of failure here."""
        return next(reversed(self.patterns.values()))

    def add(self, pattern: Pattern, in_vain: int | None) -> None:
        """Note a kind of failure, and in which snapshot nothing has healed it; None if something has."""
        serial, times = self._vain
        if in_vain is None:
            self._vain = -1, 0
        else:
            self._vain = in_vain, times + 1 if serial == in_vain else 1
        patterns = self.patterns
        if pattern.exact not in patterns:
            if len(patterns) >= _MOST_PATTERNS:
                patterns = {}
            # Another one takes its place, since other threads may be reading it.
            self.patterns = {**patterns, pattern.exact: pattern}

    def goes_on(
        self,
        now: float,
        snapshot: Snapshot,
        module: str,
        *,
        rate: float,
        heals: bool,
        in_place: Callable[[Fix], bool],
    ) -> bool:
        """Tell whether one more failure goes on as it was.

        Args:
            now: seconds, monotonic.
            snapshot: of the fixes that serve.
            module: the boundary's name.
            rate: failures of one place and type a second that are dealt with in full.
            heals: whether fixes may act there at all.
            in_place: whether a fix acts in the function itself, and nowhere else.
        """
        patterns, allowance = self.patterns, self._allowance
        if snapshot.disabled:
            return False
        kinds = patterns.values() if heals else ()
        serving = [one.fix for each in kinds for group in snapshot.groups(each, module, {}) for one in group]
        if serving and (self._vain[0] != snapshot.serial or self._vain[1] < _IN_VAIN):
            return False
        if not all(map(in_place, serving)):
            return False
        if allowance.take(now, rate=rate, burst=EQUAL_BURST * rate):
            return False
        self.sure = snapshot.serial, patterns, allowance.empty_until
        return True


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
            return None if trace is not None else _broken(error)
    if innermost is None:
        return None
    return Place(type(error), innermost.tb_frame.f_code, innermost.tb_lineno or 0, frozenset(way), way)


def _broken(error: BaseException) -> Place | None:
    """Return the place of a broken contract, which nobody has raised: what it breaks, whatever the numbers."""
    if type(error) is not ContractViolation:
        return None
    what = _NUMBERS.sub("", str(error))
    return Place(ContractViolation, _broken.__code__, 0, frozenset({(hash(what), _A_TYPE)}), {})


class Storm:
    """What one boundary knows of failures that come again and again.

    Without a lock, as `Allowance`.

    Args:
        clock: monotonic, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._known: dict[_Key, Known] = {}
        self.ways: dict[_Way, Recalled] = {}
        """What `find` has found, by `way_of`: nearly all failures of a storm come on few ways."""

    def ended(self, place: Place | None, pattern: Pattern, in_vain: int | None = None) -> None:
        """Note that a failure was dealt with in full.

        Args:
            place: of the failure.
            pattern: likewise.
            in_vain: serial of the snapshot in which nothing has healed it; None if something has, or nobody has tried.
        """
        if place is None:
            return
        key = _key(place)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _MOST_PLACES:
                self._known.clear()
                self.ways.clear()
            known = self._known[key] = Known(place, pattern)
        known.add(pattern, in_vain)

    def find(self, error: BaseException) -> Known | None:
        """Return what is known of failures of the same place and type; None if none was dealt with yet."""
        place = raised_at(error)
        known = None if place is None else self._known.get(_key(place))
        if known is not None:
            trace = traceback_of(error)
            way, steps = way_of(error, trace), steps_of(trace)
            if way and steps and _is_told_by_its_way(error):
                if len(self.ways) >= _MOST_WAYS:
                    self.ways.clear()
                self.ways[way] = Recalled(known, steps)
        return known


def _key(place: Place) -> _Key:
    return id(place.error_type), id(place.code), place.line, place.way


def way_of(error: BaseException, trace: TracebackType | None) -> _Way:
    """Return the way of an exception; empty where it is too long, or parts.

    Args:
        error: what has left the boundary's function.
        trace: its traceback, from the function's own frame on.
    """
    way: list[int] = []
    one: BaseException | None = error
    while one is not None:
        way.append(id(type(one)))
        while trace is not None:
            way += (id(trace.tb_frame.f_code), trace.tb_lasti)
            trace = trace.tb_next
            if len(way) > 2 * _DEEPEST:
                return ()
        cause, one = _CAUSE.__get__(one), _CONTEXT.__get__(one)
        if cause is not None:
            if one is not None and one is not cause:
                return ()
            one = cause
        if one is not None:
            way.append(_A_TYPE)
            if len(way) > 2 * _DEEPEST:  # where it leads to itself
                return ()
            trace = _TRACEBACK.__get__(one)
    return tuple(way)


def _is_told_by_its_way(error: BaseException) -> bool:
    """Whether nothing else has to be looked at: members of a group, the end of a recursion that has to be mended."""
    return not any(issubclass(type(one), (BaseExceptionGroup, RecursionError)) for one in chain_of(error))
