"""Every form of expression that a repair can act at: what the repairer sees, and what comes of it."""

from __future__ import annotations

import pickle
import traceback
from typing import Any

import pytest
from repair_application import Application, failure, frames, heal, repair_for

from healspan.remediation.repair import Repairs
from healspan.remediation.repair.guard import Guard
from healspan.remediation.repairers import Loss, Repaired, catalogue


class Record:
    total = 7


RECORD = Record()

FORMS: dict[str, tuple[str, tuple[Any, ...], object, tuple[Any, ...]]] = {
    "attribute": ("a.sum", (RECORD,), "total", ("attribute", RECORD, "sum", "", 7)),
    "method": ("a.titel()", ("x",), "title", ("attribute", "x", "titel", "", "X")),
    "addition": ("a + b", (1, "2"), 2, ("operator", 1, "2", "+", 3)),
    "subtraction": ("a - b", (1, "2"), 2, ("operator", 1, "2", "-", -1)),
    "multiplication": ("a * b", ([1], "2"), 2, ("operator", [1], "2", "*", [1, 1])),
    "matrix product": ("a @ b", (1, 2), 3, ("operator", 1, 2, "@", TypeError)),
    "division": ("a / b", (1, 0), 2, ("operator", 1, 0, "/", 0.5)),
    "floor division": ("a // b", (3, 0), 2, ("operator", 3, 0, "//", 1)),
    "remainder": ("a % b", (3, 0), 2, ("operator", 3, 0, "%", 1)),
    "power": ("a ** b", (3, "2"), 2, ("operator", 3, "2", "**", 9)),
    "left shift": ("a << b", (3, -1), 1, ("operator", 3, -1, "<<", 6)),
    "right shift": ("a >> b", (3, -1), 1, ("operator", 3, -1, ">>", 1)),
    "and": ("a & b", (3, "1"), 1, ("operator", 3, "1", "&", 1)),
    "or": ("a | b", (3, "1"), 4, ("operator", 3, "1", "|", 7)),
    "exclusive or": ("a ^ b", (3, "1"), 1, ("operator", 3, "1", "^", 2)),
    "negative": ("-a", ("1",), 1, ("operator", None, "1", "-x", -1)),
    "positive": ("+a", ("1",), 1, ("operator", None, "1", "+x", 1)),
    "inverted": ("~a", ("1",), 1, ("operator", None, "1", "~x", -2)),
    "less": ("a < b", (1, "2"), 2, ("operator", 1, "2", "<", True)),
    "less or equal": ("a <= b", (1, "2"), 2, ("operator", 1, "2", "<=", True)),
    "greater": ("a > b", (1, "2"), 2, ("operator", 1, "2", ">", False)),
    "greater or equal": ("a >= b", (1, "2"), 2, ("operator", 1, "2", ">=", False)),
    "in": ("a in b", (1, 2), [1], ("operator", 1, 2, "in", True)),
    "not in": ("a not in b", (1, 2), [1], ("operator", 1, 2, "not in", False)),
    "condition": ("'yes' if a not in b else 'no'", (1, 2), [2], ("operator", 1, 2, "not in", "yes")),
    "test": ("[n for n in [1] if a < b]", (1, "2"), 2, ("operator", 1, "2", "<", [1])),
    "slice": ("a[b:]", ("text", "1"), slice(1, 2), ("subscript", "text", slice("1", None), "", "e")),
    "slice in a tuple": ("a[1::2, b]", ([], 1), None, ("subscript", [], (slice(1, None, 2), 1), "", TypeError)),
}


@pytest.mark.parametrize(("expression", "given", "answer", "expected"), FORMS.values(), ids=FORMS)
def test_the_repairer_sees_both_operands_and_replaces_the_second(
    app: Application,
    repairs: Repairs,
    scripted: Any,
    expression: str,
    given: tuple[Any, ...],
    answer: object,
    expected: tuple[Any, ...],
) -> None:
    module = app.module(f"def run(a, b=None):\n    return {expression}\n")
    run = app.boundary("boundary", module.run)
    before = failure(run, *given)
    repairer = scripted(Repaired(answer, Loss.NONE))
    heal(repairs, app, run, *given, repairer="scripted")
    kind, target, argument, operator, result = expected
    if isinstance(result, type):
        after = failure(run, *given)
        assert type(after) is result
        assert traceback.format_exception(after) == traceback.format_exception(before)
    else:
        assert run(*given) == result
    [seen] = repairer.seen
    assert (seen.kind, seen.target, seen.argument, seen.rest, seen.operator) == (kind, target, argument, (), operator)


@pytest.mark.parametrize(("expression", "given"), [(form[0], form[1]) for form in FORMS.values()], ids=FORMS)
def test_a_repairer_that_declines_leaves_the_error_as_it_was(
    app: Application, repairs: Repairs, scripted: Any, expression: str, given: tuple[Any, ...]
) -> None:
    module = app.module(f"def run(a, b=None):\n    return {expression}\n")
    run = app.boundary("boundary", module.run)
    before = failure(run, *given)
    scripted(None)
    heal(repairs, app, run, *given, repairer="scripted")
    after = failure(run, *given)
    assert traceback.format_exception(after) == traceback.format_exception(before)
    assert (after.args, after.__context__, after.__cause__) == (before.args, None, None)
    assert getattr(after, "obj", None) is getattr(before, "obj", None)
    assert [each.tb_lasti for each in frames(after)][:-1] == [each.tb_lasti for each in frames(before)][:-1]


