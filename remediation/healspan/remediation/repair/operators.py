"""The operators that may be guarded: their symbols, and the functions that do the same from outside."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

__all__ = ["FUNCTIONS", "symbol_of"]

_SYMBOLS: Mapping[type[ast.AST], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.MatMult: "@",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.Pow: "**",
    ast.LShift: "<<",
    ast.RShift: ">>",
    ast.BitAnd: "&",
    ast.BitOr: "|",
    ast.BitXor: "^",
    ast.UAdd: "+x",
    ast.USub: "-x",
    ast.Invert: "~x",
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.In: "in",
    ast.NotIn: "not in",
}

FUNCTIONS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "+": operator.add,
        "-": operator.sub,
        "*": operator.mul,
        "@": operator.matmul,
        "/": operator.truediv,
        "//": operator.floordiv,
        "%": operator.mod,
        "**": operator.pow,
        "<<": operator.lshift,
        ">>": operator.rshift,
        "&": operator.and_,
        "|": operator.or_,
        "^": operator.xor,
        "+x": operator.pos,
        "-x": operator.neg,
        "~x": operator.invert,
        "==": operator.eq,
        "!=": operator.ne,
        "<": operator.lt,
        "<=": operator.le,
        ">": operator.gt,
        ">=": operator.ge,
    },
)
"""By symbol; written in C, so that none of them stands in a traceback. ``in`` has none with its operands in order."""


def symbol_of(node: ast.expr) -> str:
    """Return the symbol of an operator; empty for other expressions and for operators that are not guarded.

    ``is`` and ``not`` are not: the one never raises, the other is a test of truth, which fails in many other
    places too. Neither is a chain of comparisons, whose operands are not all evaluated.
    """
    match node:
        case ast.BinOp() | ast.UnaryOp():
            return _SYMBOLS.get(type(node.op), "")
        case ast.Compare(ops=[comparison]):
            return _SYMBOLS.get(type(comparison), "")
    return ""
