"""A guarded function is the original: same results, same order of effects, same errors, same positions."""

from __future__ import annotations

import dis
import textwrap
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from healspan.remediation.errors import RepairDeclined
from healspan.remediation.repair.compiler import compile_guarded
from healspan.remediation.repair.expression import Span, calls_and_subscripts, definition, kind_of, position_of, span_of
from healspan.remediation.repair.find import nested_codes
from healspan.remediation.repair.guard import Guard
from healspan.remediation.repair.source import FunctionSource

ATOMS = st.sampled_from(["a", "b", "1", "-2", "self.unit", "table[1]"])


def compound(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    two = st.tuples(inner, inner)
    return st.one_of(
        two.map(lambda each: f"add({each[0]}, {each[1]})"),
        two.map(lambda each: f"add(*[{each[0]}, {each[1]}])"),
        two.map(lambda each: f"add({each[0]}, second={each[1]})"),
        two.map(lambda each: f"add({each[0]}, **{{'second': {each[1]}}})"),
        two.map(lambda each: f"add(\n    {each[0]},\n    {each[1]},\n)"),
        two.map(lambda each: f"({each[0]}\n    + {each[1]})"),
        two.map(lambda each: f"({each[0]} if {each[1]} else a)"),
        inner.map(lambda each: f"table[{each}]"),
        inner.map(lambda each: f"(self\n    .itself('é')\n    .scaled(\n        {each}))"),
        inner.map(lambda each: f"self.scaled({each})"),
        inner.map(lambda each: f"sum(n + add(n, {each}) for n in (1, 2))"),
        inner.map(lambda each: f"len([table[n] for n in (0, 1) if {each}])"),
        inner.map(lambda each: f"super().scaled({each})"),
        inner.map(lambda each: f"self.__hidden({each})"),
    )


EXPRESSIONS = st.recursive(ATOMS, compound, max_leaves=6)


def statement(expression: str) -> st.SearchStrategy[str]:
    body = textwrap.indent(expression, " " * 4).strip()
    return st.sampled_from(
        [
            f"a = {expression}",
            f"b += {expression}",
            f"table[a] = {expression}",
            f"for b in (1, {expression}):\n    a += b",
            f"while a > 100:\n    a -= 1 + abs({body})\nelse:\n    b = 0",
            f"try:\n    a = {body}\nexcept KeyError:\n    add(0, 0)\n    raise\nfinally:\n    b = add(1, 1)",
            f"with open(__file__):\n    a = {body}",
            f"later = lambda: {expression}",
            f"if a > 3:\n    return {body}",
        ]
    )


@st.composite
def programs(draw: st.DrawFn) -> str:
    lines = [draw(statement(draw(EXPRESSIONS))) for _ in range(draw(st.integers(1, 3)))]
    body = textwrap.indent("\n".join([*lines, "return a, b"]), " " * 8)
    return (
        f"class Base:\n    def scaled(self, n):\n        return add(n, 10)\n\n"
        f"class Reader(Base):\n    unit = 3\n    def itself(self, word):\n        return self\n"
        f"    def _Reader__hidden(self, n):\n        return add(n, n)\n"
        f"    def run(self, a, b):\n{body}\n"
    )


def prepared(text: str, log: list[object]) -> tuple[FunctionType, FunctionSource, Any]:
    def add(first: int, second: int) -> int:
        log.append((first, second))
        return first + second

    scope: dict[str, Any] = {"add": add, "table": {n: n * n for n in range(-3, 9)}, "__file__": __file__}
    exec(compile(text, "generated.py", "exec", dont_inherit=True), scope)
    function = scope["Reader"].run
    source = FunctionSource(function.__code__, "generated.py", (), tuple(text.split("\n")), 1, ())
    return function, source, scope["Reader"]()


def guarded(source: FunctionSource, chosen: Callable[[int], bool]) -> tuple[CodeType, set[Span]]:
    """Return the guarded code and the positions of the guarded expressions."""
    guards: dict[Span, Guard] = {}
    places: set[Span] = set()
    for index, node in enumerate(calls_and_subscripts(definition(source))):
        try:
            kind = kind_of(node)
        except RepairDeclined:
            continue
        if chosen(index):
            guards[span_of(node)] = Guard(kind)
            places |= {span_of(node), position_of(node)}
    code = compile_guarded(source, guards)
    placed = {id(c) for each in nested_codes(code) for c in each.co_consts if isinstance(c, Guard)}
    assert len(placed) == len(guards)
    return code, places


def positions(code: CodeType, guarded: set[Span]) -> list[object]:
    """Return the positions of instructions in order, but for those of guarded expressions, without repetitions."""
    found: list[object] = []
    for each in nested_codes(code):
        for instruction in dis.get_instructions(each):
            where = instruction.positions
            if where is None or where.lineno is None or where.col_offset == where.end_col_offset:
                continue  # of no text: a guard
            if instruction.opname == "LOAD_CONST":
                continue  # constant arguments that stood in one constant tuple no longer do
            position: tuple[object, ...] = (where.lineno, where.end_lineno, where.col_offset, where.end_col_offset)
            if isinstance(instruction.argval, Guard) or position in guarded:
                continue
            if instruction.opname in ("LOAD_METHOD", "LOAD_ATTR"):
                # A guarded call loads its method in the other way, to which the compiler gives other columns.
                if instruction.argval in ("call_1", "call_2", "call", "item"):
                    continue
                position = position[:1]
            if not found or found[-1] != (each.co_qualname, position):
                found.append((each.co_qualname, position))
    return found


def outcome(function: Callable[..., Any], *args: Any) -> object:
    try:
        return function(*args)
    except Exception as error:
        trace, way = error.__traceback__, list[object]()
        while trace is not None:
            code = trace.tb_frame.f_code
            way.append((code.co_qualname, trace.tb_lineno, list(code.co_positions())[trace.tb_lasti // 2]))
            trace = trace.tb_next
        return type(error), str(error), way[1:]


@settings(max_examples=150, deadline=None)
@given(text=programs(), chosen=st.sets(st.integers(0, 12)), a=st.integers(-3, 9), b=st.integers(-3, 9))
def test_guarding_changes_nothing_but_the_guarded_expressions(text: str, chosen: set[int], a: int, b: int) -> None:
    log: list[object] = []
    function, source, reader = prepared(text, log)
    before = outcome(function, reader, a, b), list(log)

    function, source, reader = prepared(text, log)
    code, places = guarded(source, chosen.__contains__)
    log.clear()
    function.__code__ = code
    after = outcome(function, reader, a, b), list(log)

    assert after == before
    assert positions(code, places) == positions(source.code, places)
