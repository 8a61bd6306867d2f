"""A collector's metrics at /metrics, over HTTP: for the exporter, and for a service that has asked for it."""

from __future__ import annotations

import contextlib
import errno
import gzip
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable
from socketserver import TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client.exposition import gzip_accepted
from prometheus_client.registry import Collector

from healspan.remediation.errors import ConfigurationError, HealspanError
from healspan.remediation.metrics_text import MetricsText

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

__all__ = ["MetricsServer"]

logger = logging.getLogger("healspan.metrics")

AT_A_TIME = 8
"""Requests answered at once."""
GRACE_SECONDS = 0.5
"""For which a client is not cut off: others that come at once are to be answered too."""
ROOM_SECONDS = 1.0
"""Of waiting for one to end that was cut off; if it does not, since the store is slow, nobody else is let in."""
SILENCE_SECONDS = 30.0
"""After which a client that sends nothing, or reads nothing, is left alone."""

_PLAIN = "text/plain; charset=utf-8"


class _Server(ThreadingMixIn, WSGIServer):
    """Answers each request in a thread, of which there are few: it runs inside services, and a client may be slow.

    When all are taken, whoever has been at it for longest is cut off, unless that has just begun.
    """

    daemon_threads = True

    def __init__(self, *args: Any, **named: Any) -> None:
        self._free = threading.BoundedSemaphore(AT_A_TIME)
        self._lock = threading.Lock()
        self._answered: dict[int, tuple[socket.socket, float]] = {}
        super().__init__(*args, **named)

    def server_bind(self) -> None:
        """Bind, without asking for the host's full name: a name service may take half a minute over it."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, as soon as there is one."""
        if not self._free.acquire(timeout=self._grace()):
            with self._lock, contextlib.suppress(OSError, StopIteration):
                next(iter(self._answered.values()))[0].shutdown(socket.SHUT_RDWR)
            if not self._free.acquire(timeout=ROOM_SECONDS):
                self.shutdown_request(request)
                return
        with self._lock:
            self._answered[id(request)] = request, time.monotonic()
        super().process_request(request, client_address)

    def _grace(self) -> float:
        """Return for how many seconds nobody may be cut off yet."""
        with self._lock:
            since = next((since for _, since in self._answered.values()), 0.0)
        return max(0.0, since + GRACE_SECONDS - time.monotonic())

    def shutdown_request(self, request: Any) -> None:
        """End a connection, answered or not."""
        with self._lock:
            known = self._answered.pop(id(request), None)
        super().shutdown_request(request)
        if known is not None:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the base class's signature
        """Say nothing to the service's own output of a client that went away, or sent nothing for long."""
        logger.debug("a client of the metrics was not answered", exc_info=True)


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Quiet(WSGIRequestHandler):
    timeout = SILENCE_SECONDS

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing of a scrape that went well."""


class MetricsServer:
    """Serves a collector at /metrics, from a thread of its own, until it is closed.

    Args:
        collector: what to publish.
        host: where to listen.
        port: likewise; 0 takes a free one.

    Raises:
        ConfigurationError: the port is taken, or the host is not this machine's.
    """

    def __init__(self, collector: Collector, *, host: str, port: int) -> None:
        server = _Server6 if ":" in host else _Server
        try:
            self._server = make_server(host, port, _app(collector), server, _Quiet)
        except OSError as error:
            raise ConfigurationError(_cannot_listen(host, port, error)) from error
        self._thread = threading.Thread(target=self._server.serve_forever, name="healspan-metrics", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where the metrics are."""
        host, port = self._server.server_address[:2]
        shown = f"[{host!s}]" if ":" in str(host) else str(host)
        return f"http://{shown}:{port}/metrics"

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def leave_to_parent(self) -> None:
        """Close what a forked child has of it: else the port stayed taken after the parent, and nobody answered."""
        self._server.server_close()


def _cannot_listen(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is taken; stop what listens there, or choose another port"
    return f"nothing can listen on {host}:{port} ({error.strerror}); choose another host or port"


def _app(collector: Collector) -> Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]:
    text = MetricsText(collector)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        def answer(status: str, body: bytes, content_type: str, *headers: tuple[str, str]) -> Iterable[bytes]:
            start_response(status, [("Content-Type", content_type), *headers])
            return [body]

        if environ.get("PATH_INFO") != "/metrics":
            return answer("404 Not Found", b"The metrics are at /metrics.\n", _PLAIN)
        if environ.get("REQUEST_METHOD") != "GET":
            return answer("405 Method Not Allowed", b"The metrics are there to be read.\n", _PLAIN, ("Allow", "GET"))
        try:
            body, content_type = text.read(environ.get("HTTP_ACCEPT", ""))
        except HealspanError as error:
            logger.warning("the metrics could not be read: %s", error)
            return answer("503 Service Unavailable", f"{error}\n".encode(), _PLAIN)
        if not gzip_accepted(environ.get("HTTP_ACCEPT_ENCODING", "")):
            return answer("200 OK", body, content_type)
        # Lines are so alike that little work takes most of their length away.
        return answer("200 OK", gzip.compress(body, compresslevel=1), content_type, ("Content-Encoding", "gzip"))

    return app
