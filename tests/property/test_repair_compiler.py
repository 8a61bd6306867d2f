"""A guarded function is the original: same results, same order of effects, same errors, same positions."""

from __future__ import annotations

import ast
import dis
import sys
import textwrap
from collections.abc import Callable, Hashable
from types import CodeType, FrameType, FunctionType
from typing import Any

from hypothesis import given, reject, settings
from hypothesis import strategies as st

from healspan.remediation.errors import RepairDeclined
from healspan.remediation.repair.compiler import compile_guarded
from healspan.remediation.repair.expression import Span, definition, guardables, kind_of, position_of, span_of
from healspan.remediation.repair.find import nested_codes
from healspan.remediation.repair.guard import Guard
from healspan.remediation.repair.operators import symbol_of
from healspan.remediation.repair.source import FunctionSource

ATOMS = st.sampled_from(["a", "b", "1", "-2", "self.unit", "table[1]"])


OPERATORS = st.sampled_from(["+", "-", "*", "//", "%", "<<", "&", "|", "^", "<", "<=", ">", ">=", "==", "!=", "@"])

CHECKED = st.recursive(
    st.sampled_from(
        [
            "a < b",
            "a in table",
            "b not in (1, a)",
            "(\n    a >\n    b)",
            "a.real",
            "not a",
            "a in b",
            "a < None",
            "odd == a",
        ]
    ),
    lambda inner: st.one_of(
        inner.map(lambda each: f"(not {each})"),
        st.tuples(inner, inner).map(lambda each: f"({each[0]} and {each[1]})"),
        st.tuples(inner, inner).map(lambda each: f"({each[0]} or\n    {each[1]})"),
        st.tuples(inner, inner).map(lambda each: f"({each[0]} if {each[1]} else a == 1)"),
    ),
    max_leaves=3,
)
"""Expressions that are asked for their truth; the comparison with ``odd`` fails only when it is."""


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
        inner.map(lambda each: f"self.__deep.unit + {each}"),
        inner.map(lambda each: "(self\n    .itself('é')\n    .unit)"),
        inner.map(lambda each: f"-abs({each})"),
        inner.map(lambda each: f"([1, 2, 3, 4][{each}:{each} + 2] or [a])[-1]"),
        inner.map(lambda each: f"self[{each}:, ::2]"),
        inner.map(lambda each: f"(lambda n, m={each}: n.real + m)({each})"),
        st.tuples(CHECKED, inner).map(lambda each: f"({each[1]} if {each[0]} else b)"),
        st.tuples(CHECKED, inner).map(lambda each: f"sum(n for n in (1, a, b) if {each[0]})"),
        OPERATORS.flatmap(lambda sign: two.map(lambda each: f"({each[0]} {sign} {each[1]})")),
        OPERATORS.flatmap(lambda sign: two.map(lambda each: f"(\n    {each[0]}\n) {sign} (\n    {each[1]})")),
    )


EXPRESSIONS = st.recursive(ATOMS, compound, max_leaves=6)


def statement(expression: str, check: str) -> st.SearchStrategy[str]:
    body = textwrap.indent(expression, " " * 4).strip()
    return st.sampled_from(
        [
            f"a = {expression}",
            "a = add(a, b)",
            "table[add(a, 0)] = table[b] + add(a, b)",
            "b = -a, add(b, second=1)",
            "for n in (1, 2):\n    a = a @ b",
            "try:\n    b = table[a].real\nfinally:\n    add(3, 3)",
            "if a > 3:\n    return a / b",
            f"b += {expression}",
            f"table[a] = {expression}",
            f"for b in (1, {expression}):\n    a += b",
            f"while a > 100:\n    a -= 1 + abs({body})\nelse:\n    b = 0",
            f"try:\n    a = {body}\nexcept KeyError:\n    add(0, 0)\n    raise\nfinally:\n    b = add(1, 1)",
            f"with open(__file__):\n    a = {body}",
            f"later = lambda: {expression}",
            f"if a > 3:\n    return {body}",
            f"if {check}:\n    a = {body}\nelif not {check}:\n    b = {body}",
            f"assert {check}, {expression}",
            f"while {check}:\n    a += {body}\n    break",
            f"match a:\n    case Reader.unit if {check}:\n        b = {body}\n    case _:\n        a = b",
            f"def inner(n={expression}):\n    return n.real + a\nb = inner() + inner(b)",
            f"class Local:\n    unit = {body}\n    def read(own, n):\n        return n - own.__low\n    __low = a\n"
            "b = Local().read(b) + Local.unit",
        ]
    )


