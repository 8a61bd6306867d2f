"""Places syntax that has no text of its own where its instructions are to be reached."""

from __future__ import annotations

import ast
from typing import TypeVar

from healspan.remediation.repair.expression import Span

__all__ = ["at", "place", "reached_at", "reached_first"]

_Node = TypeVar("_Node", bound=ast.expr)


def reached_first(node: ast.expr) -> int:
    """Return the line of the first instruction of an expression."""
    while True:
        match node:
            case ast.Call(func=ast.Attribute(value=inner)):
                node = inner
            case ast.Call(func=inner):
                return inner.lineno
            case ast.Subscript(value=inner) | ast.Attribute(value=inner) | ast.UnaryOp(operand=inner):
                node = inner
            case (
                ast.BinOp(left=inner) | ast.Compare(left=inner) | ast.IfExp(test=inner) | ast.BoolOp(values=[inner, *_])
            ):
                node = inner
            case ast.Await(value=inner) | ast.NamedExpr(value=inner):
                node = inner
            case ast.List(elts=[inner, *others]) | ast.Set(elts=[inner, *others]) | ast.Tuple(elts=[inner, *others]):
                if isinstance(inner, ast.Starred) or all(isinstance(each, ast.Constant) for each in (inner, *others)):
                    return node.lineno  # the container is there first, or is a constant
                node = inner
            case ast.Dict(keys=[ast.expr() as inner, *others], values=[value, *_]):
                constant = others and all(isinstance(each, ast.Constant) for each in (inner, *others))
                node = value if constant else inner
            case _:
                return node.lineno


def reached_at(line: int, function: ast.expr) -> ast.expr:
    """Return a callee that is reached at another line than that of its call, which the compiler would move."""
    return at(line, ast.IfExp(at(line, ast.Constant(True)), function, at(line, ast.Constant(None))))


def at(line: int, node: _Node) -> _Node:
    """Return a node that has no text, placed."""
    return place(node, (line, line, 0, 0))


def place(node: _Node, span: Span) -> _Node:
    """Return a node, placed."""
    node.lineno, node.end_lineno, node.col_offset, node.end_col_offset = span
    return node
