"""From tracebacks to frames."""

from __future__ import annotations

import contextlib
import functools
import json
import sys
import types
from collections.abc import Callable
from types import TracebackType

import pytest

from healspan.instrumentation import frames
from healspan.instrumentation.frames import MAX_FRAMES, CapturedFrame, FrameReader, InApp, frame_path
from healspan.instrumentation.values import ValueReader
from healspan.remediation.fingerprint import source_key
from healspan.remediation.scrubbing import Scrubber

HERE = InApp.of(f"{__name__}:x")


def traceback_of(call: Callable[[], object]) -> TracebackType | None:
    try:
        call()
    except BaseException:
        traceback = sys.exc_info()[2]
        return traceback.tb_next if traceback else None
    raise AssertionError("the call did not fail")


def frames_of(call: Callable[[], object], in_app: InApp = HERE, *, values: bool = False) -> tuple[CapturedFrame, ...]:
    scrubber = Scrubber()
    reader = ValueReader(scrubber.session()) if values else None
    return FrameReader(scrubber).read(traceback_of(call), in_app, reader)


class Parser:
    def total(self, rows: list[dict[str, str]]) -> float:
        return sum(float(row["värde"]) + 0 for row in rows)


def outer(rows: list[dict[str, str]], password: str = "hunter2") -> float:
    label = "Net sales"
    return Parser().total(rows) if label else 0.0


def recurse(n: int) -> int:
    return 1 + recurse(n + 1)


def multiline(row: dict[str, int]) -> int:
    return (
        row["a"]
        + row[
            "missing"
        ]
    )  # fmt: skip


def test_frames_run_from_the_boundary_down_with_qualified_names() -> None:
    frames = frames_of(lambda: outer([{"x": "1"}]))
    assert [frame.record.function for frame in frames][1:] == [
        "outer",
        "Parser.total",
        "Parser.total.<locals>.<genexpr>",
    ]
    assert {frame.record.module for frame in frames} == {__name__}


def test_the_failing_expression_is_exact_in_bytes() -> None:
    innermost = frames_of(lambda: outer([{"x": "1"}]))[-1]
    expression = innermost.record.expression
    assert expression is not None
    assert expression.text == 'row["värde"]'
    line = innermost.record.source_line
    assert expression.end_column - expression.column == len('row["värde"]'.encode())
    assert 'row["värde"]' in line
    assert innermost.positions == (expression.line, expression.end_line, expression.column, expression.end_column)
    assert innermost.code.co_qualname == innermost.record.function


def test_an_expression_may_span_lines() -> None:
    expression = frames_of(lambda: multiline({"a": 1}))[-1].record.expression
    assert expression is not None
    assert expression.end_line == expression.line + 2
    assert "missing" in expression.text


def test_code_compiled_without_columns_has_no_expression() -> None:
    code = compile("def f():\n    return {}['a']\n", "nowhere.py", "exec")
    namespace: dict[str, object] = {"__name__": __name__}
    exec(code, namespace)
    function = namespace["f"]
    assert isinstance(function, types.FunctionType)
    bare = function.__code__.replace(co_linetable=b"")
    function.__code__ = bare
    frame = frames_of(function)[-1]
    assert frame.positions is None
    assert frame.record.expression is None
    assert frame.record.source_line == ""


def test_a_recursion_of_thousands_keeps_both_ends() -> None:
    frames = frames_of(lambda: outer_of(recurse))
    assert len(frames) == MAX_FRAMES
    assert frames[1].record.function == "outer_of"
    assert frames[-1].record.function == "recurse"


def outer_of(function: Callable[[int], int]) -> int:
    return function(0)


def test_frames_of_healspan_itself_are_left_out() -> None:
    namespace: dict[str, object] = {"__name__": "healspan.instrumentation.site"}
    exec("def wrapper(f):\n    return f()", namespace)
    frames = frames_of(functools.partial(namespace["wrapper"], lambda: outer([{}])))  # type: ignore[arg-type]
    assert "wrapper" not in [frame.record.function for frame in frames]
    assert frames[-2].record.function == "Parser.total"


def test_the_standard_library_is_not_in_app_and_the_boundary_s_package_is() -> None:
    frames = frames_of(lambda: json.loads("{"))
    assert frames[0].record.in_app
    assert not any(frame.record.in_app for frame in frames[1:])


