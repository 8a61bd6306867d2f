"""What was sent to a thread or task, told from what its code has raised."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from types import FrameType
from typing import Any

import pytest

from healspan.remediation.interrupts import is_interrupt


def sent(module: str, name: str) -> type[BaseException]:
    return type(name, (BaseException,), {"__module__": module, "__qualname__": name})


class Hostile(type):
    """A metaclass that does not let its classes be told apart."""

    def __getattribute__(cls, name: str) -> Any:
        if name in {"__mro__", "__module__", "__qualname__"}:
            raise ZeroDivisionError
        return super().__getattribute__(name)


class Hidden(BaseException, metaclass=Hostile):
    pass


@pytest.mark.parametrize(
    "error",
    [
        KeyboardInterrupt(),
        GeneratorExit(),
        sent("greenlet", "GreenletExit")(),
        sent("gevent.timeout", "Timeout")(),
        type("Mine", (sent("gevent.timeout", "Timeout"),), {})(),
        sent("trio", "Cancelled")(),
        BaseExceptionGroup("tasks", [ValueError(), KeyboardInterrupt()]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_sent(error: BaseException) -> None:
    assert is_interrupt(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError(),
        SystemExit(),
        asyncio.CancelledError(),
        sent("app", "Timeout")(),
        Hidden(),
        BaseExceptionGroup("tasks", [ValueError(), SystemExit()]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_raised(error: BaseException) -> None:
    assert not is_interrupt(error)


def test_a_keyboard_interrupt_is_sent_to_the_main_thread_only() -> None:
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(is_interrupt(KeyboardInterrupt())))
    thread.start()
    thread.join()
    assert found == [False]


def test_a_cancellation_is_sent_where_somebody_has_asked_for_it() -> None:
    async def waits() -> bool:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError as error:
            return is_interrupt(error)
        return False

    async def raises() -> bool:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.cancel()
        try:
            await future
        except asyncio.CancelledError as error:
            return is_interrupt(error)
        return True

    async def main() -> tuple[bool, bool]:
        task = asyncio.create_task(waits())
        await asyncio.sleep(0)
        task.cancel()
        return await task, await raises()

    assert asyncio.run(main()) == (True, False)


class Endless(BaseExceptionGroup[BaseException]):
    """A group that says it is its own member."""

    @property
    def exceptions(self) -> Any:  # type: ignore[override]
        return (self,)


class Disguised(BaseException):
    """An exception that does not let anybody ask for its class."""

    @property
    def __class__(self) -> Any:
        raise SystemExit(8)

    @__class__.setter
    def __class__(self, value: object) -> None: ...


class Unreadable:
    """The name of a module that ends who reads it."""

    def __format__(self, _: str) -> str:
        raise SystemExit(7)


def deep(depth: int) -> BaseException:
    error: BaseException = SystemExit()
    for _ in range(depth):
        error = BaseExceptionGroup("deeper", [error])
    return error


def unreadable() -> BaseException:
    kind = sent("app", "Unreadable")
    kind.__module__ = Unreadable()  # type: ignore[assignment]
    return kind()


@pytest.mark.parametrize(
    "made",
    [lambda: Endless("tasks", [SystemExit()]), Disguised, unreadable, lambda: deep(5_000)],
    ids=["endless", "disguised", "unreadable", "deep"],
)
def test_asking_runs_nothing_of_the_exception(made: Any) -> None:
    assert not is_interrupt(made())


class JobTimeout(Exception):
    """As job queues send it."""


class Server:
    """Ends when it is told to."""

    def stop(self, number: int, frame: FrameType | None) -> None:
        self.end()

    def end(self) -> None:
        sys.exit(3)


def time_out(number: int, frame: FrameType | None) -> None:
    raise JobTimeout


def told(handler: Any) -> bool:
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        signal.raise_signal(signal.SIGUSR1)
    except (SystemExit, JobTimeout) as error:
        return is_interrupt(error)
    finally:
        signal.signal(signal.SIGUSR1, before)
    raise AssertionError


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs signals")
@pytest.mark.parametrize(
    "handler",
    [Server().stop, lambda *_: sys.exit(3), lambda number, frame: sys.exit(number), time_out],
    ids=["method", "any arguments", "function", "plain exception"],
)
def test_the_handler_of_a_signal_sends(handler: Any) -> None:
    assert told(handler)
