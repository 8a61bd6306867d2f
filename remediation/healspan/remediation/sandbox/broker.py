"""The process at the other end: runs adapters in the sandbox, one after the other, and knows nothing else.

It imports the sandbox, its checker, the notation of plain values and the standard library. It starts with an empty
environment and ends, with its workers, when the service's end of the socket closes: the service may die in any way it
likes.

Messages are JSON objects with their length before them. The service says what to run or check and answers host
calls; the broker says which host call is wanted, or how it ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import socket
import sys
import threading
from typing import Any

import pydantic_monty as monty

from healspan.remediation.sandbox.checker import Checker
from healspan.remediation.sandbox.notation import (
    MOST_DEPTH,
    MOST_ITEMS,
    MOST_SIZE,
    Opaque,
    Unplain,
    decode,
    dumps,
    encode,
)

__all__ = ["main"]

_MOST_PRINTED = 64 * 1024
"""Bytes that an adapter may print before it is stopped; nobody reads them."""

_ROOM_BESIDE = 512 * 1024 * 1024
"""Bytes of address space for the interpreter, beside what an adapter may use."""

_GRACE = 0.25
"""Seconds that the sandbox has to notice its own limit before its worker is killed."""

_TOLD = ("function", "module", "type", "range", "slice", "coroutine", "Pattern", "Match", "deque", "iterator")
"""Kinds that a refusal may name; the name of an adapter's own class may be what it was given."""

_FINISH = f"""
_healspan_result = heal(call, arguments, error)
_healspan_kind = type(_healspan_result).__name__
_healspan_simple = _healspan_kind in ('NoneType', 'bool', 'int', 'float', 'complex', 'Decimal', 'date', 'datetime',
    'time', 'timedelta', '_Handle') or (_healspan_kind in ('str', 'bytes') and len(_healspan_result) <= {MOST_SIZE})
(_healspan_simple, _healspan_result if _healspan_simple else None)
"""
"""Runs the adapter, and lets a single value out."""

_LOOK = f"""
import datetime as _healspan_dates, decimal as _healspan_decimal
_healspan_scalars = (bool, int, float, complex, bytes, _healspan_decimal.Decimal, _healspan_dates.date,
    _healspan_dates.datetime, _healspan_dates.time, _healspan_dates.timedelta)
_healspan_room = [{MOST_ITEMS}, {MOST_SIZE}]
def _healspan_unplain(value, depth):
    kind = type(value)
    _healspan_room[0] -= 1
    if kind is str or kind is bytes:
        _healspan_room[1] -= len(value)
    if _healspan_room[0] < 0 or _healspan_room[1] < 0:
        return 'large'
    if value is None or kind is str or kind in _healspan_scalars or kind.__name__ == '_Handle':
        return ''
    if depth > {MOST_DEPTH}:
        return 'deep'
    if isinstance(value, dict):
        for key in value:
            why = _healspan_unplain(key, depth + 1) or _healspan_unplain(value[key], depth + 1)
            if why:
                return why
        return ''
    if isinstance(value, (list, tuple, set, frozenset)):
        for one in value:
            why = _healspan_unplain(one, depth + 1)
            if why:
                return why
        return ''
    return kind.__name__
_healspan_why = _healspan_unplain(_healspan_result, 0)
(_healspan_why, None if _healspan_why else _healspan_result)
"""
"""Looks at any other result while it still is what it is: outside, a function has become a text, and a list that holds
itself has become another one. Costs three times what the adapter itself does, so a single value is spared it."""


