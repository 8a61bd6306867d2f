"""Hotspots: where failures are to be expected, by boundary and document type.

A discounted gamma-Poisson rate with exposure. What a cell has not shown itself it takes from its boundary and
its document type, so that one failure in three calls does not outrank a hundred in a thousand.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from healspan.analytics.evidence import sums
from healspan.remediation.store import Hotspot, context_text

__all__ = ["CONTEXT_KEY", "HALF_LIFE", "HORIZON", "Calls", "Failures", "find_hotspots"]

CONTEXT_KEY = "document_type"
"""The context key whose values are the columns."""

HALF_LIFE = timedelta(days=14)
"""After so long a failure, or a call, counts half."""

HORIZON = timedelta(days=7)
"""Failures are expected within this time; a whole week, so that every weekday is in it once."""

_ALPHAS = np.geomspace(0.3, 5.0, 40)
_TOO_FEW = 3
_ALPHA = 1.0

_Floats = NDArray[np.float64]


class Calls(NamedTuple):
    """Calls of one boundary, failing ones included, with the context keys that good calls had."""

    boundary: str
    document_type: str
    """Empty where the calls name none."""
    at: datetime
    number: int


class Failures(NamedTuple):
    """Failing calls of one boundary."""

    boundary: str
    document_type: str
    at: datetime
    number: int = 1
    repaired: bool = False
    """An installed repair acted: the caller saw a good call, the code failed all the same."""


class _Cell:
    """What one boundary and document type have seen; faded, and within the last horizon."""

    def __init__(self) -> None:
        self.calls = self.captured = self.repaired = 0.0
        self.recent_calls = self.recent_captured = self.recent_repaired = 0.0
        self.in_half_life = 0


def find_hotspots(failures: Iterable[Failures], calls: Iterable[Calls], now: datetime) -> tuple[Hotspot, ...]:
    """Return every cell that has been called, the one with the most failures to come first."""
    cells: defaultdict[tuple[str, str], _Cell] = defaultdict(_Cell)
    for row in calls:
        cell, age = cells[row.boundary, row.document_type], max(now - row.at, timedelta())
        cell.calls += row.number * _fade(age)
        cell.recent_calls += row.number if age <= HORIZON else 0
    for event in failures:
        cell, age = cells[event.boundary, event.document_type], max(now - event.at, timedelta())
        weight, recent = event.number * _fade(age), event.number if age <= HORIZON else 0
        cell.in_half_life += event.number if age <= HALF_LIFE else 0
        if event.repaired:
            cell.repaired += weight
            cell.recent_repaired += recent
        else:
            cell.captured += weight
            cell.recent_captured += recent
    keys = sorted(cells)
    if not keys:
        return ()
    return _judged(keys, [cells[key] for key in keys], now)


def _judged(keys: list[tuple[str, str]], cells: list[_Cell], now: datetime) -> tuple[Hotspot, ...]:
    boundary = _codes([key[0] for key in keys])
    document_type = _codes([key[1] for key in keys])
    failures = np.array([cell.captured + cell.repaired for cell in cells])
    calls = _attributed(
        np.array([cell.calls for cell in cells]),
        np.array([cell.captured for cell in cells]),
        failures,
        boundary,
    )
    ahead = _attributed(
        np.array([cell.recent_calls for cell in cells]),
        np.array([cell.recent_captured for cell in cells]),
        np.array([cell.recent_captured + cell.recent_repaired for cell in cells]),
        boundary,
    )
    prior = _prior(failures, calls, boundary, document_type)
    alpha = _spread(failures, calls, prior)
    rate = (alpha + failures) / (alpha / prior + calls)
    found = [
        Hotspot(
            boundary=name,
            context=context_text({CONTEXT_KEY: kind} if kind else {}),
            rate=float(rate[i]),
            expected=float(rate[i] * ahead[i]),
            failures=float(failures[i]),
            calls=float(calls[i]),
            explanation=_explanation(rate[i], prior[i], cells[i].in_half_life, ahead[i]),
            updated_at=now,
        )
        for i, (name, kind) in enumerate(keys)
    ]
    return tuple(sorted(found, key=lambda spot: (-spot.expected, -spot.rate, spot.boundary, spot.context)))


def _fade(age: timedelta) -> float:
    return float(2.0 ** -(age / HALF_LIFE))


def _codes(names: list[str]) -> NDArray[np.int64]:
    return np.unique(np.array(names, dtype=np.str_), return_inverse=True)[1]


def _attributed(calls: _Floats, captured: _Floats, failures: _Floats, boundary: NDArray[np.int64]) -> _Floats:
    """Return the calls of each cell.

    The number of calls of a boundary is exact, but their contexts are known of good ones only. So each cell
    has its own failures, and the boundary's good calls are shared out as the sample says.
    """
    boundaries = int(boundary.max()) + 1
    total = sums(boundary, calls, boundaries)
    good = np.maximum(total - sums(boundary, captured, boundaries), 0.0)
    share = np.divide(calls, total[boundary], out=np.zeros_like(calls), where=total[boundary] > 0)
    # A process that died before its last flush leaves failures without calls; a failure is a call.
    attributed: _Floats = np.maximum(captured + good[boundary] * share, failures)
    return attributed


def _prior(
    failures: _Floats,
    calls: _Floats,
    boundary: NDArray[np.int64],
    document_type: NDArray[np.int64],
) -> _Floats:
    """Return the rate that boundary and document type suggest for each cell."""
    # Half a failure more keeps the rate of a system that has never failed above zero.
    overall = (failures.sum() + 0.5) / (calls.sum() + 1.0)

    def factor(group: NDArray[np.int64]) -> _Floats:
        size = int(group.max()) + 1
        excess: _Floats = (sums(group, failures, size) + 1.0) / (overall * sums(group, calls, size) + 1.0)
        return excess[group]

    suggested: _Floats = np.minimum(overall * factor(boundary) * factor(document_type), 1.0)
    return suggested


def _spread(failures: _Floats, calls: _Floats, prior: _Floats) -> float:
    """Return the gamma shape that makes the counts most likely (negative binomial); small: cells differ."""
    if np.count_nonzero(calls) < _TOO_FEW:
        return _ALPHA
    mean, shape = prior * calls, _ALPHAS[:, None]
    likelihood = (
        gammaln(failures + shape)
        - gammaln(shape)
        + shape * np.log(shape / (shape + mean))
        + failures * np.log(np.where(mean > 0, mean, 1.0) / (shape + mean))
    ).sum(axis=1)
    return float(_ALPHAS[int(np.argmax(likelihood))])


def _explanation(rate: float, prior: float, failures: int, ahead: float) -> str:
    return (
        f"{_percent(rate)} of calls fail (prior {_percent(prior)}); "
        f"{failures:,} {'failure' if failures == 1 else 'failures'} in {HALF_LIFE.days} d; "
        f"about {ahead:,.0f} {'call' if round(ahead) == 1 else 'calls'} in the next {HORIZON.days} d"
    )


def _percent(rate: float) -> str:
    return f"{rate:.0%}" if rate >= 0.1 else f"{rate * 100:.2g}%"
