"""The telemetry of an application, through the real SDK of OpenTelemetry."""

from __future__ import annotations

import logging
import os

from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import Tracer

__all__ = ["Ids", "Service"]


class Ids(IdGenerator):
    """Ids of their own for all spans; hypothesis gives every example the same chance, and so the same ones."""

    def generate_trace_id(self) -> int:
        return int.from_bytes(os.urandom(16), "big")

    def generate_span_id(self) -> int:
        return int.from_bytes(os.urandom(8), "big")


class Service:
    """An application with telemetry of its own."""

    def __init__(self) -> None:
        self.spans, self.records = InMemorySpanExporter(), InMemoryLogRecordExporter()
        self.traces, self.logs = TracerProvider(id_generator=Ids()), LoggerProvider()
        self.traces.add_span_processor(SimpleSpanProcessor(self.spans))
        self.logs.add_log_record_processor(SimpleLogRecordProcessor(self.records))
        self.tracer: Tracer = self.traces.get_tracer("app")
        self.logger = logging.Logger("app")
        self.logger.addHandler(LoggingHandler(logger_provider=self.logs))