class _Handle:
    """What stands in the sandbox for an object of the host's; it has no attributes and no methods there."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number


def _inward(value: Any) -> Any:
    """Give the sandbox handles where the host sent opaque objects."""
    if isinstance(value, Opaque):
        return monty.ClassInstance(_Handle(value.number))
    if isinstance(value, list):
        return [_inward(one) for one in value]
    if isinstance(value, dict):
        return {key: _inward(one) for key, one in value.items()}
    return tuple(map(_inward, value)) if isinstance(value, tuple) else value


def _outward(value: Any, items: list[int], depth: int = 0) -> Any:
    """Turn what left the sandbox into plain values; whatever is not one is refused when it is written down."""
    items[0] -= 1
    if items[0] < 0 or depth > MOST_DEPTH:
        raise Unplain("it is too large, or nested too deeply")
    if isinstance(value, _Handle):
        return Opaque(value.number)
    if isinstance(value, dict):
        return {_outward(key, items, depth + 1): _outward(one, items, depth + 1) for key, one in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return dict(zip(value._fields, (_outward(one, items, depth + 1) for one in value), strict=True))
    if type(value) in (list, tuple, set, frozenset):
        return type(value)(_outward(one, items, depth + 1) for one in value)
    return value


def _plain(value: Any) -> Any:
    return encode(_outward(value, [MOST_ITEMS]))


class Broker:
    """Serves one socket."""

    def __init__(self, connection: socket.socket, pool: monty.Monty) -> None:
        self._connection = connection
        self._pool = pool
        self._checker = Checker(pool, _MOST_PRINTED)
        self._answered = False

    def serve(self) -> None:
        """Answer until the other end closes."""
        self._send({"event": "ready"})
        while True:
            request = self._receive()
            self._answered = False
            try:
                if request["do"] == "check":
                    self._answer(self._check(request))
                else:
                    self._run(request)
            except Exception as error:
                if self._answered:
                    # The session could not be cleared away; nothing may run after it, nor be said twice.
                    raise SystemExit from None
                self._answer(_failure(error))

    def _answer(self, message: dict[str, Any]) -> None:
        self._answered = True
        self._send(message)

    def _check(self, request: dict[str, Any]) -> dict[str, Any]:
        """Type-check a text."""
        return {"event": "checked", "problems": self._checker.problems(request["text"], _limits(request))}

    def _run(self, request: dict[str, Any]) -> None:
        """Run an adapter, host call by host call, and say how it ended before the session is cleared away."""
        inputs = {name: decode(request[name]) for name in ("arguments", "error")}
        for name in ("call", *request["names"]):
            inputs[name] = _HOST[name]
        printed = monty.CollectString(_MOST_PRINTED)
        with self._pool.checkout(limits=_limits(request), os_policy={"sleep": "zero"}) as session:
            state = session.feed_start(request["text"] + _FINISH, inputs=inputs, print_callback=printed)
            while not isinstance(state, monty.MontyComplete):
                if isinstance(state, monty.NameLookupSnapshot):
                    state = state.resume()
                elif isinstance(state, monty.FunctionSnapshot) and not state.is_os_function:
                    state = state.resume(self._host_call(state))
                else:
                    wanted = state.function_name if isinstance(state, monty.FunctionSnapshot) else "to wait"
                    self._answer({"event": "failed", "kind": "refused", "reason": f"it asked for {wanted!s:.60}"})
                    return
            simple, value = state.output
            if simple is not True:
                why, value = session.feed_run(_LOOK, print_callback=printed)
                if why:
                    raise Unplain(_reason(why))
            self._answer({"event": "done", "value": _plain(value)})

    def _host_call(self, wanted: monty.FunctionSnapshot) -> monty.ExternalSettledResult:
        name = wanted.function_name
        try:
            args, keywords = _plain(list(wanted.args)), _plain(dict(wanted.kwargs))
        except Unplain as reason:
            return {"exc_type": "TypeError", "message": f"{name}: {reason}"}
        self._send({"event": "call", "name": name, "args": args, "keywords": keywords})
        answer = self._receive()
        if "raise" in answer:
            return {"exc_type": answer["raise"], "message": answer["message"]}
        return {"return_value": _inward(decode(answer["return"]))}

    def _send(self, message: dict[str, Any]) -> None:
        self._connection.sendall(dumps(message))

    def _receive(self) -> dict[str, Any]:
        # The two ends take turns, so whatever is there belongs to one message.
        found = bytearray(self._part())
        while len(found) < 4 or len(found) < 4 + int.from_bytes(found[:4]):
            found += self._part()
        message: dict[str, Any] = json.loads(found[4:])
        return message

    def _part(self) -> bytes:
        part = self._connection.recv(1 << 16)
        if not part:
            raise SystemExit
        return part


def call() -> None:
    """Name the original call in the sandbox."""


def strategy() -> None:
    """Name the boundary's alternatives in the sandbox."""


