"""Values as data: a bounded, scrubbed JSON picture of an argument or a local variable.

Only exact built-in types are read. Everything else, subclasses of built-ins included, is its type's name:
reading it would run code of the application (`__repr__`, `__len__`, `__iter__`, properties) in the middle
of its failure, where that code may block, raise, or take a lock.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Any

from pydantic import JsonValue

from healspan.remediation.modules import importable_name
from healspan.remediation.scrubbing import ScrubSession, marker, name_of

__all__ = ["Limits", "ValuePolicy", "ValueReader", "type_name"]

_QUALNAME = type.__dict__["__qualname__"]
_MODULE = type.__dict__["__module__"]
_MAX_TYPE_NAME = 120
_CARD_SIZED = 10**11
_JSON_INT_BITS = 63
"""Larger integers do not survive other people's JSON; and writing out a huge one takes quadratic time."""


class ValuePolicy(StrEnum):
    """How much of a value an incident keeps."""

    SKELETON = "skeleton"
    """Types, shapes and names only."""
    SCRUBBED = "scrubbed"
    """Values, without secrets."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what is read."""

    depth: int = 3
    items: int = 10
    """Of one container."""
    text: int = 200
    """Characters of one string."""
    total: int = 16_384
    """Characters of all values of one incident."""


def type_name(value: object) -> str:
    """Return ``module.Class`` of a value without running any of its code."""
    return class_name(type(value))


def class_name(cls: type) -> str:
    """Return ``module.Class`` of a class without running any of its metaclass's code."""
    try:
        module, name = _MODULE.__get__(cls), str.__str__(_QUALNAME.__get__(cls))  # past what a subclass overrides
    except AttributeError:
        return "unknown"
    named = f"{importable_name(module)}.{name}" if type(module) is str else name
    return named if len(named) <= _MAX_TYPE_NAME else named[: _MAX_TYPE_NAME - 1] + "…"


class ValueReader:
    """Reads the values of one incident, within one budget."""

    __slots__ = ("_left", "_limits", "_seen", "_session", "_skeleton")

    def __init__(
        self,
        session: ScrubSession,
        policy: ValuePolicy = ValuePolicy.SCRUBBED,
        limits: Limits | None = None,
    ) -> None:
        self._session = session
        self._limits = limits or Limits()
        self._left = self._limits.total
        self._seen: dict[tuple[int, int], tuple[object, JsonValue, int]] = {}
        self._skeleton = policy is ValuePolicy.SKELETON

    @property
    def used(self) -> int:
        """Characters spent so far, about."""
        return self._limits.total - self._left

    def read(self, value: object, name: str = "") -> JsonValue:
        """Return the picture of a value; `name` is the name it stands under. Never raises, never blocks."""
        try:
            return self._read(value, name, 0)
        except Exception:
            return "<unreadable>"

    def _read(self, value: Any, name: str, depth: int) -> JsonValue:
        if self._left <= 0:
            return "<over budget>"
        if name and self._session.scrubber.convicts(name, value):
            self._left -= 16
            return marker("key")
        kind = type(value)
        if kind is str:
            return self._text(value)
        if value is None or kind is bool:
            self._left -= 5
            plain: bool | None = value
            return plain
        if kind is int or kind is float:
            return self._number(value)
        if kind in _CONTAINERS:
            return self._container_once(value, kind, depth)
        self._left -= 24
        if kind is bytes or kind is bytearray:
            return f"<{kind.__name__} {len(value)}>"
        return f"<class {class_name(value)}>" if issubclass(kind, type) else f"<{type_name(value)}>"

    def _text(self, text: str) -> JsonValue:
        if self._skeleton:
            self._left -= 12
            return f"<str {len(text)}>"
        shown = self._session.text(text, self._limits.text)
        self._left -= _size(shown) + 2
        return shown

    def _number(self, number: int | float) -> JsonValue:
        self._left -= 10
        if self._skeleton:
            return f"<{type(number).__name__}>"
        if isinstance(number, float):
            if not math.isfinite(number):
                return f"<{number}>"
            return number if -_CARD_SIZED < number < _CARD_SIZED else self._session.value(number)
        if number.bit_length() > _JSON_INT_BITS:
            return f"<int {number.bit_length()} bits>"
        return number if -_CARD_SIZED < number < _CARD_SIZED else self._session.value(number)

    def _container_once(self, value: Any, kind: type, depth: int) -> JsonValue:
        """A container that several frames share is read once, and counts each time."""
        known = self._seen.get((id(value), depth))
        if known is None:
            before = self._left
            shown = self._container(value, kind, depth)
            # The value is kept with the picture, for its id not to be given to another one.
            self._seen[id(value), depth] = (value, shown, before - self._left)
            return shown
        self._left -= known[2]
        return known[1]

    def _container(self, value: Any, kind: type, depth: int) -> JsonValue:
        size = len(value)
        if depth >= self._limits.depth:
            self._left -= 12
            return f"<{kind.__name__} {size}>"
        self._left -= 4
        shown = self._limits.items
        if kind is dict:
            entries: dict[str, JsonValue] = {}
            named = self._session.scrubber.convicted_entry(value)
            for key, item in islice(value.items(), shown):
                label = self._key(key)
                name = label if type(key) is str else name_of(key) or ""
                entries[label] = marker("key") if label == named else self._read(item, name, depth + 1)
            if size > shown:
                entries["…"] = f"<{size - shown} more>"
            return entries
        items = self._items(value, depth)
        if size > shown:
            items.append(f"<{size - shown} more>")
        return items if kind is list else {f"<{kind.__name__}>": items}

    def _items(self, value: Iterable[object], depth: int) -> list[JsonValue]:
        head = list(islice(value, self._limits.items))
        convicted = self._session.scrubber.convicted_items(head)
        return [
            marker("key") if place in convicted else self._read(item, "", depth + 1) for place, item in enumerate(head)
        ]

    def _key(self, key: Any) -> str:
        kind = type(key)
        if kind is str:
            shown = self._session.text(key, 80)
        elif kind is bool or key is None or (kind is int and key.bit_length() <= _JSON_INT_BITS):
            shown = str(key)
        else:
            shown = f"<{type_name(key)}>"
        self._left -= _size(shown) + 4
        return shown


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


_CONTAINERS = frozenset((list, tuple, dict, set, frozenset))
