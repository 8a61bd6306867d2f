"""The drainer: moves spooled facts to the store, this process's own and those that dead processes left.

In order, each once: a fact is deleted from its spool only after the store has committed it, and taking it in
again changes nothing. While the store is away the spools keep the facts.
"""

from __future__ import annotations

import logging
import random
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from healspan.remediation.errors import HealspanError, StoreError
from healspan.remediation.settings import Settings
from healspan.remediation.signing import KeyRing
from healspan.remediation.store.forks import hold_for_forks, no_fork_meanwhile
from healspan.remediation.store.reach import Reach
from healspan.remediation.store.spool import Spool
from healspan.remediation.store.spool_file import OwnerLock, SpoolFile, is_busy, is_corrupt, move_aside

if TYPE_CHECKING:
    from healspan.remediation.store.ingest import Ingest

__all__ = ["Drained", "Drainer", "drain_all"]

_LOCK_NOT_AVAILABLE = "55P03"
"""What PostgreSQL calls it."""

logger = logging.getLogger("healspan.store")

_OPERATION = "drain"
LINGER_SECONDS = 0.02
"""After a wake-up, so that a burst becomes one transaction and processes meet less often at the store's lock."""
APART_SECONDS = 1.0
"""Between two transactions of what only tells of failures: the first is stored at once, those of a storm together."""
LONG_SECONDS = 30.0
"""After which a store that somebody keeps locked is as good as away."""
FIRST_BACKOFF, LAST_BACKOFF = 0.02, 2.0
SCAN_SECONDS = 5.0
"""How often to look for spools of dead processes."""
BATCH = 200
REST = 3.0
"""After a batch the drainer rests this many times the processor time it took: in a storm of failures the
interpreter belongs to the host, and the facts are safe in the spool."""


@dataclass(slots=True)
class Drained:
    """What a drain did."""

    facts: int = 0
    dead_letters: int = 0
    """Of those facts: could not be taken in."""
    spools: int = 0
    """Of dead processes, emptied and deleted."""
    living: int = 0
    """Spools left to the processes that own them."""
    damaged: int = 0
    """Spools moved aside."""


