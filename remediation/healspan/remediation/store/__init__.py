"""The store: where facts are kept, and how processes learn from each other.

The way of a fact: `Spool.append` (this process's own file, microseconds) -> `Drainer` -> the store -> the
`FixIndex` of every process. What is exported here is light; the modules below load the database library and
are imported where they are needed, never on the path of a request:

- ``database.Database`` connections to the store, migrated on opening
- ``repository.Store`` what tools ask the store: incidents, fixes, outcomes, projections, controls, retention
"""

from __future__ import annotations

from healspan.remediation.store.drainer import Drained, Drainer, drain_all
from healspan.remediation.store.facts import (
    AuditEntry,
    FixScore,
    Hotspot,
    Kind,
    Refusal,
    context_text,
)
from healspan.remediation.store.history import HistoryView, RunHistory
from healspan.remediation.store.index import FixIndex
from healspan.remediation.store.reach import Reach
from healspan.remediation.store.snapshot import Candidate, Snapshot
from healspan.remediation.store.spool import Spool, SpoolCounts

__all__ = [
    "AuditEntry",
    "Candidate",
    "Drained",
    "Drainer",
    "FixIndex",
    "FixScore",
    "HistoryView",
    "Hotspot",
    "Kind",
    "Reach",
    "Refusal",
    "RunHistory",
    "Snapshot",
    "Spool",
    "SpoolCounts",
    "context_text",
    "drain_all",
]
