"""This process's spool: where a fact becomes durable, in microseconds, before anything else happens.

`Spool.append` never raises and never waits for another process longer than `Settings.host_busy_ms`: what
cannot be written is dropped and counted. The drainer takes what was appended to the store.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from healspan.remediation.errors import StoreError
from healspan.remediation.own_lock import OwnLock
from healspan.remediation.record import Record
from healspan.remediation.settings import Settings, private_directory
from healspan.remediation.store.facts import TOLD_ONLY, encode
from healspan.remediation.store.forks import hold_for_forks
from healspan.remediation.store.spool_file import (
    Entry,
    OwnerLock,
    SpoolFile,
    is_busy,
    is_corrupt,
    is_spent,
    move_aside,
)

__all__ = ["Spool", "SpoolCounts"]

logger = logging.getLogger("healspan.store")

REOPEN_SECONDS = 1.0
"""After a spool could not be opened, how long until the next try: the host must not pay for one at every failure."""

FORK_WAIT_SECONDS = 1.0

DELETE_ROWS = 100
"""Deleted at a time, since an append waits for it."""


@dataclass(slots=True)
class SpoolCounts:
    """What became of the facts handed to a spool; the gauges for 'is anything being lost'."""

    appended: int = 0
    dropped: int = 0
    """Facts refused: the file cannot be written, or is full of facts that matter more."""
    dropped_counts: int = 0
    """Exposure rows given up to make room."""
    moved_aside: int = 0
    """Damaged files."""


class Spool:
    """A spool that opens its file at the first append, and a new one in every forked child.

    Safe to use from many threads; only the insert itself is serialised.

    Args:
        settings: where and how much.
        on_append: called after every append that succeeded, with whether it only tells of failures; must be quick.
        on_drop: called with a reason (``full``, ``busy``, ``unwritable``, ``unserialisable``) for every lost fact.
        clock: monotonic, in seconds.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        on_append: Callable[[bool], None] = lambda _: None,
        on_drop: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = settings.spool_dir
        self._busy_ms = settings.host_busy_ms
        self._bound = settings.spool_bytes
        self.on_append = on_append
        self._on_drop = on_drop
        self._clock = clock
        self.counts = SpoolCounts()
        self._lock = OwnLock()
        self._reading = OwnLock()
        self._held: list[OwnLock] = []
        self._closed = False
        self._file: SpoolFile | None = None
        """Writes; guarded by the lock."""
        self._reader: SpoolFile | None = None
        """Reads for the drainer, on a connection of its own; guarded by `_reading`, taken before the lock."""
        self._owner: OwnerLock | None = None
        self._path: Path | None = None
        self._pending_bytes = 0
        self._retry_at = 0.0
        self._said: set[str] = set()
        hold_for_forks(self)

    @property
    def path(self) -> Path | None:
        """The file of this process; None before the first append."""
        return self._path

    def append(self, kind: str, record: Record) -> bool:
        """Make one fact durable before returning; False if it was dropped (and counted)."""
        return self.append_many(((kind, record),))

    def append_many(self, facts: Iterable[tuple[str, Record]]) -> bool:
        """Make several facts durable, all or none; False if they were dropped."""
        try:
            entries = [(str(kind), encode(record)) for kind, record in facts]
        except Exception as error:
            return self._dropped("unserialisable", 1, error)
        if not entries:
            return True
        size = sum(len(body) for _, body in entries)
        if self._lock.mine:
            return self._dropped("busy", len(entries), None)
        with self._lock:
            lost = self._write(entries, size)
        if lost is not None:
            return self._dropped(lost[0], len(entries), lost[1])
        self.on_append(all(kind in TOLD_ONLY for kind, _ in entries))
        return True

    def _write(self, entries: list[tuple[str, str]], size: int) -> tuple[str, Exception | None] | None:
        """Insert; None, or why not. Called with the lock held."""
        for attempt in (1, 2):
            try:
                file = self._open()
                if file is None:
                    return "unwritable", None
                if not self._make_room(file, size):
                    return "full", None
                if len(entries) == 1:
                    file.append(*entries[0])
                else:
                    file.append_many(entries)
            except (sqlite3.Error, OSError, StoreError) as error:
                if self._recover(error) and attempt == 1:
                    continue
                busy = isinstance(error, sqlite3.Error) and is_busy(error)
                return ("busy" if busy else "unwritable"), error
            self._pending_bytes += size
            self.counts.appended += len(entries)
            return None
        return "unwritable", None

    def _open(self) -> SpoolFile | None:
        if self._file is not None or self._closed:
            return self._file
        if self._clock() < self._retry_at:
            return None
        try:
            if self._path is None:
                private_directory(self._directory)
                host = re.sub(r"[^A-Za-z0-9.]", "_", socket.gethostname())[:64] or "host"
                path = self._directory / f"{host}-{os.getpid()}-{time.time_ns()}.db"
                # The lock comes first: whoever sees the database sees that it has an owner.
                self._owner = OwnerLock.take(path.with_suffix(".lock"))
                self._path = path
                self._pending_bytes = 0
            self._file = SpoolFile(self._path, busy_ms=self._busy_ms)
        except (sqlite3.Error, OSError, StoreError):
            self._retry_at = self._clock() + REOPEN_SECONDS
            raise
        return self._file

    def _recover(self, error: Exception) -> bool:
        """Give up a file that is of no more use; True if a new one may be tried at once."""
        if not isinstance(error, sqlite3.Error) or self._path is None or not is_spent(error):
            return False
        path = self._path
        self._let_go()
        if is_corrupt(error) and path.exists():
            self.counts.moved_aside += 1
            try:
                aside = move_aside(path, f"{datetime.now(UTC):%Y%m%dT%H%M%S}")
            except OSError:
                return False
            logger.error("the spool %s is damaged (%s); it was moved to %s and a new one is used", path, error, aside)
            path.with_suffix(".lock").unlink(missing_ok=True)
        self._retry_at = 0.0
        return True

    def _let_go(self) -> None:
        if self._file is not None:
            self._file.close()
        if self._owner is not None:
            self._owner.release()
        self._file = self._owner = self._path = None

    def _make_room(self, file: SpoolFile, size: int) -> bool:
        while self._pending_bytes + size > self._bound:
            freed = file.drop_counts()
            if not freed:
                return False
            self.counts.dropped_counts += len(freed)
            self._pending_bytes = max(0, self._pending_bytes - sum(freed))
        return True

    def _dropped(self, reason: str, number: int, error: Exception | None) -> bool:
        self.counts.dropped += number
        if reason not in self._said:
            self._said.add(reason)
            logger.warning(
                "a fact could not be kept (%s%s) and was dropped, likewise all that follow for this reason; free "
                "room in, or give this user the right to write, %s",
                reason,
                f": {error}" if error is not None else "",
                self._directory,
            )
        for _ in range(number):
            self._on_drop(reason)
        return False

    # For the drainer

    def read(self, *, after: int = 0, limit: int = 500, max_bytes: int = 4_000_000) -> list[Entry]:
        """Return the oldest facts after a sequence number; does not hold up appends.

        Raises:
            sqlite3.Error: the file cannot be read.
        """
        with self._reading:
            reader = self._open_reader()
            if reader is None:
                return []
            try:
                return reader.read(after=after, limit=limit, max_bytes=max_bytes)
            except sqlite3.DatabaseError as error:
                with self._lock:
                    self._recover(error)
                raise

    def delete(self, entries: Sequence[Entry]) -> None:
        """Delete facts that were read, oldest first, now that the store has them."""
        for start in range(0, len(entries), DELETE_ROWS):
            chunk = entries[start : start + DELETE_ROWS]
            with self._lock:
                if self._file is None:
                    return
                self._file.delete(chunk[-1].sequence)
                freed = sum(len(entry.body) for entry in chunk)
                self._pending_bytes = max(0, self._pending_bytes - freed)

    def tidy(self) -> None:
        """Let the write-ahead log start over, so that no append has to wait for it; leave a file that was removed."""
        with self._reading:
            reader = self._open_reader()
            if reader is not None:
                reader.checkpoint()
        with self._lock:
            if self._path is not None and not self._path.exists():
                logger.warning("the spool %s was removed by somebody; a new one is used", self._path)
                self._let_go()

    def _open_reader(self) -> SpoolFile | None:
        path = self._path
        if self._reader is not None and self._reader.path != path:
            self._reader.close()
            self._reader = None
        if self._reader is None and path is not None and not self._closed:
            # Under the lock, since a new file turns to its write-ahead log while nobody else opens it: SQLite waits for
            # others at every lock but this one.
            with self._lock:
                if path.exists():
                    self._reader = SpoolFile(path, busy_ms=self._busy_ms)
        return self._reader

    def close(self) -> None:
        """Stop taking facts; an empty file is deleted, one with facts stays for whoever finds it."""
        with self._reading, self._lock:
            self._closed = True
            if self._reader is not None:
                self._reader.close()
                self._reader = None
            file, owner, path = self._file, self._owner, self._path
            self._file = self._owner = None
            try:
                if file is not None and file.is_empty():
                    file.remove()
                    if path is not None:
                        path.with_suffix(".lock").unlink(missing_ok=True)
                elif file is not None:
                    file.close()
            except (sqlite3.Error, OSError) as error:
                logger.warning("the spool %s was left as it is (%s)", path, error)
            if owner is not None:
                owner.release()

    # Around a fork

    def before_fork(self) -> None:
        """Close the connections; the parent opens them again when it needs them."""
        self._held = [lock for lock in (self._reading, self._lock) if lock.acquire(timeout=FORK_WAIT_SECONDS)]
        if len(self._held) == 2:
            for file in (self._reader, self._file):
                if file is not None:
                    file.close()
            self._reader = self._file = None

    def after_fork(self, *, child: bool) -> None:
        """Go on; a child starts a file of its own."""
        held, self._held = self._held, []
        if not child:
            for lock in held:
                lock.release()
            return
        self._lock, self._reading = OwnLock(), OwnLock()
        # A fork that came unannounced leaves connections, and SQLite forbids the child even to close them.
        _inherited.extend(file for file in (self._reader, self._file) if file is not None)
        if self._owner is not None:
            self._owner.release()
        self._reader = self._file = self._owner = self._path = None
        self._pending_bytes, self._retry_at = 0, 0.0
        self.counts = SpoolCounts()


_inherited: list[SpoolFile] = []
