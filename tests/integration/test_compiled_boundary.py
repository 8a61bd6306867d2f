"""A boundary inside its function and one in a wrapper: to the application, the same as the bare function."""

from __future__ import annotations

import asyncio
import functools
import gc
import importlib
import inspect
import pickle
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.bounded import EVENTFUL, FAILING, HEALED, bare, held_by, only_compiled, outcome
from tests.observe import facts, uninstall_for_good, wait_until

from healspan.instrumentation import error_boundary, pipeline
from healspan.remediation.boundary import boundaries
from healspan.remediation.cli.checks import run_checks
from healspan.remediation.incident import IncidentStatus
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
        for _ in range(2):
            assert outcome(function, "bad") == outcome(bare(function), "bad"), name
        with pipeline("p"):
            assert outcome(function, "bad") == outcome(bare(function), "bad"), name


CALLS: dict[str, Callable[[ModuleType, str], Any]] = {
    "amount": lambda app, text: app.amount(text),
    "later": lambda app, text: app.later(text),
    "read": lambda app, text: app.Reader().read(text),
    "made": lambda app, text: app.Reader.made(text),
    "fixed": lambda app, text: app.Reader.fixed(text),
    "through": lambda app, text: app.through(text),
    "recursive": lambda app, text: app.recursive(text, 3),
    "waits": lambda app, text: asyncio.run(app.waits(text)),
}


@pytest.mark.parametrize("name", CALLS)
def test_it_heals_and_the_second_time_nothing_leaves_the_function(
    live: Runtime,
    form: str,
    module: Callable[[str], ModuleType],
    name: str,
) -> None:
    app = module(HEALED)
    call = CALLS[name]
    assert call(app, "$1,234.50") == call(app, "1234.50")
    wait_until(live.repairs.installed, "the repair to be installed")
    assert call(app, "$2,000") == call(app, "2000")
    [one] = facts(live)
    assert one.resolution.status is IncidentStatus.HEALED
    assert live.repairs.verify_uninstalled() != []
    uninstall_for_good(live)
    assert live.repairs.verify_uninstalled() == []
    assert outcome(call, app, "word") == outcome(call, app, "word")


@only_compiled
def test_a_repaired_function_keeps_its_boundary_and_gets_its_code_back(
    live: Runtime,
    module: Callable[[str], ModuleType],
) -> None:
    app = module(HEALED)
    amount, code, bare_code = app.amount, app.amount.__code__, bare(app.amount).__code__
    assert amount.boundary.form == "compiled"
    amount("$1")
    wait_until(live.repairs.installed, "the repair to be installed")
    assert amount.__code__ is not code
    assert bare(amount).__code__ is not bare_code
    amount("$2")
    wait_until(lambda: live.index.snapshot.serving, "the fix to serve")
    assert outcome(amount, "word") == outcome(bare(amount), "word")
    assert len(facts(live)) == 2
    assert live.repairs.verify_uninstalled() == [f"{app.__name__}:amount"]
    kept = bare(amount).__code__
    bare(amount).__code__ = bare_code
    assert live.repairs.verify_uninstalled() == [f"{app.__name__}:amount"], "the function with the boundary counts too"
    bare(amount).__code__ = kept
    uninstall_for_good(live)
    assert (amount.__code__, bare(amount).__code__) == (code, bare_code)
    assert amount.__code__ is code
    assert bare(amount).__code__ is bare_code


def test_a_function_may_have_several_boundaries(live: Runtime, form: str, module: Callable[[str], ModuleType]) -> None:
    app = module("def plain(text):\n    return float(text)\n")
    one, other = (error_boundary(f"{app.__name__}{number}", retry_safe=True)(app.plain) for number in (1, 2))
    assert one.boundary.form == other.boundary.form == form
    for boundary in (one, other):
        assert boundary("$1") == 1.0
    wait_until(lambda: len(live.repairs.installed()) == 2, "the repairs to be installed")
    for boundary in (one, other):
        assert boundary("$2") == 2.0
    assert len(facts(live)) == 2
    codes = [one.__code__, other.__code__, app.plain.__code__]
    live.repairs.uninstall_all()
    if form == "compiled":
        assert all(now is not code for now, code in zip([one.__code__, other.__code__], codes, strict=False))
    assert app.plain.__code__ is not codes[2]
    assert app.plain("3") == one("3") == other("3") == 3.0


