"""What a test may look at: the facts of this process, once they have reached the store."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from prometheus_client import REGISTRY

from healspan.remediation.incident import Incident, Resolution
from healspan.remediation.metrics import host_metrics
from healspan.remediation.runtime import Runtime, current_settings, shut_down
from healspan.remediation.settings import load_settings
from healspan.remediation.store import drain_all
from healspan.remediation.store.repository import Store
from healspan.remediation.store.views import IncidentView

PATIENCE = 60.0
"""Seconds until something that has to happen is given up; never a measure of speed."""


class Ended(NamedTuple):
    """An incident and how it ended."""

    incident: Incident
    resolution: Resolution


def wait_until(condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Wait for something that another thread or process does."""
    deadline = time.monotonic() + seconds
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
    with Store.open(live.settings) as store:
        views = store.incidents.list(limit=1_000)
    ended = []
    for view in reversed(views):
        assert view.resolution is not None
        ended.append(Ended(view.incident, view.resolution))
    return ended


def left_behind(limit: int = 100) -> tuple[IncidentView, ...]:
    """Return the incidents of processes that have ended, the newest first; none where none ever was."""
    settings = load_settings()
    if not settings.data_dir.exists():
        return ()
    drain_all(settings)
    with Store.open(settings) as store:
        return store.incidents.list(limit=limit)


def published(name: str, **labels: str) -> float:
    """Return a number that this process counts, under the service's name that it has kept since the first one."""
    return REGISTRY.get_sample_value(name, {"service": host_metrics("")._service, **labels}) or 0.0


def uninstall_for_good(live: Runtime) -> None:
    """Take every repair out, and keep the index from putting back what serves with its next look at the store."""
    live.index.stop(PATIENCE)
    live.repairs.uninstall_all()


def ended() -> None:
    """End this process's runtime, and take in what it had no time to bring to the store."""
    known = current_settings()
    shut_down()
    if known is not None and not known.disabled:
        drain_all(known)
