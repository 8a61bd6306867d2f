"""Parsing of Python text, past a fault of some interpreters.

CPython 3.11 counts the depth of the syntax trees that it makes for all threads together, so two that parse at the same
moment may each be told ``SystemError: AST constructor recursion depth mismatch``. Nothing is wrong with either text.
"""

from __future__ import annotations

import ast
from typing import Any

__all__ = ["parse", "parse_expression"]

_TRIES = 100


def parse(text: str, *, filename: str = "<text>", mode: str = "exec", flags: int = 0) -> Any:
    """Return the syntax tree of a text.

    Args:
        text: Python.
        filename: whose text it is.
        mode: of `compile`.
        flags: of `compile`, such as those of future features.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: as `ast.parse`.
    """
    for _ in range(_TRIES):
        try:
            return compile(text, filename, mode, flags | ast.PyCF_ONLY_AST, dont_inherit=True)
        except SystemError:
            continue
    raise SyntaxError("the interpreter could not parse this, with others parsing all the while")


def parse_expression(text: str) -> ast.expr:
    """Return the syntax tree of an expression; raises as `parse`."""
    body: ast.expr = parse(text, mode="eval").body
    return body
