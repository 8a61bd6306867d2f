"""The site of a boundary: its declaration, its counter, and what there is to do about one of its calls.

What runs at each call is elsewhere: inside the function (`hook`), or in front of it (`wrapper`, `generators`).
"""

from __future__ import annotations

import inspect
import logging
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from types import FrameType, FunctionType, TracebackType
from typing import Any, Literal

from healspan.instrumentation.background import Background, BeingHealed, copied
from healspan.instrumentation.begun import beginning, begun_fallback
from healspan.instrumentation.contract import Arguments, Check, Contract, compared
from healspan.instrumentation.declared import broken_fallback, refuse_unfit_strategy, why_unfit
from healspan.instrumentation.errors import ContractViolation
from healspan.instrumentation.exceptions import traceback_of
from healspan.instrumentation.exposure import CallCounter
from healspan.instrumentation.failure import Failure
from healspan.instrumentation.golden import GoldenSamples
from healspan.instrumentation.passing import let_go, passes_over
from healspan.instrumentation.storm import Storm, raised_at, way_of
from healspan.instrumentation.telemetry import tell_of_repair
from healspan.remediation.boundary import UNSET, Boundary, BoundaryMode, Strategy, Tunable, register
from healspan.remediation.counted import when_flushing
from healspan.remediation.errors import ConfigurationError
from healspan.remediation.modules import importable_name
from healspan.remediation.own_errors import internal_error, report
from healspan.remediation.repair import FiredRepair
from healspan.remediation.run import current_run
from healspan.remediation.runtime import running, runtime, start_soon

__all__ = ["UNSEEN", "Args", "ContextFunction", "Kwargs", "Site", "being_healed", "is_attempting"]

logger = logging.getLogger("healspan")

ContextFunction = Callable[..., Mapping[str, str]]

Args = tuple[Any, ...]
Kwargs = dict[str, Any]

UNSEEN: Any = object()
"""Stands for a result that nobody looked at."""

being_healed: ContextVar[tuple[BeingHealed, ...]] = ContextVar("healspan_being_healed", default=())
"""Boundaries whose failure is being healed in this context: a failure inside the attempt is not healed again."""


def is_attempting() -> bool:
    """Whether what runs in this context is an attempt of ours to heal something."""
    healed = being_healed.get()
    return any(not one.over for one in healed) if healed else False


_READ_AHEAD = 1_000
"""Characters of a context key taken before scrubbing, which keeps fewer."""


