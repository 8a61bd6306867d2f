"""Whether the application might handle an exception on its way from an expression up to the boundary.

A repair acts before the exception leaves its expression, so on a way where the application has a handler of
its own it would take that handler's place. Such a way is refused. Everything uncertain counts as handled.
"""

from __future__ import annotations

import ast
import builtins
import dis
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Set
from types import CodeType, FunctionType
from typing import Any

from opentelemetry.trace import get_tracer

from healspan.remediation.class_names import qualified
from healspan.remediation.errors import RepairDeclined, StaleFix
from healspan.remediation.modules import live_module
from healspan.remediation.repair.find import COMPREHENSIONS, enclosing, find_function, nested_codes, outermost
from healspan.remediation.repair.managers import (
    Exit,
    class_attribute,
    instances_let_through,
    made_managers_let_through,
    own_nodes,
    spans_let_through,
)
from healspan.remediation.repair.path import Entry, Way, is_own, path_entry
from healspan.remediation.repair.source import FunctionNode, FunctionSource, function_source, original_code
from healspan.remediation.step import FramePath

__all__ = ["Judged", "way_unhandled"]

_NEVER_SWALLOW = {
    "builtins": ("open",),
    "contextlib": ("closing", "nullcontext", "redirect_stderr", "redirect_stdout"),
    "decimal": ("localcontext",),
    "opentelemetry.trace": ("use_span",),
    "os": ("scandir",),
    "tempfile": ("NamedTemporaryFile", "TemporaryDirectory", "TemporaryFile"),
    "threading": ("BoundedSemaphore", "Condition", "Lock", "RLock", "Semaphore"),
    "warnings": ("catch_warnings",),
}
"""Callables, by module, whose context managers let every exception through."""

_LOCKS = (type(threading.Lock()), type(threading.RLock()), threading.Condition, threading.Semaphore)

_PASSES_ON = frozenset({("functools", "cached_property.__get__", "val = self.func(instance)")})
"""Entries of the standard library that an exception table covers, for a lock that swallows nothing."""

_HANDLED_BY_THE_LANGUAGE = frozenset({"builtins.StopIteration", "builtins.StopAsyncIteration"})


Judged = dict[tuple[Entry, frozenset[str], str | None], frozenset[int]]
"""Frames that let an exception of one type through, with the first lines of their code."""


def way_unhandled(
    path: FramePath,
    error_type: str,
    in_app: Iterable[str] = (),
    *,
    block: str | None = None,
    judged: Judged | None = None,
) -> Way:
    """Return the way of a path if every exception of this type is certain to travel all of it.

    Args:
        path: from the boundary's function to the failing frame; all of its modules are imported.
        error_type: qualified name of the exception's exact class.
        in_app: top-level packages whose source is read, beside that of the boundary's function.
        block: a class of ours, as whose ``with`` block the way begins in the first frame; None: with the frame.
        judged: frames that were judged a moment ago for the same type of exception; what is judged here is added.
            A tree that is walked is reached on thousands of ways through the same few lines.

    Raises:
        RepairDeclined: a frame may handle it, or cannot be judged; the message says which.
        StaleFix: the source of a frame is not what runs.
    """
    if not path:
        raise RepairDeclined("the way from the boundary to the expression is not known")
    if error_type in _HANDLED_BY_THE_LANGUAGE:
        raise RepairDeclined(f"{error_type} ends loops; the language handles it itself")
    packages = frozenset({path[0][0].partition(".")[0], *in_app})
    judged = {} if judged is None else judged
    way: list[tuple[Entry, frozenset[int]]] = []
    for place, entry in enumerate(path):
        key = entry, packages, None if place else block
        if key not in judged:
            judged[key] = _judge(entry, error_type, packages, None if place else block)
        way.append((entry, judged[key]))
    return tuple(way)


def _judge(entry: Entry, error_type: str, packages: Set[str], block: str | None) -> frozenset[int]:
    """Return the first lines of the code that may be meant by an entry; refuse it where it may handle the exception."""
    module, qualname, line = entry
    function = find_function(module, outermost(qualname), lambda each: _has(each, line))
    if module.partition(".")[0] in packages:
        try:
            source = function_source(function)
        except StaleFix:
            if line:
                raise
        else:
            _judge_source(source, function, qualname, line, error_type, block)
            return _first_lines(function, qualname)
    if entry not in _PASSES_ON:
        _judge_code(function, qualname, line)
    return _first_lines(function, qualname)


