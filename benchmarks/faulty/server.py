"""A loopback HTTP server for the fault-injection benchmark: each address follows a script, answer by answer."""

from __future__ import annotations

import itertools
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

__all__ = ["Answer", "Server"]


@dataclass(frozen=True)
class Answer:
    """What one request gets."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    reset: bool = False
    """Break the connection instead of answering."""
    delay: float = 0.0
    """Seconds before the answer."""
    cut: bool = False
    """Announce the whole body and break off in the middle of it."""


@dataclass
class _Script:
    answers: tuple[Answer, ...]
    """The last one is given for ever."""
    asked: int = 0
    not_before: float = 0.0
    """Until then (`time.monotonic`) every request gets the last refusal again: who said Retry-After meant it."""
    refusal: Answer | None = None


class _Quiet(ThreadingHTTPServer):
    """Says nothing of clients that hang up: time-outs are among the faults."""

    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing."""


class Server:
    """Serves scripts; a context manager."""

    def __init__(self) -> None:
        self._scripts: dict[str, _Script] = {}
        self._numbers = itertools.count()
        self._stopping = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            """Answers as the script of its address says."""

            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                """Say nothing."""

        self._http = _Quiet(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Server:
        """Start listening."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, and let nobody wait."""
        self._stopping.set()
        self._http.shutdown()
        self._http.server_close()

    def url(self, *answers: Answer) -> str:
        """Return a new address that gives these answers, the last one for ever."""
        path = f"/{next(self._numbers)}"
        self._scripts[path] = _Script(answers)
        return f"http://127.0.0.1:{self._http.server_address[1]}{path}"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Give one answer."""
        script = self._scripts[handler.path]
        if script.refusal is not None and time.monotonic() < script.not_before:
            answer = script.refusal
        else:
            answer = script.answers[min(script.asked, len(script.answers) - 1)]
            script.asked += 1
            if answer.headers.get("Retry-After", "").isdigit():
                script.refusal = answer
                # A little early: clocks of two sides, and the way between them.
                script.not_before = time.monotonic() + int(answer.headers["Retry-After"]) - 0.05
        if answer.delay and self._stopping.wait(answer.delay):
            return
        if answer.reset:
            _reset(handler.connection)
            return
        handler.send_response(answer.status)
        for name, value in answer.headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(answer.body)))
        handler.end_headers()
        handler.wfile.write(answer.body[: len(answer.body) // 2] if answer.cut else answer.body)


def _reset(connection: socket.socket) -> None:
    # Lingering for zero seconds: closing sends a reset, as a balancer that lost its backend does.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
