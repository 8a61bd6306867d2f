"""Which expression a failing instruction belongs to, and which expressions are declined."""

from __future__ import annotations

from unittest import mock

import pytest
from repair_application import Application, failure, location_of
from tests.stack import at_each_depth

from healspan.remediation.errors import RepairDeclined
from healspan.remediation.repair import function_hash, source_hash
from healspan.remediation.repair.source import FunctionSource


def test_a_call_is_found_with_lines_counted_from_the_decorator(app: Application) -> None:
    module = app.module(
        """
import functools

@functools.lru_cache
def read(text):
    "Read it."
    return [1.0, float(text)]
"""
    )
    location = location_of(failure(module.read, "x"), app)
    assert (location.kind, location.expression, location.span) == ("call", "float(text)", (3, 3, 17, 28))
    assert (location.module, location.qualname) == (module.__name__, "read")


def test_columns_are_bytes_of_utf_8(app: Application) -> None:
    module = app.module('def read(row):\n    return "é€", row["größe"]\n')
    location = location_of(failure(module.read, {}), app)
    assert (location.kind, location.expression) == ("subscript", 'row["größe"]')
    assert location.span == (1, 1, 20, 34)


def test_a_function_is_parsed_once_for_all_who_look(app: Application) -> None:
    error = failure(app.module("def read(row):\n    return row['x']\n").read, {})
    with mock.patch.object(FunctionSource, "tree", autospec=True, side_effect=FunctionSource.tree) as parsed:
        found = location_of(error, app)
        times = parsed.call_count
        assert times > 0
        assert location_of(error, app) == found
        assert parsed.call_count == times


def test_a_chain_over_several_lines_is_found(app: Application) -> None:
    module = app.module(
        """
class Reader:
    def parse(self, text):
        return self
    def number(self, text):
        raise ValueError(text)

def read(text):
    return (
        Reader()
        .parse(text)
        .number(
            text,
        )
    )
"""
    )
    location = location_of(failure(module.read, "x"), app, frame=0)
    assert location.expression.startswith("Reader()")
    assert location.expression.endswith(")")
    assert location.span == (2, 6, 8, 9)


def test_a_chain_that_ends_further_left_than_its_last_name_is_found(app: Application) -> None:
    module = app.module(
        "def read(text):\n    return (text\n        .strip()\n        .rjust(\n  text))\n",
    )
    location = location_of(failure(module.read, "x"), app)
    assert location.span == (1, 4, 12, 7)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("cell = {}; cell[text] += 1", id="augmented assignment"),
        pytest.param("del {}[text]", id="deletion"),
        pytest.param("a, b = [text]", id="unpacking"),
        pytest.param("for _ in float: pass", id="for"),
        pytest.param("with float: pass", id="with"),
        pytest.param("raise ValueError", id="raise"),
        pytest.param("return eval(text)", id="eval"),
        pytest.param("return vars(text)", id="vars"),
        pytest.param("return super(text)", id="super"),
        pytest.param("return float(cut := text)", id="assignment expression"),
        pytest.param("return min()", id="no operand"),
        pytest.param("return 1 / 0", id="constants"),
        pytest.param("return 1 < text < 2", id="chain of comparisons"),
        pytest.param("return '%d' % (text,)", id="formatting in pieces"),
        pytest.param("text.missing += 1", id="augmented assignment to an attribute"),
        pytest.param("text.missing = 1", id="assignment to an attribute"),
        pytest.param("del text.missing", id="deletion of an attribute"),
        pytest.param("match text:\n        case text.missing: pass", id="pattern"),
    ],
)
def test_what_must_not_be_guarded_is_declined(app: Application, body: str) -> None:
    module = app.module(f"def read(text):\n    {body}\n")
    with pytest.raises(RepairDeclined):
        location_of(failure(module.read, "x"), app)


@pytest.mark.parametrize(
    ("body", "kind", "expression"),
    [
        ("return text + 1", "operator", "text + 1"),
        ("return -text", "operator", "-text"),
        ("return 1 < text", "operator", "1 < text"),
        ("return 1 not in text", "operator", "1 not in text"),
        ("return text % 1", "operator", "text % 1"),
        ("return text.missing", "attribute", "text.missing"),
        ("return text.missing(text)", "attribute", "text.missing"),
        ("return [each.missing for each in text]", "attribute", "each.missing"),
        ("return (text\n        .strip()\n        .missing\n        .more(1))", "attribute", None),
        ("return text[text:]", "subscript", "text[text:]"),
        ("return {}[text:, 1]", "subscript", "{}[text:, 1]"),
        ("return (lambda each: float(each))(text)", "call", "float(each)"),
        ("def inner(): return float(text)\n    return inner()", "call", "float(text)"),
        ("class Local:\n        n = float(text)\n    return Local", "call", "float(text)"),
        ("def inner(n=float(text)): pass", "call", "float(text)"),
    ],
)
def test_every_other_form_is_found_wherever_it_stands_in_the_function(
    app: Application, body: str, kind: str, expression: str | None
) -> None:
    module = app.module(f"def read(text):\n    {body}\n")
    location = location_of(failure(module.read, "x"), app)
    assert (location.qualname, location.kind) == ("read", kind)
    assert expression in (None, location.expression)


