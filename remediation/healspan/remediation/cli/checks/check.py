"""What one check of `healspan doctor` says."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from healspan.remediation.record import Record

__all__ = ["Check", "private"]


class Check(Record):
    """One thing that was looked at."""

    name: str
    status: Literal["ok", "note", "warning", "problem"]
    detail: str


def private(name: str, path: Path) -> Iterator[Check]:
    """Check that nobody but its owner can read a file."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        yield Check(name=name, status="problem", detail=f"{path} has mode {mode:04o}; run chmod 600 {path}")
    else:
        yield Check(name=name, status="ok", detail=f"{path}, mode {mode:04o}")
