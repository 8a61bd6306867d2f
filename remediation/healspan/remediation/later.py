"""Later: diagnoses off the path of any request, for boundaries in mode `background`.

One thread, started when it is first needed; a bounded queue; of equal failures one at a time. What does not fit is
dropped: the next failure of the kind asks again.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator

__all__ = ["Later"]

ROOM = 16
"""Jobs that may wait."""


class Later:
    """Runs jobs when their callers have gone.

    Args:
        on_error: told of a job that raised.
        on_drop: called with a reason for every job that found no room.
    """

    def __init__(self, *, on_error: Callable[[Exception], None], on_drop: Callable[[str], None]) -> None:
        self._on_error = on_error
        self._on_drop = on_drop
        self._jobs: queue.Queue[tuple[str, Callable[[], None]] | None] = queue.Queue(ROOM)
        self._keys: set[str] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopped = False

    def __contains__(self, key: str) -> bool:
        """Whether a job of this key waits or runs."""
        return key in self._keys

    def put(self, key: str, job: Callable[[], None]) -> bool:
        """Run a job soon, in the thread; False if one of this key waits or runs already, or there is no room."""
        with self._lock:
            if key in self._keys or self._stopped:
                return False
            try:
                self._jobs.put_nowait((key, job))
            except queue.Full:
                self._on_drop("background")
                return False
            self._keys.add(key)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="healspan-later", daemon=True)
                self._thread.start()
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
        """Take no more jobs, drop what waits, and wait within a bound for the one that runs."""
        with self._lock:
            self._stopped = True
            thread = self._thread
            with contextlib.suppress(queue.Empty):
                while True:
                    self._jobs.get_nowait()
            self._jobs.put_nowait(None)
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def _run(self) -> None:
        while self._next():
            pass

    def _next(self) -> bool:
        """Run the next job; False at the end. What a job holds on to goes with it, not with the next one."""
        item = self._jobs.get()
        if item is None:
            return False
        key, job = item
        try:
            job()
        except Exception as error:
            self._on_error(error)
        except BaseException as error:
            # An application that leaves its thread so leaves this job: no signal is handled in here.
            self._on_error(RuntimeError(f"{type(error).__qualname__} left a diagnosis"))
        finally:
            self._release(key)
        return True

    def _release(self, key: str) -> None:
        with self._lock:
            self._keys.discard(key)
