"""The site of a boundary: the object behind one wrapped function, and what runs at each of its calls.

Without a fault a call pays for one counter item and two truth tests. Calls that are sampled, belong to a
pipeline run, or have a contract take the watched way; everything else happens after an exception.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import sys
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextvars import ContextVar
from types import FrameType
from typing import Any, Literal

from healspan.instrumentation.background import Background, below, copied
from healspan.instrumentation.contract import Arguments, Check, Contract, compared
from healspan.instrumentation.errors import ContractViolation
from healspan.instrumentation.exceptions import traceback_of
from healspan.instrumentation.exposure import CallCounter
from healspan.instrumentation.failure import Failure
from healspan.instrumentation.wrapper import compile_wrapper
from healspan.remediation.boundary import Boundary, BoundaryMode, Strategy, Tunable, register
from healspan.remediation.driver import drive, drive_async
from healspan.remediation.engine import Healing
from healspan.remediation.errors import ConfigurationError
from healspan.remediation.repair import FiredRepair, fired, register_boundary, take_fired
from healspan.remediation.reservoir import Reservoir
from healspan.remediation.run import current_run, open_runs
from healspan.remediation.runtime import internal_error, report, runtime, start_soon, switched_off, when_flushing

__all__ = ["ContextFunction", "Site"]

logger = logging.getLogger("healspan")

ContextFunction = Callable[..., Mapping[str, str]]

_Args = tuple[Any, ...]
_Kwargs = dict[str, Any]

_healing: ContextVar[frozenset[str]] = ContextVar("healspan_healing", default=frozenset())
"""Boundaries whose failure is being healed in this context: a failure inside the attempt is not healed again."""

_READ_AHEAD = 1_000
"""Characters of a context key taken before scrubbing, which keeps fewer."""

_clock = time.perf_counter
_frame = sys._getframe


class Site:
    """One wrapped function: its declaration, its counter, and what to do when it fails.

    Args: as `healspan.instrumentation.error_boundary`.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str,
        output: Any,
        checks: Sequence[Check],
        retry_safe: bool | Literal["snapshot"],
        context: ContextFunction | None,
        tunable: dict[str, Tunable],
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
        self.contract = Contract(function, output, checks)
        self.counter = CallCounter(name)
        self.boundary = Boundary(
            name=name,
            function=function,
            target=f"{function.__module__}:{function.__qualname__}",
            retry_safe=retry_safe,
            mode=mode,
            has_contract=self.contract.declared,
            has_checks=bool(checks),
            fallback=fallback,
            tunable=tunable,
        )
        self._signature = inspect.signature(function)
        unknown = tunable.keys() - self._signature.parameters.keys()
        if unknown:
            raise ConfigurationError(
                f"boundary {name!r}: {', '.join(sorted(unknown))} is declared tunable but no parameter",
            )
        if golden is not None:
            self.boundary.golden = Reservoir(self._signature, golden)
        self._context = context
        self._capture_locals = capture_locals
        self._partial_output = partial_output
        self._in_app = in_app
        register(self.boundary)
        when_flushing(self.counter.take)
        self.background = Background(name, self._own(below(function)), self._signature, _healing)
        self.wrapper = self._wrap()

    def _wrap(self) -> Any:
        make = (_watched_async, _plain_async) if inspect.iscoroutinefunction(self.function) else (_watched, _plain)
        watched = self._own(make[0](self))
        wrapper: Any = self._own(make[1](self, watched))
        wrapper.boundary = self.boundary
        wrapper.strategy = self.strategy
        wrapper.golden = self.golden
        return wrapper

    def _own(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Give a function a code object of its own, by which the guard knows this boundary on a stack."""
        function.__code__ = function.__code__.replace(co_name=f"boundary {self.boundary.name}")
        register_boundary(function.__code__, self.boundary.name)
        return function

    def strategy(self, name: str, *, automatic: bool = True) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Register a named alternative."""

        def add(function: Callable[..., Any]) -> Callable[..., Any]:
            self._refuse_awaitable(function, f"strategy {name!r}")
            if name in self.boundary.strategies:
                raise ConfigurationError(
                    f"boundary {self.boundary.name!r} has a strategy {name!r} already; give this one another name",
                )
            self.boundary.strategies[name] = Strategy(name, function, automatic)
            return function

        return add

    def _refuse_awaitable(self, alternative: object, what: str) -> None:
        if inspect.iscoroutinefunction(alternative) and not inspect.iscoroutinefunction(self.function):
            raise ConfigurationError(
                f"boundary {self._name!r}: {what} is a coroutine function and the boundary is none, so nobody would "
                "await it; make both of them async, or none",
            )

    def keys(self, args: _Args, kwargs: _Kwargs) -> dict[str, str]:
        """Return the context keys of a call; a context function that fails gives none."""
        keys: dict[str, str] = {}
        if self._context is not None:
            with internal_error("context"):
                found = self._context(*args, **kwargs).items()
                keys = {str(key)[:_READ_AHEAD]: str(value)[:_READ_AHEAD] for key, value in found}
        return keys

    def sample(
        self,
        weight: int,
        args: _Args,
        kwargs: _Kwargs,
        seconds: float,
        good: tuple[_Args, _Kwargs] | None,
        result: object,
    ) -> None:
        """Take a sampled good call into the exposure, and keep it as a golden sample if it was copied for that."""
        # Written out where `internal_error` would do: a sample is paid for by the 63 calls before it.
        try:
            start_soon()
            key = () if self._context is None else tuple(sorted(self.keys(args, kwargs).items()))
            self.counter.samples.append((weight, key, seconds))
            if good is not None and self.boundary.golden is not None:
                self.boundary.golden.keep(good, result)
        except Exception as error:
            report("exposure", error)

    def golden(self, *args: Any, **kwargs: Any) -> Any:
        """Make one call that is known to be good, and keep it."""
        if self.boundary.golden is None:
            self.boundary.golden = Reservoir(self._signature)
        start_soon()
        call = self.boundary.golden.copied(args, kwargs)
        result = self.function(*args, **kwargs)
        if inspect.iscoroutine(result):
            return self._golden_async(call, result, args, kwargs)
        return self._known_good(call, result, args, kwargs)

    async def _golden_async(
        self,
        call: tuple[_Args, _Kwargs] | None,
        result: Coroutine[Any, Any, Any],
        args: _Args,
        kwargs: _Kwargs,
    ) -> Any:
        return self._known_good(call, await result, args, kwargs)

    def _known_good(self, call: tuple[_Args, _Kwargs] | None, result: Any, args: _Args, kwargs: _Kwargs) -> Any:
        verdict = self.contract.verify(result, Arguments(self._signature, args, kwargs))
        if verdict.valid is False:
            raise ContractViolation(f"{self._name}: a call that is to be known as good is not: {verdict.reason}")
        reservoir = self.boundary.golden
        if reservoir is not None and (call is None or not reservoir.keep(call, result)):
            logger.warning("a good call of boundary %s is not kept: %s", self._name, reservoir.problem or "no room")
        return result

    def good_call(self, weight: int, args: _Args, kwargs: _Kwargs) -> tuple[_Args, _Kwargs] | None:
        """Return copies of a sampled call's arguments if it is to be kept, should it turn out good."""
        reservoir = self.boundary.golden
        if reservoir is None or not reservoir.rate or not reservoir.wants(weight) or switched_off():
            return None
        with internal_error("golden"):
            return reservoir.copied(args, kwargs)
        return None

    def violation(self, result: object, args: _Args, kwargs: _Kwargs) -> ContractViolation | None:
        """Return the error that a result gives rise to, if it breaks the contract."""
        error: ContractViolation | None = None
        with internal_error("contract"):
            verdict = self.contract.verify(result, Arguments(self._signature, args, kwargs))
            if verdict.valid is False and not runtime().disabled:
                error = ContractViolation(f"{self.boundary.name}: {verdict.reason}")
        return error

    def failure(
        self,
        error: Exception,
        args: _Args,
        kwargs: _Kwargs,
        frame: FrameType,
        snapshot: tuple[_Args, _Kwargs] | None,
    ) -> Failure | None:
        """Capture a failing call and make its incident durable; None if it must go on untouched."""
        with internal_error("capture"):
            live = runtime()
            if live.disabled or self.boundary.name in _healing.get():
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
            )
            if self.boundary.mode == "observe":
                failure.observe(live)
            elif failure.record(live):
                return failure
        return None

    def settle(self, frame: FrameType, args: _Args, kwargs: _Kwargs, *, result: tuple[object] | None) -> bool:
        """Verify and count a call in which installed repairs acted; `result` is None if it failed all the same.

        Returns:
            Whether any repair acted.
        """
        # Written out where `internal_error` would do: a repaired call must cost microseconds.
        try:
            mine: list[FiredRepair] = take_fired(frame)
            if not mine:
                return False
            valid: bool | None = None
            if result is not None:
                arguments = Arguments(self._signature, args, kwargs)
                declared = self.contract.verify(result[0], arguments)
                valid = compared(declared, self.boundary, result[0], arguments).valid
            runtime().repaired(
                self.boundary.name,
                mine,
                self.keys(args, kwargs),
                current_run.get(),
                resolved=result is not None and valid is not False,
                valid=valid,
                frame=frame,
            )
        except Exception as error:
            report("settle", error)
        return True