def _first_lines(function: FunctionType, qualname: str) -> frozenset[int]:
    return frozenset(code.co_firstlineno for code in _codes(function, qualname))


def _has(function: FunctionType, line: str) -> bool:
    """Whether a line of a path may stand in this function."""
    try:
        text = function_source(function).text()
    except StaleFix:
        return False
    return any(path_entry("", "", each)[2] == line for each in (text or "").split("\n"))


def _codes(function: FunctionType, qualname: str) -> list[CodeType]:
    return [code for code in nested_codes(original_code(function)) if code.co_qualname == qualname]


def _judge_code(function: FunctionType, qualname: str, line: str) -> None:
    """Refuse a foreign frame, or one without source, where an exception table covers the line."""
    where = f"{function.__module__}.{qualname}"
    codes = _codes(function, qualname)
    if not codes:
        raise RepairDeclined(f"{where}: its code is not found, so it may handle the exception")
    for code in codes:
        entries = dis.Bytecode(code).exception_entries  # type: ignore[attr-defined] # unknown to typeshed
        lines = _lines(function, code, line)
        if not entries:
            continue
        if lines is None or any(
            entry.start < end and start < entry.end
            for start, end, number in code.co_lines()
            if number in lines
            for entry in entries
        ):
            raise RepairDeclined(f"{where} is not the application's code, and may handle the exception at {line!r}")


def _lines(function: FunctionType, code: CodeType, line: str) -> set[int] | None:
    """Return the numbers of the lines with this text, or None if the source cannot tell."""
    try:
        source = function_source(function)
    except StaleFix:
        return None
    numbers = {number for _, _, number in code.co_lines() if number is not None}
    return set(_with_text(source, numbers, line)) or None


def _judge_source(
    source: FunctionSource,
    function: FunctionType,
    qualname: str,
    line: str,
    error_type: str,
    block: str | None,
) -> None:
    """Refuse a frame of the application where a handler or a context manager may take the exception."""
    where = f"{function.__module__}.{qualname}"
    if qualname.rpartition(".")[2] in COMPREHENSIONS | {"<lambda>"}:
        # An expression holds no handler; the function around it is a frame of its own.
        if not _codes(function, qualname):
            raise RepairDeclined(f"{where}: the frame is not found in the source")
        return
    tree = source.tree()
    codes = _codes(function, enclosing(qualname))
    nodes = [node for code in codes if (node := source.node(tree, code)) is not None]
    if not nodes or len(nodes) < len(codes):
        raise RepairDeclined(f"{where}: the frame is not found in the source")
    judge = _Judge(where, line, error_type, _scope(function), block=block)
    numbers = _with_text(source, range(source.first, source.first + len(source.lines)), line)
    for node in nodes:
        for number in numbers:
            judge.visit(node.body if isinstance(node.body, list) else [], number)
    if not judge.found:
        raise StaleFix(f"{where}: the line {line!r} is not in its source; the fix has to be made again")


def _with_text(source: FunctionSource, numbers: Iterable[int], line: str) -> list[int]:
    """Return those of the line numbers at which a path's source line stands."""
    numbers = list(numbers)
    plain = [number for number in numbers if " ".join(source.line(number).split()) == line]
    # A line that holds a secret stands in a path under another text, which is dearer to make.
    return plain or [number for number in numbers if path_entry("", "", source.line(number))[2] == line]


def _scope(function: FunctionType) -> dict[str, Any]:
    """Return what names mean in a function, as far as its globals tell; its own names hide them."""
    scope = {**vars(builtins), **function.__globals__}
    for code in nested_codes(original_code(function)):
        for name in (*code.co_varnames, *code.co_cellvars, *code.co_freevars):
            scope.pop(name, None)
    return scope


