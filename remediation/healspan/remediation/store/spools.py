"""The spools of a host as tools see them: whose they are, whether their process lives, what waits in them."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from pathlib import Path

from healspan.remediation.record import Record
from healspan.remediation.store.forks import no_fork_meanwhile
from healspan.remediation.store.spool_file import OwnerLock

__all__ = ["SpoolView", "damaged_spools", "facts_waiting", "owner_name", "spool_views"]

_NO_NAME, _MOST_NAME = r"[^A-Za-z0-9.]", 64
"""As `Spool` names its file."""

_WAITING = "SELECT (SELECT max(sequence) FROM entry) - (SELECT min(sequence) FROM entry) + 1"
"""Two looks into the file whatever waits in it: counting reads all of it. Facts leave from the front, in order."""


class SpoolView(Record):
    """One spool file."""

    path: str
    owner: str
    """``host:pid`` of the process that writes it, as `owner_name` spells it."""
    alive: bool
    facts: int | None
    """How many wait for the store; None if the file cannot be read."""
    problem: str = ""


def owner_name(instance: str) -> str:
    """Return how the name of a spool spells a ``service.instance.id``, which is ``host:pid``."""
    host, _, pid = instance.rpartition(":")
    return f"{re.sub(_NO_NAME, '_', host)[:_MOST_NAME]}:{pid}"


def spool_views(directory: Path) -> tuple[SpoolView, ...]:
    """Return the spools in a directory, by name; nothing is changed."""
    return tuple(_view(path) for path in sorted(directory.glob("*.db"))) if directory.is_dir() else ()


def damaged_spools(directory: Path) -> tuple[Path, ...]:
    """Return the damaged spools that were moved aside for a human."""
    found = sorted(directory.glob("*.corrupt-*")) if directory.is_dir() else []
    return tuple(path for path in found if not path.name.endswith(("-wal", "-shm")))


def facts_waiting(directory: Path) -> int:
    """Return how many facts wait in the spools of a directory, those of processes that have ended included.

    For services: nobody is waited for, and a spool that cannot be looked at now is left out. Where counts were given up
    to make room, those that are left out in the middle are still in the number.
    """
    waiting = 0
    for path in directory.glob("*.db"):
        # A connection must not be carried into a child.
        with no_fork_meanwhile(), contextlib.suppress(sqlite3.Error, OSError):
            waiting += _waiting(path)
    return waiting


def _waiting(path: Path) -> int:
    if path.stat().st_size == 0:
        # It is being made: its owner does not wait for whoever looks into it before it has its write-ahead log.
        return 0
    try:
        with contextlib.closing(_opened(path, patience=0.0)) as connection:
            return int(connection.execute(_WAITING).fetchone()[0] or 0)
    finally:
        if not path.exists():
            # Removed meanwhile by its owner, before this look made its companions anew. No name is used twice.
            for companion in (f"{path.name}-wal", f"{path.name}-shm"):
                path.with_name(companion).unlink(missing_ok=True)


def _opened(path: Path, *, patience: float) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=patience)


def _view(path: Path) -> SpoolView:
    host, pid, _ = path.stem.rsplit("-", 2) if path.stem.count("-") >= 2 else (path.stem, "?", "")
    facts: int | None = None
    problem = ""
    try:
        with contextlib.closing(_opened(path, patience=5.0)) as connection:
            facts = int(connection.execute("SELECT count(*) FROM entry").fetchone()[0])
    except sqlite3.Error as error:
        problem = str(error)
    return SpoolView(path=str(path), owner=f"{host}:{pid}", alive=_has_owner(path), facts=facts, problem=problem)


def _has_owner(path: Path) -> bool:
    lock = path.with_suffix(".lock")
    if not lock.exists():
        return False
    try:
        taken = OwnerLock.take(lock)
    except OSError:
        return True
    if taken is None:
        return True
    taken.release()
    return False