def test_a_lambda_with_a_name_of_its_own_is_found_among_others(app: Application) -> None:
    module = app.module(
        "one = lambda text: float(text)\ntwo = lambda text: int(text)\nclass C: three = lambda s, t: t[0]\n"
    )
    found = [
        location_of(failure(*call), app) for call in ((module.one, "x"), (module.two, "x"), (module.C().three, ""))
    ]
    assert [(each.qualname, each.expression) for each in found] == [
        ("<lambda>", "float(text)"),
        ("<lambda>", "int(text)"),
        ("C.<lambda>", "t[0]"),
    ]


def test_await_and_yield_inside_the_expression_are_declined(app: Application) -> None:
    module = app.module("async def text():\n    return 'x'\n\nasync def read():\n    return float(await text())\n")
    with pytest.raises(RepairDeclined, match="await"):
        location_of(failure(lambda: module.read().send(None)), app)


def test_a_source_that_changed_on_disk_is_stale(app: Application) -> None:
    module = app.module("def read(text):\n    return float(text)\n")
    error = failure(module.read, "x")
    (app.directory / f"{module.__name__}.py").write_text("def read(text):\n    return  float(text)\n")
    with pytest.raises(RepairDeclined, match="is not what runs"):
        location_of(error, app)


def test_a_function_whose_code_something_rewrote_is_stale(app: Application) -> None:
    module = app.module("def read(text):\n    return float(text)\n")
    module.read.__code__ = module.read.__code__.replace(co_consts=(None, 1))
    with pytest.raises(RepairDeclined, match="is not what runs"):
        location_of(failure(module.read, "x"), app)


def test_a_warm_function_is_still_its_source(app: Application) -> None:
    module = app.module("def read(text):\n    return float(text) + 1.0\n")
    for _ in range(100):
        module.read("1")
    assert location_of(failure(module.read, "x"), app).expression == "float(text)"


def test_positions_survive_future_imports_imported_names_and_odd_layout(app: Application) -> None:
    module = app.module(
        '''from __future__ import annotations
import math, os.path as paths
from json import (
    loads,
    dumps as write,
)
if True:
    class Outer(list):
        """Text that
    looks = like(code)
"""
        class Inner:
            @staticmethod
            def read(text: Unknown) -> Unknown:
                """Unindented

def text(): ...
"""
                __private = math.floor(1.5), paths.join("a"), write.__call__(1), loads("1")
                return __private and float(text)  # mangled
'''
    )
    location = location_of(failure(module.Outer.Inner.read, "x"), app)
    assert (location.qualname, location.expression) == ("Outer.Inner.read", "float(text)")


def test_getter_and_setter_of_a_property_are_told_apart(app: Application) -> None:
    module = app.module(
        """
class Cell:
    text = "x"

    @property
    def value(self):
        return float(self.text)

    @value.setter
    def value(self, text):
        self.text = str(int(text))
"""
    )
    getter = location_of(failure(lambda: module.Cell().value), app)
    setter = location_of(failure(lambda: setattr(module.Cell(), "value", "x")), app)
    assert getter.expression == "float(self.text)"
    assert setter.expression == "int(text)"
    assert getter.source_hash != setter.source_hash


def test_a_function_hidden_by_its_decorator_is_declined(app: Application) -> None:
    module = app.module(
        """
def hide(function):
    return lambda text: function(text)

@hide
def read(text):
    return float(text)
"""
    )
    with pytest.raises(RepairDeclined, match="0 functions"):
        location_of(failure(module.read, "x"), app)


def test_the_hash_covers_the_decorators_and_nothing_outside(app: Application) -> None:
    text = "import functools\n{above}\n@functools.{decorator}\ndef read(text):\n    return float(text)\n"
    one = app.module(text.format(above="", decorator="cache"))
    moved = app.module(text.format(above="x = 1\n\n", decorator="cache"))
    other = app.module(text.format(above="", decorator="lru_cache"))
    assert source_hash(one.read.__wrapped__) == source_hash(moved.read.__wrapped__)
    assert source_hash(one.read.__wrapped__) != source_hash(other.read.__wrapped__)
    target, digest = function_hash(one.read)
    assert target == f"{one.__name__}:read"
    assert digest == source_hash(one.read.__wrapped__)


def test_the_hash_is_that_of_the_source_though_first_asked_for_at_the_end_of_the_stack(app: Application) -> None:
    text = f"def read(text):\n    return {'-' * 90}float(text)\n"
    read, same = app.module(text).read, app.module(text).read
    hashes: list[str] = []
    at_each_depth(lambda: hashes.append(source_hash(read)))
    assert hashes[0] != hashes[-1], "there was no room to compile it"
    assert hashes[-1] == source_hash(read) == source_hash(same)


def test_code_without_source_has_a_hash_of_its_own() -> None:
    made: list[dict[str, object]] = [{}, {}, {}]
    for scope, text in zip(made, ("return 1", "return 1", "return 2"), strict=True):
        exec(f"def made(): {text}", scope)
    one, same, other = (function_hash(scope["made"])[1] for scope in made)
    assert one == same
    assert one != other
