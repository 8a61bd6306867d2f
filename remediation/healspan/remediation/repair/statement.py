"""Guards a whole simple statement, which costs nothing while nothing fails.

    while True:
        try:
            x = float(text)  # as it is written
            break
        except RecursionError: raise
        except Exception:
            if not guard.caught(): raise
        x = guard.value("call_1", float, text)  # the repaired value in the expression's place
        break

Only the statement that failed is left by way of the second copy, outside the ``except`` clause: what a repair calls
sees no foreign exception being handled. Reading the operands once more must have no effect, and nothing may have been
evaluated before them; so they are constants and local variables that no other function shares, and what is called, or
owns the rest, may be a name of the module.

Everything stands on the statement's own line, which it must have for itself: lines are reached in the same order.
`Guard.caught` is called at the position of the expression, by which it tells a failure of that one from any other
in the statement. A failure to call any deeper is passed on without another call, which would fail as well.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Collection, Iterator

from healspan.remediation.repair.expression import Guardable, Span, span_of
from healspan.remediation.repair.source import FunctionNode, FunctionSource

__all__ = ["Statement", "guarded_statement", "guarded_statements"]

Statement = ast.Assign | ast.AnnAssign | ast.Expr | ast.Return

_SUSPENDED = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR

_MOST_BLOCKS = 8
"""How deep a statement may stand: the compiler has an end to nesting, and a boundary needs some of it."""

_MADE_AGAIN = (
    ast.Lambda,
    ast.ListComp,
    ast.SetComp,
    ast.DictComp,
    ast.GeneratorExp,
    ast.Await,
    ast.Yield,
    ast.YieldFrom,
    ast.NamedExpr,
    ast.BoolOp,
    ast.IfExp,
)
"""What must not stand twice in a function: a code object of its own, a place at which it is suspended, and branches,
behind which the compiler would have a line reached once more."""


def guarded_statements(
    node: FunctionNode, source: FunctionSource, spans: Collection[Span]
) -> dict[ast.stmt, Guardable]:
    """Return the statements that can be guarded whole, each with its expression to guard.

    Args:
        node: definition of the function.
        source: of the function.
        spans: positions of all expressions to guard.
    """
    if isinstance(node, ast.Lambda) or source.code.co_flags & _SUSPENDED:
        return {}
    found: dict[ast.stmt, Guardable] = {}
    for statement, ends_in_finally in _simple(node.body, 0, ends_in_finally=False):
        if isinstance(statement, ast.Return) and ends_in_finally:
            continue  # each `return` has a copy of what stands there
        parts = [each for each in ast.walk(statement) if isinstance(each, Guardable) and span_of(each) in spans]
        if len(parts) == 1 and _alone(statement, source) and _fits(statement, parts[0], source):
            found[statement] = parts[0]
    return found


def guarded_statement(
    written: Statement,
    repaired: Statement,
    caught: ast.expr,
    ordinary: ast.expr,
    too_deep: ast.expr,
) -> ast.stmt:
    """Return a guarded statement.

    Args:
        written: the statement as it is.
        repaired: with the repaired value in the place of its expression.
        caught: call that tells whether there will be such a value.
        ordinary: the class of the exceptions to catch.
        too_deep: the class of those to let pass before.
    """
    leave: list[ast.stmt] = [] if isinstance(written, ast.Return) else [ast.Break()]
    decide = ast.If(ast.UnaryOp(ast.Not(), caught), [ast.Raise()], [])
    handlers = [ast.ExceptHandler(too_deep, None, [ast.Raise()]), ast.ExceptHandler(ordinary, None, [decide])]
    guarded: list[ast.stmt] = [ast.Try([written, *leave], handlers, [], []), repaired]
    whole = ast.While(ast.Constant(True), [*guarded, *leave], [])
    for each in ast.walk(whole):
        if "lineno" in each._attributes and not hasattr(each, "lineno"):
            line = written.lineno
            vars(each).update(lineno=line, end_lineno=line, col_offset=0, end_col_offset=0)
    return whole


def _simple(body: list[ast.stmt], depth: int, *, ends_in_finally: bool) -> Iterator[tuple[Statement, bool]]:
    """Yield the simple statements of a function's own, and whether a ``finally`` clause is around them."""
    if depth > _MOST_BLOCKS:
        return
    for statement in body:
        match statement:
            case ast.Assign() | ast.AnnAssign(target=ast.Name(), value=ast.expr()) | ast.Expr() | ast.Return():
                yield statement, ends_in_finally
            case ast.If(body=first, orelse=second):
                yield from _simple([*first, *second], depth, ends_in_finally=ends_in_finally)
            case ast.For(body=first, orelse=second) | ast.While(body=first, orelse=second):
                yield from _simple([*first, *second], depth + 1, ends_in_finally=ends_in_finally)
            case ast.With(items=items, body=first):
                yield from _simple(first, depth + len(items), ends_in_finally=ends_in_finally)
            case ast.Match(cases=cases):
                for case in cases:
                    yield from _simple(case.body, depth, ends_in_finally=ends_in_finally)
            case ast.Try(body=first, handlers=handlers, orelse=second, finalbody=last):
                inside = [*first, *second, *(each for handler in handlers for each in handler.body)]
                yield from _simple(inside, depth + 3, ends_in_finally=ends_in_finally or bool(last))
            case _:
                pass  # another function or class, or a statement of another form


