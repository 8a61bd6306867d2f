"""Functions to put boundaries around, as text, and what a caller sees of a call."""

from __future__ import annotations

import inspect
import re
import sys
import traceback
from collections.abc import Callable
from types import FunctionType
from typing import Any

import pytest

COMPILES = sys.version_info < (3, 12)
"""Whether boundaries are put into their functions by this Python."""

only_compiled = pytest.mark.skipif(not COMPILES, reason="from Python 3.12 on every boundary stands in a wrapper")


def bare(function: Any) -> FunctionType:
    found: FunctionType = inspect.unwrap(function)
    return found


def held_by(function: Any, kind: str) -> Any:
    """What the boundary of a function holds, by the name of its class: in the code, or in a wrapper's closure."""
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    return next(each for each in (*function.__code__.co_consts, *cells) if type(each).__name__ == kind)


def outcome(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The value, or the text of the traceback below this frame."""
    try:
        return function(*args, **kwargs)
    except BaseException as error:
        notes = getattr(error, "__notes__", [])
        notes[:] = [note for note in notes if "healspan" not in note]
        below = error.__traceback__ and error.__traceback__.tb_next
        return "".join(traceback.format_exception(type(error), error, below))


FAILING = """
import contextlib

def helper(text):
    return float(text)

@boundary('direct')
def direct(text):
    return float(text)

@boundary('deep')
def deep(text):
    doubled = [helper(each) * 2 for each in (text, text)]
    return sum(doubled)

@boundary('raises')
def raises(text):
    raise ValueError(
        "no "
        + text)

@boundary('chained')
def chained(text):
    try:
        return {}[text]
    except KeyError as error:
        raise RuntimeError("chained") from error

@boundary('context')
def context(text):
    try:
        return {}[text]
    except KeyError:
        return helper(text)

@boundary('finally')
def in_finally(text):
    try:
        return 1
    finally:
        helper(text)

@boundary('with')
def in_with(text):
    with contextlib.suppress(KeyError), open(__file__) as file:
        if file.readline():
            return helper(text)

@boundary('loop')
def loop(text):
    for number in range(3):
        while number:
            number = [helper(text)]
    else:
        return None

@boundary('inner')
def inner(text):
    def within():
        return helper(text)
    return (lambda: within())()

@boundary('match')
def matched(text):
    match text.split():
        case [one]:
            return float(one) + (
                2 - len(one))
        case _:
            return None

@boundary('group')
def group(text):
    raise ExceptionGroup("several", [ValueError(text), KeyError(text)])

@boundary('starred')
def starred(text, *rest, key=3, **more):
    return helper(text), rest, key, more

@boundary('assertion')
def assertion(text):
    assert text == "never", f"it is {text}"

@boundary('stop')
def stop(text):
    return next(iter(()))

@boundary('leaves')
def leaves(text):
    raise SystemExit(text)

@boundary('interrupted')
def interrupted(text):
    raise KeyboardInterrupt
"""

HEALED = """
@boundary('amount', retry_safe=True)
def amount(text):
    return float(text)

@boundary('later', retry_safe=True)
def later(text, scale=2):
    if scale > 1:
        return [float(each) * scale for each in [text]][0]

class Reader:
    scale = 3

    @boundary('read', retry_safe=True)
    def read(self, text):
        return float(text) * self.scale

    @classmethod
    @boundary('made', retry_safe=True)
    def made(cls, text):
        return float(text) * cls.scale

    @staticmethod
    @boundary('fixed', retry_safe=True)
    def fixed(text, /, *, __private=4):
        return float(text) * __private

def helper(text):
    return float(text)

@boundary('through', retry_safe=True)
def through(text):
    return helper(text) + 0

@boundary('recursive', retry_safe=True)
def recursive(text, depth):
    return recursive(text, depth - 1) if depth else float(text)

@boundary('waits', retry_safe=True)
async def waits(text):
    import asyncio
    await asyncio.sleep(0)
    return float(text)
"""

EVENTFUL = """
import contextlib

@boundary('shapes')
def shapes(v, w=2):
    \"\"\"Many shapes.\"\"\"
    total = w
    if v > 3:
        for i in range(v):
            total += i if i else 0
        return total
    try:
        x = 10 / v
    except ZeroDivisionError:
        return (
            [1,
             2])
    with open(__file__) as g:
        if v == 2:
            return g.name
    if v == -1:
        return None
    if v == -2:
        raise ValueError(
            "x" +
            str(v))
    if v == -3:
        x = {}["k"]
    y = v
    while y < 0:
        y += 1
        if y == -7: break
    else:
        x = 3

@boundary('falls')
def falls(v):
    if v:
        with contextlib.suppress(ZeroDivisionError):
            v / (v - 1)

@boundary('one')
def one(v): return v

@boundary('nothing')
def nothing(v):
    pass

@boundary('documented')
def documented(v):
    "only this"

@boundary('multi')
def multi(v): return (
    v +
    1)

@boundary('tries')
def tries(v):
    try:
        if v == 3:
            return 1
        v[0]
    except TypeError:
        pass
    finally:
        str(v)
    for i in (1, 2):
        if v == i:
            break

@boundary('raising')
def raising(v):
    for each in (3, v):
        print(end=str(1 / each))
    del each

@boundary('generators')
def generators(v):
    return list(x for x in [lambda: v] if [y for y in range(v)])

@boundary('matches')
def matches(v):
    match v:
        case 1: return 1
        case 2: pass
        case [a, b]:
            return a

@boundary('waiting')
async def waiting(v):
    import asyncio
    for i in range(v):
        await asyncio.sleep(0)
    if v > 2:
        return (
            await waiting(v - 1))
"""

VERIFIED = re.sub(r"(@boundary.*\n(?:async )?def .*?\)):", r"\1 -> object | None:", EVENTFUL)
