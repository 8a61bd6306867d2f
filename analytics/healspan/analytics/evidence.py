"""Evidence: what counts of the outcomes of a fix, and how much, before any statistics.

A failing call counts once, however often it was tried again; a censored outcome does not count; old outcomes
fade; many equal failures within an hour say little more than one. Columns of numpy, so that a million
outcomes are a matter of seconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["HALF_LIFE_DAYS", "SHADOW_WEIGHT", "Cells", "Evidence", "Outcome", "sums", "weigh"]

HALF_LIFE_DAYS = 30.0
"""After so many days an outcome counts half."""

SHADOW_WEIGHT = 0.5
"""A fix that only ran beside the real call has shown less."""

_DAY = 86_400.0
_HOUR = 3_600.0

_Ints = NDArray[np.int64]
_Floats = NDArray[np.float64]


class Outcome(NamedTuple):
    """One application of a fix, judged or not."""

    fix_id: str
    context: str
    """Boundary and context keys, as one text."""
    signature: str
    """Pattern of the failure; equal ones within an hour are a burst."""
    failure: str
    """Identity of the failing call: applications to the same one count once."""
    at: float
    """Seconds since 1970."""
    reward: int | None
    """1, 0, or None where nobody will ever know."""
    times: int = 1
    """How many equal outcomes this stands for."""
    shadow: bool = False


@dataclass(frozen=True, slots=True)
class Cells:
    """Decayed counts of every (fix, context) that has any; parallel arrays."""

    fix: _Ints
    """Index into `Evidence.fixes`."""
    context: _Ints
    """Index into `Evidence.contexts`."""
    successes: _Floats
    failures: _Floats


@dataclass(frozen=True, slots=True)
class Evidence:
    """What counts of all outcomes."""

    fixes: tuple[str, ...]
    """Sorted, as are the contexts."""
    contexts: tuple[str, ...]
    success_count: _Ints
    """Raw counts per fix, each failing call once, nothing faded; likewise the next two."""
    failure_count: _Ints
    censored_count: _Ints
    cells: Cells


class _Names:
    """Numbers names in order of appearance."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._codes: dict[str, int] = {}
        for name in names:
            self.code(name)

    def code(self, name: str) -> int:
        return self._codes.setdefault(name, len(self._codes))

    def ranked(self, codes: _Ints) -> tuple[tuple[str, ...], _Ints]:
        """Return the names sorted, and the rank of each code: so nothing depends on the order of rows."""
        names = tuple(sorted(self._codes))
        ranks = np.empty(len(names), dtype=np.int64)
        ranks[[self._codes[name] for name in names]] = np.arange(len(names))
        return names, ranks[codes]


_ROW = np.dtype(
    [
        ("fix", np.int64),
        ("context", np.int64),
        ("signature", np.int64),
        ("failure", np.int64),
        ("at", np.float64),
        ("reward", np.int8),
        ("times", np.int64),
        ("shadow", np.bool_),
    ],
)
_CENSORED = -1


def weigh(
    outcomes: Iterable[Outcome],
    now: float,
    *,
    fixes: Iterable[str] = (),
    half_life_days: float = HALF_LIFE_DAYS,
) -> Evidence:
    """Return the evidence in outcomes.

    Args:
        outcomes: in any order; the same one may come twice.
        fixes: those to list even if no outcome speaks of them.
        now: seconds since 1970; an outcome from the future (another host's clock) counts as of now.
        half_life_days: after which an outcome counts half.
    """
    known, contexts, signatures, failures = _Names(fixes), _Names(), _Names(), _Names()
    rows = np.fromiter(
        (
            (
                known.code(outcome.fix_id),
                contexts.code(outcome.context),
                signatures.code(outcome.signature),
                failures.code(outcome.failure),
                outcome.at,
                _CENSORED if outcome.reward is None else outcome.reward,
                outcome.times,
                outcome.shadow,
            )
            for outcome in outcomes
        ),
        dtype=_ROW,
    )
    fix_names, rows["fix"] = known.ranked(rows["fix"])
    context_names, rows["context"] = contexts.ranked(rows["context"])
    rows["signature"] = signatures.ranked(rows["signature"])[1]

    rows = _once_per_failure(rows)
    raw = [_per_fix(rows, reward, len(fix_names)) for reward in (1, 0, _CENSORED)]
    rows = rows[rows["reward"] != _CENSORED]
    weights = _weights(rows, now, half_life_days)
    return Evidence(
        fixes=fix_names,
        contexts=context_names,
        success_count=raw[0],
        failure_count=raw[1],
        censored_count=raw[2],
        cells=_cells(rows, weights, len(context_names)),
    )


def _once_per_failure(rows: NDArray[np.void]) -> NDArray[np.void]:
    """Keep one row of every (fix, failing call): a failure before a success, a verdict before none.

    What is left is sorted by content, so that sums come out the same whatever order the rows came in, and
    bursts lie together.
    """
    badness = np.where(rows["reward"] == _CENSORED, 2, rows["reward"])
    content = (rows["times"], rows["at"], rows["shadow"], rows["signature"], rows["context"])
    rows = rows[np.lexsort((*content, badness, rows["failure"], rows["fix"]))]
    rows = rows[_changes(rows["fix"], rows["failure"])]
    return rows[np.lexsort((rows["times"], rows["reward"], rows["at"], *_burst(rows)))]


def _burst(rows: NDArray[np.void]) -> tuple[NDArray[Any], ...]:
    """Return what the outcomes of one burst have in common."""
    hour = np.floor(rows["at"] / _HOUR)
    return (rows["shadow"], rows["signature"], hour, rows["context"], rows["fix"])


def _changes(*columns: NDArray[Any]) -> NDArray[np.bool_]:
    """Mark the rows that differ from the row before; the first one does."""
    marks = np.zeros(len(columns[0]), dtype=bool)
    marks[:1] = True
    for column in columns:
        marks[1:] |= column[1:] != column[:-1]
    return marks


def _per_fix(rows: NDArray[np.void], reward: int, fixes: int) -> _Ints:
    mine = rows[rows["reward"] == reward]
    return sums(mine["fix"], mine["times"], fixes).astype(np.int64)


def sums(index: NDArray[np.integer[Any]], values: NDArray[Any], size: int) -> NDArray[np.float64]:
    """Return the sum of values at each index below `size`."""
    return np.bincount(index, weights=values, minlength=size).astype(np.float64, copy=False)


def _weights(rows: NDArray[np.void], now: float, half_life_days: float) -> _Floats:
    """Return how much each row counts: faded, capped in bursts, halved in the shadow."""
    age = np.maximum(now - rows["at"], 0.0) / _DAY
    burst = np.cumsum(_changes(*_burst(rows))) - 1
    # All of a burst weigh 1 + ln(n) together, successes and failures in their own proportion.
    size = np.bincount(burst, weights=rows["times"])
    share = (1.0 + np.log(size)) / size
    standing = np.where(rows["shadow"], SHADOW_WEIGHT, 1.0)
    weights: _Floats = rows["times"] * share[burst] * standing * np.exp2(-age / half_life_days)
    return weights


def _cells(rows: NDArray[np.void], weights: _Floats, contexts: int) -> Cells:
    width = max(contexts, 1)
    keys, cell = np.unique(rows["fix"] * width + rows["context"], return_inverse=True)
    good = rows["reward"] == 1
    return Cells(
        fix=keys // width,
        context=keys % width,
        successes=sums(cell, weights * good, len(keys)),
        failures=sums(cell, weights * ~good, len(keys)),
    )
