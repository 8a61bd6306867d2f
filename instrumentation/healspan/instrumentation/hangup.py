"""SIGHUP as daemons know it: read the configuration again. Whoever handled the signal before goes on handling it."""

from __future__ import annotations

import contextlib
import queue
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

__all__ = ["Hangup"]


class Hangup:
    """Calls a function, in a thread of its own, after each SIGHUP; once for those that come while it is at it.

    Without a handler of the application's SIGHUP ends a process; while this one listens it does not.
    """

    def __init__(self, reload: Callable[[], None]) -> None:
        self._reload = reload
        self._before: Any = None
        self._listening = False
        self._asked: queue.SimpleQueue[bool] = queue.SimpleQueue()  # which the handler of a signal may put into
        self._thread: threading.Thread | None = None
        self._left_behind = False
        """Whether the handler is still in somebody's hands, though nobody listens."""

    def install(self) -> bool:
        """Begin to listen; False where Python does not allow it: off the main thread, or without such a signal."""
        if self._listening or not hasattr(signal, "SIGHUP"):
            return self._listening
        if not self._left_behind:
            try:
                self._before = signal.signal(signal.SIGHUP, self._handle)
            except ValueError:
                return False
        self._asked, self._thread = queue.SimpleQueue(), None  # what was left in it is for the one before
        self._listening, self._left_behind = True, False
        return True

    def remove(self) -> None:
        """Put back what was there.

        Where somebody has put something in front since, or off the main thread, the handler stays and does nothing; the
        next SIGHUP puts back what was there, if it still stands there itself.
        """
        if self._listening:
            self._listening = False
            self._left_behind = not self._put_back()
            self._asked.put(False)

    def _put_back(self) -> bool:
        if signal.getsignal(signal.SIGHUP) != self._handle:
            return False
        try:
            signal.signal(signal.SIGHUP, signal.SIG_DFL if self._before is None else self._before)
        except ValueError:  # off the main thread
            return False
        return True

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not self._listening and self._put_back():
            self._left_behind = False
            signal.raise_signal(number)  # for whoever is there now; by default it ends the process, as it would have
            return
        if self._listening:
            # Not here: the thread that the signal has interrupted may hold whatever reading needs.
            self._asked.put(True)
            if self._thread is None or not self._thread.is_alive():  # nor did it come along into a forked child
                self._thread = threading.Thread(
                    target=self._reload_when_asked, args=(self._asked,), name="healspan-reload", daemon=True
                )
                with contextlib.suppress(RuntimeError):  # no more threads
                    self._thread.start()
        if callable(self._before):
            self._before(number, frame)

    def _reload_when_asked(self, asked: queue.SimpleQueue[bool]) -> None:
        while asked.get():
            with contextlib.suppress(queue.Empty):
                while asked.get_nowait():
                    pass
                return
            self._reload()
