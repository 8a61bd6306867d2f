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
from collections.abc import Callable

from healspan.instrumentation.signals.gathering import PATIENCE, Gathering, Place
from healspan.instrumentation.signals.observed import incident_of
from healspan.instrumentation.signals.signal import Signal
from healspan.instrumentation.signals.stack import Stack, read_stack
from healspan.remediation.incident import IncidentStatus, Resolution, Tier
from healspan.remediation.own_errors import internal_error
from healspan.remediation.runtime import runtime

__all__ = ["Watcher", "watcher"]

QUEUE = 1_000
"""Signals that wait to be looked at."""
RATE, BURST = 200.0, 1_000.0
"""Signals a second that are looked at: a storm must not take the processor from the requests that still succeed."""
_LOOK_SECONDS = 0.2
_REMEMBERED = 2_000


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
        self._allowed, self._refilled = BURST, self._clock()
        self._dropped: dict[str, int] = {}
        self._made: deque[str] = deque(maxlen=_REMEMBERED)
        """Ids of the incidents that boundaries of this process have made lately."""
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def take(self, signal: Signal) -> None:
        """Take a signal; called in the application's request."""
        now = self._clock()
        # Without a lock: threads that meet here let a few more through, or a few less.
        self._allowed = min(BURST, self._allowed + (now - self._refilled) * RATE)
        self._refilled = now
        if self._allowed < 1.0:
            self._drop("storm")
            return
        self._allowed -= 1.0
        if len(self._queue) >= QUEUE:
            self._drop("queue")
            return
        self._queue.append(signal)
        if self._thread is None:
            self._start()

    def captured(self, place: Place, call: int, marks: tuple[int, ...], error_id: str = "") -> None:
        """Note that a boundary has made an incident, in this call; for signals of the same exception."""
        if error_id:
            self._made.append(error_id)
        if self._thread is not None or self._queue:
            self._queue.append((place, call, marks))

    def flush(self) -> None:
        """Make incidents of all there is, without patience; for the end of the process, and for tests."""
        with self._lock, internal_error("signals"):
            self._look(all_of_them=True)

    def _drop(self, reason: str) -> None:
        self._dropped[reason] = self._dropped.get(reason, 0) + 1

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
            with self._lock, internal_error("signals"):
                self._look()

    def _look(self, *, all_of_them: bool = False) -> None:
        """Look at what has come, and make incidents of what is ripe; called with the lock held."""
        now = self._clock()
        for _ in range(len(self._queue)):
            one = self._queue.popleft()
            if not isinstance(one, Signal):
                place, call, marks = one
                self._gathering.captured(place, call, now, marks)
            else:
                self._gathering.take_in(one, self._believed(read_stack(one.stack, one.message)), now)
        ready = self._gathering.ripe(now, all_of_them=all_of_them)
        dropped, self._dropped = self._dropped, {}
        if not ready and not dropped:
            return
        live = runtime()
        for reason, number in dropped.items():
            live.metrics.dropped(reason, number)
        if live.disabled:
            return
        for failure in ready:
            with internal_error("signals"):
                incident = incident_of(
                    failure, scrubber=live.scrubber, resource=live.resource, in_app=live.settings.in_app
                )
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
