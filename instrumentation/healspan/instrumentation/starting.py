"""The start of the runtime for a failure in an event loop, which must go on meanwhile: it opens the store."""

from __future__ import annotations

import asyncio
import contextlib
import threading

from healspan.remediation.own_errors import internal_error
from healspan.remediation.runtime import runtime

__all__ = ["start_apart"]


async def start_apart() -> None:
    """Start the runtime from a thread of its own, and wait until it has started or cannot.

    Outside of asyncio, and where no thread can be had, nothing happens: whoever needs it first starts it then.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return
    started = asyncio.Event()

    def start() -> None:
        with internal_error("start"):
            runtime()
        with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
            loop.call_soon_threadsafe(started.set)

    try:
        threading.Thread(target=start, name="healspan-start", daemon=True).start()
    except RuntimeError:
        return
    await started.wait()
