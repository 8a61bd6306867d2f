"""An attempt: one use of one fix on one failing call, step by step, the innermost first."""

from __future__ import annotations

import copy
import functools
from collections.abc import Generator, Sequence
from typing import Any, assert_never

from healspan.remediation.boundary import FailedCall, Invocation
from healspan.remediation.errors import StepInapplicable
from healspan.remediation.fix import Fix
from healspan.remediation.repair import Repairs, function_hash
from healspan.remediation.sandbox import Sandbox
from healspan.remediation.step import (
    AdapterStep,
    FallbackStep,
    FramePath,
    ParametersStep,
    RepairStep,
    RetryStep,
    StrategyStep,
    used_strategies,
)
from healspan.remediation.transience import wait_seconds

__all__ = ["Attempt", "Invocation"]

_CONTAINERS = (list, dict, set, bytearray)


class Attempt:
    """One use of one fix on one failing call: the steps, innermost first."""

    def __init__(self, fix: Fix, call: FailedCall, repairs: Repairs, sandbox: Sandbox) -> None:
        self._fix = fix
        self._call = call
        self._repairs = repairs
        self._sandbox = sandbox
        self.degraded = False
        self.new_path: FramePath | None = None

    def run(self) -> Generator[Invocation, Any, Any]:
        """Return the value the fix leads to, or raise what the last step left raised."""
        self._refuse_stale()
        repairs = [step for step in self._fix.steps if isinstance(step, RepairStep)]
        others = [step for step in self._fix.steps if not isinstance(step, RepairStep)]
        error: Exception = self._call.error
        if repairs:
            try:
                return (yield from self._repaired(repairs))
            except Exception as still:  # the next step handles what is still raised
                error = still
        for step in others:
            try:
                return (yield from self._applied(step))
            except StepInapplicable:
                raise
            except Exception as still:  # likewise
                error = still
        raise error

    def _applied(
        self,
        step: RetryStep | AdapterStep | ParametersStep | StrategyStep | FallbackStep,
    ) -> Generator[Invocation, Any, Any]:
        match step:
            case RetryStep():
                return (yield from self._retried(step))
            case ParametersStep():
                arguments = self._call.boundary.tuned(step.arguments)
                return (yield functools.partial(self._call.again_with, arguments))
            case AdapterStep():
                return (yield from self._sandbox.apply(step, self._call))
            case StrategyStep():
                strategy = self._call.boundary.strategies[step.strategy]
                bound = strategy.bind(step.arguments)
                return (yield functools.partial(self._call.alternative, strategy.function, bound))
            case FallbackStep():
                self.degraded = True
                return (yield functools.partial(_declared, self._call.boundary.fallback))
            case _:
                assert_never(step)

    def _retried(self, step: RetryStep) -> Generator[Invocation, Any, Any]:
        error: Exception = self._call.error
        for number in range(step.attempts):
            yield self._call.sleep(wait_seconds(step, number, error))
            try:
                return (yield self._call.again)
            except Exception as still:
                error = still
                if type(still) is not type(self._call.error):
                    break
        raise error

    def _refuse_stale(self) -> None:
        for step in self._fix.steps:
            for name in used_strategies(step):
                target, digest = function_hash(self._call.boundary.strategies[name].function)
                known = self._fix.source_hash.get(target)
                if known != digest:
                    raise StepInapplicable(
                        f"stale: strategy {name!r} ({target}) changed since the fix was made; review it again",
                    )

    def _repaired(self, steps: Sequence[RepairStep]) -> Generator[Invocation, Any, Any]:
        path = self._call.path
        with self._repairs.probe(self._fix.fix_id, steps, self._call.incident.module, path) as probe:
            try:
                value = yield self._call.again
            except Exception:
                if not probe.uses:
                    raise StepInapplicable("the repairer declined this operand") from None
                raise
            # Another thread may have had the repair installed meanwhile; then that one acts, not the probe.
            if not probe.fired() and not self._call.acted(self._fix.fix_id):
                raise StepInapplicable("the call succeeded, or failed elsewhere, without the repair acting")
        self.new_path = path
        return value


def _declared(fallback: Any) -> Any:
    """Return a fallback's value; a container is copied, since the application may write into what it gets."""
    if callable(fallback):
        return fallback()
    return copy.deepcopy(fallback) if type(fallback) in _CONTAINERS else fallback
