"""What the application says of its own state when a call fails: calls left at an API, the depth of a queue.

A provider runs in a thread of its own, never in the failing one: it may lock, block or fail, and costs the host no more
than a few milliseconds of one failing call. What it does not answer in time is told with its age.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from healspan.remediation.errors import ConfigurationError

__all__ = ["registered_state", "system_state_provider"]

PATIENCE = 0.005
"""Seconds that a failing call waits for all providers together."""
REST = 0.05
"""Seconds for which an answer is good: in a storm of failures each provider is asked twenty times a second, at most."""
MOST = 32

Provider = Callable[[], object]


class _Asked:
    """One provider, and its last answer."""

    def __init__(self, name: str, provider: Provider) -> None:
        self.name = name
        self._provider = provider
        self._wanted = threading.Event()
        self._answered = threading.Event()
        self._thread: threading.Thread | None = None
        self._answer: tuple[object, float] | None = None

    def ask(self, now: float) -> None:
        """Have it answer anew, unless it did a moment ago, or is still at it."""
        if self._answer is not None and now - self._answer[1] < REST:
            return
        self._answered.clear()
        self._wanted.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=f"healspan-state-{self.name}"[:40], daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # no more threads, or the interpreter is going down
                self._thread = None

    def is_answering_here(self) -> bool:
        """Whether this thread is its own."""
        return self._thread is threading.current_thread()

    def answer(self, until: float) -> object:
        """Return what it says, or said last."""
        self._answered.wait(max(0.0, until - time.monotonic()))
        if self._answer is None:
            return "no answer yet"
        value, at = self._answer
        age = time.monotonic() - at
        return value if age < 1.0 else {"value": value, "seconds_ago": round(age, 1)}

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            try:
                value: object = self._provider()
            except BaseException as error:
                # The application's code in a thread of ours: whatever it raises, SystemExit too, ends here.
                value = f"failed: {type(error).__name__}"
            self._answer = value, time.monotonic()
            self._answered.set()

    def forget(self) -> None:
        """Begin anew in a forked child: the thread did not come along."""
        self._wanted, self._answered, self._thread = threading.Event(), threading.Event(), None


_providers: dict[str, _Asked] = {}


def system_state_provider(name: str) -> Callable[[Provider], Provider]:
    """Register a function without parameters whose value is kept with every incident, under this name.

    Values are bounded and scrubbed like arguments. Registered again, the later one counts.

    Raises:
        ConfigurationError: the name is empty, or there are too many.
    """
    if not name or not isinstance(name, str):
        raise ConfigurationError("system_state_provider needs a name, e.g. @system_state_provider('api_calls_left')")
    if name not in _providers and len(_providers) >= MOST:
        raise ConfigurationError(f"there are {MOST} system state providers already; let one return a mapping")

    def register(provider: Provider) -> Provider:
        if not callable(provider):
            raise ConfigurationError(f"the system state provider {name!r} is no function")
        _providers[name] = _Asked(name, provider)
        return provider

    return register


def registered_state() -> Mapping[str, Any]:
    """Return what the providers say now, within `PATIENCE`.

    A provider that fails in a boundary is not asked about that, nor is another one: it would fail again, for ever.
    """
    asked, now = list(_providers.values()), time.monotonic()
    if any(one.is_answering_here() for one in asked):
        return {}
    for one in asked:
        one.ask(now)
    return {one.name: one.answer(now + PATIENCE) for one in asked}


def _after_fork() -> None:
    for one in _providers.values():
        one.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
