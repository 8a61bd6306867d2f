"""Counts of what installed repairs did: exact, aggregated per minute, flushed every second.

A repaired call must cost microseconds, so it adds to a count instead of writing a row. A kill loses at most
the last second, and a lost count was never credited as a success.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime

from healspan.remediation.ids import uuid7
from healspan.remediation.outcome import Application, ApplicationMode, Judgement
from healspan.remediation.regression import NoRegression, judgement_of
from healspan.remediation.run import Applied, Run

__all__ = ["Tally", "rows"]

_Key = tuple[str, str, str | None, tuple[tuple[str, str], ...], int, bool, bool | None, bool | None, bool]


class Tally:
    """Adds up good applications of installed repairs until they are taken."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[_Key, tuple[int, float]] = {}

    def add(
        self, applied: Applied, no_regression: bool | None, pipeline: str | None, *, at: float, active: bool
    ) -> None:
        """Count one application; `at` is in seconds since the epoch."""
        key = (
            applied.fix_id,
            applied.boundary,
            pipeline,
            applied.context_keys,
            int(at // 60),
            applied.resolved,
            applied.valid_output,
            no_regression,
            active,
        )
        with self._lock:
            count, elapsed = self._counts.get(key, (0, 0.0))
            self._counts[key] = (count + 1, elapsed + applied.elapsed_ms)

    def take(self) -> list[tuple[Application, Judgement]]:
        """Return what has come since the last take, one pair of rows per distinct outcome and minute."""
        with self._lock:
            counts, self._counts = self._counts, {}
        pairs = []
        for key, (count, elapsed) in counts.items():
            fix_id, boundary, pipeline, context, minute, resolved, valid, regression, active = key
            applied = Applied(
                fix_id=fix_id,
                boundary=boundary,
                resolved=resolved,
                valid_output=valid,
                context_keys=context,
                elapsed_ms=elapsed / count,
            )
            criterion = NoRegression(regression, "counted by an installed repair")
            at = datetime.fromtimestamp(minute * 60, UTC)
            pairs.append(rows(applied, criterion, Run(pipeline), at=at, active=active, count=count))
        return pairs


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
