"""Durability: how probably a fix that has worked goes on working, from the days on which it was needed.

What a fix heals comes again and again, so that is no event; that it was applied and failed is. Counted are days: those
on which the fix was judged at all, since its first success, and among them those on which it failed, however often.
Days without a failing call say nothing. The rate of failing days has a gamma posterior, so there is an answer without
any failure as well; it never becomes 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from scipy.stats import gamma

from healspan.analytics.reward import QUANTILE
from healspan.remediation.record import Record
from healspan.remediation.store.analysis import OutcomeFact

__all__ = ["HORIZON_DAYS", "Days", "Durability", "durability"]

HORIZON_DAYS = 14
"""Durability is the probability of that many days of use without a failure."""

_SHAPE, _DAYS = 0.5, 15.0
"""The prior: half a failing day in fifteen."""

_DAY = 86_400.0


class Durability(Record):
    """How a fix lasts."""

    days: int
    """On which it was judged, since its first success."""
    failing_days: int
    mean: float
    lower_bound: float
    """In nine of ten cases it is more durable than that."""


def durability(days: int, failing_days: int) -> Durability:
    """Return how a fix lasts that has failed on some of its days."""
    shape, exposure = _SHAPE + failing_days, _DAYS + days
    rate = float(gamma.ppf(1.0 - QUANTILE, shape, scale=1.0 / exposure))
    return Durability(
        days=days,
        failing_days=failing_days,
        mean=(exposure / (exposure + HORIZON_DAYS)) ** shape,
        lower_bound=math.exp(-rate * HORIZON_DAYS),
    )


class Days:
    """The days of fixes, noted while outcomes pass by on their way to somebody else."""

    def __init__(self) -> None:
        self._first_success: dict[str, float] = {}
        self._last_failure: dict[tuple[str, int], float] = {}
        """By fix and day (in UTC) on which it was judged; minus infinity where it did not fail."""

    def noted(self, facts: Iterable[OutcomeFact]) -> Iterator[OutcomeFact]:
        """Pass facts on."""
        for fact in facts:
            if fact.reward is not None and not fact.shadow:
                self._note(fact.fix_id, fact.at.timestamp(), fact.reward)
            yield fact

    def _note(self, fix_id: str, at: float, reward: int) -> None:
        day = fix_id, int(at // _DAY)
        failed = -math.inf if reward else at
        self._last_failure[day] = max(self._last_failure.get(day, -math.inf), failed)
        if reward:
            self._first_success[fix_id] = min(self._first_success.get(fix_id, at), at)

    def durabilities(self) -> dict[str, Durability]:
        """Return how every fix lasts that has ever worked."""
        days: dict[str, list[int]] = {fix_id: [0, 0] for fix_id in self._first_success}
        for (fix_id, day), failed in self._last_failure.items():
            began = self._first_success.get(fix_id)
            if began is not None and day >= began // _DAY:
                days[fix_id][0] += 1
                days[fix_id][1] += failed > began
        return {fix_id: durability(*counts) for fix_id, counts in days.items()}
