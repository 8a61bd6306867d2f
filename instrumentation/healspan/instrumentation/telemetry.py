"""What healspan tells OpenTelemetry of a failing call: a span around healing, marks on the caller's span, a log record.

With no SDK set up all of it does nothing. A healed call is no error: no status is set by us, on no span.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from opentelemetry import baggage, context
from opentelemetry._logs import LogRecord, SeverityNumber, get_logger
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    Span,
    SpanContext,
    TraceFlags,
    get_current_span,
    get_tracer,
    use_span,
)

from healspan.remediation.attributes import (
    APPLICATION_OUTCOME,
    BOUNDARY,
    FIX_ID,
    HEAL_SPAN,
    HEALED,
    INCIDENT_EVENT,
    INCIDENT_ID,
    LINK,
    LINK_FAILING,
    LINK_FIRST_APPLICATION,
    PATTERN,
    PATTERN_EXACT,
    PIPELINE,
    PIPELINE_RUN_ID,
    TIER,
)
from healspan.remediation.engine import Healing
from healspan.remediation.incident import Incident, IncidentStatus, Tier
from healspan.remediation.outcome import FirstApplication
from healspan.remediation.own_errors import report
from healspan.remediation.runtime import runtime

__all__ = ["healing_span", "tell_healing_span", "tell_of", "tell_of_repair"]

_tracer = get_tracer("healspan")
_logger = get_logger("healspan")


@contextlib.contextmanager
def healing_span(incident: Incident) -> Iterator[None]:
    """Give the work of healing a span of its own, linked to the one that was open when the call failed.

    Calls that are made again are below it, so that they are told apart from the request's own.
    """
    span: Span = INVALID_SPAN
    try:
        failing = get_current_span().get_span_context()
        span = _tracer.start_span(
            HEAL_SPAN,
            attributes=_identity(incident),
            links=[Link(failing, {LINK: LINK_FAILING})] if failing.is_valid else None,
        )
    except Exception as error:  # a sampler or processor of the application's
        report("trace", error)
    with use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        yield


def tell_of(incident: Incident, healing: Healing | None) -> None:
    """Mark the current span with how a failing call ended, and log a failure that goes on.

    A healed call leaves ``healspan.healed`` in the baggage too: whoever is called later in the request can know that
    what it is given was healed. Outside any span there is no request to end it, and all that this thread calls from
    then on would be told so; hence nobody is.
    """
    try:
        span = get_current_span()
        healed = healing is not None and healing.healed
        if span.is_recording():
            span.set_attributes({**_identity(incident), **_outcome(healing), HEALED: healed})
        if not healed:
            _log(incident, healing)
        elif span.get_span_context().is_valid:
            # Never detached: it is to outlive this call, and ends with the context of the span.
            context.attach(baggage.set_baggage(HEALED, "true"))
    except Exception as error:
        report("trace", error)


def tell_of_repair(boundary: str, fix_id: str) -> None:
    """Mark the current span, once, for calls that an installed repair has kept from failing; they have no incident.

    Runs at the end of such a call, which must cost microseconds; raises what the application's span raises.
    """
    span = get_current_span()
    if not span.get_span_context().is_valid:
        return
    if span.is_recording():
        if (getattr(span, "attributes", None) or {}).get(HEALED) is True:
            return
        told = {BOUNDARY: boundary, APPLICATION_OUTCOME: str(IncidentStatus.HEALED), TIER: str(Tier.KNOWN_FIX)}
        span.set_attributes({**told, FIX_ID: fix_id, HEALED: True})
    context.attach(baggage.set_baggage(HEALED, "true"))  # likewise


def tell_healing_span(healing: Healing | None) -> None:
    """Mark the span of healing, while it is open, with how it ended, and link it to where its fix was applied first."""
    try:
        span = get_current_span()
        span.set_attributes(_outcome(healing))
        fix_id = None if healing is None else healing.resolution.fix_id
        first = None if fix_id is None or not span.is_recording() else runtime().index.firsts.get(fix_id)
        if first is not None and int(first.span_id, 16) != span.get_span_context().span_id:
            span.add_link(_context_of(first), {LINK: LINK_FIRST_APPLICATION})
    except Exception as error:
        report("trace", error)


def _context_of(first: FirstApplication) -> SpanContext:
    sampled = TraceFlags(TraceFlags.SAMPLED)
    return SpanContext(int(first.trace_id, 16), int(first.span_id, 16), is_remote=True, trace_flags=sampled)


def _log(incident: Incident, healing: Healing | None) -> None:
    """Emit the exception as a log record, in the words of the incident: those of the exception may hold secrets."""
    _logger.emit(
        LogRecord(
            event_name=INCIDENT_EVENT,
            severity_number=SeverityNumber.ERROR,
            severity_text="ERROR",
            body=f"{incident.module}: {incident.error_type}: {incident.error_message}"[:500],
            attributes={
                **_identity(incident),
                **_outcome(healing),
                "exception.type": incident.error_type.removeprefix("builtins."),
                "exception.message": incident.error_message,
                "exception.stacktrace": incident.stack_trace,
            },
        ),
    )


def _identity(incident: Incident) -> dict[str, str]:
    known = {
        BOUNDARY: incident.module,
        INCIDENT_ID: str(incident.error_id),
        PATTERN: incident.pattern.error_pattern,
        PATTERN_EXACT: incident.pattern.exact,
    }
    if incident.pipeline is not None:
        known[PIPELINE] = incident.pipeline
        known[PIPELINE_RUN_ID] = str(incident.run_id)
    return known


def _outcome(healing: Healing | None) -> dict[str, str]:
    if healing is None:
        return {}
    ended = healing.resolution
    told = {APPLICATION_OUTCOME: str(ended.status), TIER: str(ended.tier)}
    if ended.fix_id is not None:
        told[FIX_ID] = ended.fix_id
    return told
