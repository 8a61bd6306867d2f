"""A failing call: what the boundary captured of it and what the engine may ask of it."""

from __future__ import annotations

import asyncio
import copy
import inspect
import io
import threading
import time
from collections.abc import Callable, Mapping
from types import FrameType, TracebackType
from typing import Any

from healspan.instrumentation.capture import capture
from healspan.instrumentation.contract import Contract
from healspan.instrumentation.frames import frame_path
from healspan.remediation.boundary import Boundary, ContractResult, FailingFrame
from healspan.remediation.engine import Healing
from healspan.remediation.incident import Incident, IncidentStatus, Resolution, Tier
from healspan.remediation.repair import FiredRepair, take_fired
from healspan.remediation.run import Run
from healspan.remediation.runtime import Runtime, internal_error
from healspan.remediation.scrubbing import Scrubber
from healspan.remediation.step import FramePath

__all__ = ["Failure"]

_NOTE = "healspan: incident "
_MOST_NOTES = 8
"""Boundaries an exception can pass, each with a note; one object raised for ever keeps the latest of them."""

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

    def record(self, live: Runtime) -> bool:
        """Capture the incident and make it durable; False if it could not be, and so must not be healed."""
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
        self.run.failed(self._incident.pattern.exact, self.boundary.name, self.error)
        live.metrics.incident(self._incident)
        return live.spool.append("incident", self._incident)

    def observe(self, live: Runtime) -> None:
        """Capture only; for a human to look at, where the boundary would be healed but cannot be any more."""
        if not self.record(live):
            return
        incident = self.incident
        resolution = Resolution(
            error_id=incident.error_id,
            timestamp=incident.timestamp,
            status=IncidentStatus.OBSERVED if self.boundary.mode == "observe" else IncidentStatus.ESCALATED,
            tier=Tier.HUMAN,
        )
        live.spool.append("resolution", resolution)
        self.end(live, Healing(resolution))

    def end(self, live: Runtime, healing: Healing | None) -> None:
        """Close the run of this call if it is its own, count, and tell the exception which incident it is."""
        if self._others:
            healed = healing is not None and healing.healed
            run = None if self.own_run else self.run
            live.repaired(self.boundary.name, self._others, self._context_keys, run, resolved=healed, valid=None)
        if self.own_run:
            live.close_run(self.run)
        if healing is not None:
            live.metrics.healing(self.incident, healing.resolution)
        if healing is None or not healing.healed:
            note = f"{_NOTE}{self.incident.error_id}; see 'healspan incidents show {self.incident.error_id}'"
            with internal_error("note"):
                _forget_notes(self.error)
                # The class's own method: an instance may carry a hostile one.
                BaseException.add_note(self.error, note)

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
            if inspect.isgenerator(value) or isinstance(value, io.IOBase) or hasattr(type(value), "__next__"):
                return f"an argument of type {type(value).__qualname__} is used up by the first call"
        return None

    def again(self) -> Any:
        """Make the original call again."""
        function = self.boundary.function
        if function is None:
            raise RuntimeError("a 'with' block cannot be called again")
        return self.alternative(function, {})

    def again_with(self, arguments: Mapping[str, Any]) -> Any:
        """Make the original call again with other values for some arguments."""
        function = self.boundary.function
        if function is None:
            raise RuntimeError("a 'with' block cannot be called again")
        args, kwargs = self._call if self._snapshot is None else copy.deepcopy(self._snapshot)
        bound = inspect.signature(function).bind(*args, **kwargs)
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
        """Check a value against the contract."""
        if self._contract is None:
            return ContractResult(None, "the boundary declares no contract")
        result = self._contract.verify(value, self._arguments)
        # The words may be a validator's of the application, with the value in them.
        return ContractResult(result.valid, self._scrubber.scrub_text(result.reason, 500))


async def _landing(event: threading.Event, seconds: float) -> None:
    """Wait for an event of another thread, or task, on the loop: pool threads are few, and the application's."""
    until, look = time.monotonic() + seconds, _FIRST_LOOK
    while not event.is_set() and time.monotonic() < until:
        await asyncio.sleep(look)
        look = min(2 * look, _LAST_LOOK)


def _forget_notes(error: BaseException) -> None:
    notes = vars(error).get("__notes__")
    if type(notes) is list:
        ours = [note for note in notes if type(note) is str and note.startswith(_NOTE)]
        for note in ours[: max(0, len(ours) - _MOST_NOTES + 1)]:
            notes.remove(note)
