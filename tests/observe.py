"""What a test may look at: the facts of this process, once they have reached the store."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from healspan.remediation.incident import Incident, Resolution
from healspan.remediation.runtime import Runtime
from healspan.remediation.store.database import Database
from healspan.remediation.store.overview import incident_detail, incident_lines

PATIENCE = 20.0
"""Seconds until something that has to happen is given up; never a measure of speed."""


class Ended(NamedTuple):
    """An incident and how it ended."""

    incident: Incident
    resolution: Resolution


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Wait for something that another thread or process does."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.005)


def drained(live: Runtime) -> None:
    """Wait until everything appended so far is in the store."""
    live.flush(everything=True)
    live.drainer.notify()
    wait_until(lambda: not live.spool.read(limit=1), "the spool to be drained")


def facts(live: Runtime) -> list[Ended]:
    """Return every incident so far with its resolution, oldest first."""
    drained(live)
    database = Database.for_tool(live.settings)
    try:
        with database.reading() as connection:
            found = [incident_detail(connection, line.error_id) for line in incident_lines(connection, limit=1_000)]
    finally:
        database.close()
    ended = []
    for detail in reversed(found):
        assert detail is not None
        assert detail[1] is not None
        ended.append(Ended(detail[0], detail[1]))
    return ended
