"""Off-policy evaluation: how well another rule of selection would have done, from the log of the one in force.

Possible because chance has a say and its probabilities are kept. Each logged choice is weighed by how much likelier
the other rule would have made it; where the two have little in common, the answer is that nobody can tell. Only
choices in which chance had a say belong here: where the rule was certain, the log is silent about everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from healspan.remediation.record import Record

__all__ = ["LEAST_SAMPLES", "Estimate", "Logged", "Rule", "evaluate"]

LEAST_SAMPLES = 30.0
"""With fewer effective samples no value is given."""

MOST_WEIGHT = 10.0
"""A single choice must not decide everything: larger weights are cut, for a little bias."""

STRENGTH = 6.0
"""Outcomes of its own that outweigh what a fix in one context inherits from all; as in `reward`."""

_FOLDS = 2
_Floats = NDArray[np.float64]


class Logged(NamedTuple):
    """One choice and what came of it."""

    context: str
    candidates: tuple[str, ...]
    chosen: str
    propensity: float
    """With which it was chosen."""
    reward: int
    signature: str
    """Pattern of the failure; choices of one pattern stand or fall together."""


Rule = Callable[[Logged], Mapping[str, float]]
"""Gives the probability of each candidate; it must not look at what was chosen, or at the reward."""


class Estimate(Record):
    """What a rule would have been worth, as the share of calls healed."""

    choices: int = Field(ge=0)
    effective: float = Field(ge=0)
    """Samples that the log is worth for this rule."""
    logged: float | None
    """What the rule in force reached."""
    snips: float | None
    """Self-normalised importance sampling; None with too few effective samples, likewise the next two."""
    doubly_robust: float | None
    """A model of the rewards, corrected where the log knows better: right if either is."""
    interval: tuple[float, float] | None
    """80 % of the doubly robust values, resampled by failure pattern."""


def evaluate(choices: Iterable[Logged], rule: Rule, *, resamples: int = 500, seed: int = 0) -> Estimate:
    """Estimate the value of a rule.

    Args:
        choices: of the log, in any order.
        rule: the other one.
        resamples: for the interval.
        seed: likewise, so that the same log gives the same answer.
    """
    log = sorted(choices)
    if not log:
        return Estimate(choices=0, effective=0.0, logged=None, snips=None, doubly_robust=None, interval=None)
    reward = np.array([one.reward for one in log], dtype=np.float64)
    wanted = [rule(one) for one in log]
    weight = np.array([wish.get(one.chosen, 0.0) / one.propensity for one, wish in zip(log, wanted, strict=True)])
    weight = np.minimum(weight, MOST_WEIGHT)
    squares = float((weight**2).sum())
    effective = float(weight.sum()) ** 2 / squares if squares else 0.0
    known = Estimate(
        choices=len(log),
        effective=effective,
        logged=float(reward.mean()),
        snips=None,
        doubly_robust=None,
        interval=None,
    )
    if effective < LEAST_SAMPLES:
        return known
    parts = _doubly_robust(log, wanted, weight, reward)
    return known.model_copy(
        update={
            "snips": float((weight * reward).sum() / weight.sum()),
            "doubly_robust": float(np.clip(parts.mean(), 0.0, 1.0)),
            "interval": _interval(parts, [one.signature for one in log], resamples, seed),
        },
    )


def _doubly_robust(
    log: Sequence[Logged], wanted: Sequence[Mapping[str, float]], weight: _Floats, reward: _Floats
) -> _Floats:
    """Return each choice's part of the estimate; its model has not seen the choices of its own fold."""
    folds = {signature: number % _FOLDS for number, signature in enumerate(sorted({one.signature for one in log}))}
    models = [_Model([one for one in log if folds[one.signature] != fold]) for fold in range(_FOLDS)]
    parts = np.empty(len(log))
    for position, (one, wish) in enumerate(zip(log, wanted, strict=True)):
        model = models[folds[one.signature]]
        expected = sum(share * model.mean(one.context, fix_id) for fix_id, share in wish.items())
        correction = weight[position] * (reward[position] - model.mean(one.context, one.chosen))
        parts[position] = expected + correction
    return parts


class _Model:
    """Mean rewards by context and fix, shrunk to the fix's, and those to everybody's."""

    def __init__(self, log: Sequence[Logged]) -> None:
        self._cells: dict[tuple[str, ...], list[int]] = {}
        for one in log:
            for key in ((), (one.chosen,), (one.chosen, one.context)):
                self._cells.setdefault(key, []).append(one.reward)

    def mean(self, context: str, fix_id: str) -> float:
        mean = 0.5
        for key in ((), (fix_id,), (fix_id, context)):
            rewards = self._cells.get(key, [])
            mean = (mean * STRENGTH + sum(rewards)) / (STRENGTH + len(rewards))
        return mean


def _interval(parts: _Floats, signatures: Sequence[str], resamples: int, seed: int) -> tuple[float, float]:
    chance = np.random.default_rng(seed)
    names, group = np.unique(np.array(signatures, dtype=np.str_), return_inverse=True)
    sums = np.bincount(group, weights=parts)
    sizes = np.bincount(group)
    drawn = chance.integers(0, len(names), size=(resamples, len(names)))
    values = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.clip(np.quantile(values, [0.1, 0.9]), 0.0, 1.0)
    return float(low), float(high)