def _plain(site: Site, watched: Callable[..., Any]) -> Callable[..., Any]:
    function, tick = site.function, site.counter.tick
    if site.contract.declared or site.boundary.retry_safe == "snapshot":

        @functools.wraps(function)
        def always_watched(*args: Any, **kwargs: Any) -> Any:
            return watched(tick(), args, kwargs)

        return always_watched

    return compile_wrapper(
        function,
        {
            "tick": tick,
            "watched": watched,
            "settle": site.settle,
            "heal": functools.partial(_heal_plain, site),
            "frame": _frame,
            "open_runs": open_runs,
            "fired": fired,
            "take_fired": take_fired,
            "Exception": Exception,
            "BaseException": BaseException,
        },
    )


def _watched(site: Site) -> Callable[[int, _Args, _Kwargs], Any]:
    function, checked, name = site.function, site.contract.declared, site.boundary.name
    snapshotting = site.boundary.retry_safe == "snapshot"

    def watched(mark: int, args: _Args, kwargs: _Kwargs) -> Any:
        weight = site.counter.zero() if not mark else 0
        run = current_run.get()
        if run is not None:
            run.reach(name)
        snapshot = copied(args, kwargs) if snapshotting else None
        good = site.good_call(weight, args, kwargs) if weight else None
        started = _clock()
        try:
            result = function(*args, **kwargs)
        except Exception as error:
            site.settle(_frame(), args, kwargs, result=None)
            healing = _heal(site, error, args, kwargs, _frame(), snapshot)
            if healing is None:
                raise
            return healing.value if run is None else run.returned(name, healing.value)
        except BaseException:
            take_fired(_frame())
            raise
        seconds = _clock() - started
        acted = site.settle(_frame(), args, kwargs, result=(result,)) if fired else False
        if checked:
            violation = site.violation(result, args, kwargs)
            if violation is not None:
                healing = _heal(site, violation, args, kwargs, _frame(), snapshot)
                if healing is not None:
                    return healing.value if run is None else run.returned(name, healing.value)
                if site.boundary.mode == "heal":
                    raise violation
        if weight:
            site.sample(weight, args, kwargs, seconds, None if acted else good, result)
        return result if run is None or run.results is None else run.returned(name, result)

    return watched


