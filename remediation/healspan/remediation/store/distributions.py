"""How the scores of the fixes that serve are distributed, by boundary: kept up with what changes."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from healspan.remediation.store.standings import Standings
from healspan.remediation.store.tables import FixScoreRow, table_of

__all__ = ["Distribution", "Distributions"]

_SCORE = table_of(FixScoreRow)


@dataclass(slots=True)
class Distribution:
    """How many values there are up to which bound."""

    by_bucket: list[int]
    """Not cumulative."""
    sum: float = 0.0


class Distributions:
    """The reward scores of serving fixes.

    Args:
        standings: kept up by the caller, who says what changed.
        bounds: upper bounds of the buckets, rising; the last one is the greatest value there is.
    """

    def __init__(self, standings: Standings, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.rewards: dict[str, Distribution] = {}
        """By boundary; of those where a fix that serves has a score."""
        self._standings = standings
        self._reward: dict[str, float] = {}
        self._fixes_at: defaultdict[str, set[str]] = defaultdict(set)

    def take(self, connection: Connection, after: int, through: int, changed: set[str]) -> None:
        """Follow the scores whose revisions are in (after, through], and what has become of the fixes that changed."""
        score, by_id = _SCORE.c, self._standings.by_id
        query = select(score.fix_id, score.reward_score).where(score.revision > after, score.revision <= through)
        fresh = {row.fix_id: row.reward_score for row in connection.execute(query)}
        self._reward |= fresh
        touched = {by_id[fix_id].module for fix_id in fresh.keys() | changed if fix_id in by_id}
        for fix_id in changed:
            self._fixes_at[by_id[fix_id].module].add(fix_id)
        for boundary in touched:
            serving = [fix_id for fix_id in self._fixes_at[boundary] if by_id[fix_id].serves]
            values = [self._reward[fix_id] for fix_id in sorted(serving) if fix_id in self._reward]
            if values:
                self.rewards[boundary] = _counted(values, self.bounds)
            else:
                self.rewards.pop(boundary, None)


def _counted(values: Sequence[float], bounds: Sequence[float]) -> Distribution:
    found = Distribution([0] * len(bounds), sum(values))
    for value in values:
        found.by_bucket[min(bisect_left(bounds, value), len(bounds) - 1)] += 1
    return found
