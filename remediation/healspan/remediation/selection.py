"""Selection: which of several equally specific fixes to try on a failing call.

Mostly the one that is surely good: the best lower bound of its utility. Sometimes, where trying another one can do
no lasting harm, one drawn by Thompson's rule: what is never tried is never known, and a fix that was best last month
may have broken since. The probability of the choice is kept with the application, so that another rule can later be
judged on the same log. Pure: evidence and chance come in as arguments.
"""

from __future__ import annotations

import functools
import math
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
        shares = self._shares(open_to_chance)
        drawn = surest
        if chance.random() < self.explore:
            drawn = chance.choices(open_to_chance, weights=list(shares.values()))[0]
        propensity = self.explore * shares.get(drawn.fix_id, 0.0) + (1.0 - self.explore if drawn is surest else 0.0)
        return Choice(drawn.fix_id, min(max(propensity, self.least), 1.0), explored=drawn is not surest)

    def _rank(self, arm: Arm) -> tuple[float, float, str]:
        rate = arm.posterior.lower_bound()
        utility = rate - (1.0 - rate) * arm.harm - self.second * arm.latency_ms / 1e3
        return -utility, -arm.preference, arm.fix_id

    def _shares(self, arms: Sequence[Arm]) -> dict[str, float]:
        """Return how often Thompson's rule chooses each.

        The shares are worked out first and then drawn from, so the propensity that is written down is exact. Posteriors
        that differ by less than the draws can tell are taken for equal: most calls find the answer known.
        """
        rounded = tuple((_grid(one.posterior.a), _grid(one.posterior.b), one.harm, self._delay(one)) for one in arms)
        return dict(zip((one.fix_id for one in arms), _thompson_shares(rounded, self.draws), strict=True))

    def _delay(self, arm: Arm) -> float:
        return round(self.second * arm.latency_ms / 1e3, 2)


SELECTION = Selection()
"""The rule in force."""


def _grid(count: float) -> float:
    """Round to the nearest of a row of numbers that differ by a twentieth."""
    return 1.05 ** round(math.log(count, 1.05))


@functools.lru_cache(maxsize=4096)
def _thompson_shares(arms: tuple[tuple[float, float, float, float], ...], draws: int) -> tuple[float, ...]:
    # Its own source, the same each time: a probability that is written down must not depend on the hour.
    chance = Random(0)  # noqa: S311 - statistics, not secrets
    won = [0] * len(arms)
    for _ in range(draws):
        rates = [chance.betavariate(a, b) for a, b, _, _ in arms]
        gains = [rate - (1.0 - rate) * harm - delay for rate, (_, _, harm, delay) in zip(rates, arms, strict=True)]
        won[gains.index(max(gains))] += 1
    return tuple(number / draws for number in won)
