"""Similarity: how alike two failures are, in parts that each say something by itself. Pure.

The score is the weighted mean of the parts that are known: where neither failure has a context, or no embedder is in
use, that part counts neither for nor against.

`frames` aligns the two ways to the failure as FaST does (in linear time: a function of the one with the same function
of the other), gives more to the innermost and to rarely seen functions, less to those that stand elsewhere, have
another name or fail at another line. `words` is the cosine of what is said, in message and source lines, rare words
counting more. `type` knows the tree of exceptions. `context` is the share of context keys in common.
"""

from __future__ import annotations

import builtins
import math
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from healspan.remediation.retrieval.terms import COUNT_AT, MOST_PLACES, NO_LINE, TERM, Profile, counted

__all__ = ["Compared", "Parts", "Query", "kinship", "overall"]

Rarity = Callable[[int], float]
"""The inverse document frequency of a term."""

_WEIGHTS: Final = (0.35, 0.30, 0.20, 0.15, 0.30)
"""In the order of `Parts`."""
_DEPTH: Final = 0.5
"""How fast the outer frames count less."""
_BY_DEPTH: Final = tuple((1 + depth) ** -_DEPTH for depth in range(MOST_PLACES))
_STEEPNESS: Final = 6.0
_MIDDLE: Final = 0.35
"""A function this rare, where 1 is one that is seen once, counts half as much as the rarest can."""
_MOVED: Final = 0.3
"""What a step of difference in depth takes from a frame, as an exponent."""
_OTHER_LINE: Final = 0.3
"""What the same function is worth where it failed at another line."""
_OTHER_FUNCTION: Final = 0.8
"""What the same line is worth in another function, if it is a rare one: code is moved and renamed."""


class Parts(NamedTuple):
    """What a score is made of, each in [0, 1]; None where nothing is known."""

    frames: float | None
    words: float | None
    type: float
    context: float | None
    vector: float | None = None


class Compared(NamedTuple):
    """How one failure compares with another."""

    parts: Parts
    same_function: bool
    """Whether both failed in the same innermost function of the same module."""
    same_line: bool
    """Whether both failed at the same known line, be it in functions of other names."""
    same_name: bool
    """Whether they miss the same name, or neither says that one was missing."""
    score: float
    """In [0, 1], without the embedder's part."""


class Query:
    """A failure that others are compared with; what it takes to do so is worked out once.

    Args:
        profile: of the failure.
        rarity: how rare a term is among the documents that it is compared with.
        rarest: what `rarity` says of a term that one document has.
    """

    def __init__(self, profile: Profile, rarity: Rarity, rarest: float) -> None:
        self.profile = profile
        known = _Remembered(rarity)
        self._weight = _Remembered(lambda term: _steep(known[term] / rarest))
        self._numbers = _unpacked(profile.places)
        self._total = 0.0
        self._at: dict[tuple[int, int], tuple[int, float]] = {}
        """Depth and weight of each frame: by function and line, by function alone (line -1), by line alone."""
        for depth, (where, line) in enumerate(zip(self._numbers[::2], self._numbers[1::2], strict=True)):
            weight = self._weight[where] * _BY_DEPTH[depth]
            self._total += weight
            for key in ((where, line), (where, -1), (-1, line)):
                self._at.setdefault(key, (depth, weight))
        self._at.pop((-1, NO_LINE), None)
        words = {term: _damped(count) * known[term] for term, count in counted(profile.words)}
        self._norm = math.sqrt(sum(weight * weight for weight in words.values()))
        # By term and count, as profiles hold them: what a word adds to the length, and to what both have in common.
        weighed = _Remembered(lambda packed: _damped(packed >> COUNT_AT) * known[packed & TERM])
        self._square = _Remembered(lambda packed: weighed[packed] ** 2)
        self._gain = _Remembered(lambda packed: weighed[packed] * words.get(packed & TERM, 0.0))

    def compare(self, other: Profile) -> Compared:
        """Return how alike another failure is."""
        mine, theirs = self._numbers, _unpacked(other.places)
        if not mine or not theirs:
            same_function = same_line = False
        else:
            same_function, same_line = mine[0] == theirs[0], mine[1] == theirs[1] != NO_LINE
        parts = Parts(
            (1.0 if mine else None) if mine == theirs else self._frames(theirs),
            self._cosine(other.words),
            kinship(self.profile.error_type, other.error_type),
            _jaccard(self.profile.context, other.context),
        )
        return Compared(parts, same_function, same_line, self.profile.name == other.name, overall(parts))

    def _frames(self, theirs: Sequence[int]) -> float:
        at, weights = self._at, self._weight
        gained, total = 0.0, self._total
        for depth, (where, line) in enumerate(zip(theirs[::2], theirs[1::2], strict=True)):
            weight = weights[where] * _BY_DEPTH[depth]
            total += weight
            if match := at.get((where, line)):
                worth = 1.0
            elif match := at.get((-1, line)):
                worth = _OTHER_FUNCTION * weights[line]
            elif match := at.get((where, -1)):
                worth = _OTHER_LINE
            else:
                continue
            there, its_weight = match
            gained += (weight + its_weight) * worth * math.exp(-_MOVED * abs(depth - there))
        return min(gained / total, 1.0)

    def _cosine(self, packed: bytes) -> float | None:
        if packed == self.profile.words:
            return 1.0 if packed else None
        words = _unpacked(packed)
        common = sum(map(self._gain.__getitem__, words))
        return min(common / (self._norm * math.sqrt(sum(map(self._square.__getitem__, words)))), 1.0) if common else 0.0


class _Remembered(dict[int, float]):
    """Asks for each term once: those that are compared with one failure share most of their terms."""

    def __init__(self, of: Callable[[int], float]) -> None:
        self._of = of

    def __missing__(self, term: int) -> float:
        found = self[term] = self._of(term)
        return found


def _unpacked(packed: bytes) -> list[int]:
    return memoryview(packed).cast("I").tolist()


def _steep(share: float) -> float:
    """Return how much a function of this rarity counts, the rarest being 1."""
    return 1.0 / (1.0 + math.exp(-_STEEPNESS * (share - _MIDDLE)))


@lru_cache(maxsize=512)
def _damped(count: int) -> float:
    return 1.0 + math.log(count)


def overall(parts: Parts) -> float:
    """Return the weighted mean of the parts that are known."""
    gained = possible = 0.0
    for weight, part in zip(_WEIGHTS, parts, strict=True):
        if part is not None:
            gained += weight * part
            possible += weight
    return gained / possible


@lru_cache(maxsize=4096)
def kinship(one: str, other: str) -> float:
    """Return how closely two types of exceptions are related: 1 the same, .5 through a class below Exception, else 0.

    Only types that are loaded are known; nothing is imported to find out.
    """
    if one == other:
        return 1.0
    ancestors = set(_ancestors(one)) & set(_ancestors(other))
    return 0.5 if ancestors - {Exception, BaseException, object} else 0.0


def _ancestors(qualified: str) -> tuple[type, ...]:
    module, _, name = qualified.rpartition(".")
    # Through the module's dict: looking an attribute up may run code of the module.
    holder = vars(builtins) if module in {"", "builtins"} else vars(sys.modules.get(module, _NO_MODULE))
    found = holder.get(name)
    return found.__mro__ if isinstance(found, type) and issubclass(found, BaseException) else ()


class _NoModule:
    pass


_NO_MODULE = _NoModule()


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float | None:
    return len(one & other) / len(one | other) if one or other else None
