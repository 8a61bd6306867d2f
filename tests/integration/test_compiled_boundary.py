"""A boundary inside its function and one in a wrapper: which it is, and that it looks like the bare function."""

from __future__ import annotations

import functools
import inspect
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.bounded import EVENTFUL, FAILING, HEALED, bare, only_compiled, outcome
from tests.observe import facts, wait_until

from healspan.instrumentation import error_boundary, pipeline
from healspan.remediation.cli.checks import run_checks
from healspan.remediation.runtime import Runtime

NAMES = [
    "direct", "deep", "raises", "chained", "context", "in_finally", "in_with", "loop", "inner", "matched", "group",
    "starred", "assertion", "stop", "leaves", "interrupted",
]  # fmt: skip


def test_a_traceback_is_the_text_that_the_bare_function_gives(
    live: Runtime,
    form: str,
    module: Callable[[str], ModuleType],
) -> None:
    app = module(FAILING)
    for name in NAMES:
        function = getattr(app, name)
        assert function.boundary.form == form, function.boundary.form_reason
        for _ in range(20):  # in the end it is one of a storm
            assert outcome(function, "bad") == outcome(bare(function), "bad"), name
        with pipeline("p"):
            assert outcome(function, "bad") == outcome(bare(function), "bad"), name


SIGNED = """
class Outer:
    @boundary('method')
    def method(self, a, /, b: int, *rest, c=3, __hidden=[], **more):
        "Says what it does."
        return self, a, b, rest, c, __hidden, more

def cell(a):
    return lambda: a

@boundary('closed')
def closed(a, *rest, key=()):
    return (lambda: (a, rest, key))()
"""


def test_it_looks_like_its_function(live: Runtime, form: str, module: Callable[[str], ModuleType]) -> None:
    app = module(SIGNED)
    for function in (app.Outer.method, app.closed):
        assert function.boundary.form == form
        plain = bare(function)
        assert inspect.signature(function) == inspect.signature(plain)
        assert inspect.getsource(function) == inspect.getsource(plain)
        assert (function.__name__, function.__qualname__, function.__module__, function.__doc__) == (
            plain.__name__,
            plain.__qualname__,
            plain.__module__,
            plain.__doc__,
        )
        assert function.__annotations__ == plain.__annotations__
        assert pickle.loads(pickle.dumps(function)) is function
    outer = app.Outer()
    assert outer.method(1, 2, 3, c=4, d=5) == (outer, 1, 2, (3,), 4, [], {"d": 5})
    assert outer.method(1, 2)[5] is outer.method(1, 2)[5]
    assert outcome(outer.method) == outcome(functools.partial(bare(app.Outer.method), outer))
    assert app.closed(1, 2, key=3) == (1, (2,), 3)


def test_a_compiled_function_has_the_flags_variables_and_closure_of_the_bare_one(
    live: Runtime,
    module: Callable[[str], ModuleType],
) -> None:
    app = module(SIGNED + EVENTFUL + HEALED)
    for function in (app.Outer.method, app.closed, app.shapes, app.waiting, app.Reader.read):
        ours, plain = function.__code__, bare(function).__code__
        for name in ("co_flags", "co_varnames", "co_cellvars", "co_freevars", "co_argcount", "co_firstlineno"):
            assert getattr(ours, name) == getattr(plain, name)
        inner = [each for each in plain.co_consts if inspect.iscode(each)]
        assert [each for each in ours.co_consts if inspect.iscode(each)] == inner
        assert function.__globals__ is bare(function).__globals__


KEPT_OUTSIDE = {
    "it assigns to its parameter 'text'": "def f(text):\n    text = text.strip()\n    return text",
    "it assigns to its parameter 'rest'": "def f(*rest):\n    del rest",
    "it assigns to its parameter 'more'": "def f(**more):\n    for more in (1,): pass",
    "it assigns to its parameter 'key'": "def f(*, key=1):\n    with open(key) as key: pass",
    "it assigns to its parameter 'a'": "def f(a):\n    def g():\n        nonlocal a\n        a = 1\n    return g",
    "it assigns to its parameter 'b'": "def f(b):\n    return (b := 1)",
    "it assigns to its parameter 'c'": "def f(c):\n    try: pass\n    except Exception as c: pass",
    "it assigns to its parameter 'd'": "def f(d):\n    return [d for x in 'a' if (d := 1)]",
}


@pytest.mark.parametrize("reason", KEPT_OUTSIDE)
def test_where_it_is_not_safe_the_wrapper_stays(
    live: Runtime,
    module: Callable[[str], ModuleType],
    reason: str,
) -> None:
    app = module(f"@boundary('f')\n{KEPT_OUTSIDE[reason]}\n")
    assert (app.f.boundary.form, app.f.boundary.form_reason) == ("wrapper", reason)


