"""Reward: how good a fix is, as a number in (0, 1) that is sure rather than hopeful.

The success rate of a fix is a beta posterior whose prior comes from its relatives: all error types, then its
error type, then, for one context, the fix itself. A relative's evidence never contains the child's own. What
is compared and shown is the posterior's 10 % quantile: in nine of ten cases the fix is better than that.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.special import betaln
from scipy.stats import beta

from healspan.analytics.evidence import Evidence, Outcome, sums, weigh
from healspan.remediation.record import Record

__all__ = ["QUANTILE", "STRENGTH", "WEIGHTS", "ContextReward", "FixReward", "combine", "formula", "rewards"]

QUANTILE = 0.10
"""Every lower bound is this quantile of a posterior."""

STRENGTH = 6.0
"""How many outcomes of its own outweigh what a fix inherits.

Fixed below the level of error types: fitted on relatives, it would move with the fix's own outcomes, and one
more success could lower its bound."""

STALE_BELOW = 0.5
"""With less faded evidence than half an outcome, a score says what relatives did, not what this fix did."""

WEIGHTS = {"reliability": 0.45, "durability": 0.25, "generality": 0.20, "efficiency": 0.10}
"""Elasticities of the score in its components."""

_FLOOR = 0.001

_Floats = NDArray[np.float64]


class ContextReward(Record):
    """How a fix does in one context."""

    context: str
    successes: float
    """Faded; likewise the failures."""
    failures: float
    mean: float
    lower_bound: float


class FixReward(Record):
    """How a fix does, and from what that is known."""

    fix_id: str
    score: float = Field(gt=0, lt=1)
    """The combined lower bounds."""
    mean_score: float = Field(gt=0, lt=1)
    """The same of the posterior means; the difference is what is not known yet."""
    formula: str
    """Version of the combination and the components it used."""
    components: dict[str, float]
    """Lower bound of each component that was computed."""
    means: dict[str, float]
    success_count: int = Field(ge=0)
    failure_count: int = Field(ge=0)
    censored_count: int = Field(ge=0)
    evidence: float = Field(ge=0)
    """Faded outcomes that counted."""
    stale: bool
    contexts: tuple[ContextReward, ...]


def formula(components: Iterable[str]) -> str:
    """Name the combination: its version and the components in it, e.g. ``1:reliability``."""
    return "1:" + "+".join(name for name in WEIGHTS if name in set(components))


def combine(components: Mapping[str, float]) -> float:
    """Return the weighted geometric mean of the components that are there.

    No component makes up for a zero of another; what was not computed is left out, not invented.
    """
    total = sum(WEIGHTS[name] for name in components)
    return math.exp(sum(WEIGHTS[name] * math.log(max(value, _FLOOR)) for name, value in components.items()) / total)


def rewards(outcomes: Iterable[Outcome], families: Mapping[str, str], now: float) -> tuple[FixReward, ...]:
    """Return the reward of every fix, in order of `fix_id`.

    Args:
        outcomes: in any order; the same one may come twice.
        families: the error type of every fix; one that has no outcome yet is scored by its relatives.
        now: seconds since 1970.
    """
    evidence = weigh(outcomes, now, fixes=families)
    posterior = _posteriors(evidence, [families.get(fix_id, "") for fix_id in evidence.fixes])
    contexts = _by_fix(evidence, posterior)
    scores = []
    for position, fix_id in enumerate(evidence.fixes):
        components = {"reliability": float(posterior.fix_bound[position])}
        means = {"reliability": float(posterior.fix_mean[position])}
        scores.append(
            FixReward(
                fix_id=fix_id,
                score=combine(components),
                mean_score=combine(means),
                formula=formula(components),
                components=components,
                means=means,
                success_count=int(evidence.success_count[position]),
                failure_count=int(evidence.failure_count[position]),
                censored_count=int(evidence.censored_count[position]),
                evidence=float(posterior.fix_evidence[position]),
                stale=bool(posterior.fix_evidence[position] < STALE_BELOW),
                contexts=contexts[position],
            ),
        )
    return tuple(scores)


@dataclass(frozen=True, slots=True)
class _Posteriors:
    fix_mean: _Floats
    fix_bound: _Floats
    fix_evidence: _Floats
    cell_mean: _Floats
    cell_bound: _Floats


def _posteriors(evidence: Evidence, error_types: list[str]) -> _Posteriors:
    cells = evidence.cells
    fix_s = sums(cells.fix, cells.successes, len(evidence.fixes))
    fix_f = sums(cells.fix, cells.failures, len(evidence.fixes))
    types, kind = np.unique(np.array(error_types, dtype=np.str_), return_inverse=True)
    type_s, type_f = sums(kind, fix_s, len(types)), sums(kind, fix_f, len(types))

    population, strength = _other_types(type_s, type_f)
    type_mean = _shrunk(type_s[kind] - fix_s, type_f[kind] - fix_f, population[kind], strength[kind])
    fix_mean, fix_bound = _posterior(fix_s, fix_f, type_mean)
    inherited = _shrunk(
        fix_s[cells.fix] - cells.successes,
        fix_f[cells.fix] - cells.failures,
        type_mean[cells.fix],
        STRENGTH,
    )
    cell_mean, cell_bound = _posterior(cells.successes, cells.failures, inherited)
    return _Posteriors(fix_mean, fix_bound, fix_s + fix_f, cell_mean, cell_bound)


def _shrunk(successes: _Floats, failures: _Floats, mean: _Floats, strength: _Floats | float) -> _Floats:
    # A difference of equal sums may come out as -1e-17.
    successes, failures = np.maximum(successes, 0.0), np.maximum(failures, 0.0)
    shrunk: _Floats = (mean * strength + successes) / (strength + successes + failures)
    return shrunk


def _posterior(successes: _Floats, failures: _Floats, prior_mean: _Floats) -> tuple[_Floats, _Floats]:
    a = prior_mean * STRENGTH + successes
    b = (1.0 - prior_mean) * STRENGTH + failures
    bound: _Floats = beta.ppf(QUANTILE, a, b)
    # A quantile rounds to 0 or 1 only where the evidence is overwhelming; a score stays inside.
    inside = np.clip(bound, 1e-9, 1.0 - 1e-9)
    return np.clip(a / (a + b), 1e-9, 1.0 - 1e-9), inside


_MEANS = np.linspace(0.01, 0.99, 50)
_STRENGTHS = np.geomspace(2.0, 50.0, 24)


def _other_types(successes: _Floats, failures: _Floats) -> tuple[_Floats, _Floats]:
    """Return, for each error type, mean and strength of the population of all other types.

    The beta-binomial marginal likelihood with the weak prior mean ~ Beta(2, 2), ln strength ~ N(ln 6, 1), on
    a grid: one evaluation serves every type, its own column subtracted. The posterior mean over the grid
    stands in for the maximum: it has no start, no branch for few types, and moves smoothly.
    """
    mean, strength = (axis.ravel()[:, None] for axis in np.meshgrid(_MEANS, _STRENGTHS))
    a, b = mean * strength, (1.0 - mean) * strength
    prior = np.log(mean * (1.0 - mean)) - 0.5 * np.log(strength / 6.0) ** 2
    own = betaln(a + successes, b + failures) - betaln(a, b)
    others = prior + own.sum(axis=1, keepdims=True) - own
    weight = np.exp(others - others.max(axis=0))
    weight /= weight.sum(axis=0)
    return (weight * mean).sum(axis=0), np.exp((weight * np.log(strength)).sum(axis=0))


def _by_fix(evidence: Evidence, posterior: _Posteriors) -> list[tuple[ContextReward, ...]]:
    grouped: list[list[ContextReward]] = [[] for _ in evidence.fixes]
    cells = evidence.cells
    for position, fix in enumerate(cells.fix):
        grouped[fix].append(
            ContextReward(
                context=evidence.contexts[cells.context[position]],
                successes=float(cells.successes[position]),
                failures=float(cells.failures[position]),
                mean=float(posterior.cell_mean[position]),
                lower_bound=float(posterior.cell_bound[position]),
            ),
        )
    return [tuple(contexts) for contexts in grouped]
