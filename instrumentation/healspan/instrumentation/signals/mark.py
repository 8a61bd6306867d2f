"""Marks: by them signals know that they are of one and the same exception, without keeping it.

A trace does not tell: an exception may be raised again in another thread, be the cause of the one that leaves, be one
of a group, or be printed when nothing is open any more. So each exception that is seen gets a random number, which
stays with it, also where another process sends it back.
"""

from __future__ import annotations

import os
import sys

__all__ = ["marks_of", "marks_under_way"]

_KEY = "__healspan_mark__"
_MOST = 16
_DICTIONARY = BaseException.__dict__["__dict__"]  # past whatever a class overrides
_CAUSE, _CONTEXT = BaseException.__dict__["__cause__"], BaseException.__dict__["__context__"]
_MEMBERS = BaseExceptionGroup.__dict__["exceptions"]


def marks_of(error: BaseException | None) -> tuple[int, ...]:
    """Return the marks of an exception, of those that have led to it, and of those it is a group of; its own first."""
    marks: list[int] = []
    pending = [error]
    while pending and len(marks) < _MOST:
        one = pending.pop(0)
        if one is None:
            continue
        held = _DICTIONARY.__get__(one)
        mark = held.get(_KEY)
        if type(mark) is not int:
            mark = held[_KEY] = int.from_bytes(os.urandom(8), "big")  # not the same in a forked child
        if mark in marks:
            continue
        marks.append(mark)
        pending += (_CAUSE.__get__(one), _CONTEXT.__get__(one))
        if issubclass(type(one), BaseExceptionGroup):
            pending += _MEMBERS.__get__(one)
    return tuple(marks)


def marks_under_way(error_type: object) -> tuple[int, ...]:
    """Return the marks of the exception that is being handled, if its type has this name, qualified or not."""
    error = sys.exception()
    if error is None or type(error_type) is not str or error_type.rpartition(".")[2] != type(error).__name__:
        return ()
    return marks_of(error)
