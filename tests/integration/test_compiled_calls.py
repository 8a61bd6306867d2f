"""Calls of a boundary, in either of its forms: counted, sampled, seen by their run, and let go."""

from __future__ import annotations

import asyncio
import gc
import inspect
import sys
import threading
import weakref
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from tests.bounded import FAILING, HEALED, bare, held_by, only_compiled, outcome
from tests.observe import facts, wait_until

from healspan.instrumentation import error_boundary, pipeline
from healspan.remediation.boundary import boundaries
from healspan.remediation.runtime import Runtime


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
