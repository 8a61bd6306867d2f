"""The site of a boundary: the object behind one wrapped function, and what runs at each of its calls.

Without a fault a call pays for one counter item and two truth tests. Calls that are sampled, belong to a
pipeline run, or have a contract take the watched way; everything else happens after an exception.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import sys
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextvars import ContextVar
from types import FrameType
from typing import Any, Literal

from healspan.instrumentation.contract import Arguments, Check, Contract
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
from healspan.remediation.run import current_run, open_runs
from healspan.remediation.runtime import internal_error, report, runtime, start_soon, when_flushing

__all__ = ["ContextFunction", "Site"]

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
        self._context = context
        self._capture_locals = capture_locals
        self._partial_output = partial_output
        self._in_app = in_app
        register(self.boundary)
        when_flushing(self.counter.take)
        self.wrapper = self._wrap()

    def _wrap(self) -> Any:
        make = (_watched_async, _plain_async) if inspect.iscoroutinefunction(self.function) else (_watched, _plain)
        watched = self._own(make[0](self))
        wrapper: Any = self._own(make[1](self, watched))
        wrapper.boundary = self.boundary
        wrapper.strategy = self.strategy
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

    def sample(self, weight: int, args: _Args, kwargs: _Kwargs, seconds: float) -> None:
        """Take a sampled good call into the exposure."""
        # Written out where `internal_error` would do: a sample is paid for by the 63 calls before it.
        try:
            start_soon()
            key = () if self._context is None else tuple(sorted(self.keys(args, kwargs).items()))
            self.counter.samples.append((weight, key, seconds))
        except Exception as error:
            report("exposure", error)

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

    def settle(self, frame: FrameType, args: _Args, kwargs: _Kwargs, *, result: tuple[object] | None) -> None:
        """Verify and count a call in which installed repairs acted; `result` is None if it failed all the same."""
        # Written out where `internal_error` would do: a repaired call must cost microseconds.
        try:
            mine: list[FiredRepair] = take_fired(frame)
            if not mine:
                return
            valid: bool | None = None
            if result is not None:
                valid = self.contract.verify(result[0], Arguments(self._signature, args, kwargs)).valid
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


def _copied(args: _Args, kwargs: _Kwargs) -> tuple[_Args, _Kwargs] | None:
    """Return a deep copy of the arguments; None where they cannot be copied."""
    with contextlib.suppress(Exception):
        return copy.deepcopy((args, kwargs))
    return None


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
        snapshot = _copied(args, kwargs) if snapshotting else None
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
        if fired:
            site.settle(_frame(), args, kwargs, result=(result,))
        if checked:
            violation = site.violation(result, args, kwargs)
            if violation is not None:
                healing = _heal(site, violation, args, kwargs, _frame(), snapshot)
                if healing is not None:
                    return healing.value if run is None else run.returned(name, healing.value)
                if site.boundary.mode == "heal":
                    raise violation
        if weight:
            site.sample(weight, args, kwargs, seconds)
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
        snapshot = _copied(args, kwargs) if snapshotting else None
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
        if fired:
            site.settle(_frame(), args, kwargs, result=(result,))
        if checked:
            violation = site.violation(result, args, kwargs)
            if violation is not None:
                healing = await _heal_async(site, violation, args, kwargs, _frame(), snapshot)
                if healing is not None:
                    return healing.value if run is None else run.returned(name, healing.value)
                if site.boundary.mode == "heal":
                    raise violation
        if weight:
            site.sample(weight, args, kwargs, seconds)
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
    return _ended(failure, healing)


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
    return _ended(failure, healing)


def _ended(failure: Failure, healing: Healing | None) -> Healing | None:
    """Say how it ended; None if the original exception goes on."""
    with internal_error("end"):
        failure.end(runtime(), healing)
    return healing if healing is not None and healing.healed else None
