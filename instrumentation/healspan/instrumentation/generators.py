"""Generators as boundaries: healed until the first item was handed out, observed after that, and never changed.

Before its first item a generator has shown nothing to its consumer, so that another one may stand in. Later the
consumer has acted on what it got, and a failure goes on as it was: captured, and for a human to look at. What the
consumer throws in and the generator lets through is no failure of the generator.

A contract cannot be kept for items that are handed out one by one, so a generator boundary declares none; that of a
call which consumes it can.
"""

from __future__ import annotations

import inspect
import sys
import time
from collections.abc import AsyncGenerator, Generator
from types import FrameType
from typing import Any

from healspan.instrumentation.exceptions import drop_frame
from healspan.instrumentation.healing import heal, heal_async
from healspan.instrumentation.site import UNSEEN, Args, Kwargs, Site
from healspan.remediation.repair import RunningCalls
from healspan.remediation.run import open_runs

__all__ = ["AsyncItems", "Items", "is_generator_function"]

_clock = time.perf_counter
_frame = sys._getframe


def is_generator_function(function: object) -> bool:
    """Whether calls of a function give a generator, asynchronous or not."""
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


class _Items:
    """What the two kinds have in common.

    Args:
        site: of the boundary.
        calls: its calls that are under way.
        args: positional arguments of the call.
        kwargs: its keyword arguments.

    The wrapper's frame holds this; it is asked for where it is needed, so that the two are no cycle.
    """

    def __init__(self, site: Site, calls: RunningCalls, args: Args, kwargs: Kwargs) -> None:
        self._site, self._calls = site, calls
        self._args, self._kwargs = args, kwargs
        self._begun = self._over = False
        self._thrown: BaseException | None = None
        self._weight = 0
        for () in site.counter.ticks:
            break
        else:
            self._weight = site.counter.look()
        if open_runs.any:
            site.reach()
        self._snapshot = site.snapshot(args, kwargs)
        self._started = _clock()

    def ended(self) -> None:
        """Take in that the generator has come to its end, or was closed."""
        self._ended(_frame(1))

    def _ended(self, frame: FrameType) -> None:
        uses = self._calls.take(frame)
        if uses and not self._over:
            self._site.settle(uses, self._args, self._kwargs, result=(UNSEEN,))
        self._over = True

    def left(self, error: BaseException) -> None:
        """Take in what leaves the generator, and the frames of ours off its traceback."""
        frame = _frame(1)
        drop_frame(error, frame)
        if not isinstance(error, Exception) or error is self._thrown or self._over:
            self._ended(frame)
            return
        self._over = True
        uses = self._calls.take(frame)
        if uses:
            self._site.settle(uses, self._args, self._kwargs, result=None)
        if not self._site.passes_over(error):
            self._site.failure(error, self._args, self._kwargs, frame, observe=True)

    def _call(self) -> tuple[Args, Kwargs]:
        return self._args, self._kwargs

    def _good(self) -> None:
        """Take in that there is a first item, or an end without any."""
        if self._weight:
            self._site.sample(self._weight, self._args, self._kwargs, _clock() - self._started)

    def _failed_first(self, error: Exception, frame: FrameType) -> None:
        self._over = True  # whatever comes of it, it is taken in here
        drop_frame(error, frame)


class Items(_Items):
    """The items of a generator, for its wrapper to ``yield from``.

    Args:
        inner: the generator.
        site, calls, args, kwargs: as above.
    """

    def __init__(
        self,
        inner: Generator[Any, Any, Any],
        site: Site,
        calls: RunningCalls,
        args: Args,
        kwargs: Kwargs,
    ) -> None:
        super().__init__(site, calls, args, kwargs)
        self._inner = inner

    def __iter__(self) -> Items:
        return self

    def __next__(self) -> Any:
        if self._begun:
            return next(self._inner)
        self._begun = True
        try:
            item = next(self._inner)
        except StopIteration:
            self._good()
            raise
        except Exception as error:
            frame = _frame(1)
            self._failed_first(error, frame)
            healing = heal(self._site, error, self._call, frame, self._snapshot)
            if healing is None:
                raise
        else:
            self._good()
            return item
        begun, self._over = healing.value, False
        self._inner = begun.generator
        if begun.first:
            return begun.first[0]
        raise StopIteration(begun.end)

    def send(self, value: object) -> Any:
        """Hand a value in."""
        return self._inner.send(value)

    def throw(self, *raised: Any) -> Any:
        """Raise an exception where the generator waits."""
        self._thrown = next((each for each in raised if isinstance(each, BaseException)), None)
        return self._inner.throw(*raised)

    def close(self) -> None:
        """Let the generator end."""
        self._inner.close()


class AsyncItems(_Items):
    """Likewise those of an asynchronous generator, which no wrapper can ``yield from``."""

    def __init__(
        self,
        inner: AsyncGenerator[Any, Any],
        site: Site,
        calls: RunningCalls,
        args: Args,
        kwargs: Kwargs,
    ) -> None:
        super().__init__(site, calls, args, kwargs)
        self._inner = inner

    async def first(self) -> Any:
        """Return the first item."""
        self._begun, frame = True, _frame(1)
        try:
            item = await anext(self._inner)
        except StopAsyncIteration:
            self._good()
            raise
        except Exception as error:
            self._failed_first(error, frame)
            healing = await heal_async(self._site, error, self._call, frame, self._snapshot)
            if healing is None:
                raise
        else:
            self._good()
            return item
        begun, self._over = healing.value, False
        self._inner = begun.generator
        if begun.first:
            return begun.first[0]
        raise StopAsyncIteration

    async def send(self, value: object) -> Any:
        """Hand a value in, and return the next item."""
        return await self._inner.asend(value)

    async def throw(self, error: BaseException) -> Any:
        """Raise an exception where the generator waits, and return the next item."""
        self._thrown = error
        return await self._inner.athrow(error)

    async def close(self) -> None:
        """Let the generator end."""
        await self._inner.aclose()
