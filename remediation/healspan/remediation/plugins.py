"""Loads what other packages bring along by entry points, without being held up or ended by it.

It happens while a call is failing, and it is other people's code: a module may ask the network when it is imported,
or end the process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from importlib.metadata import EntryPoint
from typing import TypeVar

from healspan.remediation.errors import ConfigurationError
from healspan.remediation.scrubbing import Scrubber

__all__ = ["made_of"]

_Made = TypeVar("_Made")


def made_of(point: EntryPoint, make: Callable[[object], _Made], *, seconds: float) -> _Made:
    """Return what is made of the object that an entry point names.

    Args:
        point: what is loaded, in a thread of its own.
        make: makes something of it, there as well.
        seconds: that both may take; after that the thread is left alone.

    Raises:
        ConfigurationError: it cannot be had; the message says why, without secrets, and no more.
    """
    made: list[_Made] = []
    wrong: list[str] = []

    def load() -> None:
        try:
            made.append(make(point.load()))
        except BaseException as error:  # SystemExit as well: nobody has asked for an end
            wrong.append(f"{type(error).__qualname__}: {Scrubber().scrub_text(str(error), 300)}")

    thread = threading.Thread(target=load, name=f"healspan-load-{point.name}"[:40], daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise ConfigurationError(f"{error}") from error
    thread.join(seconds)
    if made:
        return made[0]
    raise ConfigurationError(wrong[0] if wrong else f"it was not loaded within {seconds:g} s")
