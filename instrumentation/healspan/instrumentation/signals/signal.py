"""A signal: one exception as one span or one log record carries it, in words only.

The exception itself is not kept: it would keep the frames of the request alive, with all they hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from healspan.instrumentation.signals.mark import NOT_SEEN, Seen

__all__ = ["MAX_STACK", "Signal", "signal_of"]

MAX_STACK = 32_000
"""Characters of a traceback that are kept: its end, where the innermost frames are."""
_MAX_MESSAGE = 4_000
_MAX_NAME = 200


class Signal(NamedTuple):
    """An exception that a span or a log record carries."""

    error_type: str
    """As the signal says it: qualified or not."""
    message: str
    stack: str
    """The traceback as Python prints it; may be cut at its beginning, or empty."""
    trace_id: int
    """0 outside a trace; so `span_id`."""
    span_id: int
    span: Span | None
    """None for a log record."""
    at: float
    """Seconds since the epoch when the exception was recorded."""
    calls: tuple[int, ...] = ()
    """Calls of boundaries that were under way, which may still come to know of it; see `repair.calls_under_way`."""
    marks: tuple[int, ...] = ()
    """See `mark`; empty where the exception itself was not seen."""
    noted: bool | None = None
    """Likewise; whether a boundary has made an incident of it, None where that was not seen."""
    last: bool = False
    """Whether nobody has caught the exception: nothing comes after that."""

    @property
    def since(self) -> float:
        """Seconds since the epoch at which what carries it began."""
        return self.at if self.span is None else self.span.started / 1e9

    @property
    def until(self) -> float:
        """Seconds since the epoch at which that ended."""
        return self.at if self.span is None else self.span.ended / 1e9


class Span(NamedTuple):
    """What is known of the span of a signal."""

    name: str
    parent_id: int
    """0 if it has none."""
    started: int
    """Nanoseconds since the epoch; likewise `ended`."""
    ended: int
    attributes: Mapping[str, object]


def signal_of(
    attributes: Mapping[str, object] | None,
    *,
    trace_id: int,
    span_id: int,
    span: Span | None,
    at: float,
    calls: tuple[int, ...] = (),
    seen: Seen = NOT_SEEN,
    last: bool = False,
) -> Signal | None:
    """Return the signal in the attributes of an event or a log record; None if they carry no exception.

    ``exception.escaped`` is not looked at: SDKs say "False" of exceptions that escaped.
    """
    if not attributes:
        return None
    error_type, stack = attributes.get("exception.type"), attributes.get("exception.stacktrace")
    if not error_type and not stack:
        return None
    message = attributes.get("exception.message")
    return Signal(
        error_type=error_type[:_MAX_NAME] if type(error_type) is str else "",
        message=message[:_MAX_MESSAGE] if type(message) is str else "",
        stack=stack[-MAX_STACK:] if type(stack) is str else "",
        trace_id=trace_id,
        span_id=span_id,
        span=span,
        at=at,
        calls=calls,
        marks=seen.marks,
        noted=seen.noted,
        last=last,
    )
