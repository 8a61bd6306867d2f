"""What a call was given: enough to tell one input from another, without keeping it alive."""

from __future__ import annotations

import weakref
from collections.abc import Iterable

from pydantic import BaseModel

__all__ = ["Given", "given", "same_input", "steady"]

Given = tuple[object, ...]
"""Plain values, and weak references to objects."""

_PLAIN = (str, bytes, int, float, bool, type(None))


def given(values: Iterable[object]) -> Given | None:
    """Return what tells one input from another without keeping it alive; None if something in it cannot say."""
    told: list[object] = []
    for value in values:
        if type(value) in _PLAIN:
            told.append(value)
            continue
        try:
            told.append(weakref.ref(value))
        except TypeError:
            # A list or a dict: its address may be used again, and its content may have changed.
            return None
    return tuple(told)


def steady(values: Iterable[object]) -> bool:
    """Tell whether nothing that a value holds itself can be set: plain values, and instances of frozen classes."""
    return all(type(value) in _PLAIN or _is_frozen(type(value)) for value in values)


def _is_frozen(kind: type) -> bool:
    settings = vars(kind).get("__dataclass_params__")
    return bool(getattr(settings, "frozen", False)) or (
        issubclass(kind, BaseModel) and bool(kind.model_config.get("frozen"))
    )


def same_input(one: Given | None, other: Given | None) -> bool:
    """Tell whether two calls were certainly given the same: equal plain values, and the same living objects."""
    if one is None or other is None or len(one) != len(other):
        return False
    return all(_same(a, b) for a, b in zip(one, other, strict=True))


def _same(one: object, other: object) -> bool:
    if isinstance(one, weakref.ref) and isinstance(other, weakref.ref):
        alive = one()
        return alive is not None and alive is other()
    return type(one) is type(other) and one == other
