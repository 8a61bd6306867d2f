"""A generator that has come as far as its first item, or its end: what an attempt to heal one has to show."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Generator, Iterable
from types import FunctionType
from typing import Any

from healspan.remediation.boundary import UNSET

__all__ = ["AsyncBegun", "Begun", "beginning", "begun_fallback"]


class Begun:
    """A generator, or anything else to iterate over, with its first item taken.

    Raises whatever taking it raises.
    """

    def __init__(self, iterable: Iterable[Any]) -> None:
        self.generator: Generator[Any, Any, Any] = iterable if inspect.isgenerator(iterable) else _each(iterable)
        self.first: tuple[Any, ...] = ()
        """Empty if there was none."""
        self.end: Any = None
        """What the generator returned, if there was no item."""
        try:
            self.first = (next(self.generator),)
        except StopIteration as stop:
            self.end = stop.value


class AsyncBegun:
    """Likewise an asynchronous generator; made by `of`."""

    def __init__(self, generator: AsyncGenerator[Any, Any], first: tuple[Any, ...]) -> None:
        self.generator = generator
        self.first = first

    @classmethod
    async def of(cls, iterable: AsyncIterable[Any] | Iterable[Any]) -> AsyncBegun:
        """Take the first item."""
        generator = iterable if inspect.isasyncgen(iterable) else _each_async(iterable)
        try:
            return cls(generator, (await anext(generator),))
        except StopAsyncIteration:
            return cls(generator, ())


def beginning(function: FunctionType) -> Callable[[Any], Any] | None:
    """Return what makes of a call's result something that has proven itself; None if the result is it."""
    if inspect.isasyncgenfunction(function):
        return AsyncBegun.of
    return Begun if inspect.isgeneratorfunction(function) else None


def begun_fallback(fallback: Any, begin: Callable[[Any], Any] | None) -> Any:
    """Return a fallback that has begun, where one is declared for a generator."""
    if begin is None or fallback is UNSET:
        return fallback
    return lambda: begin(fallback() if callable(fallback) else fallback)


def _each(iterable: Iterable[Any]) -> Generator[Any, Any, None]:
    yield from iterable


async def _each_async(iterable: AsyncIterable[Any] | Iterable[Any]) -> AsyncGenerator[Any, Any]:
    if isinstance(iterable, AsyncIterable):
        async for each in iterable:
            yield each
    else:
        for each in iterable:
            yield each
