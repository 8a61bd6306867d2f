"""Checks of the store, and of what serves from it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping
from urllib.parse import quote

from healspan.remediation.boundary import Boundary
from healspan.remediation.cli.checks.check import Check
from healspan.remediation.cli.checks.fixes import check_fixes
from healspan.remediation.errors import HealspanError
from healspan.remediation.golden import UNSTORED
from healspan.remediation.settings import Settings
from healspan.remediation.store.database import Database
from healspan.remediation.store.migrate import HEAD, VERSION_TABLE
from healspan.remediation.store.repository import Store
from healspan.remediation.switch import switch_state

__all__ = ["check_store"]


def check_store(settings: Settings, boundaries: Mapping[str, Boundary]) -> Iterator[Check]:
    """Check the store without migrating it, and what is in it."""
    try:
        revision = _revision(settings)
        if revision == "absent":
            yield Check(name="store", status="ok", detail="not there yet; the first failure makes it")
            return
        if revision == "none" or revision < HEAD:  # names of revisions are numbers; what no number is, comes later
            yield Check(
                name="store",
                status="warning",
                detail=f"revision {revision}, this healspan works with {HEAD}; the next command that uses it migrates",
            )
            return
        with Store.open(settings) as store:
            yield from _opened(store, settings, boundaries)
    except HealspanError as error:
        yield Check(name="store", status="problem", detail=str(error))


def _revision(settings: Settings) -> str:
    """Return the revision of a SQLite store without migrating it."""
    path = Database.for_tool(settings).path
    if path is None:
        return "elsewhere"
    if not path.exists():
        return "absent"
    try:
        uri = f"file:{quote(str(path.absolute()))}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
            found = connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone()  # noqa: S608 - a constant
    except sqlite3.Error:
        # Opening it properly says better what is wrong.
        return "elsewhere"
    return "none" if found is None else str(found[0])


def _opened(store: Store, settings: Settings, boundaries: Mapping[str, Boundary]) -> Iterator[Check]:
    damage = store.check()
    for words in damage:
        yield Check(name="store", status="problem", detail=words)
    if not damage:
        number = store.incidents.count()
        yield Check(name="store", status="ok", detail=f"{store.database.name}, {number} incidents, no damage")
    letters = store.controls.count_dead_letters()
    if letters:
        latest = store.controls.dead_letters(limit=1)[0]
        yield Check(
            name="dead letters",
            status="problem",
            detail=f"{letters} facts could not be taken in; the latest, a {latest.kind}: {latest.reason}",
        )
    switch = switch_state(store, settings)
    if switch.disabled:
        since = "" if switch.since is None else f" since {switch.since:%Y-%m-%d %H:%M} UTC by {switch.actor}"
        yield Check(
            name="kill switch",
            status="problem",
            detail=f"healing is off{since}; 'healspan enable' turns it on",
        )
    yield from check_fixes(store, settings, boundaries)
    yield from _golden(store, boundaries)


def _golden(store: Store, boundaries: Mapping[str, Boundary]) -> Iterator[Check]:
    counts = store.goldens.counts()
    if counts:
        told = ", ".join(f"{number} of {boundary}" for boundary, number in counts.items())
        yield Check(name="golden samples", status="ok", detail=f"stored: {told}")
    reasons = store.controls.audits(action=UNSTORED, limit=100)
    told_why = {one.subject: str(one.detail.get("reason", "")) for one in reversed(reasons)}
    for name, reason in sorted(told_why.items()):
        if name not in counts and (not boundaries or name in boundaries):
            yield Check(
                name="golden samples",
                status="note",
                detail=f"good calls of {name} are not stored, so each process replays only its own: {reason}",
            )