@st.composite
def programs(draw: st.DrawFn) -> str:
    lines = [draw(statement(draw(EXPRESSIONS), draw(CHECKED))) for _ in range(draw(st.integers(1, 3)))]
    body = textwrap.indent("\n".join([*lines, "return a, b"]), " " * 8)
    return (
        f"class Base:\n    def scaled(self, n):\n        return add(n, 10)\n\n"
        f"class Reader(Base):\n    unit = 3\n    def itself(self, word):\n        return self\n"
        f"    def __getitem__(self, key):\n        return add(key[0].start, 1)\n"
        f"    @property\n    def _Reader__deep(self):\n        add(5, 5)\n        return self\n"
        f"    def _Reader__hidden(self, n):\n        return add(n, n)\n"
        f"    def run(self, a, b):\n{body}\n"
    )


def prepared(text: str, log: list[object]) -> tuple[FunctionType, FunctionSource, Any]:
    def add(first: int, second: int) -> int:
        log.append((first, second))
        return first + second

    class Odd:
        def __eq__(self, other: object) -> Any:
            return self

        def __bool__(self) -> bool:
            raise ArithmeticError

    scope: dict[str, Any] = {"odd": Odd(), "add": add, "table": {n: n * n for n in range(-3, 9)}, "__file__": __file__}
    exec(compile(text, "generated.py", "exec", dont_inherit=True), scope)
    function = scope["Reader"].run
    source = FunctionSource(function.__code__, "generated.py", (), tuple(text.split("\n")), 1, ())
    return function, source, scope["Reader"]()


def guarded(source: FunctionSource, chosen: Callable[[int], bool]) -> tuple[CodeType, set[Span]]:
    """Return the guarded code and the positions of the guarded expressions."""
    guards: dict[Span, Guard] = {}
    places: set[Span] = set()
    for index, node in enumerate(guardables(definition(source))):
        try:
            kind = kind_of(node)
        except RepairDeclined:
            continue
        if chosen(index):
            guards[span_of(node)] = Guard(kind, symbol_of(node))
            places |= {span_of(node), position_of(node)}
            if isinstance(node, ast.Subscript):
                places |= {span_of(part) for part in ast.walk(node.slice) if isinstance(part, ast.Slice)}
    try:
        code = compile_guarded(source, guards)
    except RepairDeclined as error:
        if "never evaluated" not in str(error):
            raise
        reject()  # behind a condition that the compiler has decided
    placed = {id(c) for each in nested_codes(code) for c in each.co_consts if isinstance(c, Guard)}
    assert len(placed) == len(guards)
    return code, places


def positions(code: CodeType, guarded: set[Span]) -> list[Hashable]:
    """Return the positions of instructions in order, but for those of guarded expressions, without repetitions."""
    found: list[Hashable] = []
    for each in nested_codes(code):
        for instruction in dis.get_instructions(each):
            where = instruction.positions
            if where is None or where.lineno is None or where.col_offset == where.end_col_offset:
                continue  # of no text: a guard
            if instruction.opname in ("LOAD_CONST", "PUSH_NULL"):
                continue  # constants that stood in one tuple no longer do; a guarded callee is an operand
            position: tuple[object, ...] = (where.lineno, where.end_lineno, where.col_offset, where.end_col_offset)
            if isinstance(instruction.argval, Guard) or position in guarded:
                continue
            if instruction.opname in ("LOAD_METHOD", "LOAD_ATTR"):
                # A guarded call loads its method in the other way, to which the compiler gives other columns.
                if instruction.argval in ("call_1", "call_2", "call", "item", "attribute", "contains", "slice", "part"):
                    continue
                position = position[:1]
            if not found or found[-1] != (each.co_qualname, position):
                found.append((each.co_qualname, position))
    return found


def outcome(function: Callable[..., Any], *args: Any) -> object:
    """Return what a call gives or raises, and every event that a tracer sees in the function."""
    events: list[tuple[str, str, int]] = []

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code.co_filename != "generated.py":
            return None
        events.append((event, frame.f_code.co_qualname, frame.f_lineno))
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        return function(*args), events
    except Exception as error:
        return type(error), str(error), way(error), events
    finally:
        sys.settrace(before)


def way(error: Exception) -> list[object]:
    """Return the positions of a traceback, but for the test's own frame."""
    trace, found = error.__traceback__, list[object]()
    while trace is not None:
        code = trace.tb_frame.f_code
        found.append((code.co_qualname, trace.tb_lineno, list(code.co_positions())[trace.tb_lasti // 2]))
        trace = trace.tb_next
    return found[1:]


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
    ours, theirs = positions(code, places), positions(source.code, places)
    if any("caught" in each.co_names for each in nested_codes(code)):
        assert set(ours) == set(theirs), "a statement that is guarded whole stands there twice"
    else:
        assert ours == theirs
