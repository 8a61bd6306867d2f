"""Marks: by them signals know that they are of one and the same exception, without keeping it.

A trace does not tell: an exception may be raised again in another thread, be the cause of the one that leaves, be one
of a group, or be printed when nothing is open any more. So each exception that is seen gets a random number.

It is kept beside the exception, which an application may print, compare or send to another process with all it holds.
Those that cannot be referred to weakly, as those of Python's own types, hold it themselves; and so do those that a
worker of multiprocessing sends back to its parent, which is to know them again.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from multiprocessing.process import parent_process
from typing import NamedTuple

from healspan.instrumentation.beside import Beside, may_hold
from healspan.instrumentation.notes import incident_ids

__all__ = [
    "NOT_SEEN",
    "Seen",
    "chain_of",
    "mark_under_way",
    "marks_of",
    "marks_there",
    "seen_in",
    "seen_under_way",
    "telling",
]

_KEY = "__healspan_mark__"
_MOST = 16
_DICTIONARY = BaseException.__dict__["__dict__"]  # past whatever a class overrides
_CAUSE, _CONTEXT = BaseException.__dict__["__cause__"], BaseException.__dict__["__context__"]
_MEMBERS = BaseExceptionGroup.__dict__["exceptions"]


class Seen(NamedTuple):
    """What an exception itself says, where it was seen."""

    marks: tuple[int, ...] = ()
    """Of it, of those that have led to it, and of those it is a group of; its own first."""
    noted: bool | None = None
    """Whether a boundary has made an incident of one of them; None where the exception was not seen."""


NOT_SEEN = Seen()


_marked: Beside[int] = Beside()
_random = random.Random()  # noqa: S311 - it tells exceptions apart, and guards nothing
"""Not the application's, which may be seeded, nor the system's, since asking that lets another thread go first."""
os.register_at_fork(after_in_child=_random.seed)
_told: ContextVar[BaseException | None] = ContextVar("healspan_told", default=None)
"""The exception that a hook for uncaught ones is telling of."""


def marks_of(error: BaseException | None) -> tuple[int, ...]:
    """Return the marks of an exception, of those that have led to it, and of those it is a group of; its own first."""
    found = (_mark(one) for one in chain_of(error))
    return tuple(dict.fromkeys(mark for mark in found if mark is not None))


def seen_in(error: BaseException) -> Seen:
    """Return what an exception says."""
    return Seen(marks_of(error), any(incident_ids(one) for one in chain_of(error)))


def seen_under_way(error_type: object) -> Seen:
    """Return what the exception says that is being handled, if its type has this name, qualified or not."""
    error = sys.exception()
    if error is None:
        error = _told.get()
    if error is None or type(error_type) is not str or error_type.rpartition(".")[2] != type(error).__name__:
        return NOT_SEEN
    return seen_in(error)


def mark_under_way(error_type: object) -> tuple[int | None, bool]:
    """Return the mark of the exception that is being handled, if its type has this name, qualified or not.

    And whether it was given to it just now: then nothing can be known of it.
    """
    error = sys.exception()
    if error is None or type(error_type) is not str or error_type.rpartition(".")[2] != type(error).__name__:
        return None, False
    known = _mark_there(error)
    return (_mark(error), True) if known is None else (known, False)


def marks_there(error: BaseException) -> list[int]:
    """Return the marks that `marks_of` would return, but for those that it would have to give."""
    if _stands_alone(error):
        mark = _mark_there(error)
        return [] if mark is None else [mark]
    return [mark for one in chain_of(error) if (mark := _mark_there(one)) is not None]


def chain_of(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception, those that have led to it, and those it is a group of: some, if they are many."""
    if error is not None and _stands_alone(error):
        yield error
        return
    visited: set[int] = set()
    pending = [error]
    while pending and len(visited) < _MOST:
        one = pending.pop(0)
        if one is None or id(one) in visited:
            continue
        visited.add(id(one))
        yield one
        pending += (_CAUSE.__get__(one), _CONTEXT.__get__(one))
        if issubclass(type(one), BaseExceptionGroup):
            pending += _MEMBERS.__get__(one)[:_MOST]


@contextmanager
def telling(error: object) -> Iterator[None]:
    """Know what is told meanwhile for this exception's, though nobody handles it: asyncio logs what a task has left."""
    token = _told.set(error if isinstance(error, BaseException) else None)
    try:
        yield
    finally:
        _told.reset(token)


def _stands_alone(error: BaseException) -> bool:
    """Whether nothing has led to an exception; most do."""
    if _CAUSE.__get__(error) is not None or _CONTEXT.__get__(error) is not None:
        return False
    return not issubclass(type(error), BaseExceptionGroup)


def _mark_there(error: BaseException) -> int | None:
    mark = _DICTIONARY.__get__(error).get(_KEY)
    return mark if type(mark) is int else _marked.get(error)


def _mark(error: BaseException) -> int | None:
    """Return the mark of one exception, a new one if it has none; None if it can be given none."""
    known = _mark_there(error)
    if known is not None:
        return known
    mark = _random.getrandbits(64)
    beside = _marked.put(error, mark)
    if (not beside or parent_process() is not None) and may_hold(error):
        _DICTIONARY.__get__(error)[_KEY] = mark
    elif not beside:
        return None
    return mark