STACKED = """
@boundary('upper', retry_safe=True)
@boundary('lower')
def stacked(text):
    return float(text)

class Base:
    def read(self, text):
        return float(text)

class Child(Base):
    __scale = 2

    @boundary('child', retry_safe=True, capture_locals=True, partial_output='got')
    def read(self, text):
        got = [text]
        return super().read(text) * self.__scale

@boundary('gives', fallback=[1])
def gives(*args, **more):
    raise RuntimeError
"""


@only_compiled
def test_boundaries_may_be_stacked(live: Runtime, module: Callable[[str], ModuleType]) -> None:
    stacked = module(STACKED).stacked
    assert (stacked.boundary.form, stacked.boundary.form_reason) == ("wrapper", "it has another boundary inside")
    assert stacked.__wrapped__.boundary.form == "compiled"
    assert stacked("$2") == 2.0
    wait_until(live.repairs.installed, "the repair to be installed")
    assert stacked("$3") == 3.0
    assert len(facts(live)) == 2, "one at each boundary, of the first failure"
    assert outcome(stacked, "word") == outcome(bare(stacked), "word")


def test_a_method_keeps_its_class_and_its_private_names(
    live: Runtime,
    form: str,
    module: Callable[[str], ModuleType],
) -> None:
    app = module(STACKED)
    assert app.Child.read.boundary.form == form
    assert app.Child().read("$2") == 4.0
    wait_until(live.repairs.installed, "the repair to be installed")
    assert app.Child().read("$3") == 6.0
    [one] = facts(live)
    assert one.incident.input_context.partial_output == ["$2"]
    assert app.gives(1, key=2) == [1]
    assert app.gives() is not app.gives(), "whoever gets it may write into it"


@only_compiled
def test_a_name_of_its_own_inside_is_no_reason(live: Runtime, module: Callable[[str], ModuleType]) -> None:
    app = module("@boundary('f')\ndef f(text):\n    return [text for text in text], (lambda text: text)(text)\n")
    assert app.f.boundary.form == "compiled"
    assert app.f("ab") == (["a", "b"], "ab")


def test_functions_made_again_and_again_lambdas_and_functions_without_source_keep_the_wrapper(live: Runtime) -> None:
    def local(x):  # type: ignore[no-untyped-def]
        return x

    namespace: dict[str, Any] = {"__name__": __name__}
    exec("def made(x): return x", namespace)
    for function, reason in (
        (local, "it is made anew"),
        (lambda x: x, "it is made anew"),
        (namespace["made"], "the source of"),
    ):
        wrapped = error_boundary(f"kept{id(function)}")(function)
        assert wrapped.boundary.form == "wrapper"
        assert reason in wrapped.boundary.form_reason
        assert wrapped(3) == 3


def test_a_source_that_changed_since_the_import_keeps_the_wrapper(
    live: Runtime,
    module: Callable[[str], ModuleType],
) -> None:
    app = module("def f(text):\n    return text\n")
    path = Path(app.__file__ or "")
    path.write_text(path.read_text().replace("return text", "return text * 2"))
    wrapped = error_boundary(f"{app.__name__}f")(app.f)
    assert wrapped.boundary.form == "wrapper"
    assert wrapped("a") == "a"


def test_whatever_goes_wrong_in_compiling_the_host_gets_a_boundary(
    live: Runtime,
    module: Callable[[str], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*arguments: object) -> None:
        raise MemoryError

    monkeypatch.setattr("healspan.instrumentation.form.enclosed", broken)
    app = module(HEALED)
    assert app.amount.boundary.form == "wrapper"
    assert app.amount("$1") == 1.0


def test_switched_off_it_only_calls(
    form: str,
    module: Callable[[str], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HEALSPAN_DISABLED", "1")
    app = module(HEALED)
    assert app.amount.boundary.form == form
    assert app.amount("1") == 1.0
    assert outcome(app.amount, "$1") == outcome(bare(app.amount), "$1")


def test_a_declaration_says_where_its_boundary_is(
    live: Runtime,
    form: str,
    module: Callable[[str], ModuleType],
) -> None:
    app = module(HEALED)
    [said] = [
        check.detail
        for check in run_checks(live.settings, {"amount": app.amount.boundary}, {})
        if check.name == "boundary" and check.status == "ok"
    ]
    if form == "compiled":
        assert said.endswith(": compiled into its function")
    else:
        assert said.endswith(": in a wrapper, because HEALSPAN_COMPILED_BOUNDARIES is off")


def test_a_generator_is_not_told_to_declare_what_it_may_not(live: Runtime) -> None:
    @error_boundary("told_numbers", retry_safe=True)
    def numbers(texts: list[str]) -> Iterator[float]:
        yield from map(float, texts)

    [said] = [
        check.detail
        for check in run_checks(live.settings, {"told_numbers": numbers.boundary}, {})
        if "declares no contract" in check.detail
    ]
    assert "output=" not in said
    assert "consumes this generator" in said
