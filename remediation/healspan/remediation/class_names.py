"""Names of classes of exceptions, past what a metaclass overrides: asking runs none of the application's code."""

from __future__ import annotations

import weakref

from healspan.remediation.modules import importable_name

__all__ = ["qualified"]

_class_module, _class_qualname = type.__dict__["__module__"], type.__dict__["__qualname__"]

_qualified: dict[int, tuple[weakref.ref[type], str]] = {}
"""Names of exception classes by id, since a metaclass may hash and compare as it likes."""

_MOST = 1_000


def qualified(error: type) -> str:
    """Return the qualified name of an exception class, past what a metaclass overrides."""
    known = _qualified.get(id(error))
    if known is not None and known[0]() is error:
        return known[1]
    module = _class_module.__get__(error)
    named = importable_name(module) if type(module) is str else "?"
    name = f"{named}.{_class_qualname.__get__(error)}"
    if len(_qualified) >= _MOST:
        _qualified.clear()
    _qualified[id(error)] = weakref.ref(error), name
    return name