class Drainer:
    """A daemon thread that drains; started by the first append, and again in a forked child.

    Args:
        settings: where the store and the spools are.
        spool: this process's own.
        reach: says what is in the way of the store; default: to itself.
        clock: monotonic, in seconds.
    """

    def __init__(
        self,
        settings: Settings,
        spool: Spool,
        *,
        reach: Reach | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._spool = spool
        self._reach = reach or Reach()
        self._clock = clock
        self._ingest: Ingest | None = None
        self._renew()
        self._stopped = False
        spool.on_append = self.notify
        hold_for_forks(self)

    def _renew(self) -> None:
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._wake = threading.Event()
        self._urgent = threading.Event()
        self._next = 0.0
        """When what only tells of failures is drained again, by the clock."""
        self._stopping = threading.Event()
        self._deadline = float("inf")
        self._scan_at = 0.0
        self._busy_since: float | None = None

    def start(self) -> None:
        """Start the thread, if it does not run; it looks for spools of dead processes at once."""
        with self._starting:
            if self._thread is not None or self._stopped:
                return
            thread = threading.Thread(target=self._run, name="healspan-drain", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                # The interpreter is going down; the spool keeps what was appended.
                self._stopped = True
                return
            self._thread = thread

    def notify(self, told_only: bool = False) -> None:
        """Say that there is something to drain.

        Args:
            told_only: whether it only tells of failures.
        """
        if self._thread is None:
            self.start()
        if not told_only:
            self._urgent.set()
        if not self._wake.is_set():
            self._wake.set()

    def stop(self, timeout: float = 1.0) -> None:
        """Drain what is there, for at most `timeout` seconds, and stop; the rest waits in the spool."""
        self._stopped = True
        thread = self._thread
        if thread is None:
            return
        self._deadline = self._clock() + timeout
        self._stopping.set()
        self._urgent.set()
        self._wake.set()
        thread.join(timeout)
        self._thread = None

    def _run(self) -> None:
        backoff = FIRST_BACKOFF
        self._wake.set()
        while not self._stopping.is_set():
            self._wake.wait(self._settings.drain_seconds)
            self._urgent.wait(min(max(self._next - self._clock(), 0.0), APART_SECONDS))
            self._stopping.wait(LINGER_SECONDS)
            self._wake.clear()
            self._urgent.clear()
            if self._drain_once():
                backoff = FIRST_BACKOFF
                continue
            self._stopping.wait(backoff * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
            backoff = min(backoff * 2, LAST_BACKOFF)
            self._wake.set()
        self._drain_once()
        if self._ingest is not None:
            self._ingest.close()

    def _drain_once(self) -> bool:
        """Drain what there is; False if it has to be tried again."""
        try:
            if self._ingest is None:
                self._ingest = _ingest(self._settings, busy_ms=self._settings.host_busy_ms)
            taken = self._drain_own(self._ingest)
            if self._clock() >= self._scan_at and not self._stopping.is_set():
                self._scan_at = self._clock() + SCAN_SECONDS
                taken += self._drain_dead(self._ingest)
        except (HealspanError, sqlite3.Error, OSError) as error:
            if not _is_busy(error) or self._is_locked_for_long():
                self._reach.lost(_OPERATION, "facts stay in the spool for now", error)
            return False
        except Exception as error:
            self._reach.lost(_OPERATION, "the drainer failed; facts stay in the spool for now", error, unforeseen=True)
            return False
        self._busy_since = None
        if taken:
            self._next = self._clock() + APART_SECONDS
            self._reach.found(_OPERATION, "the store takes facts in again")
        return True

    def _is_locked_for_long(self) -> bool:
        """Note that somebody else holds the store; True once that is no everyday meeting any more."""
        now = self._clock()
        if self._busy_since is None:
            self._busy_since = now
        return now - self._busy_since >= LONG_SECONDS

    def _drain_own(self, ingest: Ingest) -> int:
        taken = 0
        while self._clock() < self._deadline:
            busy = time.thread_time()
            entries = self._spool.read(limit=BATCH)
            if not entries:
                break
            path = self._spool.path
            ingest.take(entries, spool="" if path is None else path.name)
            self._spool.delete(entries)
            taken += len(entries)
            self._stopping.wait((time.thread_time() - busy) * REST)
        if taken:
            self._spool.tidy()
        return taken

    def _drain_dead(self, ingest: Ingest) -> int:
        drained = Drained()
        for path in _spools(self._settings.spool_dir):
            if path != self._spool.path:
                _drain_spool(path, ingest, drained, busy_ms=self._settings.host_busy_ms)
        if drained.facts:
            logger.info("%d facts of %d dead processes were taken in", drained.facts, drained.spools)
        return drained.facts

    # Around a fork

    def before_fork(self) -> None:
        """Nothing: connections are closed by those who have them."""

    def after_fork(self, *, child: bool) -> None:
        """The thread did not come along; the next append starts another."""
        if child:
            self._renew()
            self._ingest = None


def drain_all(settings: Settings) -> Drained:
    """Take in what dead processes have left, now; for the command line and the worker.

    Raises:
        StoreUnavailable, StoreCorrupt: the store cannot take it; the spools are as they were.
    """
    drained = Drained()
    ingest = _ingest(settings, busy_ms=settings.busy_ms)
    try:
        for path in _spools(settings.spool_dir):
            _drain_spool(path, ingest, drained, busy_ms=settings.busy_ms)
    finally:
        ingest.close()
    return drained


def _ingest(settings: Settings, *, busy_ms: int) -> Ingest:
    # Imported here: a process whose calls all succeed never loads a database library.
    with no_fork_meanwhile():
        from healspan.remediation.store.database import Database
        from healspan.remediation.store.ingest import Ingest

    return Ingest(Database(settings.database_url, busy_ms=busy_ms), seal=KeyRing.open(settings.keys_dir))


def _is_busy(error: Exception) -> bool:
    """Tell whether an error is the everyday one of two processes meeting at a lock."""
    origin = error.__cause__ if isinstance(error, StoreError) else error
    origin = getattr(origin, "orig", None) or origin
    if isinstance(origin, sqlite3.Error):
        return is_busy(origin)
    return getattr(origin, "sqlstate", None) == _LOCK_NOT_AVAILABLE


def _spools(directory: Path) -> list[Path]:
    """Return the spools in a directory, oldest first; sweep away locks whose spool is gone."""
    try:
        names = sorted(directory.iterdir(), key=lambda path: path.name.rpartition("-")[2])
    except OSError:
        return []
    spools = [path for path in names if path.suffix == ".db"]
    for path in names:
        if path.suffix == ".lock" and path.with_suffix(".db") not in spools:
            lock = OwnerLock.take(path)
            if lock is not None:
                # Nobody holds it, so no owner is about to make its spool.
                path.unlink(missing_ok=True)
                lock.release()
    return spools


def _drain_spool(path: Path, ingest: Ingest, drained: Drained, *, busy_ms: int) -> None:
    lock = OwnerLock.take(path.with_suffix(".lock"))
    if lock is None:
        drained.living += 1
        return
    try:
        if not path.exists():
            return
        file = SpoolFile(path, busy_ms=busy_ms)
        try:
            while entries := file.read(after=0, limit=BATCH, max_bytes=4_000_000):
                drained.dead_letters += ingest.take(entries, spool=path.name)
                file.delete(entries[-1].sequence)
                drained.facts += len(entries)
        except BaseException:
            file.close()
            raise
        file.remove()
        drained.spools += 1
    except sqlite3.DatabaseError as error:
        if not is_corrupt(error):
            raise
        drained.damaged += 1
        aside = move_aside(path, f"{time.time_ns()}")
        logger.warning(
            "the spool %s is damaged (%s); what could be read was taken in, the rest is in %s", path, error, aside
        )
    finally:
        if not path.exists():
            lock.path.unlink(missing_ok=True)
        lock.release()
