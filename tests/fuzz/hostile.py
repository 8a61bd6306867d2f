"""Operands whose types tell when their code runs: no repairer may run any of it.

They behave while an operation is made and fails; between `armed` and the end of its block whatever runs is noted, and
raises.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["HOSTILE", "Ran", "armed"]

_ran: list[str] = []
_armed = False


class Ran(Exception):
    """Code of an operand's type ran."""


@contextmanager
def armed() -> Iterator[None]:
    """Assert that no code of a hostile type runs in a block."""
    global _armed
    _ran.clear()
    _armed = True
    try:
        yield
    finally:
        _armed = False
    assert not _ran, f"code of an operand's type ran: {_ran}"


def _note(name: str, calm: Any) -> Any:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if _armed:
            _ran.append(name)
            raise Ran(name)
        return calm(self, *args, **kwargs)

    return method


def _calm(base: type, name: str) -> Any:
    if name == "__hash__":
        return lambda self, *args: hash("data")
    if name == "__eq__":
        return lambda self, *args: False
    if name == "__bool__":
        return lambda self: True
    if name in ("__getattr__", "__missing__", "__getitem__", "__call__", "__index__", "__float__", "__int__"):

        def refuses(self: Any, *args: Any, **kwargs: Any) -> Any:
            raise {"__getattr__": AttributeError, "__missing__": KeyError, "__getitem__": KeyError}.get(
                name, ValueError
            )(*args[:1])

        return refuses
    return getattr(base, name)


_SPECIAL = (
    *("__eq__", "__ne__", "__hash__", "__bool__", "__str__", "__repr__", "__format__", "__getattribute__", "__dir__"),
    *("__getattr__", "__call__", "__index__", "__float__", "__int__", "__lt__", "__setattr__", "__sizeof__"),
)
_OF_CONTAINERS = ("__len__", "__iter__", "__contains__", "__getitem__", "__missing__", "keys", "items", "get", "values")
_OF_TEXT = ("__len__", "__iter__", "__contains__", "strip", "lower", "encode", "translate", "startswith", "isascii")


class _Meta(type):
    """A class that lies about itself, and notes who asks."""

    __hash__ = type.__hash__
    __eq__ = _note("type.__eq__", type.__eq__)
    __instancecheck__ = _note("type.__instancecheck__", type.__instancecheck__)
    __subclasscheck__ = _note("type.__subclasscheck__", type.__subclasscheck__)
    __getattribute__ = _note("type.__getattribute__", type.__getattribute__)


def _hostile(base: type, names: tuple[str, ...]) -> type:
    namespace: dict[str, Any] = {"__slots__": ()} if base is not object else {}
    for name in names:
        if hasattr(base, name) or name in ("__getattr__", "__call__", "__missing__", "__bool__"):
            namespace[name] = _note(f"{base.__name__}.{name}", _calm(base, name))
    namespace["__class__"] = property(_note(f"{base.__name__}.__class__", lambda self: str))
    return _Meta(f"Hostile{base.__name__.title()}", (base,), namespace)


_Object = _hostile(object, _SPECIAL)
_Text = _hostile(str, _SPECIAL + _OF_TEXT)
_Bytes = _hostile(bytes, _SPECIAL + _OF_TEXT)
_Dict = _hostile(dict, _SPECIAL + _OF_CONTAINERS)
_List = _hostile(list, _SPECIAL + _OF_CONTAINERS)
_Int = _hostile(int, _SPECIAL)


class _Owner:
    """Holds a name, and has properties that note who reads them."""

    user_total = property(_note("property", lambda self: 1))

    def __init__(self) -> None:
        self.user_name = 1


HOSTILE: tuple[Any, ...] = (
    _Object(),
    _Text("$1,234"),
    _Text("userName"),
    _Bytes(b"\xff\xfea\x00"),
    _Dict(user_name=1, data={"items": 1}),
    _List([1]),
    _Int(7),
    _Object,
    _Owner(),
    {_Text("data"): 1, "payload": {"items": 1}},
    {_Object(): 1, "user_name": 2},
    {"data": _Dict(items=1)},
)
"""Objects of every built-in shape that repairers look at, and containers that hold such."""
