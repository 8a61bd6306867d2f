"""The scheduler: runs the job again and again, in one process of the fleet at a time.

Every process that schedules asks for the lease before each run; whoever holds it leads. If the leader dies,
the lease runs out and another one takes over.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from healspan.analytics.job import JobReport, run_job
from healspan.analytics.masking import MaskingLimits
from healspan.remediation.errors import ConfigurationError, HealspanError
from healspan.remediation.store.repository import Store

__all__ = ["LEASE", "AnalyticsScheduler"]

logger = logging.getLogger("healspan.analytics")

LEASE = "analytics"
JOB_ID = "healspan.analytics"
MISFIRE_SECONDS = 300
"""A run that is this late, because the machine slept or was busy, still takes place; several become one."""

SHORTEST = timedelta(seconds=1)


class AnalyticsScheduler:
    """Runs the job at once and then at intervals, from a thread of its own.

    Args:
        store: whose facts and projections.
        every: the interval.
        masking: from when on a fix that fires is a symptom.
        holder: who asks for the lease; default: this process.
        prepare: done before each run, whoever leads, e.g. taking in what dead processes of this host left.
        report: told of every run of this process, from the thread.

    Raises:
        ConfigurationError: the interval is too short.
    """

    def __init__(
        self,
        store: Store,
        *,
        every: timedelta,
        masking: MaskingLimits | None = None,
        holder: str | None = None,
        prepare: Callable[[], object] = lambda: None,
        report: Callable[[JobReport], None] = lambda _report: None,
    ) -> None:
        if every < SHORTEST:
            raise ConfigurationError(f"an interval of {every.total_seconds():g} s is too short; give --every 60s")
        self._store = store
        self._every = every
        self._masking = masking
        self._holder = holder or f"{socket.gethostname()}:{os.getpid()}"
        self._prepare = prepare
        self._report = report
        self._scheduler = BackgroundScheduler(timezone=UTC)

    def start(self) -> None:
        """Begin; the first run starts now."""
        self._scheduler.add_job(
            self.tick,
            IntervalTrigger(seconds=self._every.total_seconds(), timezone=UTC),
            id=JOB_ID,
            replace_existing=True,
            coalesce=True,
            max_instances=1,
            misfire_grace_time=MISFIRE_SECONDS,
            next_run_time=datetime.now(UTC),
        )
        self._scheduler.start()

    def stop(self) -> None:
        """Wait for a run that is under way, and give the lease back."""
        self._scheduler.shutdown(wait=True)
        try:
            self._store.controls.release_lease(LEASE, self._holder)
        except HealspanError as error:
            logger.warning("the lease of the analytics job was not given back and will run out: %s", error)

    def tick(self) -> JobReport | None:
        """Run the job if this process leads; None if another one does, or if the store is away."""
        try:
            self._prepare()
            # Three missed runs, or a run that takes as long, and another process may lead.
            if not self._store.controls.acquire_lease(LEASE, self._holder, 3 * self._every):
                logger.debug("another process runs the analytics job")
                return None
            report = run_job(self._store, masking=self._masking)
        except HealspanError as error:
            logger.warning("the analytics job did not run and will be tried again in %s: %s", self._every, error)
            return None
        self._report(report)
        return report