class _Judge:
    """Looks at the statements of one function that enclose a line."""

    def __init__(
        self,
        where: str,
        line: str,
        error_type: str,
        scope: Mapping[str, Any],
        above: tuple[FunctionType, ...] = (),
        block: str | None = None,
    ) -> None:
        self._where = where
        self._line = line
        self._error_type = error_type
        self._error = exception_class(error_type)
        self._scope = scope
        self._above = above
        """Generator functions of context managers that led here."""
        self._block = block
        self.found = False
        """Whether the line is code of the function itself."""

    def visit(self, statements: Iterable[ast.stmt], number: int) -> None:
        """Refuse if a statement around the line may keep the exception."""
        for chain in _chains(statements, number):
            self.found = True
            for statement in self._inside(chain):
                self._judge(statement, number)

    def _inside(self, chain: list[ast.stmt]) -> list[ast.stmt]:
        """Return the statements inside the outermost block of ours in which the way begins; all if it is not here."""
        for place, statement in enumerate(chain) if self._block is not None else ():
            if not isinstance(statement, ast.With | ast.AsyncWith):
                continue
            for item, each in enumerate(statement.items):
                manager = each.context_expr
                made = self._value(manager.func) if isinstance(manager, ast.Call) else None
                if is_own(str(getattr(made, "__module__", ""))) and getattr(made, "__name__", "") == self._block:
                    self._judge_managers(statement, statement.items[item + 1 :])
                    return chain[place + 1 :]
        return chain

    def _judge(self, statement: ast.stmt, number: int) -> None:
        if isinstance(statement, ast.Try | ast.TryStar):
            if _spans(statement.body, number):
                self._judge_handlers(statement)
            if not _spans(statement.finalbody, number) and _leaves(statement.finalbody):
                self._refuse("a finally clause there drops exceptions")
        if isinstance(statement, ast.With | ast.AsyncWith):
            # A single manager is not yet there while its own line is evaluated.
            if len(statement.items) == 1 and not _spans(statement.body, number):
                return
            self._judge_managers(statement, statement.items)

    def _judge_managers(self, statement: ast.With | ast.AsyncWith, items: list[ast.withitem]) -> None:
        method: Exit = "__exit__" if isinstance(statement, ast.With) else "__aexit__"
        for item in items:
            if not self._lets_through(item.context_expr, method):
                self._refuse(f"the context manager {ast.unparse(item.context_expr)!r} may swallow it")

    def _judge_handlers(self, statement: ast.Try | ast.TryStar) -> None:
        for handler in statement.handlers:
            if not self._may_match(handler.type):
                continue
            if isinstance(statement, ast.TryStar) or not _always_raises_again(handler.body):
                kind = ast.unparse(handler.type) if handler.type is not None else "a bare except"
                self._refuse(f"{kind} in line {handler.lineno} handles it")
            return  # what is raised again there passes the later handlers by

    def _may_match(self, kind: ast.expr | None) -> bool:
        if kind is None or self._error is None:
            return True
        if isinstance(kind, ast.Tuple):
            return any(self._may_match(each) for each in kind.elts)
        handled = self._value(kind)
        return not isinstance(handled, type) or handled in self._error.__mro__

    def _lets_through(self, manager: ast.expr, method: Exit) -> bool:
        if isinstance(manager, ast.Call):
            if isinstance(manager.func, ast.Attribute) and self._makes_spans(manager.func):
                return True
            made = self._value(manager.func)
            if is_own(str(getattr(made, "__module__", ""))):
                return True
            return made is not None and (
                any(
                    made is getattr(sys.modules.get(module), name, None)
                    for module, names in _NEVER_SWALLOW.items()
                    for name in names
                )
                or made_managers_let_through(made, method, self._passes)
            )
        value = self._value(manager)
        return value is not None and (type(value) in _LOCKS or instances_let_through(type(value), method))

    def _makes_spans(self, made: ast.Attribute) -> bool:
        owner = made.value
        if isinstance(owner, ast.Call):
            return self._value(owner.func) is get_tracer and made.attr == "start_as_current_span"
        return spans_let_through(self._value(owner), made.attr)

    def _passes(self, generator: FunctionType) -> bool:
        """Whether a context manager's generator lets the exception through at each ``yield``."""
        if generator in self._above:
            return False
        where = f"{generator.__module__}.{generator.__qualname__}"
        judge = _Judge(where, "yield", self._error_type, _scope(generator), (*self._above, generator))
        try:
            source = function_source(generator)
            node = source.node(source.tree())
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                return False
            for each in own_nodes(node.body):
                if isinstance(each, ast.YieldFrom):
                    return False
                if isinstance(each, ast.Yield):
                    judge.visit(node.body, each.lineno)
        except (RepairDeclined, StaleFix):
            return False
        return judge.found

    def _value(self, node: ast.expr) -> Any:
        """Return what a name, or an attribute of a module or class, means; None if that is not certain."""
        if isinstance(node, ast.Name):
            return self._scope.get(node.id)
        if isinstance(node, ast.Attribute):
            owner = self._value(node.value)
            if isinstance(owner, type(sys)):
                return vars(owner).get(node.attr)
            if isinstance(owner, type):
                return class_attribute(owner, node.attr)
        return None

    def _refuse(self, reason: str) -> None:
        raise RepairDeclined(f"{self._where}, {self._line!r}: {reason}; the application handles this itself")


