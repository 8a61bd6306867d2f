"""Selection: which of several equally specific fixes to try on a failing call.

Mostly the one that is surely good: the best lower bound of its utility. Sometimes, where trying another one can do
no lasting harm, one drawn by Thompson's rule: what is never tried is never known, and a fix that was best last month
may have broken since. The probability of the choice is kept with the application, so that another rule can later be
judged on the same log. Pure: evidence and chance come in as arguments.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from healspan.remediation.fix import RiskLevel
from healspan.remediation.posterior import Beta

__all__ = ["HARM", "SELECTION", "Arm", "Choice", "Selection"]

HARM = {RiskLevel.LOW: 0.5, RiskLevel.MEDIUM: 2.0, RiskLevel.HIGH: 4.0}
"""What a failing application costs, where a healed call is worth 1. The contract catches most of them, and the next
candidate is asked: of a low-risk fix little is lost but time. Twice the benefit is the caution of a canary."""


@dataclass(frozen=True, slots=True)
class Arm:
    """A fix that may be tried."""

    fix_id: str
    posterior: Beta
    """Of its success in this context."""
    harm: float = 0.5
    """What a failure costs, where a success is worth 1."""
    latency_ms: float = 0.0
    """What it adds to the call."""
    explorable: bool = True
    """Whether trying it to learn something can do no lasting harm."""
    preference: float = 0.0
    """Decides between equals."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which fix to try, and how likely that was."""

    fix_id: str
    propensity: float
    """In (0, 1]; 1 for a fix without rivals."""
    explored: bool = False
    """Whether chance chose it against the rule."""


@dataclass(frozen=True)
class Selection:
    """The rule and its parameters.

    Args:
        explore: how often chance chooses.
        draws: of every posterior, to work out how often chance would choose which fix.
        least: no propensity is given as less: its inverse is a weight.
        second: what a second of added latency costs, where a success is worth 1.
        version: of the rule, kept with every choice.
    """

    explore: float = 0.1
    draws: int = 200
    least: float = 0.01
    second: float = 0.25
    version: str = "lcb-thompson:1"

    def choose(self, arms: Sequence[Arm], chance: Random, *, explore: bool = True) -> Choice:
        """Return the fix to try first.

        Args:
            arms: at least one; in any order.
            chance: whence the draws come.
            explore: whether this failure allows it; a severe one does not.
        """
        if len(arms) == 1:
            return Choice(arms[0].fix_id, 1.0)
        ranked = sorted(arms, key=self._rank)
        surest, open_to_chance = ranked[0], [arm for arm in ranked if arm.explorable]
        if not explore or len(open_to_chance) < 2:
            return Choice(surest.fix_id, 1.0)
        drawn = surest
        if chance.random() < self.explore:
            drawn = max(open_to_chance, key=lambda arm: self._drawn(arm, chance))
        share = self._shares(tuple(open_to_chance)).get(drawn.fix_id, 0.0)
        propensity = self.explore * share + (1.0 - self.explore if drawn is surest else 0.0)
        return Choice(drawn.fix_id, min(max(propensity, self.least), 1.0), explored=drawn is not surest)

    def _rank(self, arm: Arm) -> tuple[float, float, str]:
        return -self._utility(arm, arm.posterior.lower_bound()), -arm.preference, arm.fix_id

    def _utility(self, arm: Arm, rate: float) -> float:
        return rate - (1.0 - rate) * arm.harm - self.second * arm.latency_ms / 1e3

    def _drawn(self, arm: Arm, chance: Random) -> float:
        return self._utility(arm, chance.betavariate(arm.posterior.a, arm.posterior.b))

    def _shares(self, arms: tuple[Arm, ...]) -> dict[str, float]:
        """Return how often Thompson's rule would choose each, to the precision of the draws.

        Posteriors that differ by less than that are taken for equal, so that most calls find the answer known.
        """
        rounded = tuple((_grid(arm.posterior.a), _grid(arm.posterior.b), self._cost(arm)) for arm in arms)
        shares = _thompson_shares(rounded, self.draws)
        return {arm.fix_id: share for arm, share in zip(arms, shares, strict=True)}

    def _cost(self, arm: Arm) -> tuple[float, float]:
        return arm.harm, round(self.second * arm.latency_ms / 1e3, 2)


SELECTION = Selection()
"""The rule in force."""


def _grid(count: float) -> float:
    """Round to a tenth, and large counts to two digits."""
    return round(count, 1) if count < 10.0 else round(count)


@functools.lru_cache(maxsize=4096)
def _thompson_shares(arms: tuple[tuple[float, float, tuple[float, float]], ...], draws: int) -> tuple[float, ...]:
    # Its own source, the same each time: a probability that is written down must not depend on the hour.
    chance = Random(0)  # noqa: S311 - statistics, not secrets
    won = [0] * len(arms)
    for _ in range(draws):
        utilities = [
            rate - (1.0 - rate) * harm - delay
            for rate, (harm, delay) in ((chance.betavariate(max(a, 0.1), max(b, 0.1)), cost) for a, b, cost in arms)
        ]
        won[utilities.index(max(utilities))] += 1
    return tuple(number / draws for number in won)
