"""A failing call: what the boundary captured of it and what the engine may ask of it."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import inspect
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import FrameType, TracebackType
from typing import Any

from healspan.instrumentation.capture import capture
from healspan.instrumentation.contract import Arguments, Contract, compared
from healspan.instrumentation.exceptions import traceback_of
from healspan.instrumentation.frames import frame_path
from healspan.instrumentation.notes import name_incident
from healspan.instrumentation.signals.gathering import Place, place_of
from healspan.instrumentation.signals.mark import marks_of
from healspan.instrumentation.signals.watcher import watcher
from healspan.instrumentation.state import registered_state
from healspan.remediation.boundary import UNSET, Boundary, ContractResult, FailingFrame
from healspan.remediation.engine import Healing
from healspan.remediation.errors import StepInapplicable
from healspan.remediation.given import given, steady
from healspan.remediation.incident import Incident, IncidentStatus, Resolution, Tier
from healspan.remediation.own_errors import internal_error
from healspan.remediation.repair import FiredRepair, take_fired, way_down
from healspan.remediation.reservoir import GoodCall, used_up
from healspan.remediation.run import Failed, Run, current_run
from healspan.remediation.runtime import Runtime
from healspan.remediation.scrubbing import Scrubber
from healspan.remediation.step import FramePath

__all__ = ["Failure"]

_FIRST_LOOK, _LAST_LOOK = 0.001, 0.05
"""Seconds between two looks whether a flight has landed."""


class Failure:
    """Implements `healspan.remediation.boundary.FailedCall` for one exception that left a boundary's function."""

    asynchronous = False

    def __init__(
        self,
        boundary: Boundary,
        error: Exception,
        traceback: TracebackType | None,
        *,
        arguments: Mapping[str, Any],
        run: Run | None,
        context_keys: Mapping[str, str] | None = None,
        in_app: tuple[str, ...] = (),
        capture_locals: bool = False,
        partial_output: str | None = None,
        contract: Contract | None = None,
        call: tuple[tuple[Any, ...], dict[str, Any]] = ((), {}),
        snapshot: tuple[tuple[Any, ...], dict[str, Any]] | None = None,
        wrapper_frame: FrameType | None = None,
        begin: Callable[[Any], Any] | None = None,
    ) -> None:
        self.started = time.perf_counter()
        self.boundary = boundary
        self.error = error
        self.own_run = run is None
        self.run = run or Run(None, context_keys=context_keys)
        self._arguments = arguments
        self._context_keys = dict(context_keys or {})
        self._contract = contract
        self._call = call
        self._snapshot = snapshot
        self._wrapper_frame = wrapper_frame
        self._begin = begin
        self._scrubber = Scrubber()
        self._others: list[FiredRepair] = []
        self._in_app = in_app
        self._capture_locals = capture_locals
        self._traceback = traceback
        self._partial_output = partial_output
        self._frames: tuple[FailingFrame, ...] = ()
        self._path: FramePath = ()
        self._incident: Incident | None = None
        self._live: Runtime | None = None
        self.refuted: Mapping[str, str] = {}
        """Fixes whose installed repairs acted in this call and led to a value that broke the contract, and why."""
        self._through: Callable[..., Any] | None = None
        """Makes the call in the place of the boundary's function, where no frame of the boundary is on the stack."""

    @property
    def incident(self) -> Incident:
        """The captured failure."""
        if self._incident is None:
            raise RuntimeError("the failure has not been recorded yet; call record() first")
        return self._incident

    @property
    def frames(self) -> tuple[FailingFrame, ...]:
        """Frames from the boundary's function down to the failing one."""
        return self._frames

    @property
    def path(self) -> FramePath:
        """The way from the boundary down to the failing frame."""
        return self._path

    @property
    def arguments(self) -> Mapping[str, Any]:
        """The call's arguments by name, as they were before the call where the boundary keeps a snapshot."""
        if self._snapshot is None or self.boundary.function is None:
            return self._arguments
        return Arguments(inspect.signature(self.boundary.function), *self._snapshot)

    @property
    def output(self) -> Any:
        """The declared type of the result; `UNSET` where none is."""
        return UNSET if self._contract is None else self._contract.output

    def record(self, live: Runtime) -> bool:
        """Capture the incident and make it durable; False if it could not be, and so must not be healed."""
        self._capture(live)
        self.run.note(self._failed(self.incident))
        live.metrics.incident(self.incident)
        if watcher.active:
            marks, error_id = marks_of(self.error), str(self.incident.error_id)
            watcher.captured(_place(self.incident), id(self._wrapper_frame), marks, error_id)
        return live.spool.append("incident", self.incident)

    def _capture(self, live: Runtime) -> None:
        self._live = live
        self._scrubber = live.scrubber
        captured = capture(
            self.error,
            self._traceback,
            module=self.boundary.name,
            target=self.boundary.target,
            in_app=(*live.settings.in_app, *self._in_app),
            arguments=self._arguments,
            context_keys=self._context_keys,
            pipeline=self.run.pipeline,
            run_id=self.run.run_id,
            capture_locals=self._capture_locals,
            scrubber=live.scrubber,
            resource=live.resource,
            state=registered_state(),
            partial_output=self._partial_value(),
        )
        self._incident = captured.incident
        self._frames = tuple(
            FailingFrame(
                code=frame.code,
                module=frame.record.module,
                qualname=frame.record.function,
                position=frame.positions,
                in_app=frame.record.in_app,
            )
            for frame in captured.frames
        )
        self._path = frame_path(captured.frames)

    def _failed(self, incident: Incident) -> Failed:
        way: FramePath = ()
        within: tuple[int, ...] = ()
        if self.run.pipeline is not None and self._wrapper_frame is not None:
            way, within = way_down(self._wrapper_frame.f_back, self.run.opened_in)
        args, kwargs = self._call
        values = (*args, *(part for pair in sorted(kwargs.items()) for part in pair))
        return Failed(
            pattern=incident.pattern.exact,
            boundary=self.boundary.name,
            error_id=incident.error_id,
            error_type=incident.error_type,
            call=id(self._wrapper_frame) if self._wrapper_frame is not None else 0,
            within=within,
            given=given(values),
            steady=steady(values),
            way=way,
        )

    def observe(self, live: Runtime) -> None:
        """Capture only; for a human to look at, where the boundary would be healed but cannot be any more."""
        self._leave(live, IncidentStatus.OBSERVED if self.boundary.mode == "observe" else IncidentStatus.ESCALATED)

    def escalate(self, live: Runtime) -> None:
        """Capture what no fix may heal, for a human."""
        self._leave(live, IncidentStatus.ESCALATED)

    def _leave(self, live: Runtime, status: IncidentStatus) -> None:
        if not self.record(live):
            return
        incident = self.incident
        resolution = Resolution(
            error_id=incident.error_id,
            timestamp=incident.timestamp,
            status=status,
            tier=Tier.HUMAN,
        )
        live.spool.append("resolution", resolution)
        self.end(live, Healing(resolution))

    def end(self, live: Runtime, healing: Healing | None) -> None:
        """Close the run of this call if it is its own, count, and tell the exception which incident it is."""
        if self._others:
            healed = healing is not None and healing.healed
            run = None if self.own_run else self.run
            live.credit.repaired(self.boundary.name, self._others, self._context_keys, run, resolved=healed, valid=None)
        if self.own_run:
            live.credit.close_run(self.run)
        if healing is not None:
            live.metrics.healing(self.incident, healing.resolution)
        if healing is None or not healing.healed:
            with internal_error("note"):
                name_incident(self.error, str(self.incident.error_id))

    def _partial_value(self) -> object:
        traceback = self._traceback
        if self._partial_output is None:
            return None
        while traceback is not None:
            frame = traceback.tb_frame
            if self.boundary.function is not None and frame.f_code.co_name == self.boundary.function.__name__:
                return frame.f_locals.get(self._partial_output)
            traceback = traceback.tb_next
        return None

    # What the engine may ask

    @property
    def repeatable(self) -> str | None:
        """None if the call may be made again; otherwise why not."""
        if not self.boundary.retry_safe:
            return f"boundary {self.boundary.name!r} is not declared retry_safe"
        if self.boundary.retry_safe == "snapshot" and self._snapshot is None:
            return "its arguments could not be copied before the call"
        args, kwargs = self._call
        for value in (*args, *kwargs.values()):
            if used_up(value):
                return f"an argument of type {type(value).__qualname__} is used up by the first call"
        return None

    def _function(self) -> Callable[..., Any]:
        function = self._through or self.boundary.function
        if function is None:
            raise RuntimeError("a 'with' block cannot be called again")
        return function

    def again(self) -> Any:
        """Make the original call again."""
        return self.alternative(self._function(), {})

    def replay(self, good: GoodCall) -> Any:
        """Make a call that is known to be good again, with copies of its arguments."""
        args, kwargs = good.arguments()
        if self.asynchronous:
            return _outside_any_run_async(self._function(), args, kwargs)
        return _outside_any_run(self._function(), args, kwargs)

    def later(
        self,
        call: tuple[tuple[Any, ...], dict[str, Any]],
        arguments: Mapping[str, Any],
        through: Callable[..., Any],
    ) -> Failure:
        """Return this call as it can be looked into when its caller has gone.

        Args:
            call: copies of its arguments; each use gets a further copy.
            arguments: the same by name.
            through: makes the call below a frame that counts as the boundary's.
        """
        further = copy.copy(self)
        further._call = further._snapshot = call
        further._arguments = arguments
        further._through = through
        further._wrapper_frame = None
        further._others = []
        further.own_run, further.run = True, Run(None, context_keys=self._context_keys)
        return further

    def after(self, error: Exception) -> Failure:
        """Return this call as it failed when it was made again with repairs in force; nothing is written down."""
        if self._live is None:
            raise RuntimeError("the failure has not been recorded yet; call record() first")
        # The same call in everything but what it raised; what the engine asks of it goes to the original's own parts.
        further = copy.copy(self)
        further.error = error
        further._traceback = traceback_of(error)
        further._partial_output = None
        further._capture(self._live)
        return further

    def again_with(self, arguments: Mapping[str, Any]) -> Any:
        """Make the original call again with other values for some arguments.

        Raises:
            StepInapplicable: these are the values that the call has failed with.
        """
        function = self._function()
        args, kwargs = self._call if self._snapshot is None else copy.deepcopy(self._snapshot)
        bound = inspect.signature(self.boundary.function or function).bind(*args, **kwargs)
        bound.apply_defaults()
        given = bound.arguments
        if all(type(given.get(name)) is type(value) and given[name] == value for name, value in arguments.items()):
            raise StepInapplicable("the call has failed with these values already")
        bound.arguments.update(arguments)
        return self._begun(function(*bound.args, **bound.kwargs))

    def sleep(self, seconds: float) -> Callable[[], Any]:
        """Return an invocation that waits, without blocking an event loop."""
        if self.asynchronous:
            return lambda: asyncio.sleep(seconds)
        return lambda: time.sleep(seconds)

    def alternative(self, function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
        """Call another function with the same arguments (and these keywords)."""
        # Each use gets a copy of its own: a failed attempt may have changed what it was given.
        args, kwargs = self._call if self._snapshot is None else copy.deepcopy(self._snapshot)
        return self._begun(function(*args, **kwargs, **arguments))

    def _begun(self, result: Any) -> Any:
        """Let a generator show its first item: until then it has proven nothing."""
        return result if self._begin is None else self._begin(result)

    def pause(self, event: threading.Event, seconds: float) -> Callable[[], Any]:
        """Return an invocation that waits for an event without blocking an event loop."""
        if self.asynchronous:
            return lambda: _landing(event, seconds)
        return lambda: event.wait(seconds)

    def acted(self, fix_id: str) -> bool:
        """Tell whether an installed repair of this fix has acted, with a result, in a call made again."""
        if self._wrapper_frame is None:
            return False
        uses = take_fired(self._wrapper_frame)
        self._others += [use for use in uses if use.fix_id != fix_id]
        mine = [use.succeeded for use in uses if use.fix_id == fix_id]
        return bool(mine) and all(mine)

    def verify(self, value: object) -> ContractResult:
        """Check a value against the contract, and against what good calls have in common."""
        result = ContractResult(None, "the boundary declares no contract")
        if self._contract is not None:
            result = self._contract.verify_healed(value, self._arguments)
        result = compared(result, self.boundary, value, self._arguments)
        # The words may be a validator's of the application, with the value in them.
        return replace(result, reason=self._scrubber.scrub_text(result.reason, 500))


def _outside_any_run(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a function; what happens in it is no part of the caller's pipeline."""
    token = current_run.set(None)
    try:
        return function(*args, **kwargs)
    finally:
        current_run.reset(token)


async def _outside_any_run_async(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    token = current_run.set(None)
    try:
        return await function(*args, **kwargs)
    finally:
        with contextlib.suppress(ValueError):  # closed from another context: the value ends with that one
            current_run.reset(token)


async def _landing(event: threading.Event, seconds: float) -> None:
    """Wait for an event of another thread, or task, on the loop: pool threads are few, and the application's."""
    until, look = time.monotonic() + seconds, _FIRST_LOOK
    while not event.is_set() and time.monotonic() < until:
        await asyncio.sleep(look)
        look = min(2 * look, _LAST_LOOK)


def _place(incident: Incident) -> Place:
    innermost = incident.frames[-1] if incident.frames else None
    return place_of(
        int(incident.trace_id or "0", 16),
        incident.error_type,
        innermost.file if innermost is not None else "",
        innermost.line if innermost is not None else 0,
    )