def test_code_put_there_by_another_tool_is_left_alone(live: Runtime, module: Callable[[str], ModuleType]) -> None:
    app = module(HEALED)
    app.amount("$1")
    wait_until(live.repairs.installed, "the repair to be installed")
    [active] = live.repairs.installed()
    foreign = app.amount.__code__.replace(co_name="foreign")
    app.amount.__code__ = foreign
    [report] = live.repairs.install([active])
    assert "something else replaced its code" in report.reason
    uninstall_for_good(live)
    assert app.amount.__code__ is foreign


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


def calls_of(function: Any) -> int:
    counter = held_by(function, "CallCounter")
    number: int = counter.calls()
    return number


def test_threads_lose_no_call(live: Runtime, form: str, module: Callable[[str], ModuleType]) -> None:
    app = module("@boundary('counted')\ndef counted(x):\n    return x if x else 1 / x\n")
    counted, interval = app.counted, sys.getswitchinterval()

    def work() -> None:
        for number in range(5_000):
            assert counted(number + 1) == number + 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert calls_of(counted) == 40_000
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            counted(0)
    assert calls_of(counted) == 40_003


def test_samples_stand_for_all_calls_and_know_their_context(
    live: Runtime,
    form: str,
    module: Callable[[str], ModuleType],
) -> None:
    app = module("@boundary('sampled', context=lambda a, b: {'kind': b})\ndef sampled(a, b):\n    return a\n")
    for number in range(256 + 64 * 50):
        app.sampled(number, "x" if number % 2 else "y")
    counter = held_by(app.sampled, "CallCounter")
    rows = counter.take()
    assert sum(row.calls for row in rows) == 256 + 64 * 50
    assert {row.context_keys["kind"] for row in rows} == {"x", "y"}
    assert all(row.ok_ms > 0 for row in rows)


def test_failing_calls_are_no_samples(live: Runtime, form: str, module: Callable[[str], ModuleType]) -> None:
    app = module("@boundary('fails')\ndef fails(x):\n    return 1 / x\n")
    for number in (1, 0, 2):
        outcome(app.fails, number)
    counter = held_by(app.fails, "CallCounter")
    assert len(counter.samples) == 2


def test_a_run_knows_its_boundaries(live: Runtime, form: str, module: Callable[[str], ModuleType]) -> None:
    app = module(HEALED)
    for _ in range(300):  # past the first calls, all of which are looked at
        app.amount("1")
    with pipeline("p") as run:
        app.amount("1")
        asyncio.run(run_in(run, app))
    assert list(run.boundaries) == [f"{app.__name__}amount", f"{app.__name__}waits"]


async def run_in(run: object, app: ModuleType) -> None:
    await app.waits("1")


def test_nothing_of_a_failed_call_is_kept(live: Runtime, form: str, module: Callable[[str], ModuleType]) -> None:
    app = module("class Value: pass\n@boundary('keeps')\ndef keeps(value):\n    return float(value)\n")

    def fail() -> weakref.ref[Any]:
        value = app.Value()
        try:
            app.keeps(value)
        except TypeError:
            return weakref.ref(value)
        raise AssertionError

    gc.collect()
    gc.disable()
    try:
        kept = [fail() for _ in range(5)]
        assert [each() for each in kept] == [None] * 5, "without any help of the garbage collector"
    finally:
        gc.enable()


def test_a_reloaded_module_has_boundaries_that_heal_and_the_old_ones_go(
    live: Runtime,
    form: str,
    module: Callable[[str], ModuleType],
) -> None:
    app = module(HEALED)
    old = weakref.ref(app.amount)
    app.amount("$1")
    uninstall_for_good(live)
    importlib.reload(app)
    gc.collect()
    assert old() is None
    assert app.amount.boundary.form == form
    assert app.amount("$7") == 7.0


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


@only_compiled
def test_at_the_recursion_limit_the_same_exception_leaves(
    live: Runtime,
    module: Callable[[str], ModuleType],
) -> None:
    app = module("@boundary('endless')\ndef endless(x):\n    return endless(x)\n")
    with pytest.raises(RecursionError, match="maximum recursion depth exceeded"):
        app.endless(1)
    assert app.endless.boundary.form == "compiled"


