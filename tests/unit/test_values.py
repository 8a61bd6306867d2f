"""Values become data without running any code of the application."""

from __future__ import annotations

import math
from collections import Counter, OrderedDict, namedtuple
from typing import Any

import pytest

from healspan.instrumentation.values import Limits, ValuePolicy, ValueReader, class_name, type_name
from healspan.remediation.scrubbing import Scrubber

Point = namedtuple("Point", "x y")


class Hostile:
    """Every way in raises."""

    def _refuse(self, *args: object) -> Any:
        raise AssertionError("code of the application was called")

    __repr__ = __str__ = __len__ = __iter__ = __eq__ = __hash__ = __bool__ = __format__ = _refuse
    __getattribute__ = _refuse
    __class__ = property(_refuse)


class HostileMeta(type):
    def __getattribute__(cls, name: str) -> Any:
        raise AssertionError("code of a metaclass was called")


class OfHostileMeta(metaclass=HostileMeta):
    pass


def hostile_subclass(base: type) -> Any:
    def refuse(self: Any, *args: object) -> Any:
        raise AssertionError("code of a subclass was called")

    names = (
        "__len__",
        "__iter__",
        "__repr__",
        "__str__",
        "__getitem__",
        "items",
        "keys",
        "__bool__",
        "__eq__",
        "__contains__",
    )
    return type(f"Hostile{base.__name__}", (base,), dict.fromkeys(names, refuse))


def read(value: object, name: str = "", **limits: int) -> Any:
    return ValueReader(Scrubber().session(), limits=Limits(**limits)).read(value, name)


@pytest.mark.parametrize("value", [1, -5, 1.5, True, None, "text", "", [1, "a"], {"a": {"b": [1]}}, [], {}])
def test_plain_json_data_stays_as_it_is(value: object) -> None:
    assert read(value) == value


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"secret bytes", "<bytes 12>"),
        (bytearray(3), "<bytearray 3>"),
        ((1, 2, 3), {"<tuple>": [1, 2, 3]}),
        ({5}, {"<set>": [5]}),
        (frozenset({5}), {"<frozenset>": [5]}),
        (math.nan, "<nan>"),
        (-math.inf, "<-inf>"),
        (2**63, "<int 64 bits>"),
        (1j, "<builtins.complex>"),
        (int, "<class builtins.int>"),
        (len, "<builtins.builtin_function_or_method>"),
        (Point(1, 2), f"<{__name__}.Point>"),
        (OrderedDict(a=1), "<collections.OrderedDict>"),
        (Counter("a"), "<collections.Counter>"),
        ({1: "a", None: "b", (1, 2): "c"}, {"1": "a", "None": "b", "<builtins.tuple>": "c"}),
        (4111111111111111, "[redacted:card]"),
        (1732320759123456789, 1732320759123456789),
    ],
)
def test_everything_else_is_a_bounded_word(value: object, shown: object) -> None:
    assert read(value) == shown


def test_a_huge_integer_is_not_written_out() -> None:
    assert read(1 << 10_000_000) == "<int 10000001 bits>"


@pytest.mark.parametrize("shape", ["bare", "list", "dict", "tuple", "secret"])
def test_no_code_of_an_object_is_called(shape: str) -> None:
    hostile = Hostile()
    shapes = {
        "bare": hostile,
        "list": [hostile],
        "dict": {"a": hostile},
        "tuple": (hostile, 1),
        "secret": {"key": hostile},
    }
    assert "unreadable" not in str(read(shapes[shape]))


@pytest.mark.parametrize("base", [str, int, float, list, tuple, dict, set, bytes])
def test_a_subclass_of_a_builtin_is_its_type_and_is_not_read(base: type) -> None:
    value = hostile_subclass(base)()
    assert read(value) == f"<{__name__}.Hostile{base.__name__}>"


def test_a_class_of_a_hostile_metaclass_has_a_name() -> None:
    assert type_name(OfHostileMeta()) == f"{__name__}.OfHostileMeta"


def test_an_object_that_lies_about_its_class_does_not_matter() -> None:
    class Liar:
        __class__ = str  # type: ignore[assignment]

    assert read(Liar()).endswith("Liar>")


def test_what_contains_itself_ends_at_the_depth() -> None:
    loop: list[Any] = [1]
    loop.append(loop)
    assert read(loop) == [1, [1, [1, "<list 2>"]]]


def test_width_is_bounded_and_says_how_much_is_missing() -> None:
    assert read(list(range(1_000_000)))[-2:] == [9, "<999990 more>"]
    assert read(dict.fromkeys(range(25)))["…"] == "<15 more>"


def test_a_long_text_is_cut_after_scrubbing() -> None:
    shown = read("a " * 50_000_000)
    assert len(shown) == 200
    assert shown.endswith("…")


def test_one_budget_holds_for_all_values_of_an_incident() -> None:
    reader = ValueReader(Scrubber().session(), limits=Limits(total=500))
    shown = [reader.read("word " * 30) for _ in range(100)]
    assert sum(len(str(value)) for value in shown if value != "<over budget>") < 800
    assert shown[-1] == "<over budget>"


def test_a_shared_container_counts_each_time_it_is_shown() -> None:
    shared = ["word word word word"] * 10
    reader = ValueReader(Scrubber().session(), limits=Limits(total=1_000))
    shown = [reader.read(shared) for _ in range(50)]
    assert shown[0] == shown[1] == shared
    assert shown[-1] == "<over budget>"


def test_a_secret_name_removes_a_value_of_any_type() -> None:
    assert read({"password": Hostile(), "n": 1}) == {"password": "[redacted:key]", "n": 1}
    assert read(Hostile(), "api_token") == "[redacted:key]"
    assert read([("authorization", "abc"), {"name": "DB_PASSWORD", "value": "x"}]) == [
        {"<tuple>": ["authorization", "[redacted:key]"]},
        {"name": "DB_PASSWORD", "value": "[redacted:key]"},
    ]


def test_texts_and_keys_are_scrubbed() -> None:
    assert read({"bob@x.org": "mail bob@x.org"}) == {"<email:1>": "mail <email:1>"}


def test_the_skeleton_policy_keeps_shapes_only() -> None:
    reader = ValueReader(Scrubber().session(), ValuePolicy.SKELETON)
    assert reader.read({"a": [1, 2.5, "text", None, True]}) == {
        "a": ["<int>", "<float>", "<str 4>", None, True],
    }


def test_a_value_that_changes_while_it_is_read_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = ValueReader(Scrubber().session())
    monkeypatch.setattr(ValueReader, "_read", lambda *_: (_ for _ in ()).throw(RuntimeError("changed size")))
    assert reader.read({"a": 1}) == "<unreadable>"


def test_lone_surrogates_can_be_stored() -> None:
    read(["\ud800", {"\udfff": 1}])[0].encode()


class _Named(str):
    __slots__ = ()

    def __str__(self) -> str:
        raise AssertionError("the application's own code was run")

    def __format__(self, spec: str) -> str:
        raise AssertionError("the application's own code was run")


def test_nor_of_the_name_of_a_class() -> None:
    odd = type("Odd", (), {"__qualname__": _Named("Odd")})
    assert class_name(odd) == f"{__name__}.Odd"
