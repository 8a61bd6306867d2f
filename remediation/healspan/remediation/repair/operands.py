"""Reads the operands of a failing expression from its frame, where that takes no code of the application's.

A diagnosis asks repairers about them before it makes a call again: most failures are nobody's business, and then none
is made. Only names and constants can be read, attributes of modules, items of built-in containers by a constant, and a
text without the white space around it; all else would have to be evaluated again.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
from collections.abc import Iterator, Sequence
from types import CodeType, FrameType, ModuleType
from typing import cast

from healspan.remediation.parsing import parse_expression
from healspan.remediation.repair.expression import Location
from healspan.remediation.repairers import ABSENT, Failure, RepairerParameters

__all__ = ["failure_at"]

_MOST_KEYS = 1_000
"""Of a row whose items are read."""

_traceback = BaseException.__dict__["__traceback__"]  # past whatever the exception's class overrides


def failure_at(location: Location, code: CodeType, error: BaseException) -> Failure | None:
    """Return the failing operation as a repairer is shown it, or None where it cannot be read.

    Args:
        location: the expression.
        code: of the frame in which it failed.
        error: what it raised.
    """
    frame = _frame(error, code)
    if frame is None:
        return None
    try:
        return _read(parse_expression(location.expression), frame, location, error)
    except (SyntaxError, _Unreadable):
        return None


class _Unreadable(Exception):
    """An operand that is no name and no constant."""


def _read(node: ast.expr, frame: FrameType, location: Location, error: BaseException) -> Failure:
    blank = Failure(location.kind, None, ABSENT, error, RepairerParameters())
    match node:
        case ast.Subscript(value=owner, slice=key):
            return blank._replace(target=_value(owner, frame), argument=_value(key, frame))
        case ast.Attribute(value=owner, attr=name):
            return blank._replace(target=_value(owner, frame), argument=name)
        case ast.Call(func=function, args=[first, *others], keywords=keywords):
            rest = (*others, *(each.value for each in keywords))
            if any(each.arg is None for each in keywords):
                raise _Unreadable
            return blank._replace(
                target=_value(function, frame),
                argument=_value(first, frame),
                rest=tuple(_value(each, frame) for each in rest),
            )
    raise _Unreadable


def _value(node: ast.expr, frame: FrameType) -> object:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            for names in (frame.f_locals, frame.f_globals, vars(builtins)):
                if name in names:
                    return names[name]
        case ast.Attribute(value=owner, attr=name):
            module = _value(owner, frame)
            if type(module) is ModuleType and name in vars(module):
                return vars(module)[name]
        case ast.Subscript(value=owner, slice=ast.Constant(value=key)):
            return _item(_value(owner, frame), key)
        case ast.Call(func=ast.Attribute(value=owner, attr="strip"), args=[], keywords=[]):
            text = _value(owner, frame)
            if type(text) is str:
                return text.strip()
    raise _Unreadable


def _item(owner: object, key: object) -> object:
    """Return what a built-in container holds, as far as no key of another class could have a say in it."""
    if type(owner) is dict and len(owner) <= _MOST_KEYS and all(type(one) is str for one in owner) and key in owner:
        return owner[key]
    if type(owner) in (list, tuple) and type(key) is int:
        with contextlib.suppress(IndexError):
            return cast("Sequence[object]", owner)[key]
    raise _Unreadable


def _frame(error: BaseException, code: CodeType) -> FrameType | None:
    """Return the innermost frame of a failure that ran this code."""
    return next((each for each in reversed(list(_frames(error))) if each.f_code is code), None)


def _frames(error: BaseException) -> Iterator[FrameType]:
    trace = _traceback.__get__(error)
    while trace is not None:
        yield trace.tb_frame
        trace = trace.tb_next
