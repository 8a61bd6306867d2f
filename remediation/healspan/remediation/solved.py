"""What has been solved: the failures of the fixes that serve here, kept so that new ones can be compared with them.

A fix names its pattern by a hash, which says nothing of what the failure looked like; the incidents in the store do.
They are read in a thread of the runtime, never on the path of a request, some hundred at a time, so a process that has
just started knows of a few at first and of all after a while.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from healspan.remediation.errors import HealspanError
from healspan.remediation.incident import Incident
from healspan.remediation.retrieval import Document, Embedder, Hit, PatternIndex
from healspan.remediation.settings import Settings
from healspan.remediation.store import Candidate

if TYPE_CHECKING:
    from healspan.remediation.store.database import Database

__all__ = ["Alike", "Solved"]

logger = logging.getLogger("healspan.retrieval")

_AT_ONCE = 500
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 3_600.0
"""Seconds until an incident that was not in the store is looked for again: at first it is on its way."""


@dataclass(frozen=True, slots=True)
class Alike:
    """A fix that serves, and how its failure compares with one that was looked up."""

    candidate: Candidate
    hit: Hit


@dataclass(frozen=True, slots=True)
class _LookedUp:
    of: Incident
    serving: Mapping[str, Candidate]
    limit: int
    found: tuple[Alike, ...]


class Solved:
    """The failures of the fixes that serve.

    Args:
        settings: where the store is.
        serving: the fixes that serve now, by id.
        embedder: compares failures as well.
        on_error: called after every look at the store that failed.
        clock: monotonic, in seconds.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        serving: Callable[[], Mapping[str, Candidate]],
        embedder: Embedder | None = None,
        on_error: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._serving = serving
        self._on_error = on_error
        self._clock = clock
        self._index = PatternIndex(embedder=embedder)
        self._known: dict[str, str] = {}
        """The pattern of each fix whose failure is in the index."""
        self._missing: dict[str, tuple[float, float]] = {}
        """Fixes whose incident is not in the store: when to look again, and how long to wait after that."""
        self._seen: Mapping[str, Candidate] | None = None
        self._next = 0.0
        """When there is something to do even if what serves is still the same."""
        self._database: Database | None = None
        self._last: _LookedUp | None = None
        """Whoever diagnoses a failure may ask for the same: for fixes to try, and for examples to show."""

    def __len__(self) -> int:
        return len(self._known)

    def like(self, incident: Incident, limit: int = 5) -> tuple[Alike, ...]:
        """Return fixes that serve and whose failures are like this one, the most alike first."""
        if not self._known:
            return ()
        serving, last = self._serving(), self._last
        if last is not None and last.of is incident and last.serving is serving and last.limit >= limit:
            return last.found[:limit]
        hits = self._index.search(Document.of(incident), limit)
        found = tuple(Alike(serving[hit.group_id], hit) for hit in hits if hit.group_id in serving)
        self._last = _LookedUp(incident, serving, limit, found)
        return found

    def catch_up(self) -> None:
        """Take in what has come to serve and take out what no longer does; called every second or so."""
        serving, now = self._serving(), self._clock()
        if serving is self._seen and now < self._next:
            return
        for fix_id in self._known.keys() - serving.keys():
            self._index.remove(self._known.pop(fix_id), fix_id)
        for fix_id in self._missing.keys() - serving.keys():
            del self._missing[fix_id]
        wanted = {
            fix_id: candidate.fix.scope.exact
            for fix_id, candidate in serving.items()
            if candidate.fix.scope.exact is not None
            and fix_id not in self._known
            and self._missing.get(fix_id, (now, 0.0))[0] <= now
        }
        asked = dict(list(wanted.items())[:_AT_ONCE])
        found = self._incidents(set(asked.values())) if asked else {}
        for fix_id, exact in asked.items():
            incident = found.get(exact)
            if incident is None:
                wait = min(2 * self._missing.get(fix_id, (now, _FIRST_WAIT / 2))[1], _LONGEST_WAIT)
                self._missing[fix_id] = now + wait, wait
                continue
            self._missing.pop(fix_id, None)
            self._index.add(Document.of(incident, group_id=fix_id))
            self._known[fix_id] = exact
        self._seen, self._last = serving, None
        self._next = (
            now if len(asked) < len(wanted) else min((at for at, _ in self._missing.values()), default=math.inf)
        )

    def close(self) -> None:
        """Close the connections to the store."""
        if self._database is not None:
            self._database.close()

    def _incidents(self, exact: set[str]) -> Mapping[str, Incident]:
        # Imported here: a process whose calls all succeed never loads a database library.
        from healspan.remediation.store.database import Database
        from healspan.remediation.store.incidents import Incidents

        try:
            if self._database is None:
                self._database = Database.for_host(self._settings)
            return Incidents(self._database).latest_of(exact)
        except HealspanError as error:
            self._on_error()
            logger.info("what solved failures looked like is not read for now: %s", error)
            return {}