def _chains(statements: Iterable[ast.stmt], number: int) -> Iterator[list[ast.stmt]]:
    """Yield the statements around a line, outermost first, unless it belongs to a function made there."""
    for statement in statements:
        makes = isinstance(statement, FunctionNode | ast.ClassDef)
        in_head = makes and _in_head(statement, number)
        if not in_head and not statement.lineno <= number <= (statement.end_lineno or statement.lineno):
            continue
        inside = [block for block in _blocks(statement) if _spans(block, number)]
        if in_head or not inside:
            yield [statement]
        if not makes:
            for block in inside:
                for chain in _chains(block, number):
                    yield [statement, *chain]


def _in_head(statement: ast.stmt, number: int) -> bool:
    """Whether decorators, defaults, annotations or bases stand in a line: they run where the name is bound."""
    return any(
        node.lineno <= number <= (node.end_lineno or node.lineno)
        for child in ast.iter_child_nodes(statement)
        if not isinstance(child, ast.stmt)
        for node in ast.walk(child)
        if isinstance(node, ast.expr)
    )


def _blocks(statement: ast.stmt) -> Iterator[list[ast.stmt]]:
    """Yield the lists of statements directly inside a statement."""
    for name in ("body", "orelse", "finalbody"):
        yield getattr(statement, name, [])
    for part in (*getattr(statement, "handlers", ()), *getattr(statement, "cases", ())):
        yield part.body


def _spans(block: list[ast.stmt], number: int) -> bool:
    return bool(block) and block[0].lineno <= number <= (block[-1].end_lineno or block[-1].lineno)


def _leaves(block: Iterable[ast.AST], *, in_loop: bool = False) -> bool:
    """Whether statements may end a block by return, break or continue."""
    for node in block:
        match node:
            case ast.Return():
                return True
            case ast.Break() | ast.Continue():
                if not in_loop:
                    return True
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() | ast.Lambda():
                continue
            case ast.For() | ast.AsyncFor() | ast.While():
                if _leaves(node.body, in_loop=True) or _leaves(node.orelse, in_loop=in_loop):
                    return True
            case _:
                if _leaves(ast.iter_child_nodes(node), in_loop=in_loop):
                    return True
    return False


def _always_raises_again(body: list[ast.stmt]) -> bool:
    """Whether every way through a handler ends in a bare ``raise``; False where that is not plain to see."""
    for statement in body:
        if isinstance(statement, ast.Raise):
            return statement.exc is None
        if isinstance(statement, ast.If) and _always_raises_again(statement.body):
            if _always_raises_again(statement.orelse):
                return True
            if _leaves(statement.orelse) or _raises(statement.orelse):
                return False
            continue
        if _leaves([statement]) or _raises([statement]):
            return False
    return False


def _raises(block: Iterable[ast.AST]) -> bool:
    """Whether statements raise of themselves, at any depth."""
    return any(isinstance(node, ast.Raise) for statement in block for node in ast.walk(statement))


def exception_class(error_type: str) -> type | None:
    """Return the class of that qualified name, if its module is imported."""
    module = error_type.rpartition(".")[0]
    while module:
        value: Any = live_module(module)
        for part in error_type[len(module) + 1 :].split("."):
            value = vars(value).get(part) if isinstance(value, type | type(sys)) else None
        if isinstance(value, type) and qualified(value) == error_type:
            return value
        module = module.rpartition(".")[0]
    return None
