"""Wald's sequential test of a success rate: certain enough, as early as the outcomes allow.

It weighs two readings of every outcome: the rate is `good`, or it is `poor`. Each success speaks a little for the
first and each failure much for the second; the sum, a logarithm of the ratio of their likelihoods, is compared
with two limits. It does not depend on the order of the outcomes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

__all__ = ["TEST", "SequentialTest", "burst_weight"]


@dataclass(frozen=True)
class SequentialTest:
    """The two readings, and how often a decision may be wrong.

    Args:
        good: the success rate of a fix that should stay.
        poor: of one that must go; below `good`.
        false_rejection: probability that one of rate `good` is rejected.
        false_acceptance: probability that one of rate `poor` is accepted.
    """

    good: float = 0.95
    poor: float = 0.80
    false_rejection: float = 0.05
    false_acceptance: float = 0.05

    def __post_init__(self) -> None:
        if not 0.0 < self.poor < self.good < 1.0:
            raise ValueError(f"a test needs 0 < poor < good < 1, not poor={self.poor} and good={self.good}")
        if not (0.0 < self.false_rejection < 0.5 and 0.0 < self.false_acceptance < 0.5):
            raise ValueError("the probabilities of a wrong decision must lie between 0 and 1/2")

    @cached_property
    def success(self) -> float:
        """What one success adds to the sum; negative."""
        return math.log(self.poor / self.good)

    @cached_property
    def failure(self) -> float:
        """What one failure adds; positive."""
        return math.log((1.0 - self.poor) / (1.0 - self.good))

    @cached_property
    def reject_at(self) -> float:
        """The fix is rejected once the sum is at least this."""
        return math.log((1.0 - self.false_acceptance) / self.false_rejection)

    @cached_property
    def accept_at(self) -> float:
        """The fix is accepted once the sum is at most this."""
        return -math.log((1.0 - self.false_rejection) / self.false_acceptance)

    def llr(self, successes: float, failures: float) -> float:
        """Return the sum, the log-likelihood ratio, of independent outcomes."""
        return successes * self.success + failures * self.failure

    def burst(self, successes: int, failures: int) -> float:
        """Return what outcomes that came in one burst add; successes and failures keep their proportion."""
        number = successes + failures
        return burst_weight(number) / number * self.llr(successes, failures) if number else 0.0


def burst_weight(number: int) -> float:
    """Return how many independent outcomes those of one burst are worth: ``1 + ln n``.

    Equal failures within an hour are hardly independent: a thousand successes on one broken input must not pass for
    a thousand inputs.
    """
    return 1.0 + math.log(number) if number else 0.0


TEST = SequentialTest()
"""95 in a hundred against 80; wrong once in twenty. 18 straight successes accept, 3 straight failures reject."""
