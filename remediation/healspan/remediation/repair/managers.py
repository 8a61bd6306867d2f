"""Context managers that are certain to let an exception through, told by their source.

A manager counts only where its class, or the generator function it is made by, is what a name of the module means;
what an attribute of an object holds (``self.lock``) depends on who assigned it last, and is never guessed.
"""

from __future__ import annotations

import abc
import ast
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from types import FunctionType
from typing import Literal

from opentelemetry.trace import Tracer

from healspan.remediation.errors import StaleFix
from healspan.remediation.repair.source import FunctionNode, function_source

__all__ = [
    "Exit",
    "class_attribute",
    "instances_let_through",
    "made_managers_let_through",
    "own_nodes",
    "spans_let_through",
]

Exit = Literal["__exit__", "__aexit__"]

_PLAIN = (type, abc.ABCMeta)
"""Metaclasses that neither call their classes nor look up attributes in a way of their own."""

_mro = type.__dict__["__mro__"]  # past whatever a metaclass overrides


@contextlib.contextmanager
def _sync() -> Iterator[None]:
    yield


@contextlib.asynccontextmanager
async def _async() -> AsyncIterator[None]:
    yield


_MADE_BY_CONTEXTLIB = (_sync.__code__, _async.__code__)
"""What runs when a function is called that was made into a context manager."""


def instances_let_through(kind: type, method: Exit) -> bool:
    """Whether the method with which a class ends a `with` block returns nothing true, and raises nothing of itself."""
    found = _of_class(kind, method)
    if not isinstance(found, FunctionType):
        return False
    try:
        source = function_source(found)
    except StaleFix:
        return False
    node = source.node(source.tree())
    return (
        isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and isinstance(node, ast.AsyncFunctionDef) == (method == "__aexit__")
        and not any(map(_ends_otherwise, own_nodes(node.body)))
    )


def made_managers_let_through(maker: object, method: Exit, passes: Callable[[FunctionType], bool]) -> bool:
    """Whether what a class or a function gives when it is called lets every exception through.

    Args:
        maker: what is called.
        method: which of its methods ends the block.
        passes: whether a generator function lets the exception through at each of its ``yield``.
    """
    if isinstance(maker, type):
        plain = type(maker) in _PLAIN and _of_class(maker, "__new__") is object.__dict__["__new__"]
        return plain and instances_let_through(maker, method)
    if isinstance(maker, FunctionType) and any(maker.__code__ is code for code in _MADE_BY_CONTEXTLIB):
        is_async = maker.__code__ is _MADE_BY_CONTEXTLIB[1]
        [cell] = maker.__closure__ or ()
        generator = cell.cell_contents
        return is_async == (method == "__aexit__") and isinstance(generator, FunctionType) and passes(generator)
    return False


def spans_let_through(tracer: object, method: str) -> bool:
    """Whether a method of an object makes spans of OpenTelemetry, which record an exception and let it go on.

    It has to be OpenTelemetry's own, on a tracer of its own: neither is patched nor of another class.
    """
    found = _of_class(type(tracer), method)
    return (
        method == "start_as_current_span"
        and isinstance(tracer, Tracer)
        and type(tracer).__module__.startswith("opentelemetry.")
        and str(getattr(found, "__module__", "")).startswith("opentelemetry.")
    )


def class_attribute(owner: type, name: str) -> object:
    """Return what an attribute of a class means; None where a metaclass or a descriptor has its say."""
    value = _of_class(owner, name) if type(owner) in _PLAIN else None
    return None if hasattr(type(value), "__get__") else value


def own_nodes(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Yield the nodes of a function's body, but for those of functions and classes made inside."""
    waiting = list(body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, FunctionNode | ast.ClassDef):
            continue
        yield node
        waiting.extend(ast.iter_child_nodes(node))


def _ends_otherwise(node: ast.AST) -> bool:
    match node:
        case ast.Return(value=None | ast.Constant(value=None | False)):
            return False
        case ast.Return() | ast.Raise() | ast.Yield() | ast.YieldFrom():
            return True
    return False


def _of_class(kind: type, name: str) -> object:
    return next((vars(each)[name] for each in _mro.__get__(kind) if name in vars(each)), None)
