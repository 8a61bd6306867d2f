"""Finds the live function behind a module's name and a qualified name.

The way leads through the dictionaries of the module and its classes, so that no descriptor and no
``__getattr__`` of the application runs on the way, and through the wrappers Python itself knows. Whatever is
not exactly one function is declined.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType
from typing import Any

from healspan.remediation.errors import RepairDeclined, StaleFix
from healspan.remediation.modules import live_module
from healspan.remediation.repair.bare import has_boundary_inside

__all__ = ["COMPREHENSIONS", "enclosing", "find_function", "nested_codes", "outermost"]

COMPREHENSIONS = frozenset({"<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"})
"""Names of code that runs as a part of the expression it is written in."""

_DEEPEST_WRAPPING = 32

_HOLDERS = (FunctionType, staticmethod, classmethod, property, functools.partial)
"""What a lambda without a name of its own is looked for in; nothing of the application runs on the way."""


def find_function(
    module: str,
    qualname: str,
    accept: Callable[[FunctionType], bool] | None = None,
) -> FunctionType:
    """Return the one live function whose own code bears this qualified name.

    Args:
        module: dotted name of a module that is imported.
        qualname: qualified name, without ``<locals>``.
        accept: tells functions from each other that share a name: a property's getter and setter, lambdas.

    Raises:
        RepairDeclined: none, or more than one.
        StaleFix: the module has no such name any more.
    """
    *outer, last = qualname.split(".")
    if "<" in qualname.removesuffix("<lambda>"):
        raise RepairDeclined(f"{module}.{qualname} is made anew at each call of its enclosing function")
    found = live_module(module)
    if found is None:
        raise RepairDeclined(f"module {module} is not imported; import it, or wait until it is")
    scope = vars(found)
    for name in outer:
        inner = scope.get(name)
        if not isinstance(inner, type):
            raise StaleFix(f"{module} has no class {name} any more; the fix for {qualname} has to be made again")
        scope = dict(vars(inner))
    if last == "<lambda>":
        values = [each for each in scope.values() if isinstance(each, _HOLDERS)]
    elif last in scope:
        values = [scope[last]]
    else:
        raise StaleFix(f"{module} has no {qualname} any more; the fix has to be made again")
    functions = itertools.chain.from_iterable(map(_functions, values))
    named = {id(each): each for each in functions if each.__code__.co_qualname == qualname}
    if len(named) > 1 and accept is not None:
        named = {key: each for key, each in named.items() if accept(each)}
    if len(named) != 1:
        raise RepairDeclined(f"{module}.{qualname} leads to {len(named)} functions; a repair needs exactly one")
    return next(iter(named.values()))


def _functions(value: object) -> Iterator[FunctionType]:
    """Yield the functions under an attribute: itself, and what it wraps."""
    waiting, seen = [value], set[int]()
    while waiting and len(seen) < _DEEPEST_WRAPPING:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        match each:
            case FunctionType():
                if not has_boundary_inside(each):
                    yield each
                waiting.append(vars(each).get("__wrapped__"))
            case staticmethod() | classmethod():
                waiting.append(each.__func__)
            case property():
                waiting.extend((each.fget, each.fset, each.fdel))
            case functools.partial() | functools.partialmethod() | functools.cached_property():
                waiting.append(each.func)
            case None | type():
                continue
            case _:
                waiting.extend(_wrapped(each))


def _wrapped(value: Any) -> list[object]:
    try:
        return [value.__wrapped__]
    except Exception:
        return []


def enclosing(qualname: str) -> str:
    """Return the name of the function in which a comprehension is written; other names as they are."""
    while qualname.rpartition(".")[2] in COMPREHENSIONS:
        qualname = qualname.rpartition(".")[0].removesuffix(".<locals>")
    return qualname


def outermost(qualname: str) -> str:
    """Return the name of the function that is no constant of another one; other names as they are."""
    return qualname.partition(".<locals>")[0]


def nested_codes(code: CodeType) -> Iterator[CodeType]:
    """Yield a code object and all code objects inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from nested_codes(constant)
