"""A server on loopback that speaks the Messages API and does what it is told.

Requests are checked as the API checks them, then recorded, then answered by the script. Nothing is charged and nothing
is real but the wire: what a client of it sends is what would have left.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import secrets
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Any, Self, assert_never

from healspan.remediation.claude.answer import Answer
from healspan.remediation.testing.checks import problem_of
from healspan.remediation.testing.received import Received
from healspan.remediation.testing.script import (
    Answers,
    BreaksOff,
    Drips,
    Fails,
    Floods,
    Hangs,
    Move,
    Refuses,
    Says,
    Script,
    Truncates,
)

__all__ = ["FakeClaude"]

_MESSAGES, _COUNT = "/v1/messages", "/v1/messages/count_tokens"
_MOST_BODY = 32 * 1024 * 1024
_BYTES_PER_TOKEN = 4
_LEAST_CACHED = 1_024
"""Tokens; a shorter beginning is not cached."""
_CHUNK = 64 * 1024
_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


class FakeClaude:
    """A Messages API for tests.

    A context manager; it listens from the beginning of the ``with`` block to its end, at `url`. A request that the
    script has no move for is answered with 400, which says so. What a script that is a function raises, a failed
    assertion for one, is answered with 500 and raised at the end of the block.

    Args:
        script: what it does with the requests for a message.
        keys: that it accepts; None: any.
        counts: whether it has the endpoint that counts tokens; local servers often do not.
        model: that it says it is; None: the one it was asked for.
        host: an address of this machine.
        port: 0: one that is free.
    """

    def __init__(
        self,
        script: Script = (),
        *,
        keys: frozenset[str] | None = None,
        counts: bool = True,
        model: str | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self._moves = _player(script)
        self._keys = keys
        self._counts = counts
        self._model = model
        self._place = (host, port)
        self._lock = threading.Lock()
        self._received: list[Received] = []
        self._cached: set[str] = set()
        self._failed: list[Exception] = []
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self.closing = threading.Event()

    # Its life

    def __enter__(self) -> Self:
        self._server = _Server(self._place, self)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="fake-claude", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
        if error is None and self._failed:
            raise self._failed[0]

    def close(self) -> None:
        """Stop listening, and break off whatever is under way."""
        self.closing.set()
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.hang_up()
            server.server_close()
        if self._thread is not None:
            self._thread.join()

    @property
    def url(self) -> str:
        """Where it listens: the ``base_url`` of a client.

        Raises:
            RuntimeError: it does not listen.
        """
        if self._server is None:
            raise RuntimeError("the server is not running; use it in a `with` block")
        host, port = self._server.server_address[:2]
        return f"http://{host if isinstance(host, str) else host.decode()}:{port}"

    # What it has seen

    @property
    def received(self) -> tuple[Received, ...]:
        """Every request so far, in order, those that were turned away as well."""
        with self._lock:
            return tuple(self._received)

    @property
    def asked(self) -> tuple[Received, ...]:
        """Those that asked for a message."""
        return tuple(each for each in self.received if each.path == _MESSAGES)

    @property
    def wire(self) -> str:
        """All that has come in, as one text."""
        return "\n".join(each.wire for each in self.received)

    # What it does

    def reaction(self, request: Received) -> Reaction:
        """Record a request and return what to do about it."""
        with self._lock:
            self._received.append(request)
        if request.path not in {_MESSAGES, _COUNT} or (request.path == _COUNT and not self._counts):
            return _error(404, f"{request.path} is not there")
        if not request.key or (self._keys is not None and request.key not in self._keys):
            return _error(401, "invalid x-api-key")
        if not request.header("anthropic-version"):
            return _error(400, "anthropic-version: header is required")
        body = request.json
        counting = request.path == _COUNT
        problem = problem_of(body, counting=counting)
        if problem:
            return _error(400, problem)
        if counting:
            return Reaction(Says(text=""), _json({"input_tokens": _tokens(body)}))
        try:
            move = self._moves(request)
        except Exception as error:
            self._failed.append(error)
            return _error(500, f"the script raised {type(error).__name__}")
        if move is None:
            return _error(400, f"the script has no move for request {len(self.asked)}; write one more, or a function")
        return self._of(Answers(answer=move) if isinstance(move, Answer) else move, body)

    def _of(self, move: Move, body: dict[str, Any]) -> Reaction:
        match move:
            case Answers():
                return Reaction(move, self._message(body, move.answer.model_dump_json()))
            case Says():
                return Reaction(move, self._message(body, move.text))
            case Refuses():
                return Reaction(move, self._message(body, "", "refusal"))
            case Truncates():
                return Reaction(move, self._message(body, move.text, "max_tokens"))
            case Fails():
                error = _error(move.status, move.message)
                wait = {} if move.retry_after is None else {"retry-after": f"{move.retry_after}"}
                return Reaction(move, error.body, move.status, {**wait, **move.headers})
            case Hangs():
                return Reaction(move, b"")
            case Drips() | BreaksOff():
                return Reaction(move, self._message(body, "x" * 4_096))
            case Floods():
                return Reaction(move, b"")
        assert_never(move)

    def _message(self, body: dict[str, Any], text: str, stop_reason: str = "end_turn") -> bytes:
        return _json(
            {
                "id": f"msg_{secrets.token_hex(12)}",
                "type": "message",
                "role": "assistant",
                "model": self._model or body["model"],
                "content": [{"type": "text", "text": text}] if text else [],
                "stop_reason": stop_reason,
                "stop_sequence": None,
                "usage": self._usage(body, text, stop_reason),
            }
        )

    def _usage(self, body: dict[str, Any], text: str, stop_reason: str) -> dict[str, int]:
        total = _tokens(body)
        beginning = _cached_beginning(body)
        tokens = min(total, _estimate(beginning))
        read = written = 0
        if tokens >= _LEAST_CACHED:
            name = hashlib.sha256(f"{body['model']}\n{beginning}".encode()).hexdigest()
            with self._lock:
                read, written = (tokens, 0) if name in self._cached else (0, tokens)
                self._cached.add(name)
        return {
            "input_tokens": total - read - written,
            "output_tokens": body["max_tokens"] if stop_reason == "max_tokens" else max(1, _estimate(text)),
            "cache_read_input_tokens": read,
            "cache_creation_input_tokens": written,
        }


@dataclass(frozen=True)
class Reaction:
    """What is done about a request."""

    move: Move
    body: bytes
    status: int = 200
    headers: dict[str, str] | None = None


def _player(script: Script) -> Callable[[Received], Move | Answer | None]:
    if isinstance(script, Move | Answer):
        return lambda _: script
    if callable(script):
        return script
    moves = iter(script)
    # `next` on the iterator of a sequence is one step of the interpreter: two requests never get one move.
    return lambda _: next(moves, None)


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _error(status: int, message: str) -> Reaction:
    kind = _ERRORS.get(status, "api_error" if status >= 500 else "invalid_request_error")
    body = _json({"type": "error", "error": {"type": kind, "message": message}})
    return Reaction(Fails(status=status, message=message), body, status)


def _estimate(text: str) -> int:
    return -(-len(text.encode()) // _BYTES_PER_TOKEN)


def _tokens(body: dict[str, Any]) -> int:
    parts = [body.get("system", ""), body["messages"], body.get("output_config", {})]
    return _estimate("".join(json.dumps(part, ensure_ascii=False) for part in parts))


def _cached_beginning(body: dict[str, Any]) -> str:
    """Return the text of the system blocks up to the last one that is to be cached."""
    system = body.get("system")
    if not isinstance(system, list):
        return ""
    ends = [place for place, block in enumerate(system) if block.get("cache_control")]
    return "\n".join(block["text"] for block in system[: ends[-1] + 1]) if ends else ""


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, place: tuple[str, int], claude: FakeClaude) -> None:
        self.claude = claude
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        super().__init__(place, _Handler)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
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
    server: _Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "FakeClaude", ""

    def do_POST(self) -> None:
        length = max(0, int(self.headers.get("content-length") or 0))
        if length > _MOST_BODY:
            self.close_connection = True
            self._write(_error(413, "the request is too large"))
            return
        request = Received(self.path.partition("?")[0], tuple(self.headers.items()), self.rfile.read(length))
        claude = self.server.claude
        reaction = claude.reaction(request)
        if not claude.closing.wait(reaction.move.latency):
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
            if self.server.claude.closing.wait(every):
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
