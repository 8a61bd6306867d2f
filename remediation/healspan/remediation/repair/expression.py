"""Which expressions a repair may guard, and how one is found from the position of a failing instruction."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import CodeType

from pydantic import JsonValue

from healspan.remediation.errors import RepairDeclined, StaleFix
from healspan.remediation.repair.bare import bare_code
from healspan.remediation.repair.find import find_function, nested_codes, outermost
from healspan.remediation.repair.operators import symbol_of
from healspan.remediation.repair.source import (
    FunctionNode,
    FunctionSource,
    first_line,
    function_source,
    original_code,
    same_code,
    source_hash,
    unguarded,
)
from healspan.remediation.repairers import Kind
from healspan.remediation.step import RepairStep

__all__ = [
    "Guardable",
    "Location",
    "Span",
    "expression_of",
    "guardables",
    "kind_of",
    "locate",
    "position_of",
    "source_lines",
    "span_of",
]

Guardable = ast.Call | ast.Subscript | ast.Attribute | ast.BinOp | ast.UnaryOp | ast.Compare

Span = tuple[int, int, int, int]
"""Line, end line, column, end column, as ``co_positions`` orders them."""

_OF_THEIR_FRAME = frozenset(
    {"super", "locals", "vars", "dir", "eval", "exec", "globals", "_getframe", "currentframe"},
)
"""Callables that answer for the frame that calls them, which a guard would change."""


_OF_CONSTANTS = (ast.Constant, ast.Tuple, ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop, ast.expr_context)
"""What the compiler may evaluate itself."""


@dataclass(frozen=True, slots=True)
class Location:
    """One expression that may be guarded, in a function whose source is the one that runs."""

    module: str
    qualname: str
    source_hash: str
    kind: Kind
    expression: str
    span: Span
    """Lines counted from the function's first source line = 0."""

    def step(
        self,
        *,
        error_type: str,
        repairer: str,
        parameters: Mapping[str, JsonValue] | None = None,
    ) -> RepairStep:
        """Return the step that runs a repairer here when the expression raises this exact type."""
        line, end_line, column, end_column = self.span
        return RepairStep(
            module=self.module,
            qualname=self.qualname,
            source_hash=self.source_hash,
            expression=self.expression,
            line=line,
            end_line=end_line,
            column=column,
            end_column=end_column,
            error_type=error_type,
            repairer=repairer,
            parameters=dict(parameters or {}),
        )


def locate(code: CodeType, module: str, position: Span) -> Location:
    """Return the expression that an instruction of a frame belongs to.

    Args:
        code: the frame's code object, repaired or not.
        module: dotted name of the frame's module.
        position: what ``co_positions`` says of the failing instruction.

    Raises:
        RepairDeclined: no expression there may be guarded, or the source on disk is not what runs; the
            message says which rule declines it.
    """
    try:
        return _located(code, module, position)
    except StaleFix as error:
        raise RepairDeclined(str(error)) from error


def _located(code: CodeType, module: str, position: Span) -> Location:
    code = unguarded(bare_code(code))
    qualname = outermost(code.co_qualname)
    function = find_function(module, qualname, lambda each: _holds(each.__code__, code))
    if not (_holds(function.__code__, code) or _holds(original_code(function), code)):
        raise StaleFix(f"{module}.{qualname} was replaced while an older version of it was running; call it again")
    source = function_source(function)
    node = definition(source)
    found = _standing_at(source, position)
    if len(found) != 1:
        raise RepairDeclined(f"line {position[0]} of {module}: no single expression that can be guarded stands there")
    kind = kind_of(found[0])
    line, end_line, column, end_column = span_of(found[0])
    start = first_line(node)
    return Location(
        module=module,
        qualname=qualname,
        source_hash=source_hash(function),
        kind=kind,
        expression=source.segment(found[0]),
        span=(line - start, end_line - start, column, end_column),
    )


@functools.lru_cache(maxsize=256)
def _standing_at(source: FunctionSource, position: Span) -> tuple[Guardable, ...]:
    # What fails once fails again, and all of a function's tree is looked through.
    return tuple(each for each in guardables(definition(source)) if position in (span_of(each), position_of(each)))


def source_lines(code: CodeType, module: str) -> tuple[int, tuple[str, ...]] | None:
    """Return the source of the function that a code object is, or is inside of; None where it is not what runs.

    Returns:
        The number of its first line in the file, and the lines.
    """
    code = unguarded(bare_code(code))
    try:
        function = find_function(module, outermost(code.co_qualname), lambda each: _holds(each.__code__, code))
        source = function_source(function)
        node = definition(source)
    except (StaleFix, RepairDeclined):
        return None
    first, last = first_line(node), node.end_lineno or node.lineno
    return first, tuple(source.line(number) for number in range(first, last + 1))


