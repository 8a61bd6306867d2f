"""Functions that a repaired function makes when it runs: closures, lambdas, methods of local classes.

They are made from constants of the enclosing code, so those made after a repair carry it. Those that live
already, a decorator's wrappers above all, are looked for once at each change, among everything the garbage
collector tracks: some 30 ms for a million objects, and nothing for functions that make none. Two kinds are out
of reach. What `gc.freeze` has put away is not found: such a function stays as it is. And a call of the
enclosing function that began before a change goes on making what it made: without the repair if it began
before the repair, with a guard that does nothing if it began before the repair was taken out.
"""

from __future__ import annotations

import functools
import gc
import inspect
import weakref
from collections.abc import Iterator
from types import CodeType, FunctionType

from healspan.remediation.repair.find import COMPREHENSIONS

__all__ = ["bring", "living_copies", "original_of"]

_copies: dict[int, tuple[weakref.ref[CodeType], CodeType]] = {}
"""Guarded copy, for as long as it lives, and original of code of functions made inside others, by the copy's id."""


def original_of(code: CodeType) -> CodeType:
    """Return the code of which this is a guarded copy, or the code itself if it is none."""
    known = _copies.get(id(code))
    return code if known is None else known[1]


def bring(original: CodeType, now: CodeType) -> None:
    """Give each living function made inside another the code it would have if it were made now.

    Args:
        original: of the enclosing function, without repairs.
        now: of the enclosing function; the same structure, or the original itself.
    """
    wanted = dict[int, CodeType]()
    outdated = list[CodeType]()
    for own, guarded in _pairs(original, now):
        wanted[id(own)] = guarded
        if guarded is not own:
            _copies[id(guarded)] = weakref.ref(guarded, functools.partial(_forget, id(guarded))), own
            outdated.append(own)
    for reference, own in list(_copies.values()):
        copy = reference()
        if copy is not None and wanted.get(id(own), copy) is not copy:
            outdated.append(copy)
    for function in _running(outdated):
        function.__code__ = wanted[id(original_of(function.__code__))]


def living_copies() -> list[tuple[FunctionType, CodeType]]:
    """Return the living functions that run a guarded copy, each with its original code."""
    copies = [copy for reference, _ in list(_copies.values()) if (copy := reference()) is not None]
    return [(function, original_of(function.__code__)) for function in _running(copies)]


def _pairs(original: CodeType, now: CodeType) -> Iterator[tuple[CodeType, CodeType]]:
    """Yield the code of each function made inside one, beside what stands for it now."""
    for own, other in zip(_inside(original), _inside(now), strict=True):
        if own.co_flags & inspect.CO_OPTIMIZED and own.co_name not in COMPREHENSIONS:
            yield own, other
        yield from _pairs(own, other)


def _inside(code: CodeType) -> list[CodeType]:
    return [each for each in code.co_consts if isinstance(each, CodeType)]


def _running(codes: list[CodeType]) -> list[FunctionType]:
    if not codes:
        return []
    wanted = set(map(id, codes))
    found = gc.get_referrers(*codes)
    return [each for each in found if isinstance(each, FunctionType) and id(each.__code__) in wanted]


def _forget(copy: int, reference: weakref.ref[CodeType]) -> None:
    known = _copies.get(copy)
    if known is not None and known[0] is reference:
        del _copies[copy]
