"""One spool file: facts of one process on their way to the store, in the order they were appended.

A file ``<host>-<pid>-<start>.db`` belongs to the process that holds the lock on ``<name>.lock`` beside it. The
lock is a file of its own because closing any descriptor of a database file drops SQLite's locks on it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from healspan.remediation.settings import private_file

__all__ = ["Entry", "OwnerLock", "SpoolFile", "is_busy", "is_corrupt", "is_spent", "move_aside"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entry (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    body TEXT NOT NULL
)
"""
_INSERT = "INSERT INTO entry (kind, body) VALUES (?, ?)"
_READ = "SELECT sequence, kind, body FROM entry WHERE sequence > ? ORDER BY sequence LIMIT ?"
_DELETE = "DELETE FROM entry WHERE sequence <= ?"
_DROP_COUNTS = """
DELETE FROM entry WHERE sequence IN (SELECT sequence FROM entry WHERE kind = 'exposure' ORDER BY sequence LIMIT 64)
RETURNING length(body)
"""
_CHECKPOINT_PAGES = 8192
"""The drainer checkpoints; this many pages (32 MiB) are the point where an append does it for want of a drainer."""

_CORRUPT = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class Entry(NamedTuple):
    """One spooled fact."""

    sequence: int
    kind: str
    body: str


def is_corrupt(error: sqlite3.Error) -> bool:
    """Tell whether an error means a damaged file, as against one that is busy, full or away."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _CORRUPT


def is_busy(error: sqlite3.Error) -> bool:
    """Tell whether another connection held the lock for too long, as against a disk that is full."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def is_spent(error: sqlite3.Error) -> bool:
    """Tell whether a connection is of no more use: its file was damaged, moved, or cannot be reached."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _CORRUPT | {
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
    }


class OwnerLock:
    """An exclusive advisory lock, held by a living process until it ends, however it ends."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor: int | None = descriptor
        self.path = path

    @classmethod
    def take(cls, path: Path) -> OwnerLock | None:
        """Take the lock; None if somebody else holds it.

        Raises:
            OSError: the file cannot be opened.
        """
        while True:
            descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(descriptor).st_ino == path.stat().st_ino:
                    return cls(descriptor, path)
            except BlockingIOError:
                os.close(descriptor)
                return None
            except FileNotFoundError:
                pass
            # Somebody swept the file away between the opening and the locking: this lock would guard nothing.
            os.close(descriptor)

    def release(self) -> None:
        """Let go. In a forked child this closes the child's copy only: the parent goes on holding the lock."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class SpoolFile:
    """An open spool file. Not safe for several threads at once.

    Args:
        path: the database; made (0600) if it is not there.
        busy_ms: how long to wait for another connection's lock.

    Raises:
        sqlite3.Error: the file is damaged or cannot be opened.
        OSError: it cannot be made.
    """

    def __init__(self, path: Path, *, busy_ms: int) -> None:
        self.path = path
        # Made by hand, so that not even for a moment anybody else could open it; -wal and -shm copy its mode.
        private_file(path)
        self._connection = sqlite3.connect(
            path,
            timeout=busy_ms / 1_000,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
            self._connection.execute(_SCHEMA)
        except BaseException:
            self._connection.close()
            raise

    def append(self, kind: str, body: str) -> None:
        """Write one entry; committed when this returns (a statement of its own is its own transaction)."""
        self._connection.execute(_INSERT, (kind, body))

    def append_many(self, entries: Sequence[tuple[str, str]]) -> None:
        """Write several entries, all or none."""
        with self._transaction():
            self._connection.executemany(_INSERT, entries)

    def read(self, *, after: int, limit: int, max_bytes: int) -> list[Entry]:
        """Return the oldest entries after a sequence number: at most `limit`, and about `max_bytes`, of them."""
        entries: list[Entry] = []
        size = 0
        cursor = self._connection.execute(_READ, (after, limit))
        try:
            for row in cursor:
                entry = Entry(*row)
                entries.append(entry)
                size += len(entry.body)
                if size >= max_bytes:
                    break
        finally:
            cursor.close()
        return entries

    def delete(self, through: int) -> None:
        """Delete the entries up to a sequence number."""
        self._connection.execute(_DELETE, (through,))

    def drop_counts(self) -> list[int]:
        """Delete the oldest exposure rows, up to 64 of them; return the length of each."""
        return [row[0] for row in self._connection.execute(_DROP_COUNTS).fetchall()]

    def checkpoint(self) -> None:
        """Move what was written into the database file, as far as nobody is in the way."""
        self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def is_empty(self) -> bool:
        """Tell whether nothing is left."""
        return self._connection.execute("SELECT 1 FROM entry LIMIT 1").fetchone() is None

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def remove(self) -> None:
        """Close the connection and delete the file."""
        self.close()
        for path in (self.path, *self._companions()):
            path.unlink(missing_ok=True)

    def _companions(self) -> tuple[Path, Path]:
        return (self.path.with_name(self.path.name + "-wal"), self.path.with_name(self.path.name + "-shm"))

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")


def move_aside(path: Path, mark: str) -> Path:
    """Rename a damaged spool, with its companions, so that a human can look at it and nobody else does."""
    aside = path.with_name(f"{path.name}.corrupt-{mark}")
    for suffix in ("-wal", "-shm", ""):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    return aside
