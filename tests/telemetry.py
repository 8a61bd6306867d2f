"""The telemetry of an application, through the real SDK of OpenTelemetry."""

from __future__ import annotations

import logging

from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Tracer

__all__ = ["Service"]


class Service:
    """An application with telemetry of its own."""

    def __init__(self) -> None:
        self.spans, self.records = InMemorySpanExporter(), InMemoryLogRecordExporter()
        self.traces, self.logs = TracerProvider(), LoggerProvider()
        self.traces.add_span_processor(SimpleSpanProcessor(self.spans))
        self.logs.add_log_record_processor(SimpleLogRecordProcessor(self.records))
        self.tracer: Tracer = self.traces.get_tracer("app")
        self.logger = logging.Logger("app")
        self.logger.addHandler(LoggingHandler(logger_provider=self.logs))
