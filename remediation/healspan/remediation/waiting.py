"""What waits for a human: failures that nothing healed; fixes to approve, that were suspended, that hide a fault."""

from __future__ import annotations

from healspan.remediation.claude.consultation import Consultation
from healspan.remediation.incident import Incident, Resolution
from healspan.remediation.record import Record
from healspan.remediation.store.facts import ARCHITECTURAL
from healspan.remediation.store.masking import MaskingAlarm
from healspan.remediation.store.repository import Store
from healspan.remediation.store.review_queue import Escalation, Proposal, ReviewQueue, Suspension

__all__ = ["EscalatedPattern", "Queue", "review_queue"]


class EscalatedPattern(Record):
    """A pattern that escalated, with its latest incident: what was tried on it, and why that was refused."""

    summary: Escalation
    latest: Incident
    resolution: Resolution | None
    bucket: str | None = None
    """What it probably is, where its latest incident says so: an architectural deficiency where healing was stopped
    because one failure led to the next."""
    claude: str = ""
    """How the last diagnosis of the pattern by Claude ended that asked anything, and what it said."""


class Queue(Record):
    """What waits for a human."""

    escalated: tuple[EscalatedPattern, ...]
    """Those that nobody has answered first, then the most frequent."""
    proposed: tuple[Proposal, ...]
    """Newest first."""
    suspended: tuple[Suspension, ...]
    """Newest first."""
    masking: tuple[MaskingAlarm, ...]
    """Fixes that fire so often that they hide a fault, and that nobody has answered for; those that hide most first."""

    @property
    def is_empty(self) -> bool:
        """Whether nobody has to do anything."""
        return (
            not self.proposed
            and not self.suspended
            and not self.masking
            and all(one.summary.answered_by is not None for one in self.escalated)
        )


def _said(one: Consultation | None) -> str:
    if one is None:
        return ""
    return f"{one.state}: {one.reason}" if one.reason else one.state


def review_queue(store: Store, *, limit: int = 100) -> Queue:
    """Return what waits for a human.

    Raises:
        StoreUnavailable, StoreCorrupt: it cannot be read.
    """
    queue = ReviewQueue(store.database)
    escalated = []
    escalations = queue.escalations(limit=limit)
    said = store.incidents.last_consulted([summary.exact for summary in escalations])
    for summary in escalations:
        view = store.incidents.get(summary.examples[0])
        if view is not None:
            decisions = () if view.resolution is None else view.resolution.decisions
            escalated.append(
                EscalatedPattern(
                    summary=summary,
                    latest=view.incident,
                    resolution=view.resolution,
                    bucket=ARCHITECTURAL if any(one.gate == "cascade" for one in decisions) else None,
                    claude=_said(said.get(summary.exact)),
                ),
            )
    return Queue(
        escalated=tuple(escalated),
        proposed=queue.proposals(),
        suspended=queue.suspensions(),
        masking=store.masking.open(),
    )
