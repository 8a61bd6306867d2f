"""The beta posterior of a success rate, and its lower bound, in the standard library alone.

A service carries neither numpy nor scipy. What it needs of them is one quantile, of a beta distribution whose
parameters are counts plus a prior: a few microseconds to a few dozen.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

__all__ = ["PRIOR", "QUANTILE", "Beta", "shrunk"]

QUANTILE = 0.10
"""A lower bound is this quantile: in nine of ten cases the rate is higher."""

_TINY = 1e-30
_MOST_TERMS = 300
_PRECISION = 1e-9
_MOST_STEPS = 60


@dataclass(frozen=True, slots=True)
class Beta:
    """A beta distribution of a rate.

    Args:
        a: successes and what the prior is worth in them; above zero, likewise `b`.
        b: failures, likewise.
    """

    a: float
    b: float

    @property
    def mean(self) -> float:
        """The expected rate."""
        return self.a / (self.a + self.b)

    @property
    def strength(self) -> float:
        """How many outcomes it is worth."""
        return self.a + self.b

    def lower_bound(self) -> float:
        """Return the quantile `QUANTILE`, to six digits."""
        return _quantile(round(self.a, 6), round(self.b, 6))

    def at_most(self, rate: float) -> float:
        """Return the probability that the true rate is at most this one."""
        if rate <= 0.0:
            return 0.0
        if rate >= 1.0:
            return 1.0
        a, b = self.a, self.b
        front = math.exp(
            math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(rate) + b * math.log1p(-rate),
        )
        # The fraction converges quickly on this side of the mean; the other side is its mirror image.
        if rate < (a + 1.0) / (a + b + 2.0):
            return min(1.0, front * _fraction(a, b, rate) / a)
        return max(0.0, 1.0 - front * _fraction(b, a, 1.0 - rate) / b)


PRIOR = Beta(3.6, 2.4)
"""What is believed of a fix before its first outcome: three of five succeed, worth six outcomes."""


def shrunk(successes: float, failures: float, parent: Beta, *, strength: float = PRIOR.strength) -> Beta:
    """Return the posterior of a child whose relatives' rate stands in for what it has not shown yet.

    Args:
        successes: the child's own, faded; likewise the failures.
        failures: likewise.
        parent: of the relatives, without the child's own outcomes.
        strength: how many outcomes of its own outweigh what it inherits.
    """
    return Beta(parent.mean * strength + successes, (1.0 - parent.mean) * strength + failures)


@functools.lru_cache(maxsize=4096)
def _quantile(a: float, b: float) -> float:
    """Halve and take Newton's step where it stays inside: safe on every shape, quick on the usual ones."""
    posterior = Beta(a, b)
    spread = math.sqrt(a * b / (a + b + 1.0)) / (a + b)
    low, high, rate = 0.0, 1.0, max(posterior.mean - 1.2816 * spread, posterior.mean / 4.0)
    scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    for _ in range(_MOST_STEPS):
        excess = posterior.at_most(rate) - QUANTILE
        if excess > 0.0:
            high = rate
        else:
            low = rate
        density = math.exp(scale + (a - 1.0) * math.log(rate) + (b - 1.0) * math.log1p(-rate))
        following = rate - excess / density if density > _TINY else low
        if not low < following < high:
            following = (low + high) / 2.0
        if abs(following - rate) < _PRECISION or not 0.0 < following < 1.0:
            return rate
        rate = following
    return rate


def _fraction(a: float, b: float, x: float) -> float:
    """Evaluate the continued fraction of the incomplete beta function by Lentz's method."""
    c, d = 1.0, _away(1.0 - (a + b) * x / (a + 1.0))
    d = 1.0 / d
    value = d
    for m in range(1, _MOST_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0))
        for numerator in (even, odd):
            d = 1.0 / _away(1.0 + numerator * d)
            c = _away(1.0 + numerator / c)
            value *= d * c
        if abs(d * c - 1.0) < _PRECISION:
            break
    return value


def _away(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
