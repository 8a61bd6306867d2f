"""Plain values: those that a JSON text can hold without losing anything, their types included.

Only exact built-in types and a few of the standard library are plain. A value of any other type is not, since
reading it would run code of the application and writing it back could not be faithful.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from pydantic import JsonValue

from healspan.remediation.errors import NotPlain

__all__ = ["decode", "digest_of", "encode"]

_MOST_NODES = 20_000
_DEEPEST = 24
_JSON_INT_BITS = 63
"""Larger integers do not survive other people's JSON."""

_SEQUENCES: Mapping[str, Callable[[Iterable[Any]], Any]] = {"$tuple": tuple, "$set": set, "$frozenset": frozenset}
_TAGS: Mapping[type, str] = {tuple: "$tuple", set: "$set", frozenset: "$frozenset"}


def encode(value: object) -> JsonValue:
    """Return the JSON form of a value, from which `decode` makes an equal value of the same types.

    Raises:
        NotPlain: a part of it is of another type, or it is too deep or too large.
    """
    return _Encoder().encode(value, 0)


def decode(payload: JsonValue) -> Any:
    """Return the value that `encode` was given.

    Raises:
        NotPlain: the payload is no form that `encode` gives.
    """
    match payload:
        case list():
            return [decode(one) for one in payload]
        case dict():
            if len(payload) == 1 and (tag := next(iter(payload))).startswith("$"):
                return _tagged(tag, payload[tag])
            return {name: decode(one) for name, one in payload.items()}
        case _:
            return payload


def digest_of(payload: JsonValue) -> str:
    """Return the SHA-256 of an encoded value; equal values of equal types, equal digests."""
    text = json.dumps(_canonical(payload), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class _Encoder:
    def __init__(self) -> None:
        self._nodes = 0

    def encode(self, value: Any, depth: int) -> JsonValue:
        self._nodes += 1
        if self._nodes > _MOST_NODES:
            raise NotPlain(f"it has more than {_MOST_NODES} parts")
        if depth > _DEEPEST:
            raise NotPlain(f"it is nested deeper than {_DEEPEST} levels")
        kind = type(value)
        if value is None or kind is bool or kind is str:
            plain: JsonValue = value
            return plain
        if kind is int:
            return value if value.bit_length() <= _JSON_INT_BITS else {"$int": hex(value)}
        if kind is float:
            return value if math.isfinite(value) else {"$float": repr(value)}
        if kind is list:
            return [self.encode(one, depth + 1) for one in value]
        if kind is dict:
            return self._mapping(value, depth)
        if kind in _TAGS:
            parts = [self.encode(one, depth + 1) for one in value]
            return {_TAGS[kind]: parts if kind is tuple else sorted(parts, key=_text)}
        return self._scalar(value, kind)

    def _mapping(self, value: dict[Any, Any], depth: int) -> JsonValue:
        if all(type(name) is str and not name.startswith("$") for name in value):
            return {name: self.encode(one, depth + 1) for name, one in value.items()}
        return {"$dict": [[self.encode(name, depth + 1), self.encode(one, depth + 1)] for name, one in value.items()]}

    def _scalar(self, value: Any, kind: type) -> JsonValue:
        if kind is bytes:
            # As text, so that whoever looks for secrets sees what is in it.
            return {"$bytes": value.decode("latin-1")}
        if kind is Decimal:
            return {"$decimal": str(value)}
        if kind is date:
            return {"$date": value.isoformat()}
        if kind is datetime and (value.tzinfo is None or value.tzinfo is UTC) and value.fold == 0:
            return {"$datetime": value.isoformat()}
        raise NotPlain(f"a part of it is a {kind.__module__}.{kind.__qualname__}")


def _tagged(tag: str, held: JsonValue) -> Any:
    try:
        match held:
            case list() if tag in _SEQUENCES:
                return _SEQUENCES[tag](decode(one) for one in held)
            case list() if tag == "$dict":
                return dict(_pair(one) for one in held)
            case str():
                return _SCALARS[tag](held)
    except (KeyError, ValueError, TypeError, ArithmeticError) as error:
        raise NotPlain(f"what is stored under {tag} cannot be read") from error
    raise NotPlain(f"what is stored under {tag} cannot be read")


def _pair(held: JsonValue) -> tuple[Any, Any]:
    match held:
        case [name, value]:
            return decode(name), decode(value)
    raise ValueError("no pair")


_SCALARS: Mapping[str, Callable[[str], Any]] = {
    "$int": lambda text: int(text, 16),
    "$float": float,
    "$bytes": lambda text: text.encode("latin-1"),
    "$decimal": Decimal,
    "$date": date.fromisoformat,
    "$datetime": datetime.fromisoformat,
}


def _canonical(payload: JsonValue) -> JsonValue:
    """Return an encoded value with the entries of its mappings in one order."""
    match payload:
        case list():
            return [_canonical(one) for one in payload]
        case {"$dict": list(pairs)}:
            return {"$dict": sorted((_canonical(pair) for pair in pairs), key=_text)}
        case dict():
            return {name: _canonical(one) for name, one in payload.items()}
        case _:
            return payload


def _text(payload: JsonValue) -> str:
    return json.dumps(payload, sort_keys=True)