def expression_of(step: RepairStep, source: FunctionSource, node: FunctionNode) -> Guardable:
    """Return the node that a step means.

    Raises:
        StaleFix: another text stands there.
        RepairDeclined: it may not be guarded.
    """
    start = first_line(node)
    span = (step.line + start, step.end_line + start, step.column, step.end_column)
    found = [each for each in guardables(node) if span_of(each) == span]
    if len(found) != 1 or source.segment(found[0]) != step.expression:
        raise StaleFix(f"{step.module}.{step.qualname}: {step.expression!r} no longer stands where the fix says")
    kind_of(found[0])
    return found[0]


def definition(source: FunctionSource, tree: ast.Module | None = None) -> FunctionNode:
    """Return the function's definition in its syntax tree; without one, in a tree that is only to be looked at.

    Raises:
        RepairDeclined: two definitions share the line.
    """
    return _looked_at(source) if tree is None else _definition(source, tree)


@functools.lru_cache(maxsize=16)
def _looked_at(source: FunctionSource) -> FunctionNode:
    # One diagnosis asks several times where the same function has failed.
    return _definition(source, source.tree())


def _definition(source: FunctionSource, tree: ast.Module) -> FunctionNode:
    node = source.node(tree)
    if node is None:
        raise RepairDeclined(f"{source.code.co_qualname} shares its line with another definition")
    return node


def kind_of(node: Guardable) -> Kind:
    """Return the form of an expression.

    Raises:
        RepairDeclined: a rule forbids guarding it.
    """
    for part in ast.walk(node):
        if isinstance(part, ast.Await | ast.Yield | ast.YieldFrom | ast.NamedExpr):
            raise RepairDeclined("await, yield or an assignment expression stands inside the expression")
    if all(isinstance(part, _OF_CONSTANTS) for part in ast.walk(node)):
        raise RepairDeclined("the expression has no operand but constants")
    match node:
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in _OF_THEIR_FRAME:
            raise RepairDeclined(f"{name} answers for the frame that calls it")
        case ast.Call(args=[], func=func) if not (isinstance(func, ast.Attribute) and func.attr == "decode"):
            raise RepairDeclined("the call has no positional argument that a repairer could read")
        case ast.Call():
            return "call"
        case ast.Subscript(ctx=ast.Load()):
            return "subscript"
        case ast.Attribute(ctx=ast.Load()):
            return "attribute"
        case ast.BinOp(op=ast.Mod(), left=ast.Constant(value=str()), right=ast.Tuple()):
            raise RepairDeclined("the compiler turns this formatting into pieces")
        case ast.BinOp() | ast.UnaryOp() | ast.Compare():
            if symbol_of(node):
                return "operator"
            raise RepairDeclined("this operator, or a chain of comparisons, is not guarded")
    raise RepairDeclined("it is assigned to or deleted, not read")


def span_of(node: ast.expr) -> Span:
    """Return the position of a node."""
    return node.lineno, node.end_lineno or node.lineno, node.col_offset, node.end_col_offset or 0


def position_of(node: Guardable) -> Span:
    """Return the position that the compiler gives to the instruction of a node."""
    line, end_line, column, end_column = span_of(node)
    named = _named_below(node)
    if named is None:
        return line, end_line, column, end_column
    line = named.end_lineno or line
    column = (named.end_col_offset or 0) - len(named.attr)
    return line, end_line, column, max(column, end_column) if line == end_line else end_column


def _named_below(node: Guardable) -> ast.Attribute | None:
    """Return the attribute of a chain whose name stands on a later line than the chain begins.

    The compiler gives the position of that name to the attribute, and to the call of it.
    """
    named: ast.expr = node
    if isinstance(node, ast.Call):
        named = node.func
        if any(isinstance(each, ast.Starred) for each in node.args) or any(
            keyword.arg is None for keyword in node.keywords
        ):
            return None
    return named if isinstance(named, ast.Attribute) and named.end_lineno != node.lineno else None


def guardables(node: FunctionNode) -> Iterator[Guardable]:
    """Yield the expressions of a function's body that have a form to be guarded, whatever is made inside included."""
    waiting: list[ast.AST] = list(node.body) if isinstance(node.body, list) else [node.body]
    while waiting:
        each = waiting.pop()
        if isinstance(each, ast.pattern):
            continue  # a pattern reads attributes, but holds no expression
        if isinstance(each, Guardable):
            yield each
        waiting.extend(ast.iter_child_nodes(each))


def _holds(outer: CodeType, inner: CodeType) -> bool:
    return any(each is inner or same_code(each, inner) for each in nested_codes(outer))
