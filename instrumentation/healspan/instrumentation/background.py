"""Mode `background`: the call fails as it would have, and a fix is looked for when its caller has gone.

The diagnosis works on copies of the arguments, in a run of its own: nothing that it does reaches the caller or the
pipeline. It runs in a thread of the runtime, and in another one what waits for an answer; that of a coroutine function
as a task of the same event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import functools
import inspect
import logging
import sys
from collections.abc import Callable, Generator, Iterator
from contextvars import ContextVar, copy_context
from typing import Any

from healspan.instrumentation.contract import Arguments
from healspan.instrumentation.failure import Failure
from healspan.remediation.boundary import Invocation
from healspan.remediation.driver import drive, drive_async
from healspan.remediation.interrupts import is_interrupt
from healspan.remediation.own_errors import internal_error
from healspan.remediation.repair import RunningCalls, register_boundary, resting_fixes, take_fired
from healspan.remediation.run import current_run
from healspan.remediation.runtime import runtime

__all__ = ["Background", "BeingHealed", "copied"]

logger = logging.getLogger("healspan")

Call = tuple[tuple[Any, ...], dict[str, Any]]

_tasks: set[asyncio.Task[None]] = set()
"""Diagnoses under way in event loops, which keep only weak references."""


class BeingHealed:
    """A failing call of one boundary that attempts are made for."""

    __slots__ = ("name", "over")

    def __init__(self, name: str) -> None:
        self.name = name
        self.over = False
        """A task that the application began in an attempt lives on in its context, and is no part of it any more."""


class Background:
    """Looks for fixes of one boundary's failures later.

    Args:
        name: of the boundary.
        currency: that it reckons in.
        function: of the boundary.
        signature: of the boundary's function.
        healing: the boundaries whose failures are being healed in a context, and so are left alone in it.
    """

    def __init__(
        self,
        name: str,
        currency: str,
        function: Callable[..., Any],
        signature: inspect.Signature,
        healing: ContextVar[tuple[BeingHealed, ...]],
    ) -> None:
        self._name = name
        self._calls = RunningCalls(currency=currency)
        self._through = _below(function)
        # The guard knows the boundary on a stack by a code object that is the boundary's alone.
        self._through.__code__ = self._through.__code__.replace(co_name=f"boundary {name}")
        register_boundary(self._through.__code__, name, self._calls)
        self._signature = signature
        self._healing = healing

    def look(self, failure: Failure, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Have a fix looked for soon; never raises, and does nothing while an equal failure is looked into."""
        key = failure.incident.pattern.exact
        with internal_error("diagnose"):
            later = runtime().later
            if key in later:
                return
            call = copied(args, kwargs)
            if call is None:
                logger.warning("boundary %s: its arguments cannot be copied, so no fix is looked for later", self._name)
                return
            abandoned = failure.later(call, Arguments(self._signature, *call), self._through)
            context = copy_context()
            if failure.asynchronous:
                task = asyncio.get_running_loop().create_task(self._find_async(abandoned, key), context=context)
                _tasks.add(task)
                task.add_done_callback(_tasks.discard)
            else:
                later.put(key, functools.partial(context.run, self._find, abandoned))

    def _find(self, failure: Failure) -> Callable[[], None] | None:
        """Look for a fix; return what is left, if somebody has to be waited for."""
        with self._entered(failure):
            search = runtime().engine.search(failure)
            if drive(search.compute) or search.ask is None:
                return None
        return functools.partial(copy_context().run, self._ask, failure, search.ask)

    def _ask(self, failure: Failure, asking: Generator[Invocation, Any, bool]) -> None:
        with self._entered(failure):
            drive(asking)

    async def _find_async(self, failure: Failure, key: str) -> None:
        with internal_error("diagnose"), runtime().later.claim(key) as mine:
            if mine:
                with self._entered(failure):
                    search = runtime().engine.search(failure)
                    if not await drive_async(search.compute) and search.ask is not None:
                        await drive_async(search.ask)

    @contextlib.contextmanager
    def _entered(self, failure: Failure) -> Iterator[None]:
        """Leave the caller's run, and keep failures of the attempts from being healed in their turn."""
        attempts = BeingHealed(self._name)
        current_run.set(None)
        resting_fixes.set(frozenset(failure.refuted))
        self._healing.set((*self._healing.get(), attempts))
        try:
            yield
        finally:
            attempts.over = True


def _below(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what calls a function as its boundary does, and nothing more."""
    if inspect.iscoroutinefunction(function):

        async def call_async(*args: Any, **kwargs: Any) -> Any:
            try:
                return await function(*args, **kwargs)
            finally:
                take_fired(sys._getframe())

        return call_async

    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        finally:
            take_fired(sys._getframe())

    return call


def copied(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
    """Return a deep copy of the arguments; None where they cannot be copied."""
    try:
        return copy.deepcopy((args, kwargs))
    except BaseException as error:
        if is_interrupt(error):
            raise
        return None
