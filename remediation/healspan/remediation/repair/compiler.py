"""Compiles a function anew from its own source with some of its expressions guarded.

In the helper form ``f(x)`` becomes ``guard.call_1(f, x)``, ``d[k]`` becomes ``guard.item(d, k)``, ``a + b`` becomes
``guard.call_2(add, a, b)``, where ``guard`` and ``add`` are constants of the code object: operands are evaluated
once, in order, in the function's own scope, and no name is added to it. Every other instruction keeps its
position, and lines are reached in the same order, so tracebacks, coverage and debuggers read as before.

Where the expression is the first thing that a simple statement evaluates and its operands can be read again without
an effect, the statement as it is written stands in a ``try``, and costs nothing more while nothing fails: see
`statement`. Other operands would have to be kept in temporaries. They are local variables, which ``locals()``,
debuggers and captured frames show, and they keep alive what the expression would have let go of; hiding them needs
bytecode written by hand.
"""

from __future__ import annotations

import ast
import copy
import dis
import itertools
import operator
from collections.abc import Iterator, Mapping, Set
from types import CodeType

from healspan.remediation.errors import RepairDeclined
from healspan.remediation.repair.enclosure import Enclosure, enclose, held
from healspan.remediation.repair.expression import Guardable, Span, definition, position_of, span_of
from healspan.remediation.repair.guard import Guard
from healspan.remediation.repair.locations import Position, at_positions
from healspan.remediation.repair.operators import FUNCTIONS, symbol_of
from healspan.remediation.repair.placing import at, place, reached_at, reached_first
from healspan.remediation.repair.source import FunctionSource
from healspan.remediation.repair.statement import Statement, guarded_statement, guarded_statements

__all__ = ["compile_enclosed", "compile_guarded"]