def test_reflected_and_overloaded_operators_answer_as_before(app: Application, repairs: Repairs, scripted: Any) -> None:
    module = app.module(
        """
class Left:
    def __add__(self, other): return NotImplemented
    def __lt__(self, other): return [self, other]
    def __contains__(self, other): return "yes"

class Right:
    def __radd__(self, other): return "reflected"

def add(a, b): return a + b
def less(a, b): return a < b
def holds(a, b): return a in b
"""
    )
    scripted(None)
    for name in ("add", "less", "holds"):
        heal(repairs, app, app.boundary(name, getattr(module, name)), 1, None, fix_id=name, boundary=name, repairer="s")
    left = module.Left()
    assert module.add(left, module.Right()) == "reflected"
    assert module.less(left, 1) == [left, 1]
    assert module.holds(1, left) is True
    assert type(failure(module.add, left, 1)) is TypeError


def test_private_and_magic_names_and_getattr_hooks_are_read_as_before(
    app: Application, repairs: Repairs, scripted: Any
) -> None:
    module = app.module(
        """
class _Cell:
    __kept = 3

    def __getattr__(self, name):
        if name == "found":
            return name
        raise AttributeError(name)

    def kept(self, other):
        return other.__kept

    def magic(self, other):
        return other.__kept__

    def found(other):
        return other.found
"""
    )
    cell = module._Cell()
    repairer = scripted(None)
    for name in ("kept", "magic"):
        call = app.boundary(name, getattr(module._Cell, name))
        heal(repairs, app, call, cell, 1, fix_id=name, boundary=name, repairer="scripted")
        failure(call, cell, 1)
    assert [each.argument for each in repairer.seen] == ["_Cell__kept", "__kept__"]
    assert cell.kept(cell) == 3


def test_a_repaired_attribute_of_a_method_call_keeps_the_place_of_the_call(
    app: Application, repairs: Repairs, scripted: Any
) -> None:
    module = app.module(
        """
def read(text):
    return (
        text
        .titel()
        .rjust(
            "x")
    )
"""
    )
    read = app.boundary("boundary", module.read)

    class Text(str):
        def titel(self) -> str:
            return self

    before = traceback.format_exception(failure(read, Text("x")))
    scripted(Repaired("title", Loss.NONE))
    heal(repairs, app, read, "x", repairer="scripted")
    assert traceback.format_exception(failure(read, Text("x"))) == before


def test_an_assertion_that_fails_points_where_it_did(app: Application, repairs: Repairs, scripted: Any) -> None:
    module = app.module("def check(a, b):\n    assert (\n        a <\n        b), 'not less'\n    return a\n")
    check = app.boundary("boundary", module.check)
    before = traceback.format_exception(failure(check, 2, 1))
    scripted(Repaired(3, Loss.NONE))
    heal(repairs, app, check, 1, None, repairer="scripted")
    assert check(1, None) == 1
    assert traceback.format_exception(failure(check, 2, 1)) == before


def test_a_truth_that_cannot_be_told_fails_at_the_comparison(app: Application, repairs: Repairs, scripted: Any) -> None:
    module = app.module(
        """
class Odd:
    def __lt__(self, other):
        if other is None:
            raise TypeError
        return self
    def __bool__(self):
        raise ValueError("odd")

def check(a, b):
    if (a
            < b):
        return 1
"""
    )
    check = app.boundary("boundary", module.check)
    before = traceback.format_exception(failure(check, module.Odd(), 1))
    scripted(None)
    repair = repair_for(failure(check, module.Odd(), None), app, repairer="scripted", frame=0)
    assert [each.status for each in repairs.install([repair])] == ["installed"]
    assert traceback.format_exception(failure(check, module.Odd(), 1)) == before


def test_a_pickled_guard_of_an_operator_keeps_its_symbol_and_no_repairs() -> None:
    copy = pickle.loads(pickle.dumps(Guard("operator", "+")))
    assert (copy.kind, copy.symbol, copy.repairs) == ("operator", "+", ())


@pytest.mark.parametrize(
    ("expression", "given", "answer", "result"),
    [
        ("a['name']", ({"n": 1},), Repaired("key", Loss.NONE, {"key": 2}), 2),
        ("a.name", (RECORD,), Repaired("total", Loss.NONE, type("Other", (), {"total": 8})()), 8),
        ("a['name']", ({"n": 1},), Repaired("n", Loss.NONE), 1),
        ("a['name']", ({"n": 1},), Repaired("key", Loss.NONE, None), None),
        ("int(a)", ("x",), Repaired("1", Loss.NONE, float), None),
        ("a + b", (1, "2"), Repaired(2, Loss.NONE, 5), None),
        ("a in b", (1, 2), Repaired([1], Loss.NONE, 5), None),
        ("-a", ("1",), Repaired(1, Loss.NONE, 5), None),
    ],
)
def test_a_repairer_may_replace_the_owner_of_a_key_or_attribute_and_of_nothing_else(
    app: Application,
    repairs: Repairs,
    scripted: Any,
    expression: str,
    given: tuple[Any, ...],
    answer: Repaired,
    result: object,
) -> None:
    module = app.module(f"def run(a, b=None):\n    return {expression}\n")
    run = app.boundary("boundary", module.run)
    before = failure(run, *given)
    scripted(answer)
    heal(repairs, app, run, *given, repairer="scripted")
    if result is None:
        assert traceback.format_exception(failure(run, *given)) == traceback.format_exception(before)
    else:
        assert run(*given) == result


def test_the_built_in_repairers_leave_operators_and_none_to_others() -> None:
    error: BaseException
    for error in (TypeError(), ValueError(), AttributeError(), KeyError(), failure(lambda: None.amount)):  # type: ignore[attr-defined]
        assert not any(each.applies(kind, error) for each in catalogue().values() for kind in ("attribute", "operator"))
