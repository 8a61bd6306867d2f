"""The first failure of a process in an event loop: its start is waited for, and the loop goes on."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from tests.observe import PATIENCE, wait_until

from healspan.instrumentation import error_boundary
from healspan.remediation import runtime as module
from healspan.remediation.runtime import Runtime, shut_down


@error_boundary("starting_amount", retry_safe=True)
async def amount(text: str) -> float:
    return float(text)


@error_boundary("starting_wait")
async def wait(until: asyncio.Event) -> None:
    await until.wait()


async def unhelped(text: str) -> str:
    try:
        return str(await amount(text))
    except ValueError:
        return "failed"


@pytest.fixture(autouse=True)
def nothing_starts(data_dir: object) -> None:
    """Begin when the last start of the test before has come to its end."""
    wait_until(lambda: not starting(), "the start to end")
    shut_down()


def starting() -> int:
    return sum(thread.name == "healspan-start" for thread in threading.enumerate())


@pytest.fixture
def slowly(nothing_starts: None, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """A start that goes on when the event loop says so."""
    go_on, start = threading.Event(), Runtime.start

    def started(self: Runtime) -> None:
        assert go_on.wait(PATIENCE), "the event loop stands still"
        start(self)

    monkeypatch.setattr(Runtime, "start", started)
    return go_on


def test_the_loop_goes_on_while_the_first_failures_wait(slowly: threading.Event) -> None:
    async def main() -> list[float]:
        calls = [asyncio.create_task(amount(f"${number},000")) for number in range(1, 4)]
        for _ in range(20):
            await asyncio.sleep(0)
        assert not any(call.done() for call in calls)
        slowly.set()
        return await asyncio.gather(*calls)

    assert asyncio.run(main()) == [1_000.0, 2_000.0, 3_000.0]


def test_a_call_that_is_cancelled_meanwhile_is_cancelled(slowly: threading.Event) -> None:
    async def main() -> None:
        call = asyncio.create_task(amount("$1,000"))
        for _ in range(20):
            await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        slowly.set()

    asyncio.run(main())


def test_what_is_cancelled_or_closed_itself_waits_for_no_start(slowly: threading.Event) -> None:
    async def main() -> None:
        cancelled = asyncio.create_task(wait(asyncio.Event()))
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert cancelled.cancelled()
        closed = wait(asyncio.Event())
        closed.send(None)
        closed.close()

    asyncio.run(main())
    assert module.starts_now()


def test_all_that_fail_meanwhile_wait_for_one_thread(slowly: threading.Event) -> None:
    async def main() -> list[float]:
        calls = [asyncio.create_task(amount(f"${number},000")) for number in range(1, 31)]
        for _ in range(5):
            await asyncio.sleep(0)
        calls[0].cancel()
        await asyncio.sleep(0)
        assert starting() == 1
        assert not any(call.done() for call in calls[1:]), "one that is cancelled wakes none of the others"
        slowly.set()
        return await asyncio.gather(*calls[1:])

    assert asyncio.run(main()) == [1_000.0 * number for number in range(2, 31)]


def test_a_start_that_fails_is_tried_once_and_the_failure_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[Any] = []

    def broken(self: Runtime) -> None:
        tried.append(self)
        raise OSError("no room")

    monkeypatch.setattr(Runtime, "start", broken)
    assert [asyncio.run(unhelped("$1,000")) for _ in range(3)] == ["failed"] * 3
    assert len(tried) == 1
    assert not module.starts_now()


def test_where_no_thread_can_be_had_it_starts_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def refused(self: threading.Thread) -> None:
        if self.name == "healspan-start":
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", refused)
    assert asyncio.run(unhelped("$1,000")) == "1000.0"