def _alone(statement: ast.stmt, source: FunctionSource) -> bool:
    """Whether a statement has one line for itself."""
    line = source.line(statement.lineno).encode()
    behind = line[statement.end_col_offset :].strip()
    before = line[: statement.col_offset].strip()
    return statement.end_lineno == statement.lineno and not before and (not behind or behind.startswith(b"#"))


def _fits(statement: Statement, guarded: Guardable, source: FunctionSource) -> bool:
    """Whether an expression is the first to be evaluated and its operands can be read again."""
    parts = list(ast.walk(statement))
    if any(isinstance(each, _MADE_AGAIN) or (isinstance(each, ast.Compare) and each.ops[1:]) for each in parts):
        return False
    first = statement.value
    while first is not None and first is not guarded:
        first = _evaluated_first(first)
    if first is not guarded:
        return False
    called, *given = _operands(guarded)
    return _rereadable(called, source, everywhere=True) and all(_rereadable(each, source) for each in given)


def _evaluated_first(node: ast.expr) -> ast.expr | None:
    """Return the part of an expression before which nothing else of it is evaluated, if there is one."""
    match node:
        case ast.Call(func=inner) | ast.Subscript(value=inner) | ast.Attribute(value=inner):
            return inner
        case ast.UnaryOp(operand=inner) | ast.BinOp(left=inner):
            return inner
        case ast.Compare(left=inner) | ast.Tuple(elts=[inner, *_]) | ast.List(elts=[inner, *_]):
            return inner
    return None


def _operands(node: Guardable) -> list[ast.expr]:
    match node:
        case ast.Call(func=function, args=arguments, keywords=keywords):
            return [
                function,
                *arguments,
                *(ast.Starred(each.value) if each.arg is None else each.value for each in keywords),
            ]
        case ast.Subscript(value=container, slice=ast.Slice(lower=low, upper=high, step=step)):
            return [container, *(each for each in (low, high, step) if each is not None)]
        case ast.Subscript(value=container, slice=key):
            return [container, key]
        case ast.Attribute(value=owner):
            return [owner]
        case ast.UnaryOp(operand=operand):
            return [operand]
        case ast.BinOp(left=left, right=right):
            return [left, right]
        case ast.Compare(left=left, comparators=others):
            return [left, *others]


def _rereadable(node: ast.expr, source: FunctionSource, *, everywhere: bool = False) -> bool:
    """Whether an operand is the same when it is read again: a failing call may have bound a name of the module anew."""
    match node:
        case ast.Name(id=name):
            shared = {*source.code.co_cellvars, *source.code.co_freevars}
            private = name.startswith("__")  # which might have another name in a class
            return name not in shared and not private and (everywhere or name in source.code.co_varnames)
        case ast.Constant() | ast.UnaryOp(op=ast.USub(), operand=ast.Constant()):
            return True
    return False
