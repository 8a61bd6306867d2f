"""What is kept beside an exception: an application may print, compare or send away one with all that it holds.

A key of ours in its dictionary stood in answers of an API, and a frozen dataclass with slots took it for the value of
its first field where it was unpickled.
"""

from __future__ import annotations

import weakref
from typing import Generic, TypeVar

__all__ = ["Beside", "may_hold"]

Value = TypeVar("Value")

_MRO, _FLAGS = type.__dict__["__mro__"], type.__dict__["__flags__"]  # past whatever a metaclass overrides
_WEAK = type.__dict__["__weakrefoffset__"]
_NAMESPACE = type.__dict__["__dict__"]
_HEAP_TYPE = 1 << 9
_OWN_WAYS = frozenset(("__setattr__", "__setstate__", "__getstate__", "__reduce__", "__reduce_ex__"))
"""Whoever defines one of these decides itself what an exception holds when it arrives, and may know no key of ours."""


def may_hold(error: BaseException) -> bool:
    """Whether a key of ours in an exception's own dictionary changes nothing but what that shows."""
    kind = type(error)
    if not _FLAGS.__get__(kind) & _HEAP_TYPE:  # nor has it a base that is one
        return True
    made_in_python = (one for one in _MRO.__get__(kind) if _FLAGS.__get__(one) & _HEAP_TYPE)
    return not any(_OWN_WAYS & _NAMESPACE.__get__(one).keys() for one in made_in_python)


class _Kept(weakref.ref[BaseException], Generic[Value]):
    __slots__ = ("key", "value")
    key: int
    value: Value


class Beside(Generic[Value]):
    """A value for each of some exceptions, for as long as that lives."""

    def __init__(self) -> None:
        self._kept: dict[int, _Kept[Value]] = {}
        """By the id of an exception, which may be that of another one by now."""

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, error: BaseException) -> Value | None:
        """Return its value."""
        known = self._kept.get(id(error))
        return known.value if known is not None and known() is error else None

    def put(self, error: BaseException, value: Value) -> bool:
        """Keep a value; False where the exception cannot be referred to weakly: Python's own types, or with slots."""
        if not _WEAK.__get__(type(error)):
            return False
        kept = self._kept

        def forget(gone: _Kept[Value]) -> None:
            if kept.get(gone.key) is gone:
                del kept[gone.key]

        one: _Kept[Value] = _Kept(error, forget)
        one.key, one.value = id(error), value
        kept[one.key] = one
        return True
