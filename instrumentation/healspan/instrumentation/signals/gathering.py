"""Which signals are of one failure: an exception is told by every span that it leaves, and by every log record.

Pure: signals go in, each with what its traceback says, and failures come out when they are ripe.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import NamedTuple

from healspan.instrumentation.signals.signal import Signal
from healspan.instrumentation.signals.stack import Stack

__all__ = ["Gathered", "Gathering", "Place", "place_of"]

PATIENCE = 1.0
"""Seconds between the first signal of a failure and its incident, in which a log record or span may say more of it."""
PATIENCE_WITHIN = 30.0
"""Likewise where the call of a boundary was under way: it makes the incident itself if the exception reaches it, which
takes as long as what the application does on the way (a ``finally``, the first failure's start of healspan)."""
MEMORY = 60.0
"""Seconds for which a failure is remembered, for the spans around it that end later."""
_MOST = 2_000
_MOST_MARKS = 64


_MARK = "mark"


class Place(NamedTuple):
    """Where, and as what, an exception was raised: what all signals of one failure have in common."""

    trace_id: int
    error_type: str
    """Its last name only: log records do not qualify it."""
    file: str
    """Of the innermost frame; empty where the signal has no traceback."""
    line: int


def place_of(trace_id: int, error_type: str, file: str, line: int) -> Place:
    """Return the place of a failure."""
    return Place(trace_id, error_type.rpartition(".")[2], file, line)


@dataclass(slots=True)
class Gathered:
    """A failure, with the signals of it that have come so far."""

    place: Place
    first: Signal
    stack: Stack
    since: float
    spans: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    """Of each span that carried it, by its id: its parent, start and end."""
    calls: tuple[int, ...] = ()
    """Calls of boundaries that were under way at the first signal."""
    marks: tuple[int, ...] = ()
    """Of the exceptions that its signals were seen to carry."""
    moments: list[tuple[float, float]] = field(default_factory=list)
    """When what carried it began and ended, in seconds since the epoch."""
    left: bool = False
    """Whether one came with none of them under way any more."""
    told: bool = False
    """Whether an incident was made of it, here or at a boundary."""

    def holds(self, signal: Signal) -> bool:
        """Whether a further signal of the same place is of this very failure.

        A span is if it is the parent of one of its spans, or was open all the while of one. Two calls that fail alike
        one after the other are two failures, and so are two exceptions of one span that say different things, as of
        the items of a list. A log record is, since it says nothing of when the exception was raised.
        """
        if not _same_words(self.first.message, signal.message):
            return False
        span = signal.span
        if span is None or not self.spans:
            return True
        if signal.span_id in self.spans:
            return True
        return any(
            parent == signal.span_id or (span.started <= started and ended <= span.ended)
            for parent, started, ended in self.spans.values()
        )

    def goes_on_in(self, signal: Signal) -> bool:
        """Whether a signal with one of its marks is of this failure, whatever its trace.

        An object that is raised over and over again is a failure each time. So of two spans one has to have been open
        all the while of the other, and a record comes in a span, or right behind what it tells of.
        """
        now = signal.since, signal.until
        return signal.last or any(_together(now, then) for then in self.moments)

    def add(self, signal: Signal) -> None:
        """Take in a signal of this failure."""
        self.marks = tuple(dict.fromkeys((*self.marks, *signal.marks)))[:_MOST_MARKS]
        if len(self.moments) < _MOST_MARKS:
            self.moments.append((signal.since, signal.until))
        if signal.span is not None:
            if self.first.span is None:
                self.first = signal
            self.spans[signal.span_id] = signal.span.parent_id, signal.span.started, signal.span.ended


def _same_words(one: str, other: str) -> bool:
    """Whether two messages can be of one exception; a signal may leave it out, or cut it short."""
    return one.startswith(other) or other.startswith(one)


def _together(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Whether two moments can be of one failure; a record's begins and ends at once."""
    (since, until), (start, end) = sorted((one, other), key=lambda moment: moment[1] - moment[0])
    if since == until:
        return start - (PATIENCE if start == end else 0.0) <= since <= end + PATIENCE
    return start <= since and until <= end


class Gathering:
    """Failures under way, and those of the last minute. Not safe for several threads at once."""

    def __init__(
        self,
        *,
        patience: float = PATIENCE,
        patience_within: float = PATIENCE_WITHIN,
        memory: float = MEMORY,
    ) -> None:
        self._patience = patience
        self._patience_within = patience_within
        self._memory = memory
        self._by_place: OrderedDict[Place, list[Gathered]] = OrderedDict()
        self._known: OrderedDict[tuple[object, ...], float] = OrderedDict()
        """What boundaries have captured, by its trace, by the call and by its marks, and when."""
        self._by_mark: OrderedDict[int, Gathered] = OrderedDict()

    def __len__(self) -> int:
        return sum(not one.told for each in self._by_place.values() for one in each)

    def captured(self, place: Place, call: int, now: float, marks: tuple[int, ...] = ()) -> None:
        """Note that a boundary has made an incident of a failure; its signals are heard before and after.

        Args:
            place: where it was raised.
            call: the boundary's own, as in `Signal.calls`.
            now: seconds.
            marks: of the exception.
        """
        keys = ((_MARK, mark) for mark in marks)
        for key in (place, (place.error_type, place.file, place.line, call), *keys):
            self._known[key] = now
            self._known.move_to_end(key)
        while len(self._known) > 4 * _MOST:
            self._known.popitem(last=False)

    def take_in(self, signal: Signal, stack: Stack, now: float) -> None:
        """Take in a signal.

        Args:
            signal: as it came.
            stack: what its traceback says. What that says of incidents counts where the exception was not seen.
            now: seconds.
        """
        innermost = stack.frames[-1] if stack.frames else None
        place = place_of(
            signal.trace_id,
            stack.error_type or signal.error_type,
            innermost.file if innermost is not None else "",
            innermost.line if innermost is not None else 0,
        )
        failures = self._by_place.setdefault(place, [])
        self._by_place.move_to_end(place)
        # Outside a trace nothing says that two log records belong together; but what ends a thread or a program, and
        # was not seen with its exception before, is what somebody's hook has just logged.
        candidates = (
            one
            for one in reversed(failures)
            if place.trace_id or (signal.last and not one.marks and now - one.since < self._patience)
        )
        failure = next((one for one in candidates if one.holds(signal)), None) or self._marked(signal, stack)
        if failure is None:
            failure = Gathered(place, signal, stack, now, calls=signal.calls)
            failures.append(failure)
        failure.add(signal)
        for mark in signal.marks:
            self._by_mark[mark] = failure
            self._by_mark.move_to_end(mark)
        while len(self._by_mark) > 2 * _MOST:
            self._by_mark.popitem(last=False)
        failure.left = failure.left or not signal.calls
        failure.told = failure.told or bool(stack.incidents if signal.noted is None else signal.noted)

    def _marked(self, signal: Signal, stack: Stack) -> Gathered | None:
        """Return the failure that a signal carries on: its exception is the same, the cause, or one of a group."""
        for mark in signal.marks:
            failure = self._by_mark.get(mark)
            if failure is not None and failure.goes_on_in(signal):
                if mark != signal.marks[0] and stack.causes and not failure.told:
                    # What left in the end tells more: the other one is its cause.
                    failure.first, failure.stack = signal, stack
                return failure
        return None

    def ripe(self, now: float, *, all_of_them: bool = False) -> list[Gathered]:
        """Return, once each, the failures that an incident is to be made of; forget what is old."""
        ready = []
        for place, failures in list(self._by_place.items()):
            for one in failures:
                patience = self._patience_within if one.calls and not one.left else self._patience
                if not one.told and (all_of_them or now - one.since >= patience):
                    one.told = True
                    if not self._is_known(one):
                        ready.append(one)
            failures[:] = [one for one in failures if now - one.since < self._memory]
            if not failures:
                del self._by_place[place]
        while len(self._by_place) > _MOST:
            self._by_place.popitem(last=False)
        for key, when in list(self._known.items()):
            if now - when < self._memory:
                break
            del self._known[key]
        for mark, failure in list(self._by_mark.items()):
            if now - failure.since < self._memory:
                break
            del self._by_mark[mark]
        return ready

    def _is_known(self, failure: Gathered) -> bool:
        place = failure.place
        if any((place.error_type, place.file, place.line, call) in self._known for call in failure.calls):
            return True
        # An object that is raised over and over may have been captured earlier, as another failure.
        if any(self._known.get((_MARK, mark), -1.0) >= failure.since for mark in failure.marks):
            return True
        captured = self._known.get(place)
        # Outside a trace the place alone has to tell, so only what came right after the signal is taken for it.
        return captured is not None and (place.trace_id != 0 or captured >= failure.since)
