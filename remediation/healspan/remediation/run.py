"""A run: several boundary calls that belong together, and what happened in them, in order.

Its scope decides "no regression". A call outside any pipeline has a run of its own.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Set
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import CodeType
from typing import Any, Protocol
from uuid import UUID

from healspan.remediation.given import Given
from healspan.remediation.ids import uuid7
from healspan.remediation.outcome import RunFact
from healspan.remediation.step import FramePath

__all__ = [
    "Applied",
    "Evidence",
    "Failed",
    "Heal",
    "KeptResults",
    "Member",
    "OpenRuns",
    "Run",
    "Write",
    "current_run",
    "kept_results",
    "open_runs",
    "unhealed",
]

Write = tuple[str, ...]
"""Something that a fix sets: what kind of thing it is, and where."""


@dataclass(frozen=True, slots=True)
class Failed:
    """An incident, or an exception leaving the run."""

    pattern: str
    """Exact pattern hash."""
    boundary: str
    error_id: UUID | None = field(default=None, compare=False)
    """The incident; None for an exception that left the run."""
    error_type: str = field(default="", compare=False)
    call: int = field(default=0, compare=False)
    """Tells the failing call from the others that are going on; 0 where that is not known."""
    within: tuple[int, ...] = field(default=(), compare=False)
    """Calls of other boundaries in the midst of which it failed."""
    given: Given | None = field(default=None, compare=False)
    """What the call was given; None where two inputs cannot be told apart."""
    steady: bool = field(default=False, compare=False)
    """Whether nothing in what it was given can change: plain values, and instances of frozen classes."""
    way: FramePath = field(default=(), compare=False)
    """From the block that opened the run down to the boundary's caller; empty where that is not known, or where
    the same failure happened before."""


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
    error_id: UUID | None = None
    """The incident it healed; None for an installed repair."""
    instead_of: Failed | None = field(default=None, compare=False)
    """The failure that an installed repair kept from happening; given once for each boundary of a run."""
    writes: frozenset[Write] = frozenset()
    context_keys: tuple[tuple[str, str], ...] = ()
    elapsed_ms: float = 0.0
    at: datetime | None = None
    """When it acted; None for an installed repair."""


@dataclass(frozen=True, slots=True)
class Member:
    """A fix that acted in a run with a result, at the first of its calls to a boundary."""

    fix_id: str
    boundary: str
    position: int
    """Of its event in the run."""
    failure: Failed | None
    """What it healed, or kept from happening; None where that is not known."""


class Evidence(Protocol):
    """What other runs of one pipeline and context have shown of what happens without a fix."""

    def unfixed(self, boundary: str) -> int:
        """Return the number of runs in which the boundary failed and nothing healed it."""

    def reached_unfixed(self, boundary: str, later: str) -> bool:
        """Tell whether one of them went on to reach another boundary."""

    def verified(self, links: tuple[tuple[str, str], ...]) -> bool:
        """Tell whether a plan of exactly these (boundary, fix) has succeeded, and never failed."""


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
        evidence: Evidence | None = None,
    ) -> None:
        self.run_id = run_id or uuid7()
        self.pipeline = pipeline
        self.evidence = evidence
        """Of its pipeline; None where there is no pipeline, or nothing to ask."""
        self.key = key
        self.context_keys = dict(context_keys or {})
        self.heals: list[Heal] = []
        self.boundaries: dict[str, int] = {}
        """Boundaries reached, with the number of events before each was first reached."""
        self.opened_in: CodeType | None = None
        """Of the block that opened the run, where that is known."""
        self.broken: str | None = None
        """Which invariant across its boundaries the run broke, in words."""
        self._last_reached: dict[str, int] = {}
        self._open: dict[UUID, Failed] = {}
        """Failures that nothing has healed, so far."""
        self._members: dict[tuple[str, str], Member] = {}
        self._events: list[Failed | Applied] = []
        self._last: UUID | None = None
        self._lock = threading.RLock()

    def failed(self, pattern: str, boundary: str) -> None:
        """Note an exception leaving the run."""
        self.note(Failed(pattern, boundary))

    def note(self, failure: Failed) -> None:
        """Note an incident, or an exception leaving the run."""
        with self._lock:
            self._events.append(failure)
            self._last = failure.error_id
            if failure.error_id is not None:
                self._open[failure.error_id] = failure

    def knows(self, incidents: Set[str]) -> bool:
        """Tell whether the last incident is among those of an exception, which then need not be noted again.

        Not by the exception's `id`: where the application has let go of the last one, another may have the same.
        """
        return str(self._last) in incidents

    def applied(self, applied: Applied) -> None:
        """Note a fix that acted on a call; its verdict is given when the run closes."""
        with self._lock:
            if applied.resolved:
                failure = applied.instead_of
                if applied.error_id is not None:
                    failure = self._open.pop(applied.error_id, None)
                self._members.setdefault(
                    (applied.fix_id, applied.boundary),
                    Member(applied.fix_id, applied.boundary, len(self._events), failure),
                )
            self._events.append(applied)

    def reach(self, boundary: str) -> None:
        """Note that a boundary was called in this run."""
        if boundary not in self.boundaries:
            self.boundaries[boundary] = len(self._events)
        elif self._events:
            self._last_reached[boundary] = len(self._events)

    @property
    def results(self) -> dict[str, Any] | None:
        """The last result of each boundary, for the block around; kept only where its checks will ask for it."""
        return next((one.values for one in reversed(kept_results.get()) if one.values is not None), None)

    def returned(self, boundary: str, result: Any) -> Any:
        """Keep what a boundary returned, healed or not, if a check of the pipeline will ask for it; return it."""
        for one in kept_results.get():
            values = one.values
            if values is not None:
                values[boundary] = result
        return result

    def events(self) -> tuple[Failed | Applied, ...]:
        """Return what happened so far, in order."""
        with self._lock:
            return tuple(self._events)

    def recent(self, number: int) -> list[tuple[int, Failed | Applied]]:
        """Return the latest of what happened so far, in order, each with its position."""
        with self._lock:
            start = max(0, len(self._events) - number)
            return list(enumerate(self._events[start:], start))

    def last_reached(self, boundary: str) -> int:
        """Return the number of events before a boundary was last called; -1 if it was not."""
        return self._last_reached.get(boundary, self.boundaries.get(boundary, -1))

    def members(self) -> tuple[Member, ...]:
        """Return the fixes that acted with a result so far, each once for each boundary, in order."""
        with self._lock:
            return tuple(self._members.values())

    def has_acted(self, fix_id: str, boundary: str) -> bool:
        """Tell whether a fix has acted with a result at a boundary so far."""
        return (fix_id, boundary) in self._members

    def open_failures(self) -> tuple[Failed, ...]:
        """Return the failures that nothing has healed so far, in order."""
        with self._lock:
            return tuple(self._open.values())

    def failure(self, error_id: UUID) -> Failed | None:
        """Return a failure that nothing has healed so far, by its incident."""
        with self._lock:
            return self._open.get(error_id)

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
            unfixed=self._unfixed(events),
        )

    def _unfixed(self, events: tuple[Failed | Applied, ...]) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Return boundaries that failed and were not healed, each with those that were reached afterwards."""
        found: dict[str, int] = {}
        for position, event in unhealed(events):
            found.setdefault(event.boundary, position)
        last = {**self.boundaries, **self._last_reached}
        return tuple(
            (boundary, tuple(name for name, reached in last.items() if reached > position))
            for boundary, position in found.items()
            if boundary in self.boundaries
        )


def unhealed(events: tuple[Failed | Applied, ...]) -> list[tuple[int, Failed]]:
    """Return the failures that no fix ended, each with its position."""
    healed = {event.error_id for event in events if isinstance(event, Applied) and event.resolved}
    return [
        (position, event)
        for position, event in enumerate(events)
        if isinstance(event, Failed) and (event.error_id is None or event.error_id not in healed)
    ]


current_run: ContextVar[Run | None] = ContextVar("healspan_run", default=None)
"""The outermost pipeline run of the current task or thread."""


class KeptResults:
    """What boundaries have returned, for the checks of one block of a run."""

    __slots__ = ("values",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values: dict[str, Any] | None = dict(values)
        """The last result of each boundary, by name; None once the block was left, whoever was begun in it."""


kept_results: ContextVar[tuple[KeptResults, ...]] = ContextVar("healspan_results", default=())
"""Those of the blocks around, outermost first: each task and thread of one run has its own innermost one."""


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