_UNCHANGED = operator.attrgetter(
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
    placing = _Placing(_guard(tree, source, guards), _where(source))
    code = placing.merged(source.code, _compiled(source, tree))
    if len(placing.placed) != len(guards):
        raise RepairDeclined(f"{_where(source)}: an expression to guard is never evaluated")
    return code


def compile_enclosed(
    source: FunctionSource,
    bare: CodeType,
    guards: Mapping[Span, Guard],
    enclosure: Enclosure,
) -> CodeType:
    """Return the function's code with the boundary inside, and the same guards as its bare code.

    Args:
        source: of the function without repairs.
        bare: the code without the boundary; the code objects inside it are taken as they are.
        guards: those in the bare code, by the position of the expression in the file.
        enclosure: the boundary.

    Raises:
        RepairDeclined: the result would differ from the bare code in more than the boundary.
    """
    tree = source.tree()
    node = definition(source, tree)
    if isinstance(node, ast.Lambda):
        raise RepairDeclined(f"{_where(source)} is a lambda, which has no room for statements")
    objects = {_placeholder(name): each for name, each in held(enclosure).items()}
    placing = _Placing(_guard(tree, source, guards) | objects, _where(source))
    enclose(node, _first_line(source.code), enclosure, lambda name: ast.Constant(_placeholder(name)))
    return placing.filled(bare, _compiled(source, tree))


def _guard(tree: ast.Module, source: FunctionSource, guards: Mapping[Span, Guard]) -> dict[str, object]:
    """Guard the expressions in a tree; return the guards by their placeholders."""
    spans = {span: _placeholder(index) for index, span in enumerate(guards)}
    statements = guarded_statements(definition(source, tree), source, guards.keys())
    _Guarding(spans, _decisive(tree), statements).visit(tree)
    return {spans[span]: guard for span, guard in guards.items()}


def _compiled(source: FunctionSource, tree: ast.Module) -> CodeType:
    if _holds_placeholder(source.code):
        raise RepairDeclined(f"{_where(source)}: a text in it could be taken for the place of a guard")
    fresh = source.compile(tree)
    if fresh is None:
        raise RepairDeclined(f"{_where(source)}: the changed function is not found in its own source")
    return fresh


def _where(source: FunctionSource) -> str:
    return f"{source.code.co_qualname} at {source.filename}"


def _first_line(code: CodeType) -> int:
    """Return the line of the first instruction of a function's body."""
    instructions = iter(dis.get_instructions(code))
    begun = any(each.opname == "RESUME" for each in instructions)
    lines = (each.positions.lineno for each in instructions if begun and each.positions is not None)
    return next((line for line in lines if line is not None), code.co_firstlineno)


_MARK = "\0healspan "


def _placeholder(what: int | str) -> str:
    return f"{_MARK}guard {what}\0"


def _holds_placeholder(code: CodeType) -> bool:
    """Tell whether the application's own texts, as they were compiled, begin like a placeholder."""
    return any(
        (isinstance(each, str) and each.startswith(_MARK)) or (isinstance(each, CodeType) and _holds_placeholder(each))
        for each in code.co_consts
    )


_CLASSES = {_placeholder(each.__name__): each for each in (Exception, RecursionError)}
_FIXED = {**_CLASSES, **{_placeholder(symbol): function for symbol, function in FUNCTIONS.items()}}
"""What is the same for all guards."""


class _Guarding(ast.NodeTransformer):
    """Replaces the expressions at some positions, and nothing else."""

    def __init__(
        self,
        placeholders: Mapping[Span, str],
        decisive: Set[ast.expr],
        statements: Mapping[ast.stmt, ast.expr],
    ) -> None:
        self._placeholders = placeholders
        self._decisive = decisive
        self._statements = statements
        self._whole = {*statements.values()}
        """Expressions in a statement that is guarded whole."""
        self._class = ""
        """Name of the class around, for its private names."""

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        """Visit a class, whose body has private names of its own."""
        around, body = self._class, node.body
        node.body = []
        self.generic_visit(node)
        self._class, node.body = node.name, body
        self.generic_visit(ast.Module(node.body, []))
        self._class = around
        return node

    def visit_MatchValue(self, node: ast.MatchValue) -> ast.MatchValue:
        """Leave a pattern alone."""
        return node

    def visit(self, node: ast.AST) -> ast.AST:
        """Guard an expression, or the statement it stands in, if it is to be guarded."""
        if isinstance(node, Statement) and node in self._statements:
            return self._statement(node, self._statements[node])
        if not isinstance(node, Guardable):
            visited: ast.AST = super().visit(node)
            return visited
        position, first = position_of(node), reached_first(node)
        placeholder = self._placeholders.get(span_of(node))
        named = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        self.generic_visit(node)
        if placeholder is not None and not isinstance(getattr(node, "ctx", None), ast.Store | ast.Del):
            return self._guarded(node, placeholder, position, first)
        if named and isinstance(node, ast.Call) and not isinstance(node.func, ast.Attribute):
            # The method's name is guarded: the compiler no longer reckons the call's position from it.
            if position[0] != node.lineno:
                node.func = reached_at(first, node.func)
            place(node, position)
        return node

    def _statement(self, node: Statement, guarded: ast.expr) -> ast.stmt:
        written, position = copy.deepcopy(node), span_of(guarded)
        guard = at(node.lineno, ast.Constant(self._placeholders[position]))
        caught = place(ast.Call(at(node.lineno, ast.Attribute(guard, "caught", ast.Load())), [], []), position)
        self.generic_visit(node)
        ordinary, too_deep = (at(node.lineno, ast.Constant(each)) for each in _CLASSES)
        return guarded_statement(written, node, caught, ordinary, too_deep)

    def _guarded(self, node: Guardable, placeholder: str, position: Span, first: int) -> ast.expr:
        method, operands = self._operands(node, position)
        if node in self._whole:
            method, operands = "value", [at(first, ast.Constant(method)), *operands]
        function: ast.expr = at(first, ast.Attribute(at(first, ast.Constant(placeholder)), method, ast.Load()))
        if position[0] != first:
            function = reached_at(first, function)
        keywords = node.keywords if isinstance(node, ast.Call) else []
        call: ast.expr = place(ast.Call(function, operands, keywords), position)
        if symbol_of(node) == "not in":
            call = place(ast.UnaryOp(ast.Not(), call), position)
        if node in self._decisive:
            # The compiler places the jump at a comparison, which this one has to stay.
            refuted = place(ast.UnaryOp(ast.Not(), call), position)
            call = place(ast.Compare(refuted, [ast.Is()], [at(position[0], ast.Constant(False))]), position)
        return call

    def _operands(self, node: Guardable, position: Span) -> tuple[str, list[ast.expr]]:
        """Return the method of the guard that evaluates an expression, and what it is given."""
        first = reached_first(node)
        match node:
            case ast.Call(func=function, args=arguments, keywords=keywords):
                plain = not keywords and not any(isinstance(each, ast.Starred) for each in arguments)
                method = f"call_{len(arguments)}" if plain and len(arguments) in (1, 2) else "call"
                return method, [function, *arguments]
            case ast.Subscript(value=container, slice=ast.Slice() as key):
                return "part", [container, *_bounds(key)]
            case ast.Subscript(value=container, slice=key):
                guard = self._placeholders[span_of(node)]
                return "item", [container, _with_slices(key, guard)]
            case ast.Attribute(value=owner, attr=name):
                return "attribute", [owner, at(position[0], ast.Constant(self._mangled(name)))]
            case ast.UnaryOp(operand=operand):
                return "call_1", [_operation(node, first), operand]
            case ast.BinOp(left=left, right=right):
                return "call_2", [_operation(node, first), left, right]
            case ast.Compare(ops=[ast.In() | ast.NotIn()]):
                return "contains", [node.left, *node.comparators]
            case ast.Compare():
                return "call_2", [_operation(node, first), node.left, *node.comparators]

    def _mangled(self, name: str) -> str:
        owner = self._class.lstrip("_")
        return f"_{owner}{name}" if owner and name.startswith("__") and not name.endswith("__") else name


def _with_slices(key: ast.expr, placeholder: str) -> ast.expr:
    """Return a key in which the slices are calls."""
    line = key.lineno
    match key:
        case ast.Tuple(elts=parts):
            key.elts = [_with_slices(each, placeholder) for each in parts]
        case ast.Slice():
            function = at(line, ast.Attribute(at(line, ast.Constant(placeholder)), "slice", ast.Load()))
            return ast.copy_location(ast.Call(function, _bounds(key), []), key)
    return key


def _bounds(key: ast.Slice) -> list[ast.expr]:
    bounds = (key.lower, key.upper, key.step)
    return [each if each is not None else at(key.lineno, ast.Constant(None)) for each in bounds]


def _decisive(tree: ast.AST) -> set[ast.expr]:
    """Return the comparisons of which nothing but the truth is used, to jump by it."""
    found: set[ast.expr] = set()
    for node in ast.walk(tree):
        waiting: list[ast.expr | None] = []
        match node:
            case ast.If() | ast.While() | ast.Assert() | ast.IfExp():
                waiting = [node.test]
            case ast.comprehension():
                waiting = [*node.ifs]
            case ast.match_case():
                waiting = [node.guard]
        while waiting:
            match waiting.pop():
                case ast.Compare() as comparison:
                    found.add(comparison)
                case ast.UnaryOp(op=ast.Not(), operand=inner):
                    waiting.append(inner)
                case ast.BoolOp(values=values):
                    waiting.extend(values)
                case ast.IfExp(body=first, orelse=second):
                    waiting += [first, second]
    return found


def _operation(node: ast.expr, line: int) -> ast.expr:
    return at(line, ast.Constant(_placeholder(symbol_of(node))))


class _Placing:
    """Puts objects in the place of their placeholders, and keeps every code object that holds none."""

    def __init__(self, objects: Mapping[str, object], where: str) -> None:
        self._objects = {**_FIXED, **objects}
        self._where = where
        self.placed: set[str] = set()
        """Placeholders found, those that are the same for all guards aside."""

    def merged(self, original: CodeType, fresh: CodeType) -> CodeType:
        """Return the fresh code, filled at every depth; the original itself where nothing was to be filled in."""
        inner = map(self.merged, _inside(original), _inside(fresh))
        code = self._filled(original, fresh, inner)
        changed = any(map(operator.is_not, _inside(code), _inside(original)))
        return code if changed or not self._objects.keys().isdisjoint(_texts(fresh)) else original

    def filled(self, original: CodeType, fresh: CodeType) -> CodeType:
        """Return the fresh code, filled, with the code objects inside the original in the place of its own."""
        return self._filled(original, fresh, iter(_inside(original)))

    def _filled(self, original: CodeType, fresh: CodeType, inner: Iterator[CodeType]) -> CodeType:
        if _UNCHANGED(fresh) != _UNCHANGED(original) or len(_inside(fresh)) != len(_inside(original)):
            raise RepairDeclined(f"{self._where}: the changed function would have another signature or closure")
        constants = tuple(
            next(inner) if isinstance(each, CodeType) else self._constant(each) for each in fresh.co_consts
        )
        return _lined(fresh.replace(co_consts=constants))

    def _constant(self, constant: object) -> object:
        if isinstance(constant, str) and constant in self._objects:
            if constant not in _FIXED:
                self.placed.add(constant)
            return self._objects[constant]
        return constant


def _lined(code: CodeType) -> CodeType:
    """Put the beginnings of our own handlers, which the compiler gives no line, onto that of their statement.

    Else a debugger would be told that the line is reached once more.
    """
    changed: dict[int, Position] = {}
    instructions = (each for each in dis.get_instructions(code) if each.opname != "EXTENDED_ARG")
    for before, after in itertools.pairwise(instructions):
        ours = before.opname == "PUSH_EXC_INFO" and after.argval is RecursionError
        if ours and after.opname == "LOAD_CONST" and after.positions is not None:
            changed[before.offset // 2] = (*after.positions,)
    return at_positions(code, changed)


def _inside(code: CodeType) -> list[CodeType]:
    return [each for each in code.co_consts if isinstance(each, CodeType)]


def _texts(code: CodeType) -> list[str]:
    return [each for each in code.co_consts if isinstance(each, str)]
