"""What healing may never do to its host: end it, change what its calls end with, or take its depth."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NoReturn

import pytest
from tests.bounded import held_by
from tests.observe import facts, wait_until

from healspan.instrumentation import ContractViolation, error_boundary, pipeline
from healspan.instrumentation.notes import incident_ids
from healspan.remediation.boundary import boundaries
from healspan.remediation.incident import IncidentStatus
from healspan.remediation.replay import replay_call
from healspan.remediation.run import Failed
from healspan.remediation.runtime import Runtime
from healspan.remediation.store.repository import Store


class Abort(BaseException):
    """An application's own way to end what it does."""


# What a call that is made again raises, beside what it has raised for its caller.

again: Callable[[], NoReturn]
made: list[str] = []


def _leave(kind: type[BaseException]) -> Callable[[], NoReturn]:
    def leave() -> NoReturn:
        raise kind

    return leave


def read(text: str) -> float:
    """Fail as such calls do; when it is made again, leave."""
    made.append(text)
    if len(made) > 1:
        again()
    return float(text)


@error_boundary("leaves", retry_safe=True)
def leaves(text: str) -> float:
    return read(text)


@error_boundary("leaves_later", retry_safe=True, mode="background")
def leaves_later(text: str) -> float:
    return read(text)


@error_boundary("leaves_async", retry_safe=True)
async def leaves_async(text: str) -> float:
    await asyncio.sleep(0)
    return read(text)


@error_boundary("leaves_async_later", retry_safe=True, mode="background")
async def leaves_async_later(text: str) -> float:
    await asyncio.sleep(0)
    return read(text)


@error_boundary("waits", retry_safe=True)
async def waits(text: str) -> float:
    made.append(text)
    await asyncio.sleep(60 if len(made) > 1 else 0)
    return float(text)


@error_boundary("leaves_when_repaired", retry_safe=True)
def leaves_when_repaired(text: str) -> float:
    amount = float(text)
    again()
    return amount


@error_boundary("leaves_items", retry_safe=True)
def leaves_items(text: str) -> Iterator[float]:
    yield read(text)


@pytest.fixture(autouse=True)
def _nothing_made() -> None:
    made.clear()


@pytest.fixture(params=[SystemExit, Abort, asyncio.CancelledError])
def leaving(request: pytest.FixtureRequest) -> None:
    global again
    again = _leave(request.param)


def _escalated(live: Runtime) -> bool:
    """Whether the one call has ended as it would have, and is in a human's hands with what was tried."""
    [one] = facts(live)
    return len(made) > 1 and one.resolution.status is IncidentStatus.ESCALATED


@pytest.mark.usefixtures("leaving")
class TestWhatACallMadeAgainRaisesNeverReachesTheHost:
    def test_of_a_function(self, live: Runtime) -> None:
        with pytest.raises(ValueError, match="could not convert"):
            leaves("$1")
        assert _escalated(live)

    def test_of_a_generator(self, live: Runtime) -> None:
        with pytest.raises(ValueError, match="could not convert"):
            next(leaves_items("$1"))
        assert _escalated(live)

    def test_of_a_coroutine_function(self, live: Runtime) -> None:
        async def main() -> None:
            with pytest.raises(ValueError, match="could not convert"):
                await leaves_async("$1")

        asyncio.run(main())
        assert _escalated(live)

    def test_behind_the_caller_s_back(self, live: Runtime) -> None:
        with pytest.raises(ValueError, match="could not convert"):
            leaves_later("$1")
        wait_until(lambda: len(made) > 1, "the call to be made again")
        wait_until(lambda: not live.later._keys, "the diagnosis to end")
        assert _escalated(live)

    def test_behind_the_caller_s_back_in_an_event_loop(self, live: Runtime) -> None:
        async def main() -> None:
            with pytest.raises(ValueError, match="could not convert"):
                await leaves_async_later("$1")
            while len(made) < 2 or live.later._keys:
                await asyncio.sleep(0.01)

        asyncio.run(asyncio.wait_for(main(), 60))
        assert _escalated(live)


