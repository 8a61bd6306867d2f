"""A boundary inside its function and one in a wrapper: to the application, the same as the bare function."""

from __future__ import annotations

import asyncio
import functools
import gc
import importlib
import inspect
import itertools
import linecache
import pdb
import pickle
import re
import sys
import threading
import traceback
import weakref
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pytest
from tests.observe import facts, wait_until

from healspan.instrumentation import ContractViolation, error_boundary, pipeline
from healspan.remediation.incident import IncidentStatus
from healspan.remediation.runtime import Runtime

_numbers = itertools.count()
HEAD = "from healspan.instrumentation import error_boundary\n"


@pytest.fixture(params=["compiled", "wrapper"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Either form; the setting is read where a module is imported."""
    monkeypatch.setenv("HEALSPAN_COMPILED_BOUNDARIES", "1" if request.param == "compiled" else "0")
    return str(request.param)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Write and import a module; ``@boundary`` in its text is a boundary of a name of its own."""
    monkeypatch.syspath_prepend(tmp_path)
    made: list[str] = []

    def make(text: str) -> ModuleType:
        name = f"compiled_app_{next(_numbers)}"
        text = HEAD + text.replace("@boundary(", f"@error_boundary('{name}' + ")
        (tmp_path / f"{name}.py").write_text(text)
        importlib.invalidate_caches()
        made.append(name)
        return importlib.import_module(name)

    yield make
    for name in made:
        sys.modules.pop(name, None)
    linecache.clearcache()


def bare(function: Any) -> FunctionType:
    found: FunctionType = inspect.unwrap(function)
    return found


def outcome(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The value, or the text of the traceback below this frame."""
    try:
        return function(*args, **kwargs)
    except BaseException as error:
        notes = getattr(error, "__notes__", [])
        notes[:] = [note for note in notes if "healspan" not in note]
        below = error.__traceback__ and error.__traceback__.tb_next
        return "".join(traceback.format_exception(type(error), error, below))


FAILING = """
import contextlib

def helper(text):
    return float(text)

@boundary('direct')
def direct(text):
    return float(text)

@boundary('deep')
def deep(text):
    doubled = [helper(each) * 2 for each in (text, text)]
    return sum(doubled)

@boundary('raises')
def raises(text):
    raise ValueError(
        "no "
        + text)

@boundary('chained')
def chained(text):
    try:
        return {}[text]
    except KeyError as error:
        raise RuntimeError("chained") from error

@boundary('context')
def context(text):
    try:
        return {}[text]
    except KeyError:
        return helper(text)

@boundary('finally')
def in_finally(text):
    try:
        return 1
    finally:
        helper(text)

@boundary('with')
def in_with(text):
    with contextlib.suppress(KeyError), open(__file__) as file:
        if file.readline():
            return helper(text)

@boundary('loop')
def loop(text):
    for number in range(3):
        while number:
            number = [helper(text)]
    else:
        return None

@boundary('inner')
def inner(text):
    def within():
        return helper(text)
    return (lambda: within())()

@boundary('match')
def matched(text):
    match text.split():
        case [one]:
            return float(one) + (
                2 - len(one))
        case _:
            return None

@boundary('group')
def group(text):
    raise ExceptionGroup("several", [ValueError(text), KeyError(text)])

@boundary('starred')
def starred(text, *rest, key=3, **more):
    return helper(text), rest, key, more

@boundary('assertion')
def assertion(text):
    assert text == "never", f"it is {text}"

@boundary('stop')
def stop(text):
    return next(iter(()))

@boundary('leaves')
def leaves(text):
    raise SystemExit(text)

@boundary('interrupted')
def interrupted(text):
    raise KeyboardInterrupt
"""

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


HEALED = """
@boundary('amount', retry_safe=True)
def amount(text):
    return float(text)

@boundary('later', retry_safe=True)
def later(text, scale=2):
    if scale > 1:
        return [float(each) * scale for each in [text]][0]

class Reader:
    scale = 3

    @boundary('read', retry_safe=True)
    def read(self, text):
        return float(text) * self.scale

    @classmethod
    @boundary('made', retry_safe=True)
    def made(cls, text):
        return float(text) * cls.scale

    @staticmethod
    @boundary('fixed', retry_safe=True)
    def fixed(text, /, *, __private=4):
        return float(text) * __private

def helper(text):
    return float(text)

@boundary('through', retry_safe=True)
def through(text):
    return helper(text) + 0

@boundary('recursive', retry_safe=True)
def recursive(text, depth):
    return recursive(text, depth - 1) if depth else float(text)

@boundary('waits', retry_safe=True)
async def waits(text):
    import asyncio
    await asyncio.sleep(0)
    return float(text)
"""

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
    live.repairs.uninstall_all()
    assert live.repairs.verify_uninstalled() == []
    assert outcome(call, app, "word") == outcome(call, app, "word")


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
    live.repairs.uninstall_all()
    assert (amount.__code__, bare(amount).__code__) == (code, bare_code)
    assert amount.__code__ is code
    assert bare(amount).__code__ is bare_code


def test_code_put_there_by_another_tool_is_left_alone(live: Runtime, module: Callable[[str], ModuleType]) -> None:
    app = module(HEALED)
    app.amount("$1")
    wait_until(live.repairs.installed, "the repair to be installed")
    [active] = live.repairs.installed()
    foreign = app.amount.__code__.replace(co_name="foreign")
    app.amount.__code__ = foreign
    [report] = live.repairs.install([active])
    assert "something else replaced its code" in report.reason
    live.repairs.uninstall_all()
    assert app.amount.__code__ is foreign


EVENTFUL = """
import contextlib

@boundary('shapes')
def shapes(v, w=2):
    \"\"\"Many shapes.\"\"\"
    total = w
    if v > 3:
        for i in range(v):
            total += i if i else 0
        return total
    try:
        x = 10 / v
    except ZeroDivisionError:
        return (
            [1,
             2])
    with open(__file__) as g:
        if v == 2:
            return g.name
    if v == -1:
        return None
    if v == -2:
        raise ValueError(
            "x" +
            str(v))
    if v == -3:
        x = {}["k"]
    y = v
    while y < 0:
        y += 1
        if y == -7: break
    else:
        x = 3

@boundary('falls')
def falls(v):
    if v:
        with contextlib.suppress(ZeroDivisionError):
            v / (v - 1)

@boundary('one')
def one(v): return v

@boundary('nothing')
def nothing(v):
    pass

@boundary('documented')
def documented(v):
    "only this"

@boundary('multi')
def multi(v): return (
    v +
    1)

@boundary('tries')
def tries(v):
    try:
        if v == 3:
            return 1
        v[0]
    except TypeError:
        pass
    finally:
        str(v)
    for i in (1, 2):
        if v == i:
            break

@boundary('raising')
def raising(v):
    for each in (3, v):
        print(end=str(1 / each))
    del each

@boundary('generators')
def generators(v):
    return list(x for x in [lambda: v] if [y for y in range(v)])

@boundary('matches')
def matches(v):
    match v:
        case 1: return 1
        case 2: pass
        case [a, b]:
            return a

@boundary('waiting')
async def waiting(v):
    import asyncio
    for i in range(v):
        await asyncio.sleep(0)
    if v > 2:
        return (
            await waiting(v - 1))
"""

SHAPES = [
    "shapes", "falls", "one", "nothing", "documented", "multi", "tries", "raising", "generators", "matches", "waiting",
]  # fmt: skip
VALUES = [5, 0, 2, 1, 3, -1, -2, -3, -9, (1, 2)]


def events(function: Any, value: object) -> list[tuple[str, str, int | None]]:
    """What a debugger or a coverage tool is told of a call."""
    seen: list[tuple[str, str, int | None]] = []
    file = bare(function).__code__.co_filename

    def trace(frame: Any, event: str, argument: object) -> Any:
        if frame.f_code.co_filename == file:
            seen.append((event, frame.f_code.co_qualname, frame.f_lineno))
            return trace
        return None

    def run() -> None:
        result = function(value)
        if inspect.iscoroutine(result):
            asyncio.run(result)

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    except Exception:
        pass
    finally:
        sys.settrace(before)
    return seen


def without_the_handler(seen: list[tuple[str, str, int | None]], start: int) -> list[tuple[str, str, int | None]]:
    """Leave out the step to the ``def`` line that an exception makes before it leaves the function."""
    return [
        (event, name, None if event == "return" else line)
        for event, name, line in seen
        if event == "return" or line != start
    ]


VERIFIED = re.sub(r"(@boundary.*\n(?:async )?def .*?\)):", r"\1 -> object:", EVENTFUL)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("text", [EVENTFUL, VERIFIED], ids=["plain", "verified"])
def test_lines_are_reached_in_the_same_order(
    live: Runtime,
    module: Callable[[str], ModuleType],
    text: str,
    name: str,
) -> None:
    function = getattr(module(text), name)
    assert function.boundary.form == "compiled", function.boundary.form_reason
    assert function.boundary.has_contract is (text is VERIFIED)
    for value in VALUES:
        ours, plain = events(function, value), events(bare(function), value)
        assert all(line is not None for _, _, line in ours), "a debugger compares lines"
        if any(event == "exception" for event, _, _ in plain):
            start = bare(function).__code__.co_firstlineno + 1
            ours, plain = without_the_handler(ours, start), without_the_handler(plain, start)
        assert ours == plain, value


def test_coverage_sees_the_lines_of_the_bare_function(
    live: Runtime,
    module: Callable[[str], ModuleType],
) -> None:
    app = module(EVENTFUL)

    def reached(function: Any) -> set[int | None]:
        return {line for value in VALUES for event, _, line in events(function, value) if event == "line"}

    for name in SHAPES:
        function = getattr(app, name)
        start = bare(function).__code__.co_firstlineno + 1
        assert reached(function) - {start} == reached(bare(function)) - {start}


def test_a_debugger_steps_over_a_failing_call(live: Runtime, module: Callable[[str], ModuleType]) -> None:
    app = module(FAILING)
    said = StringIO()
    debugger = pdb.Pdb(
        stdin=StringIO("step\n" * 6 + "next\n" * 6 + "continue\n"), stdout=said, nosigint=True, readrc=False
    )
    debugger.use_rawinput = False
    with pytest.raises(ValueError, match="no x"):
        debugger.runcall(app.raises, "x")
    assert "TypeError" not in said.getvalue()
    assert "raise ValueError(" in said.getvalue()


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
    Path(app.__file__ or "").write_text(HEAD + "def f(text):\n    return text * 2\n")
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
    counter = next(each for each in function.__code__.co_consts if type(each).__name__ == "CallCounter")
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
    counter = next(each for each in app.sampled.__code__.co_consts if type(each).__name__ == "CallCounter")
    rows = counter.take()
    assert sum(row.calls for row in rows) == 256 + 64 * 50
    assert {row.context_keys["kind"] for row in rows} == {"x", "y"}
    assert all(row.ok_ms > 0 for row in rows)


def test_failing_calls_are_no_samples(live: Runtime, form: str, module: Callable[[str], ModuleType]) -> None:
    app = module("@boundary('fails')\ndef fails(x):\n    return 1 / x\n")
    for number in (1, 0, 2):
        outcome(app.fails, number)
    counter = next(each for each in app.fails.__code__.co_consts if type(each).__name__ == "CallCounter")
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
    live.repairs.uninstall_all()
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
    calls = next(each for each in app.slow.__code__.co_consts if type(each).__name__ == "RunningCalls")
    assert calls.leaving.look is None
    assert not calls._samples
    assert facts(live) == []


CONTRACTS = """
import asyncio

def positive(result, arguments):
    return result is not None and result >= arguments["least"]

@boundary('guarded', checks=[positive], context=lambda *a, **k: {})
def guarded(x, least=0):
    try:
        if x == 7:
            return None
        return x
    except Exception:
        return 1000
    finally:
        str(x)

@guarded.strategy('absolute')
def absolute(x, least=0):
    return abs(x) if x < -1 else x

@boundary('loose', checks=[positive])
def loose(x, least=0):
    for number in (x,):
        try:
            return x
        finally:
            if number < 0:
                break

@boundary('none', output=int)
def none(x):
    if x:
        return x

@boundary('watched', checks=[positive], mode='observe')
def watched(x, least=0):
    return x

@boundary('waits', checks=[positive])
async def waits(x, least=0):
    await asyncio.sleep(0)
    return x

@waits.strategy('absolute')
async def absolute_later(x, least=0):
    return abs(x)

@boundary('popped', retry_safe='snapshot')
def popped(rows):
    return float(rows.pop())
"""


def violated(app: ModuleType, name: str, *args: Any) -> str:
    with pytest.raises(ContractViolation) as caught:
        getattr(app, name)(*args)
    frames = traceback.extract_tb(caught.value.__traceback__)[1:]
    assert all("instrumentation" not in frame.filename for frame in frames)
    return str(caught.value)


def test_a_broken_contract_is_a_failure_that_no_handler_of_the_body_takes(
    live: Runtime,
    form: str,
    module: Callable[[str], ModuleType],
) -> None:
    app = module(CONTRACTS)
    for name in ("guarded", "loose", "none", "watched", "waits", "popped"):
        assert getattr(app, name).boundary.form == form, getattr(app, name).boundary.form_reason
    assert app.guarded(3) == 3
    assert app.guarded(-2) == 2, "the strategy's"
    assert "check positive" in violated(app, "guarded", -1)
    assert app.guarded(7) == 7, "likewise"
    assert app.guarded(-1, least=-1) == -1
    assert app.loose(1) == 1
    assert "check positive" in violated(app, "loose", -1), "the loop is left, and None returned"
    assert app.none(3) == 3
    assert "valid integer" in violated(app, "none", 0)
    assert app.watched(-1) == -1
    assert asyncio.run(app.waits(2)) == 2
    assert asyncio.run(app.waits(-2)) == 2
    found = [(one.incident.module.removeprefix(app.__name__), one.resolution.status) for one in facts(live)]
    assert found == [
        ("guarded", IncidentStatus.HEALED),
        ("guarded", IncidentStatus.ESCALATED),
        ("guarded", IncidentStatus.HEALED),
        ("loose", IncidentStatus.ESCALATED),
        ("none", IncidentStatus.ESCALATED),
        ("watched", IncidentStatus.OBSERVED),
        ("waits", IncidentStatus.HEALED),
    ]


def test_the_pattern_of_a_broken_contract_is_the_same_in_both_forms(
    live: Runtime,
    module: Callable[[str], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    patterns = []
    for setting in "01":
        monkeypatch.setenv("HEALSPAN_COMPILED_BOUNDARIES", setting)
        app = module(CONTRACTS)
        violated(app, "none", 0)
        incident = facts(live)[-1].incident
        trace = incident.stack_trace.replace(app.__name__, "app")
        patterns.append((incident.frames, trace, [part.why for part in incident.pattern.parts]))
    assert patterns[0] == patterns[1]


def test_arguments_are_copied_before_the_call(live: Runtime, form: str, module: Callable[[str], ModuleType]) -> None:
    app = module(CONTRACTS)
    assert app.popped(["1", "$2"]) == 2.0
    hook = next(each for each in app.popped.__code__.co_consts if type(each).__name__ == "BoundaryHook")
    assert app.popped(["3"]) == 3.0
    outcome(app.popped, [])
    assert not hook._snapshots
    assert not hook._kept
    assert not hook._values
