"""Analytics: what the facts in the store say of fixes and of what is to come.

The pure statistics (`rewards`, `hotspots`) know no store; the job reads facts and writes projections, and the
scheduler runs it in one process at a time.
"""

from __future__ import annotations

from healspan.analytics.evidence import Outcome
from healspan.analytics.hotspots import Calls, Failures, hotspots
from healspan.analytics.job import JobReport, run_job
from healspan.analytics.reward import ContextReward, FixReward, rewards
from healspan.analytics.scheduler import AnalyticsScheduler

__all__ = [
    "AnalyticsScheduler",
    "Calls",
    "ContextReward",
    "Failures",
    "FixReward",
    "JobReport",
    "Outcome",
    "hotspots",
    "rewards",
    "run_job",
]
