"""The processors that OpenTelemetry calls, inside the application's request: no exception of ours leaves them."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from opentelemetry.sdk._logs import LogRecordProcessor, ReadWriteLogRecord
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanProcessor

from healspan.instrumentation.signals.mark import seen_under_way
from healspan.instrumentation.signals.signal import Span, signal_of
from healspan.instrumentation.signals.watcher import Watcher
from healspan.instrumentation.site import is_attempting
from healspan.remediation.attributes import SPAN_ATTRIBUTES
from healspan.remediation.own_errors import report
from healspan.remediation.repair import calls_under_way

__all__ = ["LogWatcher", "SpanWatcher"]

_TYPE = "exception.type"

_NOT_ITS_OWN = ("healspan", "opentelemetry.sdk", "opentelemetry.exporter")
"""Scopes of spans and records that begin so are not the service's: failures of healing, and of a collector."""


class SpanWatcher(SpanProcessor):
    """Takes the exceptions that spans have recorded when they end."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self.active = True
        """Whether it takes any; OpenTelemetry gives no processor back."""

    def on_end(self, span: ReadableSpan) -> None:
        """Look for exceptions; a span without events costs one look."""
        if not self.active:
            return
        try:
            events = span.events
            if events:
                # What goes on in a storm, nearly all of it, is told first.
                known = self._watcher.passed.under_way
                told = [
                    one for one in events if one.name == "exception" and not known((one.attributes or {}).get(_TYPE))
                ]
                if told:
                    self._look(span, told)
        except Exception as error:
            report("signals", error)

    def _look(self, span: ReadableSpan, told: Sequence[Event]) -> None:
        scope = span.instrumentation_scope
        if is_attempting() or (scope is not None and scope.name.startswith(_NOT_ITS_OWN)):
            return
        context = span.context
        if context is None:
            return
        told = [event for event in told if not self._watcher.passes_over(event.attributes or {}, context.trace_id)]
        if not told:
            return
        attributes = span.attributes or {}
        known = Span(
            name=span.name,
            parent_id=span.parent.span_id if span.parent is not None else 0,
            started=span.start_time or 0,
            ended=span.end_time or 0,
            attributes={key: attributes[key] for key in SPAN_ATTRIBUTES if key in attributes},
        )
        calls = calls_under_way(sys._getframe(1))
        for event in told:
            carried = event.attributes or {}
            signal = signal_of(
                carried,
                trace_id=context.trace_id,
                span_id=context.span_id,
                span=known,
                at=event.timestamp / 1e9,
                calls=calls,
                seen=seen_under_way(carried.get(_TYPE)),
            )
            if signal is not None:
                self._watcher.take(signal)


class LogWatcher(LogRecordProcessor):
    """Takes the exceptions that log records carry."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self.active = True
        """Likewise."""

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Look for an exception."""
        if not self.active:
            return
        try:
            record, scope = log_record.log_record, log_record.instrumentation_scope
            carried, trace_id = record.attributes, record.trace_id or 0
            if (
                not carried
                or not (_TYPE in carried or "exception.stacktrace" in carried)
                or self._watcher.passed.under_way(carried.get(_TYPE))
                or (scope is not None and scope.name.startswith(_NOT_ITS_OWN))
                or is_attempting()
                or self._watcher.passes_over(carried, trace_id)
            ):
                return
            signal = signal_of(
                carried,
                trace_id=trace_id,
                span_id=record.span_id or 0,
                span=None,
                at=(record.timestamp or record.observed_timestamp or time.time_ns()) / 1e9,
                calls=calls_under_way(sys._getframe(1)),
                seen=seen_under_way(carried.get(_TYPE)),
            )
            if signal is not None:
                self._watcher.take(signal)
        except Exception as error:
            report("signals", error)

    def shutdown(self) -> None:
        """Nothing is held."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002 - the SDK's signature
        """Nothing is held."""
        return True
