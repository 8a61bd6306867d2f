"""The instructions of a boundary, put around the body of a function.

    try:
        try:
            for () in counter.ticks: break  # takes one item, in one step of the interpreter: an exact count
            else: hook.look()               # none was left: a call to look at
            if runs.any:
                if hook.reach(): return hook.apart()
            ...                             # the body
        finally:
            calls.leaving.look
    except BaseException:
        try:
            if hook.failed(): return hook.value()
        except Exception: pass
        if hook.interrupts: hook.pass_on()
        raise

Inside a function all that they refer to is a constant of the code object, so no name is added, and no local variable:
the hook reads what it needs from the frame. In a wrapper they refer to variables of its closure, where the garbage
collector sees them. Where each result is verified, ``return x`` becomes ``return hook.keep(x)``, and the end
``hook.verify()``: outside whatever the body has around its ``return``, so that no handler of its own takes a broken
contract for an exception that it knows. No call is made apart there, so ``hook.reach()`` is all that is done: whoever
prints a traceback counts the instructions up to the one that failed.

The instructions before the body stand at the line of the body's first one, those of the handler at the ``def``, and
those at the end have no line: lines are reached in the same order as without.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sized
from dataclasses import dataclass
from typing import Protocol, TypeVar

from healspan.remediation.repair.expression import Span
from healspan.remediation.repair.placing import at, place, reached_at, reached_first
from healspan.remediation.repair.running import RunningCalls

__all__ = ["Counter", "Enclosure", "Hook", "Refer", "Runs", "enclose", "held"]


_Node = TypeVar("_Node", bound=ast.AST)


class Counter(Protocol):
    """What counts the calls."""

    @property
    def ticks(self) -> Iterator[tuple[()]]:
        """What each call takes an item of."""


class Runs(Protocol):
    """What knows whether a pipeline run is open."""

    any: bool


class Hook(Protocol):
    """What a boundary does beside calling. Nothing but `verify` and `pass_on` may raise an `Exception`."""

    @property
    def interrupts(self) -> Sized:
        """Empty unless there is something to `pass_on`, for whatever call."""

    def look(self) -> None:
        """Look at this call: the counter had no item left."""

    def reach(self) -> bool:
        """Note that the boundary was reached in its run; True if the call is to be made by `apart`.

        Never so where each call is verified.
        """

    def apart(self) -> object:
        """Call the bare function in the place of the body, since the run wants to know what it returns."""

    async def apart_async(self) -> object:
        """Likewise for a coroutine function."""

    def copy(self) -> None:
        """Copy the arguments of this call."""

    def keep(self, value: object) -> object:
        """Keep what this call is about to return, and return it."""

    def verify(self) -> None:
        """Verify what was kept, or that None is returned; raises what breaks the contract."""

    def failed(self) -> bool:
        """Take in the exception that is being handled; True if there is a value in the place of the result."""

    async def failed_async(self) -> bool:
        """Likewise for a coroutine function."""

    def value(self) -> object:
        """Return, once, that value."""

    def pass_on(self) -> None:
        """Raise what the host has sent to this call while its exception was taken in."""


@dataclass(frozen=True, slots=True, eq=False)
class Enclosure:
    """What the instructions of one boundary hold on to."""

    name: str
    hook: Hook
    counter: Counter
    runs: Runs
    calls: RunningCalls
    verified: bool = False
    """Whether each call is looked at when it returns."""
    copied: bool = False
    """Whether the arguments are copied before each call."""


Refer = Callable[[str], ast.expr]
"""Gives an expression for one of the objects that `held` names, without a place."""


def held(enclosure: Enclosure) -> dict[str, object]:
    """Return, by name, what the instructions refer to."""
    return {
        "hook": enclosure.hook,
        "counter": enclosure.counter,
        "runs": enclosure.runs,
        "calls": enclosure.calls,
        "any_exception": BaseException,
        "ordinary_exception": Exception,
    }


def enclose(
    node: ast.FunctionDef | ast.AsyncFunctionDef,
    first_line: int,
    enclosure: Enclosure,
    refer: Refer,
) -> None:
    """Put the boundary around the body of a function.

    Args:
        node: the definition; changed in place.
        first_line: line of the first instruction of its body.
        enclosure: what kind of boundary it is.
        refer: how the instructions refer to what they hold.
    """

    def call(method: str, *arguments: ast.expr) -> ast.Call:
        return ast.Call(ast.Attribute(refer("hook"), method, ast.Load()), [*arguments], [])

    documented = ast.get_docstring(node, clean=False) is not None
    docstring, body = node.body[:documented], node.body[documented:]
    count = ast.For(
        target=ast.Tuple([], ast.Store()),
        iter=ast.Attribute(refer("counter"), "ticks", ast.Load()),
        body=[ast.Break()],
        orelse=[ast.Expr(call("look"))],
    )
    failed: ast.expr = call("failed")
    apart: ast.expr = call("apart")
    if isinstance(node, ast.AsyncFunctionDef):
        failed, apart = ast.Await(call("failed_async")), ast.Await(call("apart_async"))
    wanted = ast.Expr(call("reach")) if enclosure.verified else ast.If(call("reach"), [ast.Return(apart)], [])
    reach = ast.If(ast.Attribute(refer("runs"), "any", ast.Load()), [wanted], [])
    heal = ast.Try(
        body=[ast.If(failed, [ast.Return(call("value"))], [])],
        handlers=[ast.ExceptHandler(refer("ordinary_exception"), None, [ast.Pass()])],
        orelse=[],
        finalbody=[],
    )
    # Asked for without a call, which a stack that is full would not take.
    sent = ast.Attribute(refer("hook"), "interrupts", ast.Load())
    pass_on = ast.If(sent, [ast.Expr(call("pass_on"))], [])
    caught = ast.ExceptHandler(refer("any_exception"), None, [heal, pass_on, ast.Raise()])
    end = ast.Expr(ast.Attribute(ast.Attribute(refer("calls"), "leaving", ast.Load()), "look", ast.Load()))
    begin: list[ast.stmt] = [count, reach]
    if enclosure.copied:
        begin.append(ast.Expr(call("copy")))
    if enclosure.verified:
        end = ast.Expr(call("verify"))
        body = _keeping(body, refer)
    for instructions, line in ((ast.Module(begin, []), first_line), (caught, node.lineno), (end, -1)):
        _place(instructions, line)
    # All of it is inside: an interrupt at the first step must leave no note of a call that will never end.
    ending = _place(ast.Try([*begin, *body], [], [], [end]), first_line, deep=False)
    node.body = [*docstring, _place(ast.Try([ending], [caught], [], []), first_line, deep=False)]


def _keeping(body: list[ast.stmt], refer: Refer) -> list[ast.stmt]:
    """Return a body that keeps what it returns: where nothing is kept, an exception is leaving."""
    keeping = _Keeping(refer)
    for each in body:
        keeping.visit(each)
    keep = ast.Attribute(refer("hook"), "keep", ast.Load())
    return [*body, _place(ast.Expr(ast.Call(keep, [ast.Constant(None)], [])), -1)]


class _Keeping(ast.NodeVisitor):
    """Keeps what each ``return`` of one function returns."""

    def __init__(self, refer: Refer) -> None:
        self._refer = refer

    def visit(self, node: ast.AST) -> None:
        """Keep what is returned; what a function or class inside returns is its own."""
        match node:
            case ast.Return():
                self._keep(node)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() | ast.Lambda():
                pass
            case _:
                self.generic_visit(node)

    def _keep(self, node: ast.Return) -> None:
        value = node.value if node.value is not None else place(ast.Constant(None), _span(node))
        first = reached_first(value)
        method: ast.expr = at(first, ast.Attribute(at(first, self._refer("hook")), "keep", ast.Load()))
        if first != value.lineno:
            method = reached_at(first, method)
        node.value = place(ast.Call(method, [value], []), _span(value))


def _span(node: ast.stmt | ast.expr) -> Span:
    return node.lineno, node.end_lineno or node.lineno, node.col_offset, node.end_col_offset or 0


def _place(node: _Node, line: int, *, deep: bool = True) -> _Node:
    for each in ast.walk(node) if deep else (node,):
        if "lineno" in each._attributes:
            column = min(line, 0)
            vars(each).update(lineno=line, end_lineno=line, col_offset=column, end_col_offset=column)
    return node
