"""The pool: sandbox workers that stay warm, as many as are needed at once, up to a bound.

Nothing runs before an adapter is first applied. A fork begins with an empty pool; at the end of the interpreter, and
when their service dies in any other way, all workers die with it.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import weakref

from healspan.remediation.sandbox.worker import Worker

__all__ = ["Pool"]

_MOST_USES = 1_000
"""Adapters that one worker runs: whatever a sandbox may leak, it leaks that often."""


class Pool:
    """Lends workers.

    Args:
        most: workers at once; each takes some 50 MB while it lives.
        memory: bytes that an adapter may use.
    """

    def __init__(self, most: int, memory: int) -> None:
        self._most = most
        self._memory = memory
        self._begin()
        _pools.add(self)

    def _begin(self) -> None:
        self._lock = threading.RLock()
        self._idle: list[Worker] = []
        self._lent: set[Worker] = set()
        self._waiting: list[threading.Event] = []
        self._closed = False

    def take(self) -> Worker | threading.Event:
        """Return a worker, or an event that says when it is worth asking again.

        Raises:
            OSError: no process can be started.
        """
        with self._lock:
            while self._idle:
                worker = self._idle.pop()
                if worker.alive:
                    self._lent.add(worker)
                    return worker
                worker.kill()
            if len(self._lent) < self._most and not self._closed:
                worker = Worker(self._memory)
                self._lent.add(worker)
                return worker
            event = threading.Event()
            self._waiting.append(event)
            return event

    def give_back(self, worker: Worker, *, sound: bool) -> None:
        """Take a worker back; one that is not sound, or has served long enough, is killed."""
        worker.uses += 1
        with self._lock:
            mine = worker in self._lent
            self._lent.discard(worker)
            kept = mine and sound and not self._closed and worker.uses < _MOST_USES
            if kept:
                self._idle.append(worker)
            if self._waiting:
                self._waiting.pop(0).set()
        if not kept:
            worker.kill()

    def give_up(self, event: threading.Event) -> None:
        """Wait no longer."""
        with self._lock:
            if event in self._waiting:
                self._waiting.remove(event)
            elif self._waiting and event.is_set():
                self._waiting.pop(0).set()  # it was this waiter's turn: the next one's now

    @property
    def size(self) -> int:
        """Workers that live."""
        with self._lock:
            return len(self._idle) + len(self._lent)

    def close(self) -> None:
        """Kill all workers; whoever is using one sees it break off."""
        with self._lock:
            self._closed = True
            workers = [*self._idle, *self._lent]
            self._idle.clear()
            self._lent.clear()
        for worker in workers:
            worker.kill()

    def start_anew(self) -> None:
        """Begin again after a fork: the workers are the parent's, and so may be the lock's holder."""
        workers = [*self._idle, *self._lent]
        self._begin()
        for worker in workers:
            with contextlib.suppress(OSError):
                worker.forget()


_pools: weakref.WeakSet[Pool] = weakref.WeakSet()


def _start_anew() -> None:
    for pool in tuple(_pools):
        pool.start_anew()


@atexit.register
def _close_all() -> None:
    for pool in tuple(_pools):
        pool.close()


os.register_at_fork(after_in_child=_start_anew)
