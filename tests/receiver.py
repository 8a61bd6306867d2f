"""A real OTLP receiver on loopback, over HTTP and gRPC, with the services that opentelemetry-proto defines."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Literal, NamedTuple

import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

Protocol = Literal["http/protobuf", "grpc"]


class Seen(NamedTuple):
    """A span or a log record as it arrived."""

    service: str
    scope: str
    name: str
    """Of a log record its event's name."""
    attributes: dict[str, Any]
    raw: Any


class Receiver:
    """Keeps what services export to it."""

    def __init__(self, protocol: Protocol) -> None:
        self.protocol = protocol
        self.spans: list[Seen] = []
        self.logs: list[Seen] = []
        self._lock = threading.Lock()

    def __enter__(self) -> Receiver:
        if self.protocol == "grpc":
            self._grpc = grpc.server(futures.ThreadPoolExecutor(4))
            trace_service_pb2_grpc.add_TraceServiceServicer_to_server(_Traces(self), self._grpc)
            logs_service_pb2_grpc.add_LogsServiceServicer_to_server(_Logs(self), self._grpc)
            self.port = self._grpc.add_insecure_port("127.0.0.1:0")
            self._grpc.start()
        else:
            handler = type("Handler", (_Handler,), {"receiver": self})
            self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
            self.port = self._http.server_address[1]
            threading.Thread(target=self._http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.protocol == "grpc":
            self._grpc.stop(0)
        else:
            self._http.shutdown()
            self._http.server_close()

    @property
    def environment(self) -> dict[str, str]:
        """What a service is told of where to send."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.port}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": self.protocol,
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_LOGS_EXPORTER": "otlp",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "OTEL_BLRP_SCHEDULE_DELAY": "100",
        }

    def take_traces(self, request: Any) -> None:
        """Take in what was exported."""
        with self._lock:
            for service, scope, span in _each(request.resource_spans, "scope_spans", "spans"):
                self.spans.append(Seen(service, scope, span.name, _plain(span.attributes), span))

    def take_logs(self, request: Any) -> None:
        """Likewise."""
        with self._lock:
            for service, scope, record in _each(request.resource_logs, "scope_logs", "log_records"):
                self.logs.append(Seen(service, scope, record.event_name, _plain(record.attributes), record))


class _Traces(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def Export(self, request: Any, context: Any) -> Any:
        self._receiver.take_traces(request)
        return trace_service_pb2.ExportTraceServiceResponse()


class _Logs(logs_service_pb2_grpc.LogsServiceServicer):
    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def Export(self, request: Any, context: Any) -> Any:
        self._receiver.take_logs(request)
        return logs_service_pb2.ExportLogsServiceResponse()


class _Handler(BaseHTTPRequestHandler):
    receiver: ClassVar[Receiver]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            import gzip

            body = gzip.decompress(body)
        if self.path == "/v1/traces":
            self.receiver.take_traces(trace_service_pb2.ExportTraceServiceRequest.FromString(body))
        elif self.path == "/v1/logs":
            self.receiver.take_logs(logs_service_pb2.ExportLogsServiceRequest.FromString(body))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None: ...


def _each(resources: Any, scopes: str, items: str) -> Iterator[tuple[str, str, Any]]:
    for resource in resources:
        service = _plain(resource.resource.attributes).get("service.name", "")
        for scope in getattr(resource, scopes):
            for item in getattr(scope, items):
                yield service, scope.scope.name, item


def _plain(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value") or "string_value") for one in attributes}
