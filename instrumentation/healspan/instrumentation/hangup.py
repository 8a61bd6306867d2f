"""SIGHUP as daemons know it: read the configuration again. Whoever handled the signal before goes on handling it."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

__all__ = ["Hangup"]


class Hangup:
    """Calls a function, in a thread of its own, at each SIGHUP.

    Without a handler of the application's SIGHUP ends a process; from then on it does not.
    """

    def __init__(self, reload: Callable[[], None]) -> None:
        self._reload = reload
        self._before: Any = None
        self._installed = False

    def install(self) -> bool:
        """Begin to listen; False where Python does not allow it: off the main thread, or without such a signal."""
        if self._installed or not hasattr(signal, "SIGHUP"):
            return self._installed
        try:
            self._before = signal.signal(signal.SIGHUP, self._handle)
        except ValueError:
            return False
        self._installed = True
        return True

    def remove(self) -> None:
        """Put back what was there, unless somebody has put something else there since."""
        if self._installed and signal.getsignal(signal.SIGHUP) == self._handle:
            with contextlib.suppress(ValueError):  # off the main thread
                signal.signal(signal.SIGHUP, signal.SIG_DFL if self._before is None else self._before)
                self._installed = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        # Not here: the thread that the signal has interrupted may hold whatever reading needs.
        with contextlib.suppress(RuntimeError):  # no more threads
            threading.Thread(target=self._reload, name="healspan-reload", daemon=True).start()
        if callable(self._before):
            self._before(number, frame)
