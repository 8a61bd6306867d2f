"""A run: several boundary calls that belong together, and what happened in them, in order.

Its scope decides "no regression". A call outside any pipeline has a run of its own.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from healspan.remediation.ids import uuid7
from healspan.remediation.outcome import RunFact

__all__ = ["Applied", "Failed", "Heal", "OpenRuns", "Run", "current_run", "open_runs"]


@dataclass(frozen=True, slots=True)
class Failed:
    """An incident, or an exception leaving the run."""

    pattern: str
    """Exact pattern hash."""
    boundary: str


@dataclass(frozen=True, slots=True)
class Applied:
    """A fix that acted on a call which has returned; its verdict waits for the end of the run."""

    fix_id: str
    boundary: str
    resolved: bool
    valid_output: bool | None
    degraded: bool = False
    application_id: UUID | None = None
    """None for an installed repair, whose applications are tallied."""
    context_keys: tuple[tuple[str, str], ...] = ()
    elapsed_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Heal:
    """How one failing call of a run ended, for the application that owns the run."""

    boundary: str
    outcome: str
    """An `IncidentStatus` value."""
    tier: str
    fix_id: str | None
    steps: tuple[str, ...]
    error_type: str
    error_id: UUID | None
    elapsed_ms: float
    diagnosed: bool
    reason: str


class Run:
    """What happened in one pipeline run; safe to share between threads."""

    def __init__(
        self,
        pipeline: str | None,
        *,
        key: str | None = None,
        context_keys: Mapping[str, str] | None = None,
        run_id: UUID | None = None,
    ) -> None:
        self.run_id = run_id or uuid7()
        self.pipeline = pipeline
        self.key = key
        self.context_keys = dict(context_keys or {})
        self.heals: list[Heal] = []
        self.boundaries: dict[str, int] = {}
        """Boundaries reached, with the number of events before each was first reached."""
        self._events: list[Failed | Applied] = []
        self._last = 0
        self._lock = threading.Lock()

    def failed(self, pattern: str, boundary: str, error: BaseException | None = None) -> None:
        """Note an incident, or an exception leaving the run."""
        with self._lock:
            self._events.append(Failed(pattern, boundary))
            self._last = id(error)

    def knows(self, error: BaseException) -> bool:
        """Tell whether the last incident was this very exception, which then need not be noted again."""
        return self._last == id(error)

    def applied(self, applied: Applied) -> None:
        """Note a fix that acted on a call; its verdict is given when the run closes."""
        with self._lock:
            self._events.append(applied)

    def reach(self, boundary: str) -> None:
        """Note that a boundary was called in this run."""
        if boundary not in self.boundaries:
            self.boundaries[boundary] = len(self._events)

    def events(self) -> tuple[Failed | Applied, ...]:
        """Return what happened so far, in order."""
        with self._lock:
            return tuple(self._events)

    def bind(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Make a function that another thread will run belong to this run.

        Each call of the returned function runs in its own copy of the current context.
        """
        context = copy_context()

        def bound(*args: Any, **kwargs: Any) -> Any:
            return context.copy().run(function, *args, **kwargs)

        return bound

    def fact(self, closed_at: datetime | None = None) -> RunFact:
        """Return what this run showed, for the history that later runs are judged against."""
        events = self.events()
        before: list[tuple[str, ...]] = [()]
        for event in events:
            fixes = before[-1]
            if isinstance(event, Applied) and event.fix_id not in fixes:
                fixes = (*fixes, event.fix_id)
            before.append(fixes)
        return RunFact(
            run_id=self.run_id,
            pipeline=self.pipeline or "",
            key=self.key,
            context_keys=self.context_keys,
            closed_at=closed_at or datetime.now(UTC),
            patterns=tuple(
                dict.fromkeys(
                    (event.pattern, before[position])
                    for position, event in enumerate(events)
                    if isinstance(event, Failed)
                ),
            ),
            fixes=before[-1],
            reached=tuple((name, before[position]) for name, position in self.boundaries.items()),
        )


current_run: ContextVar[Run | None] = ContextVar("healspan_run", default=None)
"""The outermost pipeline run of the current task or thread."""


class OpenRuns:
    """Pipeline runs open in this process: while there are none, a boundary need not look for its run."""

    def __init__(self) -> None:
        self.any = False
        """Whether there is one: asking an attribute costs a boundary half of what the truth of a set would."""
        self._open: set[UUID] = set()
        self.lock = threading.RLock()  # a signal's handler may open a run while its thread opens another

    def add(self, run_id: UUID) -> None:
        """Note that a run was opened."""
        with self.lock:
            self._open.add(run_id)
            self.any = True

    def discard(self, run_id: UUID) -> None:
        """Note that a run was closed."""
        with self.lock:
            self._open.discard(run_id)
            self.any = bool(self._open)


open_runs = OpenRuns()


def _after_fork_in_child() -> None:
    open_runs.lock = threading.RLock()  # the thread that held it did not come along


os.register_at_fork(after_in_child=_after_fork_in_child)
