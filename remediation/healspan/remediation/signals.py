"""How a long-running command ends: on SIGINT or SIGTERM, in its own time."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

__all__ = ["stop_signal"]

_ENDING = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def stop_signal() -> Iterator[threading.Event]:
    """Give an event that is set when the process is asked to end; main thread only.

    A second signal ends the process at once, as it would have without us.
    """
    stop = threading.Event()
    previous = {number: signal.getsignal(number) for number in _ENDING}

    def ask(_number: int, _frame: FrameType | None) -> None:
        stop.set()
        for number, handler in previous.items():
            signal.signal(number, handler)

    for number in _ENDING:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
