"""The start of the runtime for a failure in an event loop, which must go on meanwhile: it opens the store."""

from __future__ import annotations

import asyncio

from healspan.remediation.runtime import start_soon

__all__ = ["start_apart"]


async def start_apart() -> None:
    """Start the runtime from a thread of its own, and wait until it has started or cannot.

    All who fail meanwhile wait for the same thread. Outside of asyncio, and where no thread can be had, nothing
    happens: whoever needs it first starts it then.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    ended = start_soon()
    if ended is not None:
        await asyncio.wrap_future(ended)
