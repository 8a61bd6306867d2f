"""Later: diagnoses off the path of any request, for boundaries in mode `background`.

Jobs that compute run in one thread; what is left of one that has to wait for others, as for a server, goes on in other
threads, so that nobody stands behind a slow one. Each thread is started when it is first needed; the queues are
bounded; of equal failures one at a time. What does not fit is dropped: the next failure of the kind asks again.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator

__all__ = ["Later"]

ROOM = 16
"""Jobs that may wait in each of the two queues."""

Rest = Callable[[], None]
"""What is left of a job, and may wait for long."""

Job = Callable[[], Rest | None]


class Later:
    """Runs jobs when their callers have gone.

    Args:
        waiting: threads for what has to wait.
        on_error: told of a job that raised.
        on_drop: called with a reason for every job that found no room.
    """

    def __init__(
        self, *, waiting: int = 1, on_error: Callable[[Exception], None], on_drop: Callable[[str], None]
    ) -> None:
        self._on_error = on_error
        self._on_drop = on_drop
        self._keys: set[str] = set()
        self._lock = threading.RLock()
        self._stopped = False
        self._computing = _Lane("healspan-later", 1, self._lock, self._compute)
        self._waiting = _Lane("healspan-later-waits", waiting, self._lock, self._wait)

    def __contains__(self, key: str) -> bool:
        """Whether a job of this key waits or runs."""
        return key in self._keys

    def put(self, key: str, job: Job) -> bool:
        """Run a job soon, and then what it returns; False if one of this key is there already, or there is no room."""
        with self._lock:
            if key in self._keys or self._stopped:
                return False
            if not self._computing.put(key, job):
                self._on_drop("background")
                return False
            self._keys.add(key)
        return True

    @contextlib.contextmanager
    def claim(self, key: str) -> Iterator[bool]:
        """Hold a key while the caller does the job itself, as a task of an event loop; False if it is held already."""
        with self._lock:
            mine = key not in self._keys and not self._stopped
            if mine:
                self._keys.add(key)
        try:
            yield mine
        finally:
            if mine:
                self._release(key)

    def stop(self, timeout: float = 1.0) -> None:
        """Take no more jobs, drop what waits, and wait within a bound for those that run."""
        until = time.monotonic() + timeout
        with self._lock:
            self._stopped = True
            threads = [*self._computing.end(), *self._waiting.end()]
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, until - time.monotonic()))

    def _compute(self, key: str, job: Job) -> None:
        rest = self._ran(job)
        with self._lock:
            if rest is not None and not self._stopped:
                if self._waiting.put(key, rest):
                    return
                self._on_drop("background")
            self._keys.discard(key)

    def _wait(self, key: str, rest: Job) -> None:
        self._ran(rest)
        self._release(key)

    def _ran(self, job: Job) -> Rest | None:
        try:
            return job()
        except Exception as error:
            self._on_error(error)
        except BaseException as error:
            # An application that leaves its thread so leaves this job: no signal is handled in here.
            self._on_error(RuntimeError(f"{type(error).__qualname__} left a diagnosis"))
        return None

    def _release(self, key: str) -> None:
        with self._lock:
            self._keys.discard(key)


class _Lane:
    """Threads that take jobs from one queue; `put` and `end` are called with the lock held.

    Args:
        name: of its threads.
        most: threads.
        lock: held for a moment when a job is done.
        run: does a job; raises nothing.
    """

    def __init__(self, name: str, most: int, lock: threading.RLock, run: Callable[[str, Job], None]) -> None:
        self._name = name
        self._most = most
        self._lock = lock
        self._run = run
        self._jobs: queue.Queue[tuple[str, Job] | None] = queue.Queue()
        self._threads: list[threading.Thread] = []
        self._open = 0
        """Jobs that wait or run."""

    def put(self, key: str, job: Job) -> bool:
        """Have a thread take a job, a new one if all are busy and there may be more; False if there is no room."""
        if self._jobs.qsize() >= ROOM or not self._has_thread():
            return False
        self._open += 1
        self._jobs.put((key, job))
        return True

    def end(self) -> list[threading.Thread]:
        """Drop what waits, have every thread end after what it does, and return them."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._jobs.get_nowait()
        for _ in self._threads:
            self._jobs.put(None)
        return self._threads

    def _has_thread(self) -> bool:
        if self._open >= len(self._threads) < self._most:
            thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
            with contextlib.suppress(RuntimeError):  # no more threads, or the interpreter is going down
                thread.start()
                self._threads.append(thread)
        return bool(self._threads)

    def _serve(self) -> None:
        while self._next():
            pass

    def _next(self) -> bool:
        """Run the next job; False at the end. What a job holds on to goes with it, not with the next one."""
        item = self._jobs.get()
        if item is None:
            return False
        self._run(*item)
        with self._lock:
            self._open -= 1
        return True
