"""The operands of a failing expression are read from its frame, or not at all; nothing is evaluated again."""

from __future__ import annotations

import sys
from collections import UserDict, defaultdict
from types import SimpleNamespace
from typing import Any

import pytest
from repair_application import Application, failure, in_modules, location_of

from healspan.remediation.repair import failure_at
from healspan.remediation.repairers import ABSENT, Failure


def read(app: Application, body: str, *given: Any) -> Failure | None:
    error = failure(app.module(body).run, *given)
    return failure_at(location_of(error, app), in_modules(error, app)[-1].tb_frame.f_code, error)


ROW = {"user_name": 1}
OWNER = SimpleNamespace(user_name=1)


@pytest.mark.parametrize(
    ("body", "given", "kind", "target", "argument", "rest"),
    [
        ("def run(a): return a['userName']", ROW, "subscript", ROW, "userName", ()),
        ("KEY = 'userName'\ndef run(a): return a[KEY]", ROW, "subscript", ROW, "userName", ()),
        ("def run(a): return a.userName", OWNER, "attribute", OWNER, "userName", ()),
        ("def run(a): return int(a, 16)", "g", "call", int, "g", (16,)),
        ("def run(a): return int(a, base=16)", "g", "call", int, "g", (16,)),
        pytest.param(
            "from datetime import date\ndef run(a): return [date(a, m, 1) for m in (13,)]",
            1,
            "call",
            ABSENT,
            1,
            (13, 1),
            marks=pytest.mark.skipif(sys.version_info >= (3, 12), reason="an inlined comprehension's names are gone"),
        ),
        (
            "def outer(a):\n def run(): return float(a)\n return run\ndef run(a): return outer(a)()",
            "x",
            "call",
            float,
            "x",
            (),
        ),
    ],
)
def test_names_and_constants_are_read(
    app: Application, body: str, given: Any, kind: str, target: Any, argument: Any, rest: tuple[Any, ...]
) -> None:
    found = read(app, body, given)
    assert found is not None
    assert (found.kind, found.argument, found.rest) == (kind, argument, rest)
    assert found.target is target or target is ABSENT


def test_the_attribute_of_a_module_is_read(app: Application) -> None:
    found = read(app, "import json\ndef run(a): return json.loads(a)", "[1,]")
    assert found is not None
    assert found.target is __import__("json").loads


class Counting:
    """Says how often it was asked."""

    asked = 0

    @property
    def rows(self) -> list[int]:
        type(self).asked += 1
        return []


@pytest.mark.parametrize(
    ("expression", "given"),
    [
        ("a['amount']", {"amount": "x"}),
        ("a[1]", ["", "x"]),
        ("a[0]['amount']", ({"amount": "x"},)),
        ("a.strip()", " x "),
        ("a['amount'].strip()", {"amount": " x"}),
    ],
)
def test_items_of_built_in_containers_are_read(app: Application, expression: str, given: Any) -> None:
    found = read(app, f"def run(a): return float({expression})", given)
    assert found is not None
    assert (found.target, found.argument) == (float, "x")


class Key(str):
    """Could do anything when it is compared."""


class Text(str):
    """Could do anything when it is asked for."""


@pytest.mark.parametrize(
    ("expression", "given"),
    [
        ("a['amount']", {"amount": "x", Key("other"): 1}),
        ("a['amount']", UserDict(amount="x")),
        ("a['amount']", defaultdict(str, amount="x")),
        ("a.strip()", Text(" x ")),
        ("a.strip('y')", "x"),
        ("a['amount'].lower()", {"amount": "x"}),
    ],
)
def test_what_another_class_could_have_a_say_in_is_not_read(app: Application, expression: str, given: Any) -> None:
    assert read(app, f"def run(a): return float({expression})", given) is None


@pytest.mark.parametrize(
    ("body", "given"),
    [
        ("def run(a): return a.rows[3]", Counting()),
        ("def run(a): return float(a.rows)", Counting()),
        ("def run(a): return a.pop()['x']", [{}]),
        ("def run(a): return int(*a)", ["x"]),
        ("def run(a): return int('x', **a)", {"base": 16}),
        ("def run(a): return a['x' + 'y' + str(a)]", {}),
        ("def run(a): return b'\\xff'.decode()", None),
        ("def run(a): return 1 / a", 0),
    ],
)
def test_what_would_have_to_be_evaluated_again_is_not_read(app: Application, body: str, given: Any) -> None:
    Counting.asked = 0
    assert read(app, body, given) is None
    assert Counting.asked <= 1


def test_the_innermost_frame_of_a_recursion_is_read(app: Application) -> None:
    found = read(app, "def run(a): return run(a[1:]) if a[0] == 'x' else float(a)", "xxy")
    assert found is not None
    assert found.argument == "y"


def test_a_frame_that_did_not_fail_is_not_read(app: Application) -> None:
    error = failure(app.module("def run(a): return float(a)").run, "x")
    assert failure_at(location_of(error, app), read.__code__, error) is None
