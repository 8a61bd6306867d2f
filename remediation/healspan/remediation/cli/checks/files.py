"""Checks of what healspan keeps on this host: data directory, keys, spools."""

from __future__ import annotations

import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from healspan.remediation.cli.checks.check import Check, private
from healspan.remediation.errors import HealspanError
from healspan.remediation.settings import Settings
from healspan.remediation.signing import KeyRing, Reviewer
from healspan.remediation.store.spools import damaged_spools, spool_views

__all__ = ["check_directory", "check_keys", "check_spools"]

_LITTLE = 256 * 1024
"""Bytes: a spool, and some facts."""


def check_directory(path: Path) -> Iterator[Check]:
    """Check that the data directory belongs to its owner alone."""
    if not path.exists():
        yield Check(name="data directory", status="ok", detail=f"{path} is not there yet; the first failure makes it")
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        yield Check(
            name="data directory",
            status="problem",
            detail=f"{path} has mode {mode:04o}, so others can look into it; run chmod 700 {path}",
        )
    else:
        yield Check(name="data directory", status="ok", detail=f"{path}, mode {mode:04o}")
    no_room = _why_no_room(path)
    if no_room is not None:
        yield Check(
            name="data directory",
            status="problem",
            detail=f"{path} has no room for facts ({no_room}), so none are kept and nothing is healed; free room, "
            "or set HEALSPAN_DATA_DIR to another directory",
        )


def _why_no_room(path: Path) -> str | None:
    """Return why a little cannot be written in a directory; quotas and full disks say so only to who writes."""
    try:
        with tempfile.TemporaryFile(dir=path) as scratch:
            scratch.write(b"\0" * _LITTLE)
    except OSError as error:
        return error.strerror or type(error).__name__
    return None


def check_keys(settings: Settings) -> Iterator[Check]:
    """Check the keys of this machine, and whom it trusts."""
    machine = settings.keys_dir / "machine.key"
    if not machine.exists():
        yield Check(name="keys", status="ok", detail="no machine key yet; the first process makes it")
    else:
        try:
            ring = KeyRing.open(settings.keys_dir)
        except HealspanError as error:
            yield Check(name="keys", status="problem", detail=str(error))
            return
        yield from private("machine key", machine)
        trusted = ", ".join(ring.trusted_ids)
        yield Check(
            name="reviewers",
            status="ok" if trusted else "note",
            detail=f"trusted here: {trusted}"
            if trusted
            else "nobody is trusted yet; the first approval, or 'healspan review keygen', makes and trusts its key",
        )
        yield from _reviewer(settings, ring)


def _reviewer(settings: Settings, ring: KeyRing) -> Iterator[Check]:
    path = settings.reviewer_key
    if not path.exists():
        return
    try:
        key_id = Reviewer.open(path, name="doctor").key_id
    except HealspanError as error:
        yield Check(name="reviewer key", status="problem", detail=str(error))
        return
    yield from private("reviewer key", path)
    if ring.trusted_ids and key_id not in ring.trusted_ids:
        yield Check(
            name="reviewer key",
            status="warning",
            detail=f"{path} ({key_id}) is not trusted here; 'healspan review keygen' enrols it",
        )


def check_spools(settings: Settings) -> Iterator[Check]:
    """Check for facts that are under way, left behind or damaged."""
    views = spool_views(settings.spool_dir)
    living = [view for view in views if view.alive]
    dead = [view for view in views if not view.alive]
    waiting = sum(view.facts or 0 for view in living)
    yield Check(name="spools", status="ok", detail=f"living processes: {len(living)}, facts under way: {waiting}")
    left = sum(view.facts or 0 for view in dead)
    if left:
        yield Check(
            name="spools",
            status="note",
            detail=f"{len(dead)} dead processes left {left} facts; 'healspan incidents' takes them in",
        )
    for view in views:
        if view.problem:
            yield Check(name="spools", status="problem", detail=f"{view.path} cannot be read: {view.problem}")
    for path in damaged_spools(settings.spool_dir):
        yield Check(
            name="spools",
            status="problem",
            detail=f"{path} was damaged and moved aside; what could be read was taken in; look at it, then remove it",
        )