@pytest.mark.parametrize(
    ("module", "file", "names", "expected"),
    [
        ("shop.cart", "/srv/shop/cart.py", (), True),
        ("shop", "/srv/shop/__init__.py", (), True),
        ("shopping", "/srv/shopping.py", (), False),
        ("shop.cart", "/venv/lib/python3.11/site-packages/shop/cart.py", (), False),
        ("shop.cart", "/venv/lib/python3.11/site-packages/shop/cart.py", ("shop",), True),
        ("lib.deep.x", "/srv/lib/deep/x.py", ("lib.deep",), True),
        ("lib.deeper", "/srv/lib/deeper.py", ("lib.deep",), False),
        ("shop.x", json.__file__, (), False),
        ("shop", "<frozen importlib._bootstrap>", (), False),
    ],
)
def test_what_is_in_app(module: str, file: str, names: tuple[str, ...], expected: bool) -> None:
    assert InApp.of("shop.cart:Cart.total", names).holds(module, file) is expected


def test_locals_are_read_only_when_asked_and_scrubbed() -> None:
    assert frames_of(lambda: outer([{}]))[1].record.variables is None
    variables = frames_of(lambda: outer([{}]), values=True)[1].record.variables
    assert variables == {"rows": [{}], "password": "[redacted:key]", "label": "Net sales"}


def test_the_failing_expression_s_variables_come_first() -> None:
    def crowded() -> object:
        a = b = c = d = e = f = g = h = i = j = k = m = n = 1  # noqa: F841 - more than are captured
        zulu: dict[str, int] = {}
        return zulu["missing"]

    variables = frames_of(crowded, values=True)[-1].record.variables
    assert variables is not None
    assert len(variables) == 12
    assert next(iter(variables)) == "zulu"


def test_a_class_body_s_namespace_is_left_alone() -> None:
    class Namespace(dict[str, object]):
        def items(self) -> object:  # type: ignore[override]
            raise AssertionError("read")

    class Meta(type):
        @classmethod
        def __prepare__(cls, name: str, bases: tuple[type, ...], /, **kwds: object) -> Namespace:
            return Namespace()

    def build() -> object:
        class Broken(metaclass=Meta):
            x = {}["a"]  # type: ignore[var-annotated]

        return Broken

    assert frames_of(build, values=True)[-1].record.variables is None


def test_a_source_line_keeps_code_and_loses_literal_secrets() -> None:
    def connect() -> None:
        login(password="hunter2")

    def login(password: str) -> None:
        raise ValueError

    frames = frames_of(connect)
    line = frames[0].record.source_line
    assert "hunter2" not in line
    assert "login(password=" in line
    assert "hunter2" not in str(frame_path(frames))


def test_the_path_ends_at_the_innermost_in_app_frame() -> None:
    def load() -> object:
        return json.loads("{")

    frames = frames_of(load)
    assert frame_path(frames) == ((__name__, load.__qualname__, source_key('return json.loads("{")')),)


def test_globals_with_a_strange_name_do_no_harm() -> None:
    namespace: dict[str, object] = {"__name__": 5}
    exec("def f():\n    raise ValueError", namespace)
    assert frames_of(namespace["f"])[0].record.module == "unknown"  # type: ignore[arg-type]


def test_a_site_seen_before_is_not_looked_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = FrameReader(Scrubber())

    def fail() -> object:
        return outer([{}])

    first = reader.read(traceback_of(fail), HERE)
    monkeypatch.setattr(FrameReader, "_look_up", None)
    assert reader.read(traceback_of(fail), HERE) == first


def test_one_object_that_is_raised_for_ever_is_read_no_deeper_than_a_stack_can_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked_at: list[object] = []
    monkeypatch.setattr(frames, "is_own", lambda _: looked_at.append(1))
    one = ValueError("again")

    def fail() -> None:
        raise one

    for _ in range(3 * sys.getrecursionlimit()):
        with contextlib.suppress(ValueError):
            fail()
    assert len(FrameReader(Scrubber()).read(one.__traceback__, HERE)) == MAX_FRAMES
    assert len(looked_at) == sys.getrecursionlimit()