def repair() -> None:
    """Name the catalogue in the sandbox."""


_HOST = {"call": call, "strategy": strategy, "repair": repair}


def _reason(why: object) -> str:
    """Say why a result cannot leave, in words of ours only: they are kept, and what the adapter made is not."""
    match why:
        case "large":
            return "it is too large"
        case "deep":
            return "it is nested too deeply, or holds itself"
    held = f"a {why}" if why in _TOLD else "an object"
    return f"it holds {held}, which would leave the sandbox as something else"


def _limits(request: dict[str, Any]) -> monty.ResourceLimits:
    return {
        "max_feed_duration_secs": request["seconds"],
        "max_memory": request["memory"],
        "max_recursion_depth": 200,
        "max_suspensions": request["calls"] + 1,
    }


def _failure(error: Exception) -> dict[str, Any]:
    """Say how an adapter failed."""
    if isinstance(error, Unplain):
        return {"event": "failed", "kind": "value", "reason": str(error)}
    if isinstance(error, monty.MontyCrashedError):
        return {"event": "failed", "kind": "time" if error.timed_out else "crash"}
    if isinstance(error, monty.MontyError):
        return _raised(error)
    # Whatever the sandbox gave that nobody thought of: it costs this application and this worker.
    return {"event": "failed", "kind": "crash"}


def _raised(error: monty.MontyError) -> dict[str, Any]:
    """Say how an adapter failed, without its own words: they may hold what it was given."""
    raised = type(error.exception()).__name__
    words = str(error)
    kind = "raised"
    if raised == "TimeoutError" and "time limit exceeded" in words:
        kind = "time"
    elif raised == "MemoryError":
        kind = "memory"
    elif raised == "RuntimeError" and "suspension" in words:
        kind = "calls"
    line = 0
    if isinstance(error, monty.MontyRuntimeError):
        line = next((frame.line for frame in reversed(error.traceback()) if frame.function_name is not None), 0)
    return {"event": "failed", "kind": kind, "error": raised, "line": line}


def _end_with(connection: socket.socket) -> None:
    """Kill this process and its worker when the other end closes, whatever they are doing."""
    watch = select.poll()
    watch.register(connection.fileno(), select.POLLHUP | select.POLLERR)
    watch.poll()
    os.killpg(0, signal.SIGKILL)


def main() -> None:
    """Serve the socket that is this process's standard input. Arguments: the most bytes an adapter may use."""
    memory = int(sys.argv[1])
    for limit, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_AS, memory + _ROOM_BESIDE),
    ):
        _, most = resource.getrlimit(limit)
        value = value if most == resource.RLIM_INFINITY else min(value, most)
        with contextlib.suppress(ValueError, OSError):  # not every system has every limit
            resource.setrlimit(limit, (value, value))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C at a terminal is for the service
    connection = socket.socket(fileno=0)
    threading.Thread(target=_end_with, args=(connection,), daemon=True).start()
    with monty.Monty(
        min_processes=1,
        max_processes=2,  # one that runs adapters, and once a text was checked one that checks
        checkout_timeout=5.0,
        max_checkouts_per_worker=1_000,
        feed_duration_limit_grace=_GRACE,
        turn_duration_limit_grace=_GRACE,
    ) as pool:
        Broker(connection, pool).serve()
