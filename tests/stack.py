"""Calls at the end of the stack, where the application's recursion has left next to no room."""

from __future__ import annotations

import contextlib
from collections.abc import Callable


def at_each_depth(action: Callable[[], object]) -> None:
    """Call an action with ever more room, from the last call that the stack takes until all of it is there."""

    def descend() -> None:
        try:
            descend()
        finally:
            with contextlib.suppress(RecursionError):
                action()

    with contextlib.suppress(RecursionError):
        descend()
