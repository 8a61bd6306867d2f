"""The directory in which the processes of a prefork server keep their numbers together, as prometheus-client has it.

Each process writes files of its own there, mapped into memory, and whoever answers a scrape adds them all up. A full
disk under a mapped file is no exception but a signal that kills the process, so it is looked at beforehand.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from prometheus_client import values

from healspan.remediation.errors import ConfigurationError

__all__ = ["SharedDirectory"]

ROOM_BYTES = 4 * 1024 * 1024
"""Free space below which nothing is written: what a process's files may grow by at once, several times over."""


class SharedDirectory(NamedTuple):
    """``PROMETHEUS_MULTIPROC_DIR``, in a process whose prometheus-client uses it."""

    path: Path

    @classmethod
    def found(cls) -> SharedDirectory | None:
        """Return the directory; None where each process counts for itself.

        The client decides when it is imported. A variable that is set later comes too late.
        """
        if values.ValueClass is values.MutexValue:
            return None
        path = os.environ.get("PROMETHEUS_MULTIPROC_DIR") or os.environ.get("prometheus_multiproc_dir")  # noqa: SIM112
        return None if path is None else cls(Path(path))

    def check(self) -> None:
        """Look whether a number can be written.

        Raises:
            ConfigurationError: there is no room left.
            OSError: the directory is gone, or cannot be looked at.
        """
        room = os.statvfs(self.path)
        if room.f_bavail * room.f_frsize < ROOM_BYTES:
            raise ConfigurationError(f"PROMETHEUS_MULTIPROC_DIR ({self.path}) is on a full disk; make room there")
