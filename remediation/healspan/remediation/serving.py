"""Serving: installs the repairs that serve into this process's functions, ahead of the failure.

Runs in the index's thread, and in that of whoever puts boundaries on or takes them off; never on the path of a
request. Only a fix that is nothing but repairs, for any context, can act ahead of the failure; every other fix acts
when the pattern shows.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from dataclasses import replace

from healspan.remediation.boundary import is_withdrawn
from healspan.remediation.conventions import reckoned_in, settled
from healspan.remediation.fix import Match
from healspan.remediation.repair import ActiveRepair, InstallReport, InstallStatus, Repairs, active_repairs
from healspan.remediation.step import RepairStep
from healspan.remediation.store import Candidate, Snapshot

__all__ = ["Serving"]

logger = logging.getLogger("healspan.serving")


class Serving:
    """Keeps what is installed equal to what serves.

    Args:
        repairs: of this process.
    """

    def __init__(self, repairs: Repairs) -> None:
        self._repairs = repairs
        self._said: set[tuple[str, str]] = set()
        # Of two threads the later one decides: what the earlier one has found of boundaries may be so no more.
        self._lock = threading.RLock()

    def serve(self, snapshot: Snapshot) -> None:
        """Take out what no longer serves and put in what does."""
        with self._lock:
            wanted = [
                repair
                for candidate in snapshot.serving
                if _may_serve(candidate)
                for repair in ahead_of_failure(candidate)
            ]
            self._say(self._repairs.install_exactly(wanted))

    def retry(self) -> None:
        """Install what waited for a module that has been imported meanwhile."""
        self._say(self._repairs.retry_pending())

    def _say(self, reports: Iterable[InstallReport]) -> None:
        for report in reports:
            if report.status in {InstallStatus.INSTALLED, InstallStatus.PENDING}:
                continue
            said = (report.repair.fix_id, report.reason)
            if said not in self._said:
                self._said.add(said)
                logger.warning("fix %s is not installed (%s): %s", said[0][:12], report.status, said[1])


def _may_serve(candidate: Candidate) -> bool:
    """Whether its boundary is there, and no machine has settled what may be read in two ways."""
    if is_withdrawn(candidate.fix.scope.module):
        return False
    return candidate.change.by_human or not any(settled(step) for step in candidate.fix.steps)


def ahead_of_failure(candidate: Candidate) -> list[ActiveRepair]:
    """Return the repairs of a fix that may act before any exception leaves the function."""
    fix = candidate.fix
    steps = [step for step in fix.steps if isinstance(step, RepairStep)]
    if len(steps) != len(fix.steps) or fix.scope.context_keys or not candidate.change.paths:
        return []
    repairs = active_repairs(
        fix.fix_id,
        steps,
        fix.scope.module,
        candidate.change.paths,
        in_order=fix.scope.match is not Match.BOUNDARY,
    )
    if candidate.change.by_human:
        return repairs
    # What a machine has taken for granted holds below a boundary that declares it, which may be there later than this,
    # be declared anew, or be there twice: it is looked at when the repair is to act.
    return [replace(each, currency=reckoned_in(each.step)) for each in repairs]
