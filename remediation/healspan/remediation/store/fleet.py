"""The fleet as it stands: fixes by state, scores, open escalations; a look that finds nothing new costs nearly nothing.

What is remembered follows facts by their positions, which become visible in their order because writers take turns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self

from sqlalchemy import Connection, func, select

from healspan.remediation.fix import FixState
from healspan.remediation.store.distributions import Distribution, Distributions
from healspan.remediation.store.exemplars import Exemplars, Traced
from healspan.remediation.store.open_patterns import OpenPatterns, Reach
from healspan.remediation.store.standings import Standings
from healspan.remediation.store.tables import (
    AuditRow,
    FixScoreRow,
    IncidentRow,
    ResolutionRow,
    StateChangeRow,
    table_of,
)

__all__ = ["Fleet"]

_INCIDENT, _RESOLUTION, _CHANGE = table_of(IncidentRow), table_of(ResolutionRow), table_of(StateChangeRow)
_AUDIT, _SCORE = table_of(AuditRow), table_of(FixScoreRow)

_NEWEST = select(
    *(
        newest.scalar_subquery()
        for newest in (
            select(func.max(_INCIDENT.c.position)),
            select(func.max(_RESOLUTION.c.position)),
            select(func.max(_CHANGE.c.position)),
            select(func.max(_SCORE.c.revision)),
            select(func.max(_AUDIT.c.position)).where(_AUDIT.c.action == "purge"),
        )
    )
)


class _Marks(NamedTuple):
    """How far there is something to read."""

    incident: int = 0
    resolution: int = 0
    change: int = 0
    score: int = 0
    purge: int = 0
    """The last one: it takes away what was taken in."""

    @classmethod
    def of(cls, connection: Connection) -> Self:
        return cls._make(value or 0 for value in connection.execute(_NEWEST).one())

    @property
    def reach(self) -> Reach:
        return Reach(self.incident, self.resolution)

    def is_before(self, other: _Marks) -> bool:
        """Whether this can be no later look at the same store: changes of fixes, and scores, are never taken away."""
        return self.change < other.change or self.score < other.score


class _Bounds(NamedTuple):
    scores: tuple[float, ...]
    seconds: tuple[float, ...]


class _Known:
    """What has been taken in, and how far."""

    def __init__(self, bounds: _Bounds) -> None:
        self.bounds = bounds
        self.marks = _Marks()
        self.standings = Standings()
        self.distributions = Distributions(self.standings, bounds.scores)
        self.patterns = OpenPatterns(self.standings)
        self.exemplars = Exemplars(bounds.seconds)

    def follow(self, connection: Connection, now: _Marks) -> None:
        changed = self.standings.take(connection, self.marks.change, now.change)
        self.distributions.take(connection, self.marks.score, now.score, changed)
        reach = self.marks.reach
        if now.purge != self.marks.purge:
            # What was taken away cannot be subtracted: nobody knows any more what it was.
            self.patterns, reach, changed = OpenPatterns(self.standings), Reach(), set(self.standings.by_id)
            self.exemplars = Exemplars(self.bounds.seconds)
        self.patterns.take(connection, reach, now.reach, changed)
        self.exemplars.take(connection, reach.resolution, now.resolution)
        self.marks = now


class Fleet:
    """What is known so far. Not safe to share between threads.

    Args:
        scores: upper bounds of the buckets of scores and durabilities, rising; the last one is the greatest there is.
        seconds: likewise of the heal durations, which have no greatest.
    """

    def __init__(self, *, scores: Sequence[float], seconds: Sequence[float]) -> None:
        self._bounds = _Bounds(tuple(scores), tuple(seconds))
        self._known = _Known(self._bounds)

    @property
    def states(self) -> Counter[FixState]:
        """Fixes by the state they are in."""
        return self._known.standings.states

    @property
    def rewards(self) -> Mapping[str, Distribution]:
        """Reward scores of the fixes that serve, by boundary; another mapping when they have changed, and only then."""
        return self._known.distributions.rewards

    @property
    def durabilities(self) -> Mapping[str, Distribution]:
        """Durabilities of the fixes that serve and have worked, by boundary; likewise."""
        return self._known.distributions.durabilities

    @property
    def exemplars(self) -> Mapping[tuple[tuple[str, ...], int], Traced]:
        """The newest call with a trace of every bucket of the heal durations; likewise."""
        return self._known.exemplars.newest

    def open_escalations(self, limit: int) -> int:
        """Return how many of the patterns that escalate most, at most `limit` of them, no serving fix answers."""
        return self._known.patterns.count(limit)

    def take(self, connection: Connection) -> bool:
        """Follow what has changed since the last time, and tell whether anything has.

        Args:
            connection: sees one moment of the store.
        """
        now = _Marks.of(connection)
        if now == self._known.marks:
            return False
        if now.is_before(self._known.marks):
            self._known = _Known(self._bounds)  # another store is in its place
        try:
            self._known.follow(connection, now)
        except BaseException:
            self._known = _Known(self._bounds)  # half of it may have been counted
            raise
        return True
