"""Counts of what installed repairs did: exact, aggregated per minute, flushed every second.

A repaired call must cost microseconds, so it leaves a note instead of writing a row; the notes are added up when
they are taken. A kill loses at most the last second, and a lost note was never credited as a success.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from healspan.remediation.ids import uuid7
from healspan.remediation.outcome import Application, ApplicationMode, Judgement
from healspan.remediation.regression import NoRegression, judgement_of
from healspan.remediation.run import Applied, Run

__all__ = ["Tallied", "Tally", "rows"]

_MOST_NOTES = 1_000
"""Notes that wait; whoever leaves one more adds them up."""

_NOTHING_BROKE = NoRegression(True, "counted by an installed repair")


class Tallied(NamedTuple):
    """Good applications of installed repairs that are alike: they resolved their calls, and nothing broke."""

    fix_id: str
    boundary: str
    pipeline: str | None
    context_keys: tuple[tuple[str, str], ...]
    """Sorted and without secrets."""
    valid: bool | None
    """Whether the result keeps its contract; None without one."""
    active: bool
    """Whether the fix was active; else it was on trial."""


class Tally:
    """Adds up good applications of installed repairs until they are taken.

    Args:
        now: seconds since the epoch.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._notes: deque[tuple[Tallied, float]] = deque()
        self._lock = threading.Lock()
        self._counts: dict[tuple[Tallied, int], tuple[int, float]] = {}

    def add(self, tallied: Tallied, elapsed_ms: float) -> None:
        """Count one application, which took `elapsed_ms` milliseconds."""
        # One step of the deque's, so nothing is lost between threads without a lock.
        self._notes.append((tallied, elapsed_ms))
        # Who holds the lock adds up already: another thread, or this one, below a finaliser or the handler of a signal.
        if len(self._notes) > _MOST_NOTES and self._lock.acquire(blocking=False):
            try:
                self._add_up()
            finally:
                self._lock.release()

    def take(self) -> list[tuple[Application, Judgement]]:
        """Return what has come since the last take, one pair of rows per distinct outcome and minute."""
        with self._lock:
            self._add_up()
            counts, self._counts = self._counts, {}
        pairs = []
        for (tallied, minute), (count, elapsed) in counts.items():
            applied = Applied(
                fix_id=tallied.fix_id,
                boundary=tallied.boundary,
                resolved=True,
                valid_output=tallied.valid,
                context_keys=tallied.context_keys,
                elapsed_ms=elapsed / count,
            )
            at = datetime.fromtimestamp(minute * 60, UTC)
            run = Run(tallied.pipeline)
            pairs.append(rows(applied, _NOTHING_BROKE, run, at=at, active=tallied.active, count=count))
        return pairs

    def _add_up(self) -> None:
        """Called with the lock held."""
        minute = int(self._now() // 60)
        for _ in range(len(self._notes)):
            tallied, elapsed_ms = self._notes.popleft()
            count, elapsed = self._counts.get((tallied, minute), (0, 0.0))
            self._counts[tallied, minute] = count + 1, elapsed + elapsed_ms


def rows(
    applied: Applied,
    criterion: NoRegression,
    run: Run,
    *,
    at: datetime,
    active: bool,
    count: int = 1,
) -> tuple[Application, Judgement]:
    """Return the two facts that stand for applications of an installed repair."""
    application = Application(
        application_id=uuid7(),
        fix_id=applied.fix_id,
        error_id=None,
        run_id=run.run_id,
        boundary=applied.boundary,
        pipeline=run.pipeline,
        context_keys=dict(applied.context_keys),
        timestamp=at,
        tier="1",
        mode=ApplicationMode.ACTIVE if active else ApplicationMode.TRIAL,
        steps=("repair",),
        resolved=applied.resolved,
        valid_output=applied.valid_output,
        added_latency_ms=applied.elapsed_ms,
        propensity=1.0,
        count=count,
    )
    return application, judgement_of(applied, criterion, application.application_id, at=at)
