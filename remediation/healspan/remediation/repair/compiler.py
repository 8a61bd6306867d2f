"""Compiles a function anew from its own source with some of its expressions guarded.

``f(x)`` becomes ``guard.call_1(f, x)`` and ``d[k]`` becomes ``guard.item(d, k)``, where ``guard`` is a
constant of the code object: operands are evaluated once, in order, in the function's own scope, and no name
is added to it. Every other instruction keeps its position, so tracebacks and coverage read as before.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from operator import attrgetter
from types import CodeType

from healspan.remediation.errors import RepairDeclined
from healspan.remediation.repair.expression import (
    Guardable,
    Span,
    definition,
    method_below,
    span_of,
)
from healspan.remediation.repair.guard import Guard
from healspan.remediation.repair.source import FunctionSource

__all__ = ["compile_guarded"]

_UNCHANGED = attrgetter(
    "co_name",
    "co_qualname",
    "co_argcount",
    "co_posonlyargcount",
    "co_kwonlyargcount",
    "co_flags",
    "co_firstlineno",
    "co_varnames",
    "co_freevars",
    "co_cellvars",
)


def compile_guarded(source: FunctionSource, guards: Mapping[Span, Guard]) -> CodeType:
    """Return the function's code with a guard around each of the expressions.

    Args:
        source: of the function without repairs.
        guards: by the position of the expression in the file.

    Raises:
        RepairDeclined: the result would differ from the original in more than the guarded expressions.
    """
    tree = source.tree()
    node = definition(source, tree)
    transformer = _Guarding({span: _placeholder(index) for index, span in enumerate(guards)})
    transformer.visit(node)
    code = source.compile(tree)
    where = f"{source.code.co_qualname} at {source.filename}"
    if code is None or _UNCHANGED(code) != _UNCHANGED(source.code):
        raise RepairDeclined(f"{where}: the guarded function would have another signature or closure")
    placed: set[str] = set()
    constants: dict[object, object] = dict(zip(transformer.placeholders.values(), guards.values(), strict=True))
    code = _with_guards(code, constants, placed)
    if len(placed) != len(guards):
        raise RepairDeclined(f"{where}: an expression to guard is never evaluated")
    return code


def _placeholder(index: int) -> str:
    return f"\0healspan guard {index}\0"


class _Guarding(ast.NodeTransformer):
    """Replaces the expressions at some positions, and nothing else."""

    def __init__(self, placeholders: Mapping[Span, str]) -> None:
        self.placeholders = placeholders

    def visit_Call(self, node: ast.Call) -> ast.expr:
        """Guard a call."""
        self.generic_visit(node)
        if span_of(node) not in self.placeholders:
            return node
        plain = not node.keywords and not any(isinstance(each, ast.Starred) for each in node.args)
        method = f"call_{len(node.args)}" if plain and len(node.args) in (1, 2) else "call"
        return self._guarded(node, method, [node.func, *node.args], node.keywords)

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        """Guard a subscript."""
        self.generic_visit(node)
        if span_of(node) not in self.placeholders or not isinstance(node.ctx, ast.Load):
            return node
        return self._guarded(node, "item", [node.value, node.slice], [])

    def _guarded(
        self,
        node: Guardable,
        method: str,
        operands: list[ast.expr],
        keywords: list[ast.keyword],
    ) -> ast.expr:
        guard = ast.Constant(self.placeholders[span_of(node)])
        function = ast.Attribute(guard, method, ast.Load())
        for made in (guard, function):
            made.lineno = made.end_lineno = node.lineno
            made.col_offset = made.end_col_offset = node.col_offset
        below = method_below(node)
        if below is not None:
            # The compiler reckons the call's position back from where its method's name ends.
            function.end_lineno = below.end_lineno
            function.end_col_offset = (below.end_col_offset or 0) - len(below.attr) + len(method)
        return ast.copy_location(ast.Call(function, operands, keywords), node)


def _with_guards(code: CodeType, guards: Mapping[object, object], placed: set[str]) -> CodeType:
    constants: list[object] = []
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            constants.append(_with_guards(constant, guards, placed))
        elif isinstance(constant, str) and constant in guards:
            placed.add(constant)
            constants.append(guards[constant])
        else:
            constants.append(constant)
    return code.replace(co_consts=tuple(constants))
