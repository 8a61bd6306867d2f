"""The notation in which plain values travel between the service and a sandbox worker: JSON, with tags.

Both ends use this module and nothing else of healspan, so the worker's process stays small. Lists, texts, truth
values, None, finite floats and ordinary ints are themselves; an object with one key names any other type. What
arrives is built from the tags below and nothing else: no class, no code.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

__all__ = ["MOST_DEPTH", "MOST_FRAME", "MOST_ITEMS", "MOST_SIZE", "Opaque", "Room", "Unplain", "decode", "encode"]

MOST_ITEMS = 100_000
"""Values in one crossing, each counted as often as it is reached: a list that is shared counts again."""

MOST_SIZE = 8 * 1024 * 1024
"""Characters and bytes in one crossing."""

MOST_DEPTH = 60

MOST_FRAME = 64 * 1024 * 1024
"""Bytes of one message; what the bounds above leave cannot reach it."""

_MOST_BITS = 4_096
"""Of an integer: converting longer ones to text is slow, and refused by Python itself."""


class Unplain(ValueError):
    """A value that cannot cross; the message says why."""


@dataclass(frozen=True, slots=True)
class Opaque:
    """Stands for an object of the host's that cannot cross: it may be handed on, or returned, and nothing else."""

    number: int


@dataclass(slots=True)
class Room:
    """How much may still cross."""

    items: int = MOST_ITEMS
    size: int = MOST_SIZE
    depth: int = field(default=0)

    def take(self, size: int = 0) -> None:
        """Count one value.

        Raises:
            Unplain: there is no room for it.
        """
        self.items -= 1
        self.size -= size
        if self.items < 0:
            raise Unplain(f"it holds more than {MOST_ITEMS:,} values")
        if self.size < 0:
            raise Unplain(f"it holds more than {MOST_SIZE:,} characters and bytes")


def encode(value: object, room: Room | None = None) -> Any:
    """Return a plain value as JSON can write it.

    Raises:
        Unplain: it is not plain, or too large, or too deep (a list that holds itself is).
    """
    return _encoded(value, room or Room())


def _encoded(value: object, room: Room) -> Any:
    kind = type(value)
    if kind is str:
        return _text(value, room)
    room.take()
    if value is None or kind is bool:
        return value
    if kind in _CONTAINERS:
        room.depth += 1
        if room.depth > MOST_DEPTH:
            raise Unplain(f"it is nested more than {MOST_DEPTH} deep, or holds itself")
        written = _CONTAINERS[kind](value, room)
        room.depth -= 1
        return written
    write = _SCALARS.get(kind)
    if write is None:
        raise Unplain(f"a value of type {kind.__qualname__} is not plain")
    return write(value, room)


def _text(value: Any, room: Room) -> str:
    room.take(len(value))
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Unplain("a text in it holds half a character (a lone surrogate)") from None
    return str(value)


def _integer(value: Any, _: Room) -> Any:
    if value.bit_length() > _MOST_BITS:
        raise Unplain(f"an integer in it has more than {_MOST_BITS:,} bits")
    return value


def _float(value: Any, _: Room) -> Any:
    return value if math.isfinite(value) else {"n": repr(value)}


def _bytes(value: Any, room: Room) -> Any:
    room.take(len(value))
    return {"b": base64.b64encode(value).decode()}


def _decimal(value: Any, room: Room) -> Any:
    text = str(value)
    room.take(len(text))
    return {"D": text}


def _moment(value: Any, _: Room) -> Any:
    if value.tzinfo is None and value.fold:
        raise Unplain("a time in it says that it is the second of two equal ones, which does not cross")
    return {type(value).__name__: value.isoformat()}


def _mapping(value: Any, room: Room) -> Any:
    if all(type(key) is str for key in value):
        return {"m": {_text(key, room): _encoded(one, room) for key, one in value.items()}}
    return {"d": [[_encoded(key, room), _encoded(one, room)] for key, one in value.items()]}


def _sequence(tag: str) -> Callable[[Any, Room], Any]:
    return lambda value, room: {tag: [_encoded(one, room) for one in value]}


_CONTAINERS: dict[type, Callable[[Any, Room], Any]] = {
    list: lambda value, room: [_encoded(one, room) for one in value],
    dict: _mapping,
    tuple: _sequence("t"),
    set: _sequence("s"),
    frozenset: _sequence("f"),
}

_SCALARS: dict[type, Callable[[Any, Room], Any]] = {
    int: _integer,
    float: _float,
    complex: lambda value, _: {"c": [repr(value.real), repr(value.imag)]},
    bytes: _bytes,
    Decimal: _decimal,
    date: lambda value, _: {"date": value.isoformat()},
    datetime: _moment,
    time: _moment,
    timedelta: lambda value, _: {"delta": [value.days, value.seconds, value.microseconds]},
    Opaque: lambda value, _: {"o": value.number},
}

_READERS: dict[str, Callable[[Any], Any]] = {
    "n": float,
    "c": lambda parts: complex(float(parts[0]), float(parts[1])),
    "b": base64.b64decode,
    "D": Decimal,
    "date": date.fromisoformat,
    "datetime": datetime.fromisoformat,
    "time": time.fromisoformat,
    "delta": lambda parts: timedelta(days=parts[0], seconds=parts[1], microseconds=parts[2]),
    "o": Opaque,
    "m": lambda items: {key: decode(one) for key, one in items.items()},
    "d": lambda pairs: {decode(key): decode(one) for key, one in pairs},
    "t": lambda items: tuple(map(decode, items)),
    "s": lambda items: set(map(decode, items)),
    "f": lambda items: frozenset(map(decode, items)),
}


def decode(written: Any) -> Any:
    """Return the plain value that was written.

    Raises:
        Unplain: it was not written in this notation.
    """
    if isinstance(written, list):
        return [decode(one) for one in written]
    if not isinstance(written, dict):
        return written
    try:
        [(tag, content)] = written.items()
        return _READERS[tag](content)
    except (KeyError, ValueError, TypeError, ArithmeticError) as error:
        raise Unplain(f"not in the notation of plain values ({type(error).__name__})") from None


_WRITER = json.JSONEncoder(separators=(",", ":"), check_circular=False)


def dumps(message: dict[str, Any]) -> bytes:
    """Return a message as bytes, its length before it."""
    body = _WRITER.encode(message).encode()
    if len(body) > MOST_FRAME:
        raise Unplain("the message is too large")
    return len(body).to_bytes(4) + body
