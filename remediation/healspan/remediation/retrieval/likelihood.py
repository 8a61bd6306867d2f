"""Likelihood: how probable it is that what solved one failure solves one like it, and when to try it by itself.

A logistic regression on a few signs of a hit. The coefficients were fitted by ``benchmarks/fit_retrieval.py`` on that
part of a file of real tracebacks which ``benchmarks/retrieval.py`` does not measure, and are written down here: a
threshold that moved with the data of one host could not be reviewed. docs/retrieval.md has the figures.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

__all__ = ["REUSE_AT", "Signs", "likelihood", "may_be_reused"]


class Signs(NamedTuple):
    """What the likelihood is judged by."""

    score: float
    """Of the group, in [0, 1], without the embedder's part."""
    margin: float
    """To the best other group, in [-1, 1]; the score itself where there is none. More than `FAR` is no surer: where
    little is known, everything else is far."""
    same_type: bool
    same_function: bool
    """Innermost, module included."""
    same_line: bool
    """Innermost, where it is known."""
    same_name: bool
    """The name, key or attribute that was missing, if any."""


INTERCEPT: Final = -21.86
COEFFICIENTS: Final = (8.31, 5.91, 7.27, 2.99, 5.53, 5.16)
"""In the order of `Signs`."""

FAR: Final = 0.2

REUSE_AT: Final = 0.97
"""At this likelihood a fix may be tried by itself on a failure like the one it was made for; below it, never."""


def likelihood(signs: Signs) -> float:
    """Return the probability, in (0, 1), that the same fix works."""
    logit = INTERCEPT + sum(weight * sign for weight, sign in zip(COEFFICIENTS, weighed(signs), strict=True))
    return 1.0 / (1.0 + math.exp(-logit))


def weighed(signs: Signs) -> tuple[float, ...]:
    """Return the numbers that the coefficients are for."""
    return tuple(float(sign) for sign in signs._replace(margin=min(signs.margin, FAR)))


def may_be_reused(signs: Signs) -> bool:
    """Whether a fix may be tried by itself on a failure like the one it was made for.

    Whatever the likelihood says: an error of another type, or another missing name, is another failure.
    """
    return signs.same_type and signs.same_name and likelihood(signs) >= REUSE_AT
