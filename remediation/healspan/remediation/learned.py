"""A contract learned from good calls: what their results have in common, by type, shape, size and range.

It may only refuse a value, never approve one: that a result looks like the good ones does not make it right. What
it has not seen often enough to speak of, it lets pass. Pure; reads exact built-in types only, everything else counts
by its type.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

__all__ = ["FEWEST", "Learned", "learn"]

FEWEST: Final = 5
"""Good calls below which nothing is learned."""

_SLACK: Final = 10
"""How many times the span of what was seen a number or a length may lie beyond it."""
_LENGTHS: Final = 3
"""Different lengths that a relation between an argument and the result must have held for."""
_DEEPEST: Final = 8
_MOST_PARTS: Final = 500
"""Parts of one value that are looked at: learning happens in a failing request."""

_NUMBERS = frozenset({int, float})
_COLLECTIONS = frozenset({list, tuple, set, frozenset, dict})
_SIZED = frozenset({*_COLLECTIONS, str, bytes})


class Learned:
    """What good results have in common.

    Args:
        calls: arguments by name and result of each good call.
    """

    def __init__(self, calls: Sequence[tuple[Mapping[str, Any], Any]]) -> None:
        self.calls = len(calls)
        self._shape = _Shape()
        for _, result in calls:
            self._shape.see(result, _Budget())
        self._relations = tuple(_relations(calls))

    def refuses(self, result: object, arguments: Mapping[str, Any]) -> str | None:
        """Say in what the result is unlike all good ones; None if it is not."""
        why = self._shape.refuses(result, "the result", _Budget())
        if why is not None:
            return why
        for name, equal in self._relations:
            given = _length(arguments.get(name))
            got = _length(result)
            if given is None or got is None or (got == given if equal else got <= given):
                continue
            relation = "as long as" if equal else "no longer than"
            return f"every good result is {relation} the argument {name}, this one is {got} and not {given} long"
        return None


def learn(calls: Sequence[tuple[Mapping[str, Any], Any]]) -> Learned | None:
    """Learn from good calls; None if they are too few to say anything."""
    return Learned(calls) if len(calls) >= FEWEST else None


class _Budget:
    """How many parts of one value may still be looked at."""

    def __init__(self) -> None:
        self.left = _MOST_PARTS

    def spend(self) -> bool:
        self.left -= 1
        return self.left >= 0


class _Range:
    """Numbers seen at one place: their sign, and where they lie."""

    def __init__(self) -> None:
        self.seen = 0
        self.low = math.inf
        self.high = -math.inf
        self.strange: set[str] = set()

    def see(self, number: float) -> None:
        self.seen += 1
        if math.isfinite(number):
            self.low, self.high = min(self.low, number), max(self.high, number)
        else:
            self.strange.add(repr(number))

    def refuses(self, number: float) -> str | None:
        if not math.isfinite(number):
            return None if repr(number) in self.strange else f"is {number!r}, which no good one is"
        if self.seen < FEWEST or self.low > self.high:
            return None
        if number < 0 <= self.low:
            return "is negative, which no good one is"
        if number > 0 >= self.high:
            return "is positive, which no good one is"
        slack = _SLACK * max(self.high - self.low, abs(self.low), abs(self.high), 1)
        if not self.low - slack <= number <= self.high + slack:
            return "lies far outside the range of the good ones"
        return None


class _Shape:
    """What was seen at one place of the results: the result itself, its elements, one of its fields."""

    def __init__(self) -> None:
        self.seen = 0
        self.types: set[type] = set()
        self.numbers = _Range()
        self.lengths: dict[type, _Range] = {}
        self.fields: dict[tuple[type, object], _Shape] = {}
        """By position of a tuple and by key of a mapping, as long as all are alike."""
        self.alike: dict[type, frozenset[object] | None] = {}
        """The positions or keys that all have; None once two differed."""
        self.element: _Shape | None = None

    def see(self, value: Any, budget: _Budget, depth: int = 0) -> None:
        self.seen += 1
        kind = type(value)
        self.types.add(kind)
        if not budget.spend():
            return
        if kind in _NUMBERS:
            self.numbers.see(_as_float(value))
        if kind in _SIZED:
            self.lengths.setdefault(kind, _Range()).see(len(value))
        if kind in _COLLECTIONS and depth < _DEEPEST:
            names = _names(value)
            if names is not None:
                known = self.alike.setdefault(kind, names)
                self.alike[kind] = names if known == names else None
            fields = names is not None and self.alike[kind] is not None
            if self.element is None:
                self.element = _Shape()
            for name, part in _parts(value):
                if fields:
                    self.fields.setdefault((kind, name), _Shape()).see(part, budget, depth + 1)
                self.element.see(part, budget, depth + 1)

    def refuses(self, value: Any, what: str, budget: _Budget, depth: int = 0) -> str | None:
        kind = type(value)
        if not budget.spend() or self.seen < FEWEST:
            return None
        if not self._knows(kind):
            return f"{what} is a {kind.__qualname__}, which no good one is"
        why = self.numbers.refuses(_as_float(value)) if kind in _NUMBERS else None
        if why is None and kind in _SIZED and kind in self.lengths:
            why = self._refuses_length(kind, len(value))
        if why is not None:
            return f"{what} {why}"
        if kind in _COLLECTIONS and depth < _DEEPEST:
            return self._refuses_parts(value, kind, what, budget, depth)
        return None

    def _knows(self, kind: type) -> bool:
        # An int is a float (PEP 484), but truth is no number.
        return kind in self.types or (kind is int and float in self.types)

    def _refuses_length(self, kind: type, length: int) -> str | None:
        lengths = self.lengths[kind]
        if lengths.seen >= FEWEST and length == 0 and lengths.low > 0:
            return "is empty, which no good one is"
        return "has a length far outside those of the good ones" if lengths.refuses(length) else None

    def _refuses_parts(self, value: Any, kind: type, what: str, budget: _Budget, depth: int) -> str | None:
        alike = self.alike.get(kind)
        names = _names(value)
        if alike is not None and names is not None and names != alike:
            return f"{what} has other {'keys' if kind is dict else 'places'} than the good ones, which are all alike"
        for name, part in _parts(value):
            shape = self.fields.get((kind, name)) if alike is not None else self.element
            why = shape.refuses(part, f"a part of {what}", budget, depth + 1) if shape is not None else None
            if why is not None:
                return why
        return None


def _names(value: Any) -> frozenset[object] | None:
    """Return the positions of a tuple or the keys of a mapping that look like fields; None for other collections."""
    if type(value) is tuple:
        return frozenset(range(len(value)))
    if type(value) is dict and all(type(name) is str for name in value):
        return frozenset(value)
    return None


def _parts(value: Any) -> Iterable[tuple[object, Any]]:
    if type(value) is dict:
        return ((name if type(name) is str else "", part) for name, part in value.items())
    return enumerate(value) if type(value) is tuple else (("", part) for part in value)


def _relations(calls: Sequence[tuple[Mapping[str, Any], Any]]) -> Iterable[tuple[str, bool]]:
    """Yield (argument, equal): the result is always as long as the argument, or never longer."""
    for name in dict.fromkeys(name for arguments, _ in calls for name in arguments):
        pairs = [(_length(arguments.get(name)), _length(result)) for arguments, result in calls]
        known = [(given, got) for given, got in pairs if given is not None and got is not None]
        if len(known) < len(calls) or len({given for given, _ in known}) < _LENGTHS:
            continue
        if all(given == got for given, got in known):
            yield name, True
        elif all(got <= given for given, got in known):
            yield name, False


def _length(value: Any) -> int | None:
    return len(value) if type(value) in _SIZED else None


def _as_float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.copysign(1.7e308, number)
