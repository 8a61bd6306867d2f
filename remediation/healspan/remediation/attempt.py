"""An attempt: one use of one fix on one failing call, step by step, the innermost first."""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Generator, Iterable, Iterator
from typing import Any, assert_never

from healspan.remediation.boundary import FailedCall, Invocation
from healspan.remediation.errors import StepInapplicable
from healspan.remediation.fix import Fix, Match
from healspan.remediation.repair import Probe, Repairs, active_repairs, current_probe, function_hash
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
    """One use of one fix on one failing call: the steps, innermost first.

    Args:
        fix: what to use.
        call: what failed.
        repairs: of this process.
        sandbox: applies adapters.
        paths: further ways to its repaired expressions, beside the call's own.
    """

    def __init__(
        self,
        fix: Fix,
        call: FailedCall,
        repairs: Repairs,
        sandbox: Sandbox,
        paths: Iterable[FramePath] = (),
    ) -> None:
        self._fix = fix
        self._call = call
        self._repairs = repairs
        self._sandbox = sandbox
        self._steps = tuple(step for step in fix.steps if isinstance(step, RepairStep))
        self._ways = tuple(dict.fromkeys((call.path, *paths))) if self._steps else ()
        self._probe: Probe | None = None
        self.degraded = False
        self.passed_by_itself = False
        """Whether the call returned when it was made again, without a repair acting."""
        self.new_path: FramePath | None = None
        self.ways: tuple[FramePath, ...] = ()
        """All ways on which its repairs have acted, or may act, once it has led to a value."""

    @property
    def acted(self) -> tuple[RepairStep, ...]:
        """The repairs that have acted so far, each with a result every time."""
        uses = self._probe.uses if self._probe is not None else []
        return tuple(
            step for step in self._steps if (mine := [use.succeeded for use in uses if use.step == step]) and all(mine)
        )

    @property
    def unstable(self) -> bool:
        """Whether a repair read its own reading as something else again."""
        return self._probe is not None and self._probe.unstable

    @contextlib.contextmanager
    def in_force(self) -> Iterator[None]:
        """Let the repairs of the fix act in this context, while the block runs.

        Raises:
            StepInapplicable, RepairDeclined, FixError: the fix does not fit the code that runs.
        """
        self._refuse_stale()
        if not self._steps:
            yield
            return
        scope = self._fix.scope
        wanted = active_repairs(
            self._fix.fix_id,
            self._steps,
            self._call.incident.module,
            self._ways,
            in_order=scope.match is not Match.BOUNDARY,
        )
        with self._repairs.probe(wanted) as self._probe:
            yield

    @contextlib.contextmanager
    def out_of_force(self) -> Iterator[None]:
        """Keep the repairs of the fix from acting in this context, while the block runs; inside `in_force`."""
        token = current_probe.set(None)
        try:
            yield
        finally:
            with contextlib.suppress(ValueError):  # closed from another context: the value ends with that one
                current_probe.reset(token)

    def run(self) -> Generator[Invocation, Any, Any]:
        """Return the value the fix leads to, or raise what the last step left raised; inside `in_force`."""
        error: Exception = self._call.error
        if self._steps:
            try:
                value = yield from self._repaired()
            except Exception as still:  # the next step handles what is still raised
                error = still
            else:
                return self._led_to(value)
        for step in self._fix.steps:
            if isinstance(step, RepairStep):
                continue
            try:
                value = yield from self._applied(step, error)
            except StepInapplicable:
                raise
            except Exception as still:  # likewise
                error = still
            else:
                return self._led_to(value)
        raise error

    def _led_to(self, value: Any) -> Any:
        if self._steps:
            self.new_path, self.ways = self._call.path, self._ways
        return value

    def _applied(
        self,
        step: RetryStep | AdapterStep | ParametersStep | StrategyStep | FallbackStep,
        error: Exception,
    ) -> Generator[Invocation, Any, Any]:
        match step:
            case RetryStep():
                return (yield from self._retried(step, error))
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

    def _retried(self, step: RetryStep, error: Exception) -> Generator[Invocation, Any, Any]:
        first = error
        for number in range(step.attempts):
            yield self._call.sleep(wait_seconds(step, number, error))
            try:
                return (yield self._call.again)
            except Exception as still:
                error = still
                if type(still) is not type(first):
                    break
        raise error

    def _refuse_stale(self) -> None:
        for step in self._fix.steps:
            for name in used_strategies(step):
                target, digest = function_hash(self._call.boundary.strategies[name].function)
                if not self._fix.made_for(target, digest):
                    raise StepInapplicable(
                        f"stale: strategy {name!r} ({target}) changed since the fix was made; review it again",
                    )

    def _repaired(self) -> Generator[Invocation, Any, Any]:
        try:
            value = yield self._call.again
        except Exception:
            if self._probe is None or not self._probe.uses:
                raise StepInapplicable("the repairer declined this operand") from None
            raise
        # Another thread may have had the repair installed meanwhile; then that one acts, not the probe.
        fired = self._probe is not None and self._probe.fired()
        if not fired and not self._call.acted(self._fix.fix_id):
            self.passed_by_itself = self._probe is None or not self._probe.uses
            raise StepInapplicable("the call succeeded, or failed elsewhere, without the repair acting")
        return value


def _declared(fallback: Any) -> Any:
    """Return a fallback's value; a container is copied, since the application may write into what it gets."""
    if callable(fallback):
        return fallback()
    return copy.deepcopy(fallback) if type(fallback) in _CONTAINERS else fallback
