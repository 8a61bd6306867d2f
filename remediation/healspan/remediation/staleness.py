"""Staleness: whether the functions that a fix touches are still the ones it was made for."""

from __future__ import annotations

from collections.abc import Iterable
from types import FunctionType

from healspan.remediation.boundary import Boundary
from healspan.remediation.errors import HealspanError, StaleFix, StepInapplicable
from healspan.remediation.fix import FixDraft
from healspan.remediation.repair import function_hash, source_hash
from healspan.remediation.repair.find import find_function
from healspan.remediation.step import (
    AdapterStep,
    FallbackStep,
    ParametersStep,
    RepairStep,
    RetryStep,
    Step,
    StrategyStep,
    used_strategies,
)

__all__ = ["live_hashes", "why_stale"]


def live_hashes(steps: Iterable[Step], boundary: Boundary) -> dict[str, str]:
    """Return the source hash, by ``module:qualname``, of every function that the steps touch in this process.

    Raises:
        StepInapplicable: the boundary registers no such strategy.
        RepairDeclined: a function to be repaired cannot be found here.
        StaleFix: it is not there any more.
    """
    hashes: dict[str, str] = {}
    for step in steps:
        match step:
            case StrategyStep() | AdapterStep():
                for name in used_strategies(step):
                    strategy = boundary.strategies.get(name)
                    if strategy is None:
                        raise StepInapplicable(
                            f"boundary {boundary.name!r} registers no strategy {name!r}; it has "
                            f"{', '.join(boundary.strategies) or 'none'}",
                        )
                    target, digest = function_hash(strategy.function)
                    hashes[target] = digest
            case RepairStep():
                hashes[f"{step.module}:{step.qualname}"] = source_hash(_repaired(step))
            case FallbackStep() | RetryStep() | ParametersStep():
                pass
    return hashes


def _repaired(step: RepairStep) -> FunctionType:
    """Return the function that a step repairs, of several of its name the one whose source the step knows."""
    return find_function(step.module, step.qualname, lambda each: source_hash(each) == step.source_hash)


def why_stale(fix: FixDraft, boundary: Boundary) -> str | None:
    """Return why the fix no longer fits the code of this process; None if it does."""
    try:
        live = live_hashes(fix.steps, boundary)
        for target, digest in live.items():
            if not fix.made_for(target, digest):
                raise StaleFix(
                    f"{target} changed since the fix was made; let it be made again, or import its draft again"
                )
    except HealspanError as error:
        return str(error)
    return None
