"""The HTTP of a fake server: it listens, and does with each request what it is told to do, however rude."""

from __future__ import annotations

import contextlib
import itertools
import secrets
import socket
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Any, Protocol

from healspan.remediation.testing.received import Received
from healspan.remediation.testing.script import BreaksOff, Drips, Floods, Hangs, Move

__all__ = ["Reaction", "Server"]

_MOST_BODY = 32 * 1024 * 1024
_CHUNK = 64 * 1024


@dataclass(frozen=True)
class Reaction:
    """What is done about a request."""

    move: Move
    body: bytes
    status: int = 200
    headers: dict[str, str] | None = None


class Reacting(Protocol):
    """Who says what to do."""

    closing: threading.Event
    """Set when the server is about to end."""

    def reaction(self, request: Received) -> Reaction:
        """Return what to do about a request."""


class Server(socketserver.ThreadingTCPServer):
    """Listens, with a thread for each connection."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, place: tuple[str, int], reacting: Reacting) -> None:
        self.reacting = reacting
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        super().__init__(place, _Handler)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection, and know of it as long as it is open."""
        with self._guard:
            self._open.add(request)
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._guard:
                self._open.discard(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that goes away is what many tests are about."""

    def hang_up(self) -> None:
        """Wake every thread that waits for a client."""
        with self._guard:
            connections = list(self._open)
        for each in connections:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "FakeClaude", ""

    def do_POST(self) -> None:
        length = max(0, int(self.headers.get("content-length") or 0))
        if length > _MOST_BODY:
            self.close_connection = True
            self.send_error(413)
            return
        request = Received(self.path.partition("?")[0], tuple(self.headers.items()), self.rfile.read(length))
        reacting = self.server.reacting
        reaction = reacting.reaction(request)
        if not reacting.closing.wait(reaction.move.latency):
            self._write(reaction)

    def _write(self, reaction: Reaction) -> None:
        move = reaction.move
        match move:
            case Hangs():
                self._hang()
            case Drips(of="headers"):
                self._drip(self._head(reaction, len(reaction.body)) + reaction.body, move.every)
            case Drips():
                self.wfile.write(self._head(reaction, len(reaction.body)))
                self._drip(reaction.body, move.every)
            case BreaksOff():
                self.wfile.write(self._head(reaction, len(reaction.body)))
                self.wfile.write(reaction.body[: len(reaction.body) // 2])
                self.close_connection = True
            case Floods():
                self._flood(reaction, move)
            case _:
                self.wfile.write(self._head(reaction, len(reaction.body)) + reaction.body)

    def _head(self, reaction: Reaction, length: int | None) -> bytes:
        headers = {
            "content-type": "application/json",
            "request-id": f"req_{secrets.token_hex(12)}",
            **({"connection": "close"} if length is None else {"content-length": f"{length}"}),
            **(reaction.headers or {}),
        }
        lines = [f"HTTP/1.1 {reaction.status} Scripted", *(f"{name}: {value}" for name, value in headers.items())]
        return "".join(f"{line}\r\n" for line in (*lines, "")).encode("latin-1", "replace")

    def _hang(self) -> None:
        self.close_connection = True
        # Until the client goes, which reads as the end of its stream, or the server closes, which breaks it off.
        self.rfile.read(1)

    def _drip(self, data: bytes, every: float) -> None:
        self.close_connection = True
        for byte in data:
            self.wfile.write(bytes((byte,)))
            if self.server.reacting.closing.wait(every):
                return

    def _flood(self, reaction: Reaction, move: Floods) -> None:
        self.close_connection = True
        self.wfile.write(self._head(reaction, move.size if move.announced else None))
        for size in _chunks(move.size):
            self.wfile.write(b" " * size)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Log nothing: what a test wants to know is in `received`."""


def _chunks(size: int) -> Iterator[int]:
    yield from itertools.repeat(_CHUNK, size // _CHUNK)
    if size % _CHUNK:
        yield size % _CHUNK