class Site:
    """One wrapped function: its declaration, its counter, and what to do when it fails.

    Args: as `healspan.instrumentation.error_boundary`.
    """

    def __init__(
        self,
        function: FunctionType,
        *,
        name: str,
        output: Any,
        checks: Sequence[Check],
        retry_safe: bool | Literal["snapshot"],
        context: ContextFunction | None,
        tunable: dict[str, Tunable],
        currency: str,
        fallback: Any,
        mode: BoundaryMode,
        capture_locals: bool,
        partial_output: str | None,
        in_app: tuple[str, ...],
        golden: float | None,
    ) -> None:
        self.function = function
        self._name = name
        self._refuse_awaitable(fallback, "the fallback")
        self._begin = beginning(function)
        self._signature = inspect.signature(function)
        if self._begin is not None and (output is not UNSET or checks):
            raise ConfigurationError(
                f"boundary {name!r}: a generator hands its items out before a contract could be verified; declare "
                "output or checks on a boundary around the function that consumes it",
            )
        self.contract = Contract(function, output, checks, annotated=self._begin is None)
        self.storm = Storm()
        self.counter = CallCounter(name)
        self.boundary = Boundary(
            name=name,
            function=function,
            target=f"{importable_name(function.__module__)}:{function.__qualname__}",
            retry_safe=retry_safe,
            mode=mode,
            has_contract=self.contract.declared,
            has_checks=bool(checks),
            fallback=begun_fallback(fallback, self._begin),
            tunable=tunable,
            currency=currency,
            doubts=tuple(self._doubts(output, fallback, context)),
            why_unchecked=self.contract.why_unchecked,
        )
        self.copies = retry_safe == "snapshot"
        unknown = tunable.keys() - self._signature.parameters.keys()
        if unknown:
            raise ConfigurationError(
                f"boundary {name!r}: {', '.join(sorted(unknown))} is declared tunable but no parameter",
            )
        if mode == "background" and self._begin is not None:
            raise ConfigurationError(
                f"boundary {name!r}: a call of a generator cannot be made again when its consumer has gone; "
                "let its mode be 'heal' or 'observe'",
            )
        if golden is not None and self._begin is not None:
            raise ConfigurationError(
                f"boundary {name!r}: what a generator gives cannot be kept as a golden sample; declare golden on a "
                "boundary around the function that consumes it",
            )
        self.golden = GoldenSamples(self.boundary, function, self._signature, self.contract, golden)
        self.background = Background(name, currency, function, self._signature, being_healed)
        self._context = context
        self.has_context, self.has_checks = context is not None, bool(checks)
        self._capture_locals = capture_locals
        self._partial_output = partial_output
        self._in_app = in_app
        for doubt in self.boundary.doubts:
            logger.warning("boundary %s: %s", name, doubt)
        register(self.boundary)
        alive = weakref.ref(self)
        when_flushing(self.counter.take, over=lambda: (site := alive()) is None or site.boundary.withdrawn)

    def strategy(self, name: str, *, automatic: bool = True) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Register a named alternative."""

        def add(function: Callable[..., Any]) -> Callable[..., Any]:
            self._refuse_awaitable(function, f"strategy {name!r}")
            refuse_unfit_strategy(self._name, self._signature, name, function)
            if name in self.boundary.strategies:
                raise ConfigurationError(
                    f"boundary {self.boundary.name!r} has a strategy {name!r} already; give this one another name",
                )
            self.boundary.strategies[name] = Strategy(name, function, automatic)
            return function

        return add

    def _doubts(self, output: Any, fallback: Any, context: ContextFunction | None) -> Iterator[str]:
        """Yield what of the declaration can do nothing; refused is what contradicts itself word by word.

        An annotation may be older than the boundary, and a context that fails costs nothing but its keys: neither is
        reason enough for the application not to start.
        """
        broken = broken_fallback(self.function, output, fallback) if self._begin is None else None
        if broken is not None and output is not UNSET:
            raise ConfigurationError(
                f"boundary {self._name!r}: the fallback {fallback!r:.40} breaks the declared output ({broken}), so it "
                "could never be returned; make them agree",
            )
        if broken is not None:
            yield f"the fallback breaks the return annotation ({broken}), so it is never returned; make them agree"
        unfit = None if context is None else why_unfit(self._signature, context)
        if unfit is not None:
            yield f"the context function cannot take the call's arguments ({unfit}), so there are no context keys"

    def _refuse_awaitable(self, alternative: object, what: str) -> None:
        if inspect.iscoroutinefunction(alternative) and not inspect.iscoroutinefunction(self.function):
            raise ConfigurationError(
                f"boundary {self._name!r}: {what} is a coroutine function and the boundary is none, so nobody would "
                "await it; make both of them async, or none",
            )

    def keys(self, args: Args, kwargs: Kwargs) -> dict[str, str]:
        """Return the context keys of a call; a context function that fails gives none."""
        keys: dict[str, str] = {}
        if self._context is not None:
            with internal_error("context", of=f"boundary {self._name}"):
                found = self._context(*args, **kwargs).items()
                keys = {str(key)[:_READ_AHEAD]: str(value)[:_READ_AHEAD] for key, value in found}
        return keys

    def sample(self, weight: int, args: Args, kwargs: Kwargs, seconds: float) -> None:
        """Take a sampled good call into the exposure."""
        # Written out where `internal_error` would do: a sample is paid for by the 63 calls before it.
        try:
            start_soon()
            key = () if self._context is None else tuple(sorted(self.keys(args, kwargs).items()))
            self.counter.samples.append((weight, key, seconds))
        except Exception as error:
            report("exposure", error)

    def violation(self, result: object, args: Args, kwargs: Kwargs) -> ContractViolation | None:
        """Return the error that a result gives rise to, if it breaks the contract."""
        # Written out where `internal_error` would do: every good call of a boundary with a contract comes here.
        try:
            verdict = self.contract.verify(result, Arguments(self._signature, args, kwargs))
            if verdict.valid is False and not self.boundary.withdrawn and not runtime().disabled:
                return ContractViolation(f"{self.boundary.name}: {verdict.reason}")
        except Exception as error:
            report("contract", error)
        return None

    def reach(self) -> bool:
        """Note in the pipeline run of this call, if it has one, that the boundary was reached.

        Returns:
            Whether the run wants to know what the call returns.
        """
        run = current_run.get()
        if run is None:
            return False
        run.reach(self.boundary.name)
        return run.results is not None

    def snapshot(self, args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs] | None:
        """Return a deep copy of the arguments; None where none is wanted, or they cannot be copied."""
        return copied(args, kwargs) if self.copies else None

    def passes_over(self, error: Exception) -> bool:
        """Tell whether a failure is one of a storm that goes on as it was; asked before anything is made of it."""
        return passes_over(self.storm, self.boundary, error)

    def passes_over_again(self, error: BaseException, trace: TracebackType | None) -> bool:
        """Tell whether a failure is sure to be passed over, by the way on which `passes_over` has met others.

        Args:
            error: what has left the function.
            trace: its traceback, from the function's own frame on.
        """
        # Written out, and with as few functions and objects as will do: a storm comes here with all its failures, and
        # what is done between two requests' own work is not in the processor's caches any more.
        try:
            storm = self.storm
            recalled = storm.ways.get(way_of(error, trace))
            if recalled is None:
                return False
            known, live = recalled.known, running()
            serial, patterns, until = known.sure
            if live is None or live.settings.disabled:
                return False
            if serial != live.index.snapshot.serial or patterns is not known.patterns:
                return False
            if storm.clock() >= until or self.boundary.withdrawn:
                return False
            let_go(error, known, self.boundary.name, live, recalled.steps)
        except Exception as own:
            report("capture", own)
            return False
        return True

    def failure(
        self,
        error: Exception,
        args: Args,
        kwargs: Kwargs,
        frame: FrameType,
        snapshot: tuple[Args, Kwargs] | None = None,
        *,
        observe: bool = False,
    ) -> Failure | None:
        """Capture a failing call and make its incident durable; None if it must go on untouched."""
        with internal_error("capture"):
            live = runtime()
            if live.disabled or self.boundary.withdrawn:
                return None
            self.boundary.has_contract = self.contract.checkable
            failure = Failure(
                self.boundary,
                error,
                traceback_of(error),
                arguments=Arguments(self._signature, args, kwargs),
                run=current_run.get(),
                context_keys=self.keys(args, kwargs),
                in_app=self._in_app,
                capture_locals=self._capture_locals,
                partial_output=self._partial_output,
                contract=self.contract,
                wrapper_frame=frame,
                call=(args, kwargs),
                snapshot=snapshot,
                begin=self._begin,
            )
            if observe or self.boundary.mode == "observe":
                failure.observe(live)
                self.storm.ended(raised_at(error), failure.incident.pattern)
            elif failure.record(live):
                return failure
        return None

    def settle(
        self,
        uses: Sequence[FiredRepair],
        args: Args,
        kwargs: Kwargs,
        *,
        result: tuple[object] | None,
    ) -> None:
        """Verify and count a call in which installed repairs acted.

        Args:
            uses: what acted.
            args: positional arguments of the call.
            kwargs: its keyword arguments.
            result: what the call returned, `UNSEEN` where nobody looked; None if it failed all the same.
        """
        # Written out where `internal_error` would do: a repaired call must cost microseconds.
        try:
            valid: bool | None = None
            if result is not None and result[0] is not UNSEEN:
                arguments = Arguments(self._signature, args, kwargs)
                declared = self.contract.verify_healed(result[0], arguments)
                valid = compared(declared, self.boundary, result[0], arguments).valid
            runtime().credit.repaired(
                self.boundary.name,
                uses,
                self.keys(args, kwargs),
                current_run.get(),
                resolved=result is not None and valid is not False,
                valid=valid,
                frame=uses[0].frame,
            )
            if result is not None and valid is not False:
                tell_of_repair(self.boundary.name, uses[0].fix_id)
        except Exception as error:
            report("settle", error)