def test_cancelled_and_closed_coroutines_leave_nothing_behind(
    live: Runtime,
    form: str,
    module: Callable[[str], ModuleType],
) -> None:
    app = module(
        "import asyncio\n"
        "@boundary('slow')\n"
        "async def slow(seconds):\n"
        "    await asyncio.sleep(seconds)\n"
        "    return seconds\n"
    )

    async def main() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(app.slow(30), 0.01)
        assert await asyncio.gather(*(app.slow(0) for _ in range(40))) == [0] * 40

    asyncio.run(main())
    never = app.slow(1)
    never.close()
    assert inspect.iscoroutinefunction(app.slow)
    calls = held_by(app.slow, "RunningCalls")
    assert calls.leaving.look is None
    assert not calls._samples
    assert facts(live) == []


NESTED = """
@boundary('inner')
def inner(text):
    return float(text)

@boundary('outer', retry_safe=True)
def outer(text):
    return inner(text) * 2
"""


def test_a_repair_acts_below_an_outer_boundary_through_an_inner_one(
    live: Runtime,
    form: str,
    module: Callable[[str], ModuleType],
) -> None:
    app = module(NESTED)
    assert app.outer("$2") == 4.0
    wait_until(live.repairs.installed, "the repair to be installed")
    assert app.outer("$3") == 6.0
    statuses = [one.resolution.status for one in facts(live)]
    assert statuses == [IncidentStatus.ESCALATED, IncidentStatus.HEALED]
    with pytest.raises(ValueError, match="could not convert"):
        app.inner("$4")  # only below the outer one has it been shown to be right


def test_calls_of_all_threads_are_right_while_repairs_come_and_go(
    live: Runtime,
    form: str,
    module: Callable[[str], ModuleType],
) -> None:
    app = module(HEALED)
    app.amount("$1")
    wait_until(live.repairs.installed, "the repair to be installed")
    [active] = live.repairs.installed()
    stop = threading.Event()
    wrong: list[object] = []

    def work(number: int) -> None:
        while not stop.is_set():
            result = app.amount(str(number))
            if result != number:
                wrong.append(result)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(60):
        live.repairs.install_exactly([])
        live.repairs.install_exactly([active])
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert app.amount("$9") == 9.0
    uninstall_for_good(live)


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


def test_boundaries_made_anew_at_each_call_are_collected(live: Runtime) -> None:
    def make() -> weakref.ref[Any]:
        @error_boundary("made_anew", retry_safe=True)
        def local(text, depth):  # type: ignore[no-untyped-def]
            return local(text, depth - 1) if depth else float(text)

        @local.strategy("other")
        def other(text, depth):  # type: ignore[no-untyped-def]
            return local(text, 0)

        local("1", 2)
        return weakref.ref(local)

    made = [make() for _ in range(4)]
    boundaries().pop("made_anew")
    gc.collect()
    assert [each() for each in made] == [None] * 4


def test_a_run_that_has_checks_is_shown_what_every_boundary_returns(
    live: Runtime,
    form: str,
    module: Callable[[str], ModuleType],
) -> None:
    app = module(FAILING + HEALED)
    assert app.amount.boundary.form == form
    with pipeline("checked", checks=[lambda results: True]) as run:
        assert app.amount("1") == 1.0
        assert asyncio.run(run.bind(lambda: app.waits("2"))()) == 2.0
        shown = dict(run.results or {})
        for name in ("direct", "deep", "raises", "chained", "interrupted"):
            assert outcome(getattr(app, name), "bad") == outcome(bare(getattr(app, name)), "bad"), name
        assert app.through("$3") == 3.0
        wait_until(live.repairs.installed, "the repair to be installed")
        assert app.through("$4") == 4.0
        assert run.results is not None
        assert run.results[f"{app.__name__}through"] == 4.0
    assert shown[f"{app.__name__}amount"] == 1.0


def test_a_result_that_nobody_saw_is_not_held_against_good_calls(
    live: Runtime,
    form: str,
    module: Callable[[str], ModuleType],
) -> None:
    app = module(HEALED)
    for number in range(40):
        app.amount.golden(str(number))
    app.amount("$1")
    wait_until(live.repairs.installed, "the repair to be installed")
    with pipeline("p") as run:
        assert app.amount("$2") == 2.0
    assert [heal.outcome for heal in run.heals] == [IncidentStatus.HEALED]
