"""Exceptions that nobody catches: of the main thread, of threads, of asyncio's tasks, of processes of multiprocessing.

Opt-in. Each hook looks, and then lets whoever was there do what they did: the exception is printed, and the process
ends, as without.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing.process
import sys
import threading
import time
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any

from opentelemetry.trace import get_current_span

from healspan.instrumentation.signals.mark import seen_in, telling
from healspan.instrumentation.signals.signal import signal_of
from healspan.instrumentation.signals.watcher import Watcher
from healspan.remediation.own_errors import report

__all__ = ["UncaughtHooks"]


class UncaughtHooks:
    """The hooks of this process.

    Args:
        watcher: told of every exception.
    """

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._places: list[tuple[Any, str, Any, Any]] = []
        """Owner, attribute, what was there, and what is there now."""
        self._over = False

    def install(self) -> None:
        """Put the hooks in front of what is there; once."""
        if self._places or self._over:
            return
        self._put(sys, "excepthook", self._main)
        self._put(threading, "excepthook", self._thread)
        self._put(asyncio.BaseEventLoop, "default_exception_handler", self._task)
        self._put(multiprocessing.process.BaseProcess, "_bootstrap", self._process)

    def remove(self) -> None:
        """Put back what was there; a hook that somebody has put something in front of stays, and takes nothing."""
        self._over = True
        for owner, name, before, now in self._places:
            if getattr(owner, name) is now:
                setattr(owner, name, before)
        self._places.clear()

    def _put(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        before = getattr(owner, name)
        now = make(before)
        setattr(owner, name, now)
        self._places.append((owner, name, before, now))

    def _main(self, before: Any) -> Any:
        def excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
            try:
                self._take(error)
            finally:
                with telling(error):
                    before(kind, error, trace)

        return excepthook

    def _thread(self, before: Any) -> Any:
        def excepthook(args: Any) -> None:
            try:
                self._take(args.exc_value)
            finally:
                with telling(args.exc_value):
                    before(args)

        return excepthook

    def _task(self, before: Any) -> Any:
        def default_exception_handler(loop: asyncio.BaseEventLoop, context: dict[str, Any]) -> None:
            try:
                self._take(context.get("exception"))
            finally:
                with telling(context.get("exception")):
                    before(loop, context)

        return default_exception_handler

    def _process(self, before: Any) -> Any:
        def _bootstrap(process: Any, *args: Any, **kwargs: Any) -> Any:
            run = process.run

            def watched() -> None:
                try:
                    run()
                except Exception as error:
                    self._take(error)
                    # Such a process leaves without what is registered for the end of an interpreter.
                    self._watcher.flush()
                    raise

            with contextlib.suppress(AttributeError):
                process.run = watched
            return before(process, *args, **kwargs)

        return _bootstrap

    def _take(self, error: object) -> None:
        """Hand an exception on as what a log record would carry; `SystemExit` and the like are none."""
        if self._over or not isinstance(error, Exception) or not self._watcher.active:
            return
        try:
            span = get_current_span().get_span_context()
            kind = type(error)
            signal = signal_of(
                {
                    "exception.type": kind.__qualname__
                    if kind.__module__ == "builtins"
                    else f"{kind.__module__}.{kind.__qualname__}",
                    "exception.message": _words(error),
                    "exception.stacktrace": "".join(traceback.format_exception(error)),
                },
                trace_id=span.trace_id,
                span_id=span.span_id,
                span=None,
                at=time.time(),
                seen=seen_in(error),
                last=True,
            )
            if signal is not None:
                self._watcher.take(signal)
        except Exception as own:
            report("uncaught", own)


def _words(error: Exception) -> str:
    """Return the message of an exception, which may refuse to say it."""
    try:
        return str(error)
    except (Exception, SystemExit):
        return "<message unreadable>"
