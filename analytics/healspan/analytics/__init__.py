"""Analytics: what the facts in the store say of fixes and of what is to come.

The pure statistics (`rewards`, `hotspots`) know no store; the job reads facts and writes projections, and the
scheduler runs it in one process at a time. Names are loaded when they are asked for: the command line must not
load scipy to print its help.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from healspan.analytics.evidence import Outcome
    from healspan.analytics.hotspots import Calls, Failures, find_hotspots
    from healspan.analytics.job import JobReport, run_job
    from healspan.analytics.ope import Estimate, Logged, evaluate
    from healspan.analytics.reward import ContextReward, FixReward, rewards
    from healspan.analytics.scheduler import AnalyticsScheduler

__all__ = [
    "AnalyticsScheduler",
    "Calls",
    "ContextReward",
    "Estimate",
    "Failures",
    "FixReward",
    "JobReport",
    "Logged",
    "Outcome",
    "evaluate",
    "find_hotspots",
    "rewards",
    "run_job",
]

_HOME = {
    "AnalyticsScheduler": "scheduler",
    "Calls": "hotspots",
    "ContextReward": "reward",
    "Estimate": "ope",
    "Failures": "hotspots",
    "FixReward": "reward",
    "JobReport": "job",
    "Logged": "ope",
    "Outcome": "evidence",
    "evaluate": "ope",
    "find_hotspots": "hotspots",
    "rewards": "reward",
    "run_job": "job",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
