"""Capture: from an exception in the host to a bounded, scrubbed `Incident`.

Everything here runs inside somebody's failing request. It therefore calls no code of the application but an
exception's own `__str__`, does no I/O but reading source lines and /proc, and reads a bounded amount of
everything. Records are built with `model_construct`: their values are made here, and validating them again
would cost more than making them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from types import TracebackType
from typing import Any, NamedTuple
from uuid import UUID

from opentelemetry import trace
from pydantic import JsonValue

from healspan.instrumentation.bounds import fit
from healspan.instrumentation.exceptions import cause_chain, error_message
from healspan.instrumentation.frames import CapturedFrame, FrameReader, InApp
from healspan.instrumentation.resource import resource_from_environment, system_state
from healspan.instrumentation.values import Limits, ValuePolicy, ValueReader, class_name
from healspan.remediation.attributes import SPAN_ATTRIBUTES
from healspan.remediation.fingerprint import fingerprint
from healspan.remediation.ids import uuid7
from healspan.remediation.incident import Cause, Incident, InputContext, Pattern, PriorAttempt, Severity
from healspan.remediation.scrubbing import Scrubber, ScrubSession

__all__ = ["MAX_STACK_TRACE", "Captured", "capture", "cut_middle", "exception_pattern"]

_MAX_ARGUMENTS = 24
_MAX_NAME = 80
MAX_STACK_TRACE = 6_000
_WORTH_MEASURING = 6_000
_ARGUMENT_LIMITS = Limits(total=8_192)
_LOCAL_LIMITS = Limits(total=8_192)
_STATE_LIMITS = Limits(total=1_024)
_DEFAULT_SCRUBBER = Scrubber()


class Captured(NamedTuple):
    """An incident, and the living frames it was made from, innermost last, for playbooks in this process."""

    incident: Incident
    frames: tuple[CapturedFrame, ...]


def capture(
    error: BaseException,
    traceback: TracebackType | None,
    *,
    module: str,
    target: str,
    in_app: Sequence[str] = (),
    arguments: Mapping[str, object] | None = None,
    context_keys: Mapping[str, str] | None = None,
    pipeline: str | None = None,
    run_id: UUID | None = None,
    partial_output: object = None,
    capture_locals: bool = False,
    policy: ValuePolicy = ValuePolicy.SCRUBBED,
    scrubber: Scrubber = _DEFAULT_SCRUBBER,
    resource: Mapping[str, str] | None = None,
    state: Mapping[str, object] | None = None,
    prior_fix_attempts: Sequence[PriorAttempt] = (),
    severity: Severity = Severity.ERROR,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    new_id: Callable[[], UUID] = uuid7,
) -> Captured:
    """Build the incident of one failure.

    Args:
        error: The exception; read with care, never changed.
        traceback: From the boundary downwards; healspan's own frames in it are skipped.
        module: The boundary's name.
        target: ``module:qualname`` of the boundary's function; its top-level package is in-app.
        in_app: More module names that are in-app, wherever they are installed.
        arguments: The failing call's arguments by parameter name.
        context_keys: Low-cardinality keys, e.g. ``{"document_type": "10-K"}``.
        pipeline: Name of the enclosing pipeline.
        run_id: The run of that pipeline.
        partial_output: What the boundary had ready when it failed.
        capture_locals: Read local variables of in-app frames.
        policy: Whether values or only their shapes are kept.
        scrubber: What counts as a secret.
        resource: Service name, version and instance; default: from the OTEL variables of the environment.
        state: What the application registered about its state, e.g. ``{"api_calls_remaining": 3}``.
        prior_fix_attempts: What was tried on this pattern before.
        severity: How urgent this is.
        now: The clock.
        new_id: The source of the incident's id.
    """
    session = scrubber.session()
    own = InApp.of(target, in_app)
    reader = _frame_reader(scrubber)
    read_locals = ValueReader(session, policy, _LOCAL_LIMITS) if capture_locals else None
    frames = reader.read(traceback, own, read_locals)
    records = tuple(frame.record for frame in frames)
    error_type = class_name(type(error))
    message = error_message(error, session)
    causes = cause_chain(error, session, reader, own)
    read_arguments = ValueReader(session, policy, _ARGUMENT_LIMITS)
    span = _span_fields(session)
    incident = Incident.model_construct(
        error_id=new_id(),
        timestamp=now(),
        error_type=error_type,
        error_message=message,
        stack_trace=_stack_trace(error_type, message, frames, causes),
        frames=records,
        cause_chain=causes,
        module=module,
        target=target,
        pattern=fingerprint(error_type, message, records, causes, module),
        input_context=InputContext.model_construct(
            arguments={
                session.text(name, _MAX_NAME): read_arguments.read(value, name)
                for name, value in list((arguments or {}).items())[:_MAX_ARGUMENTS]
            },
            partial_output=read_arguments.read(partial_output),
        ),
        system_state=_state(records, state, session),
        prior_fix_attempts=tuple(prior_fix_attempts),
        resource=dict(_environment_resource() if resource is None else resource),
        context_keys=scrubber.scrub_context(context_keys or {}),
        pipeline=pipeline,
        run_id=run_id,
        severity=severity,
        **span,
    )
    # Most incidents are far from the bound: only a large one is worth measuring.
    if len(incident.stack_trace) + 500 * len(causes) + read_arguments.used > _WORTH_MEASURING or capture_locals:
        incident = fit(incident)
    return Captured(incident, frames)


def exception_pattern(
    error: BaseException,
    traceback: TracebackType | None,
    *,
    module: str,
    in_app: Sequence[str] = (),
    scrubber: Scrubber = _DEFAULT_SCRUBBER,
) -> Pattern:
    """Return the pattern of an exception that left a pipeline, without an incident.

    In-app is what shares the top-level package of the traceback's first function.
    """
    session, reader = scrubber.session(), _frame_reader(scrubber)
    frames = reader.read(traceback, InApp("", tuple(in_app)))
    package = InApp.of(frames[0].record.module if frames else "", in_app)
    records = tuple(frame.record for frame in reader.read(traceback, package))
    causes = cause_chain(error, session, reader, package)
    return fingerprint(class_name(type(error)), error_message(error, session), records, causes, module)


@lru_cache(maxsize=8)
def _frame_reader(scrubber: Scrubber) -> FrameReader:
    """One reader per configuration, so that what it learns of code is kept."""
    return FrameReader(scrubber)


@lru_cache(maxsize=1)
def _environment_resource() -> Mapping[str, str]:
    return resource_from_environment()


def _state(
    records: Sequence[Any],
    registered: Mapping[str, object] | None,
    session: ScrubSession,
) -> dict[str, JsonValue]:
    state = system_state(list(dict.fromkeys(record.module for record in records)))
    if registered:
        values = ValueReader(session, limits=_STATE_LIMITS)
        state.update((session.text(name, _MAX_NAME), values.read(value, name)) for name, value in registered.items())
    return state


def _span_fields(session: ScrubSession) -> dict[str, Any]:
    """Identity, name and selected attributes of the current span; nothing if there is none."""
    try:
        span = trace.get_current_span()
        context = span.get_span_context()
        if not context.is_valid:
            return {"trace_id": None, "span_id": None, "span_name": None, "span_attributes": {}}
        name = getattr(span, "name", None)
        attributes = getattr(span, "attributes", None) or {}
        values = ValueReader(session, limits=_STATE_LIMITS)
        return {
            "trace_id": format(context.trace_id, "032x"),
            "span_id": format(context.span_id, "016x"),
            "span_name": session.text(name, 200) if type(name) is str else None,
            "span_attributes": {key: values.read(attributes[key], key) for key in SPAN_ATTRIBUTES if key in attributes},
        }
    except Exception:
        return {"trace_id": None, "span_id": None, "span_name": None, "span_attributes": {}}


def _stack_trace(
    error_type: str,
    message: str,
    frames: Sequence[CapturedFrame],
    causes: Sequence[Cause],
) -> str:
    """A traceback as Python prints it, made of parts already scrubbed; the middle gives way if long."""
    lines = [f"Caused by {cause.error_type}: {cause.error_message[:300]}" for cause in reversed(causes)]
    lines.append("Traceback (most recent call last):")
    for record in (frame.record for frame in frames):
        lines.append(f'  File "{record.file}", line {record.line}, in {record.function}')
        if record.source_line:
            lines.append(f"    {record.source_line}")
    simple = error_type.removeprefix("builtins.")
    lines.append(f"{simple}: {message}" if message else simple)
    return cut_middle("\n".join(lines), MAX_STACK_TRACE)


def cut_middle(text: str, limit: int) -> str:
    """Return a traceback whose middle gives way if it is long."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n  […]\n{text[-half:]}"