def _plain_async(
    site: Site,
    watched: Callable[..., Coroutine[Any, Any, Any]],
) -> Callable[..., Coroutine[Any, Any, Any]]:
    # An await costs more than the watched way, so one way is enough.
    tick = site.counter.tick

    @functools.wraps(site.function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return await watched(tick(), args, kwargs)

    return wrapper


def _watched_async(site: Site) -> Callable[[int, _Args, _Kwargs], Coroutine[Any, Any, Any]]:
    function, checked, name = site.function, site.contract.declared, site.boundary.name
    snapshotting = site.boundary.retry_safe == "snapshot"

    async def watched(mark: int, args: _Args, kwargs: _Kwargs) -> Any:
        weight = site.counter.zero() if not mark else 0
        run = current_run.get()
        if run is not None:
            run.reach(name)
        snapshot = copied(args, kwargs) if snapshotting else None
        good = site.good_call(weight, args, kwargs) if weight else None
        started = _clock()
        try:
            result = await function(*args, **kwargs)
        except Exception as error:
            site.settle(_frame(), args, kwargs, result=None)
            healing = await _heal_async(site, error, args, kwargs, _frame(), snapshot)
            if healing is None:
                raise
            return healing.value if run is None else run.returned(name, healing.value)
        except BaseException:
            take_fired(_frame())
            raise
        seconds = _clock() - started
        acted = site.settle(_frame(), args, kwargs, result=(result,)) if fired else False
        if checked:
            violation = site.violation(result, args, kwargs)
            if violation is not None:
                healing = await _heal_async(site, violation, args, kwargs, _frame(), snapshot)
                if healing is not None:
                    return healing.value if run is None else run.returned(name, healing.value)
                if site.boundary.mode == "heal":
                    raise violation
        if weight:
            site.sample(weight, args, kwargs, seconds, None if acted else good, result)
        return result if run is None or run.results is None else run.returned(name, result)

    return watched


def _heal_plain(site: Site, error: Exception, args: _Args, kwargs: _Kwargs, frame: FrameType) -> Healing | None:
    return _heal(site, error, args, kwargs, frame, None)


def _heal(
    site: Site,
    error: Exception,
    args: _Args,
    kwargs: _Kwargs,
    frame: FrameType,
    snapshot: tuple[_Args, _Kwargs] | None,
) -> Healing | None:
    failure = site.failure(error, args, kwargs, frame, snapshot)
    if failure is None:
        return None
    healing: Healing | None = None
    token = _healing.set(_healing.get() | {site.boundary.name})
    try:
        with internal_error("heal"):
            healing = drive(runtime().engine.heal(failure))
    finally:
        take_fired(frame)  # what a call made again has left, where nobody asked for it
        _healing.reset(token)
    return _ended(site, failure, healing, snapshot or (args, kwargs))


async def _heal_async(
    site: Site,
    error: Exception,
    args: _Args,
    kwargs: _Kwargs,
    frame: FrameType,
    snapshot: tuple[_Args, _Kwargs] | None,
) -> Healing | None:
    failure = site.failure(error, args, kwargs, frame, snapshot)
    if failure is None:
        return None
    failure.asynchronous = True
    healing: Healing | None = None
    token = _healing.set(_healing.get() | {site.boundary.name})
    try:
        with internal_error("heal"):
            healing = await drive_async(runtime().engine.heal(failure))
    finally:
        take_fired(frame)
        with contextlib.suppress(ValueError):  # closed from another context: the value ends with that one
            _healing.reset(token)
    return _ended(site, failure, healing, snapshot or (args, kwargs))


def _ended(
    site: Site,
    failure: Failure,
    healing: Healing | None,
    call: tuple[_Args, _Kwargs],
) -> Healing | None:
    """Say how it ended; None if the original exception goes on."""
    with internal_error("end"):
        failure.end(runtime(), healing)
    if healing is not None and healing.healed:
        return healing
    if site.boundary.mode == "background":
        site.background.look(failure, *call)
    return None
