"""A lock that knows its holder again.

The handler of a signal, or a finalizer that the garbage collector runs, may fail in a boundary in the middle of what
this very thread does under a lock of ours. Waiting there for the lock would be for ever.
"""

from __future__ import annotations

import threading

__all__ = ["OwnLock"]


class OwnLock:
    """A reentrant lock that tells whoever comes back that it is held here already."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._holder = 0
        self._depth = 0

    @property
    def mine(self) -> bool:
        """Whether this thread holds it, further up its stack."""
        return self._holder == threading.get_ident()

    def acquire(self, *, timeout: float = -1) -> bool:
        """Take it; False if that was not possible within so many seconds."""
        taken = self._lock.acquire(timeout=timeout)
        if taken:
            self._depth += 1
            self._holder = threading.get_ident()
        return taken

    def release(self) -> None:
        """Give it back."""
        self._depth -= 1
        if not self._depth:
            self._holder = 0
        self._lock.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()
