"""A server on loopback that speaks the Messages API and does what it is told.

Requests are checked as the API checks them, then recorded, then answered by the script. Nothing is charged and nothing
is real but the wire: what a client of it sends is what would have left.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
from collections.abc import Callable
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
from healspan.remediation.testing.serving import Reaction, Server

__all__ = ["FakeClaude"]

_MESSAGES, _COUNT = "/v1/messages", "/v1/messages/count_tokens"
_BYTES_PER_TOKEN = 4
_LEAST_CACHED = 1_024
"""Tokens; a shorter beginning is not cached."""
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
        self._server: Server | None = None
        self._thread: threading.Thread | None = None
        self.closing = threading.Event()

    # Its life

    def __enter__(self) -> Self:
        self._server = Server(self._place, self)
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