def test_a_thread_that_is_no_main_one_gets_no_keyboard_interrupt_of_an_attempt(live: Runtime) -> None:
    global again
    again = _leave(KeyboardInterrupt)
    ended: list[type[BaseException]] = []

    def work() -> None:
        try:
            leaves("$1")
        except BaseException as error:
            ended.append(type(error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert ended == [ValueError]
    assert _escalated(live)


def test_a_fix_whose_attempt_leaves_does_not_serve(live: Runtime) -> None:
    global again
    again = _leave(SystemExit)
    with pytest.raises(ValueError, match="could not convert"):
        leaves_when_repaired("$1")
    assert not live.index.snapshot.serving
    [one] = facts(live)
    assert any("AttemptAborted" in each.reason for each in one.resolution.decisions)


def test_whoever_replays_an_incident_is_told_what_the_call_has_raised(live: Runtime) -> None:
    global again
    again = _leave(SystemExit)
    with pytest.raises(ValueError, match="could not convert"):
        leaves("$1")
    [one] = facts(live)
    with Store.open(live.settings) as store:
        replayed = replay_call(store, live.settings, one.incident, boundaries()["leaves"])
    assert (replayed.ended, replayed.error) == ("raised", "SystemExit: ")


def exits(result: object, arguments: object = None) -> bool:
    sys.exit(3)


@error_boundary("checked_by_an_exit", checks=[exits])
def checked() -> int:
    return 1


@error_boundary("told_by_an_exit", context=lambda text: exits(text))
def told(text: str) -> float:
    return float(text)


def test_nor_does_what_a_check_or_a_context_function_raises(live: Runtime) -> None:
    with pytest.raises(ContractViolation, match="check exits raised SystemExit"):
        checked()
    for number in range(200):  # some of them are sampled
        assert told(str(number)) == number
    with pytest.raises(ValueError, match="could not convert"):
        told("x")
    assert [one.resolution.status for one in facts(live)] == [IncidentStatus.ESCALATED] * 2


class Uncopied:
    def __deepcopy__(self, _: object) -> Uncopied:
        sys.exit(3)


@error_boundary("copied_by_an_exit", retry_safe="snapshot")
def copied(_: Uncopied) -> int:
    return 1


@pytest.mark.usefixtures("live")
def test_nor_does_what_a_copy_of_its_arguments_raises() -> None:
    assert copied(Uncopied()) == 1


class JobTimeout(Exception):
    """As the signal of a job queue raises it."""


def _time_out(number: int, frame: FrameType | None) -> None:
    raise JobTimeout


def takes_too_long(result: object, arguments: object) -> bool:
    signal.raise_signal(signal.SIGUSR1)
    return True


@error_boundary("checked_for_too_long", checks=[takes_too_long])
def checked_for_too_long() -> int:
    return 1


class TestWhatIsSentToTheHostReachesIt:
    def test_a_keyboard_interrupt(self, live: Runtime) -> None:
        global again
        again = _leave(KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            leaves("$1")

    def test_a_handler_of_a_signal_that_ends_the_process(self, live: Runtime) -> None:
        global again

        def told() -> NoReturn:
            signal.raise_signal(signal.SIGTERM)
            raise AssertionError

        again = told
        before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
        try:
            with pytest.raises(SystemExit) as exited:
                leaves("$1")
        finally:
            signal.signal(signal.SIGTERM, before)
        assert exited.value.code == 7

    def test_the_timeout_of_a_job_queue(self, live: Runtime) -> None:
        before = signal.signal(signal.SIGUSR1, _time_out)
        try:
            with pytest.raises(JobTimeout):
                checked_for_too_long()
        finally:
            signal.signal(signal.SIGUSR1, before)

    @pytest.mark.parametrize("asynchronous", [False, True])
    def test_the_timeout_of_a_job_queue_amid_an_attempt(self, live: Runtime, asynchronous: bool) -> None:
        global again

        def too_long() -> NoReturn:
            signal.raise_signal(signal.SIGUSR1)
            raise AssertionError

        again = too_long
        before = signal.signal(signal.SIGUSR1, _time_out)
        try:
            with pytest.raises(JobTimeout) as raised:
                asyncio.run(leaves_async("$1")) if asynchronous else leaves("$1")
        finally:
            signal.signal(signal.SIGUSR1, before)
        assert isinstance(raised.value.__context__, ValueError)
        assert not held_by(leaves_async if asynchronous else leaves, "BoundaryHook").interrupts, (
            "and it reaches it once"
        )

    def test_the_cancellation_of_its_task(self, live: Runtime) -> None:
        async def main() -> Any:
            task = asyncio.create_task(waits("$1"))
            while len(made) < 2:
                await asyncio.sleep(0.01)
            task.cancel()
            return (await asyncio.gather(task, return_exceptions=True))[0]

        assert isinstance(asyncio.run(asyncio.wait_for(main(), 60)), asyncio.CancelledError)

    def test_the_end_of_its_time(self, live: Runtime) -> None:
        async def main() -> None:
            async with asyncio.timeout(1):
                await waits("$1")

        with pytest.raises(TimeoutError):
            asyncio.run(main())


# How deep a recursion goes. Nothing says what it returns: else each call is looked at in any case.


def deep_bare(levels: int):
    return levels and 1 + deep_bare(levels - 1)


@error_boundary("host_deep")
def deep(levels: int):
    return levels and 1 + deep(levels - 1)


@error_boundary("host_deep_async")
async def deep_async(levels: int):
    return levels and 1 + await deep_async(levels - 1)


@error_boundary("host_deep_even")
def deep_even(levels: int):
    return levels and 1 + deep_odd(levels - 1)


@error_boundary("host_deep_odd")
def deep_odd(levels: int):
    return levels and 1 + deep_even(levels - 1)


@error_boundary("host_deep_blocks")
def deep_blocks(levels: int):
    with pipeline("inner", checks=[lambda results: results["host_deep_blocks"] == levels - 1] if levels else ()):
        return levels and 1 + deep_blocks(levels - 1)


def _levels() -> int:
    """As many as there are, but for those that healing takes at the end of each way; a wrapper takes two frames."""
    frames = 2 if deep.boundary.form == "wrapper" else 1
    return (sys.getrecursionlimit() - len(inspect.stack()) - 60) // frames


class TestARunWithChecksTakesNoDepth:
    def test_of_a_recursion(self, live: Runtime) -> None:
        levels = _levels()
        assert deep_bare(levels) == levels
        with pipeline("p", checks=[lambda results: results["host_deep"] == levels]):
            assert deep(levels) == levels

    def test_of_one_that_awaits(self, live: Runtime) -> None:
        async def main() -> None:
            levels = _levels() - 10
            with pipeline("p", checks=[lambda results: results["host_deep_async"] == levels]):
                assert await deep_async(levels) == levels

        asyncio.run(main())

    def test_of_boundaries_that_call_each_other(self, live: Runtime) -> None:
        levels = _levels()
        seen = {"host_deep_even": levels, "host_deep_odd": levels - 1}
        with pipeline("p", checks=[lambda results: dict(results) == seen]):
            assert deep_even(levels) == levels

    def test_and_each_block_in_one_has_its_own_results(self, live: Runtime) -> None:
        with pipeline("p", checks=[lambda results: results["host_deep_blocks"] == 5]):
            assert deep_blocks(5) == 5

    def test_and_what_outlives_it_is_seen(self, live: Runtime) -> None:
        tasks: list[asyncio.Task[int]] = []

        @error_boundary("begins")
        async def begins(levels: int):
            if levels:
                tasks.append(asyncio.create_task(begins(levels - 1)))
            return levels

        async def main() -> None:
            with pipeline("p", checks=[lambda results: results["begins"] == 0]):
                assert await begins(1) == 1
                assert await tasks[0] == 0

        asyncio.run(main())


@pytest.mark.slow
@pytest.mark.parametrize("in_a_run", [False, True])
def test_a_recursion_without_end_ends_as_it_would_have(live: Runtime, in_a_run: bool) -> None:
    def frames(function: Callable[[int], Any]) -> tuple[set[str], bool, BaseException | None]:
        block = pipeline("p", checks=[lambda results: True]) if in_a_run else contextlib.nullcontext()
        with pytest.raises(RecursionError) as caught, block:
            function(10**6)
        trace = caught.value.__traceback__
        found = [(one.f_code.co_name, line) for one, line in traceback.walk_tb(trace)]
        return {name for name, _ in found}, all(line for _, line in found), caught.value.__context__

    names, lines, context = frames(deep_bare)
    assert frames(deep) == ({name.replace("deep_bare", "deep") for name in names}, lines, context)


# Exceptions that refuse notes


class Refuses(Exception):
    def add_note(self, note: str) -> None:
        raise TypeError("no notes here")


class RefusesAttributes(Exception):
    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)


class HasNotes(Exception):
    __notes__ = ("of the class",)


class ReadsNotes(Exception):
    @property
    def __notes__(self) -> list[str]:
        return []


class ExitsWhenNoted(Exception):
    @property
    def __notes__(self) -> list[str]:
        sys.exit(3)


class Slotted(Exception):
    __slots__ = ("__notes__",)


class TupleNotes(Exception):
    def __init__(self) -> None:
        self.__notes__ = ("of the instance",)  # type: ignore[assignment]


@error_boundary("refuses")
def refuses(kind: type[Exception]) -> None:
    raise kind


REFUSING = [Refuses, RefusesAttributes, HasNotes, ReadsNotes, ExitsWhenNoted, Slotted, TupleNotes]


@pytest.mark.parametrize("kind", REFUSING)
def test_an_exception_that_refuses_notes_is_one_failure_all_the_same(live: Runtime, kind: type[Exception]) -> None:
    with pytest.raises(kind), pipeline("refusing") as run:
        refuses(kind)
    assert [type(event) for event in run.events()] == [Failed]
    assert len(facts(live)) == 1


def test_one_that_is_raised_for_ever_and_refuses_notes_collects_none(live: Runtime) -> None:
    one = TupleNotes()

    @error_boundary("refuses_for_ever")
    def broken() -> None:
        raise one

    for _ in range(20):
        with pytest.raises(TupleNotes), pipeline("refusing") as run:
            broken()
        assert len(run.events()) == 1
    assert one.__notes__ == ("of the instance",)
    assert set(vars(one)) == {"__notes__"}
    assert len(incident_ids(one)) <= 8
