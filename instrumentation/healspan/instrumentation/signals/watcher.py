"""The watcher: takes signals from the application's threads, and makes incidents of them in one of its own.

The threads of the application append to a bounded queue, and no more; what is too much is dropped and counted. The
thread starts with the first signal, never at import or at instrumentation: helper processes have none.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping

from healspan.instrumentation.allowance import Allowance
from healspan.instrumentation.lately import Lately
from healspan.instrumentation.signals.gathering import PATIENCE, Gathered, Gathering, Place
from healspan.instrumentation.signals.mark import mark_under_way, marks_there
from healspan.instrumentation.signals.observed import incident_of
from healspan.instrumentation.signals.passed import Passed
from healspan.instrumentation.signals.repeats import Repeats
from healspan.instrumentation.signals.signal import Signal
from healspan.instrumentation.signals.stack import Stack, read_stack
from healspan.remediation.incident import IncidentStatus, Resolution, Tier
from healspan.remediation.own_errors import internal_error
from healspan.remediation.runtime import current_settings, runtime
from healspan.remediation.settings import Settings

__all__ = ["Watcher", "watcher"]

QUEUE = 1_000
"""Signals that wait to be looked at."""
RATE, BURST = 200.0, 1_000.0
"""Signals a second that are looked at: a storm must not take the processor from the requests that still succeed."""
REST = 9
"""After each bit of work the thread rests this many times the processor time it took, which is a millisecond at most:
whoever wants the interpreter meanwhile waits for one bit, and not for all that a storm has left."""
LAST = 300
"""Failures that incidents are made of when the process ends, which takes milliseconds each: it must not last."""
_AT_ONCE = 50
"""Captures that are noted in one bit of work."""
_SAME: float = Settings.model_fields["same_failures_per_second"].default
"""Until it is known what this process goes by."""
_LOOK_SECONDS = 0.2
_REMEMBERED = 2_000
_NOWHERE = Place(0, "", "", 0)
"""Of what is told of by its mark alone."""


class Watcher:
    """Makes incidents of signals.

    Args:
        clock: monotonic, in seconds.
        patience: see `Gathering`.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, patience: float = PATIENCE) -> None:
        self._clock = clock
        self._patience = patience
        self._lock = threading.RLock()
        self.active = False
        """Whether the service is instrumented, so that boundaries have to tell what they capture."""
        self._reset()

    def _reset(self) -> None:
        self._queue: deque[Signal | tuple[Place, int, tuple[int, ...]]] = deque()
        self._gathering = Gathering(patience=self._patience)
        self._ready: deque[Gathered] = deque()
        """Failures that an incident is to be made of."""
        self._look_at = 0.0
        """When it is to be looked again for those."""
        self._allowance, self._repeats = Allowance(), Repeats(self._clock)
        self._captured = Lately(_REMEMBERED)
        """Marks of exceptions that boundaries have captured."""
        self._left_out = Lately(_REMEMBERED)
        """Of those that were counted as dropped when a signal of theirs was, each with its trace."""
        self._taken = Lately(_REMEMBERED)
        """Of those that a signal was taken of, likewise; a boundary may still pass over them."""
        self.passed = Passed()
        self._dropped = {"storm": 0, "queue": 0}
        self._made: deque[str] = deque(maxlen=_REMEMBERED)
        """Ids of the incidents that boundaries of this process have made lately."""
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def passes_over(self, carried: Mapping[str, object], trace_id: int) -> bool:
        """Tell whether what a span or record carries is one of too many equal signals; called before it is read.

        Its failure is counted as dropped, once, unless a boundary has dealt with it. What one has passed over has been
        counted already: that is for `passed` to tell, before this.
        """
        error_type, stack = carried.get("exception.type"), carried.get("exception.stacktrace")
        settings = current_settings()
        rate = _SAME if settings is None else settings.same_failures_per_second
        message = carried.get("exception.message")
        if not self._repeats.too_many(error_type, stack, trace_id, message=message, rate=rate):
            return False
        mark, is_new = mark_under_way(error_type)
        if is_new or self._captured.get(mark) is None:
            self._drop("storm", mark, trace_id, is_new=is_new)
        return True

    def take(self, signal: Signal) -> None:
        """Take a signal; called in the application's request."""
        if not self._allowance.take(self._clock(), rate=RATE, burst=BURST):
            self._drop("storm", next(iter(signal.marks), None), signal.trace_id)
            return
        if len(self._queue) >= QUEUE:
            self._drop("queue", next(iter(signal.marks), None), signal.trace_id)
            return
        for mark in signal.marks[:1]:
            self._taken.put(mark, signal.trace_id)
        self._queue.append(signal)
        if self._thread is None:
            self._start()

    def captured(self, place: Place, call: int, marks: tuple[int, ...], error_id: str = "") -> None:
        """Note that a boundary has made an incident, in this call; for signals of the same exception."""
        if error_id:
            self._made.append(error_id)
        for mark in marks[:1]:
            self._captured.put(mark, 0)
        for mark in marks if self._left_out else ():
            if self._left_out.pop(mark) is not None:
                self._dropped["storm"] -= 1  # it was not, after all
        if self._thread is not None or self._queue:
            self._queue.append((place, call, marks))

    def has_counted(self, error: BaseException) -> bool:
        """Take in that a boundary passes over an exception; True if it is counted as dropped already.

        Of signals that were taken inside the boundary no incident is made then.
        """
        if not (self._left_out or self._taken):
            return False
        counted = False
        for mark in marks_there(error):
            counted = self._left_out.pop(mark) is not None or counted
            if self._taken.pop(mark) is not None:
                self._queue.append((_NOWHERE, 0, (mark,)))
        return counted

    def flush(self) -> None:
        """Make incidents of what there is, without patience; for the end of the process, and for tests.

        Of too many the oldest are dropped, and counted: the newest one may be what ends the process.
        """
        with self._lock:
            for _ in range(len(self._queue)):  # what comes meanwhile may wait: in a storm there is always more
                self._take_in()
            self._look(all_of_them=True)
            while len(self._ready) > LAST:
                self._ready.popleft()
                self._dropped["queue"] += 1
            while self._ready:
                self._tell()
            self._publish()

    def _drop(self, reason: str, mark: int | None = None, trace_id: int = 0, *, is_new: bool = False) -> None:
        if mark is not None:
            if not is_new and trace_id and trace_id in {self._left_out.get(mark), self._taken.get(mark)}:
                return  # another span has told of this failure; raised again, in another trace, it is another one
            self._left_out.put(mark, trace_id)
        self._dropped[reason] += 1  # one step, since there is no call in it

    def _start(self) -> None:
        with self._lock:
            if self._thread is not None:
                return
            thread = threading.Thread(target=self._run, args=(self._wake,), name="healspan-signals", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no more threads, or the interpreter is going down
                return
            self._thread = thread
        # Before the runtime's own, which was registered earlier.
        atexit.register(self.flush)

    def _run(self, wake: threading.Event) -> None:
        while not wake.wait(_LOOK_SECONDS):
            more = True
            while more:
                busy = time.thread_time()
                with self._lock:
                    more = self._step()
                if more and wake.wait((time.thread_time() - busy) * REST):
                    return

    def _step(self) -> bool:
        """Do one bit of what there is to do, and tell whether there is more; called with the lock held."""
        if self._ready:
            self._tell()
        elif self._queue and self._clock() < self._look_at:
            self._take_in()
        else:
            self._look()
        return bool(self._ready or self._queue)

    def _take_in(self) -> None:
        """Take what has come first, if there is anything: one signal, or some captures."""
        with internal_error("signals"):
            for _ in range(min(_AT_ONCE, len(self._queue))):
                one = self._queue.popleft()
                if isinstance(one, Signal):
                    self._gathering.take_in(one, self._believed(read_stack(one.stack, one.message)), self._clock())
                    return
                place, call, marks = one
                self._gathering.captured(place, call, self._clock(), marks)

    def _look(self, *, all_of_them: bool = False) -> None:
        """Look for failures that are ripe."""
        with internal_error("signals"):
            now = self._clock()
            self._look_at = now + _LOOK_SECONDS
            self._ready.extend(self._gathering.ripe(now, all_of_them=all_of_them))
        self._publish()

    def _publish(self) -> None:
        """Count what was dropped."""
        with internal_error("signals"):
            for reason in self._dropped:
                number, self._dropped[reason] = self._dropped[reason], 0  # likewise
                if number < 0:  # a boundary has captured what was published as dropped: the next ones make up for it
                    self._dropped[reason] += number
                elif number:
                    runtime().metrics.dropped(reason, number)

    def _tell(self) -> None:
        """Make an incident of the failure that has been ripe for longest."""
        with internal_error("signals"):
            failure, live = self._ready.popleft(), runtime()
            if live.disabled:
                return
            incident = incident_of(failure, scrubber=live.scrubber, resource=live.resource, in_app=live.settings.in_app)
            resolution = Resolution(
                error_id=incident.error_id,
                timestamp=incident.timestamp,
                status=IncidentStatus.OBSERVED,
                tier=Tier.HUMAN,
            )
            live.metrics.incident(incident)
            live.metrics.healing(incident, resolution)
            live.spool.append_many((("incident", incident), ("resolution", resolution)))

    def _believed(self, stack: Stack) -> Stack:
        """Leave out incidents that nobody here has made: a message may say it to have its failure passed over."""
        return stack._replace(incidents=tuple(one for one in stack.incidents if one in self._made))

    def after_fork(self) -> None:
        """Begin anew in a child: the thread did not come along, and the signals are the parent's."""
        self._lock = threading.RLock()
        self._reset()


watcher = Watcher()
"""This process's."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=watcher.after_fork)
