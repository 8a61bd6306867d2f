"""Crossing: what an adapter gets to see of the service's values, as plain copies, and nothing of the service itself.

Instances of dataclasses, pydantic models, named tuples and mappings cross as dicts, enumerations as their values.
Everything is copied, within the bounds of `notation`, before anything leaves: what an adapter changes is its own.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from healspan.remediation.sandbox.notation import MOST_DEPTH, MOST_ITEMS, Room, Unplain, encode

__all__ = ["error_facts", "is_finite", "plain", "same", "texts"]

_AS_IT_IS = frozenset({bool, int, float, complex, bytes, Decimal, date, timedelta})
_BASES: tuple[tuple[type, Any], ...] = (
    (str, str.__str__),
    (int, int.__int__),
    (float, float.__float__),
    (bytes, bytes.__bytes__),
    (list, lambda value: list(list.__iter__(value))),
    (set, lambda value: set(set.__iter__(value))),
    (frozenset, lambda value: frozenset(frozenset.__iter__(value))),
    (tuple, lambda value: tuple(tuple.__iter__(value))),
)
"""Subclasses of these cross as what they are below; the methods of the base run, not those of the subclass."""

_MOST_MESSAGE = 2_000


def plain(value: object, room: Room | None = None) -> Any:
    """Return a plain copy of a value.

    Raises:
        Unplain: it cannot cross; the message says why.
    """
    try:
        return _plain(value, room or Room(), 0)
    except Unplain:
        raise
    except Exception as error:  # a property, a descriptor or a mapping of the application's
        raise Unplain(f"reading it raised {type(error).__qualname__}") from None


def _plain(value: Any, room: Room, depth: int) -> Any:
    kind = type(value)
    if value is None or kind in _AS_IT_IS or kind is str:
        room.take(len(value) if kind in (str, bytes) else 0)
        return value
    if depth >= MOST_DEPTH:
        raise Unplain(f"it is nested more than {MOST_DEPTH} deep, or holds itself")
    room.take()
    if kind in (list, tuple, set, frozenset):
        copied = kind(_plain(one, room, depth + 1) for one in value)
        return _undiminished(copied, len(value))
    viewed = _view(value)
    if viewed is not None:
        items = list(itertools.islice(viewed.items(), MOST_ITEMS + 1))
        return _undiminished(
            {_plain(key, room, depth + 1): _plain(one, room, depth + 1) for key, one in items}, len(items)
        )
    if isinstance(value, Enum):
        return _plain(value.value, room, depth + 1)
    return _scalar(value, room, depth + 1)


def _undiminished(copied: Any, number: int) -> Any:
    if len(copied) != number:
        raise Unplain("two keys or members of it would become one")
    return copied


def _view(value: Any) -> Mapping[Any, Any] | None:
    """Return what a value looks like as a mapping; None where it does not."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, BaseModel):
        fields = {name: getattr(value, name) for name in type(value).model_fields}
        return fields | (value.model_extra or {})
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}
    names = getattr(type(value), "_fields", None)
    if isinstance(value, tuple) and isinstance(names, tuple):
        return dict(zip(names, tuple.__iter__(value), strict=True))
    return None


def _scalar(value: Any, room: Room, depth: int) -> Any:
    if type(value) is datetime:
        return _in_fixed_zone(value)
    if type(value) is time:
        if value.tzinfo is not None and type(value.tzinfo) is not timezone:
            raise Unplain("the time zone of a time of day cannot cross")
        return value
    if isinstance(value, bytearray | memoryview):
        room.take(len(value))
        return bytes(value)
    if isinstance(value, PurePath | UUID):
        return str(value)
    for base, convert in _BASES:
        if isinstance(value, base):
            return _plain(convert(value), room, depth)
    raise Unplain(f"a value of type {type(value).__module__}.{type(value).__qualname__} cannot cross")


def _in_fixed_zone(value: datetime) -> datetime:
    """Return the same moment in a zone of fixed offset: rules of summer time do not cross."""
    if value.tzinfo is None or type(value.tzinfo) is timezone:
        return value
    offset = value.utcoffset()
    if offset is None:
        raise Unplain("a time zone in it has no offset")
    return value.replace(tzinfo=timezone(offset), fold=0)


def error_facts(error: BaseException, room: Room | None = None) -> dict[str, Any]:
    """Return what an adapter is told of an exception: its ``type``, ``name``, ``message`` and plain ``args``."""
    kind = type(error)
    try:
        message = str(error)[:_MOST_MESSAGE].encode("utf-8", "replace").decode()
    except Exception:  # a hostile __str__
        message = ""
    args: list[Any] = []
    room = room or Room()
    for one in BaseException.__getattribute__(error, "args")[:10]:
        try:
            copied = plain(one, room)
            encode(copied)
            args.append(copied)
        except Unplain:
            args.append(None)
    return {"type": f"{kind.__module__}.{kind.__qualname__}", "name": kind.__name__, "message": message, "args": args}


def same(one: object, other: object) -> bool:
    """Tell whether two plain values are equal with equal types throughout; ``1``, ``1.0`` and ``True`` are three."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict) and isinstance(other, dict):
        return len(one) == len(other) and all(
            same(left, right) and same(one[left], other[right]) for left, right in zip(one, other, strict=True)
        )
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and isinstance(other, float):
        both_nan = math.isnan(one) and math.isnan(other)
        return both_nan or (one == other and math.copysign(1, one) == math.copysign(1, other))
    if isinstance(one, complex) and isinstance(other, complex):
        return same(one.real, other.real) and same(one.imag, other.imag)
    if isinstance(one, Decimal) and isinstance(other, Decimal):
        return str(one) == str(other)
    if isinstance(one, datetime | time) and isinstance(other, datetime | time):
        return one.isoformat() == other.isoformat()
    if isinstance(one, set | frozenset) and isinstance(other, set | frozenset):
        return {(type(each), each) for each in one} == {(type(each), each) for each in other}
    return bool(one == other)


def texts(value: object) -> Iterator[str]:
    """Yield every text in a plain value."""
    return (one for one in _leaves(value) if isinstance(one, str))


def is_finite(value: object) -> bool:
    """Whether no number in a plain value is infinite or no number at all."""
    return all(
        one.is_finite() if isinstance(one, Decimal) else not isinstance(one, float) or math.isfinite(one)
        for one in _leaves(value)
    )


def _leaves(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _leaves(key)
            yield from _leaves(one)
    elif isinstance(value, list | tuple | set | frozenset):
        for one in value:
            yield from _leaves(one)
    else:
        yield value
