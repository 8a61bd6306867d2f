"""How the scores of the fixes that serve are distributed, by boundary: kept up with what changes."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, select

from healspan.remediation.store.standings import Standings
from healspan.remediation.store.tables import FixScoreRow, table_of

__all__ = ["Distribution", "Distributions"]

_SCORE = table_of(FixScoreRow)

_SCORES = select(_SCORE.c.fix_id, _SCORE.c.reward_score, _SCORE.c.body).where(
    _SCORE.c.revision > bindparam("after"), _SCORE.c.revision <= bindparam("through")
)


@dataclass(slots=True)
class Distribution:
    """How many values there are up to which bound."""

    by_bucket: list[int]
    """Not cumulative."""
    sum: float = 0.0


class _Score(NamedTuple):
    reward: float
    durability: float | None


class Distributions:
    """The reward scores, and the durabilities, of serving fixes.

    Args:
        standings: kept up by the caller, who says what changed.
        bounds: upper bounds of the buckets, rising; the last one is the greatest value there is.
    """

    def __init__(self, standings: Standings, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.rewards: Mapping[str, Distribution] = {}
        """By boundary; of those where a fix that serves has a score. Another mapping when one of them changes."""
        self.durabilities: Mapping[str, Distribution] = {}
        """Likewise; of fixes that have worked at all."""
        self._standings = standings
        self._scores: dict[str, _Score] = {}
        self._fixes_at: defaultdict[str, set[str]] = defaultdict(set)

    def take(self, connection: Connection, after: int, through: int, changed: set[str]) -> None:
        """Follow the scores whose revisions are in (after, through], and what has become of the fixes that changed."""
        by_id = self._standings.by_id
        fresh = {
            fix_id: _Score(reward, json.loads(body)["parts"].get("durability"))
            for fix_id, reward, body in connection.execute(_SCORES, {"after": after, "through": through})
        }
        self._scores |= fresh
        touched = {by_id[fix_id].module for fix_id in fresh.keys() | changed if fix_id in by_id}
        for fix_id in changed:
            self._fixes_at[by_id[fix_id].module].add(fix_id)
        if not touched:
            return
        rewards, durabilities = {**self.rewards}, {**self.durabilities}
        for boundary in touched:
            serving = [fix_id for fix_id in self._fixes_at[boundary] if by_id[fix_id].serves]
            scores = [self._scores[fix_id] for fix_id in sorted(serving) if fix_id in self._scores]
            self._put(rewards, boundary, [one.reward for one in scores])
            self._put(durabilities, boundary, [one.durability for one in scores if one.durability is not None])
        self.rewards, self.durabilities = rewards, durabilities

    def _put(self, by_boundary: dict[str, Distribution], boundary: str, values: Sequence[float]) -> None:
        if values:
            by_boundary[boundary] = _counted(values, self.bounds)
        else:
            by_boundary.pop(boundary, None)


def _counted(values: Sequence[float], bounds: Sequence[float]) -> Distribution:
    found = Distribution([0] * len(bounds), sum(values))
    for value in values:
        found.by_bucket[min(bisect_left(bounds, value), len(bounds) - 1)] += 1
    return found
