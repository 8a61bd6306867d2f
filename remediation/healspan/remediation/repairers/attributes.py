"""Looks at the attributes of an object without running code of its type: shared by the repairers of attributes."""

from __future__ import annotations

from collections import namedtuple
from types import GetSetDescriptorType, MappingProxyType, MemberDescriptorType, ModuleType, SimpleNamespace
from typing import Any, Final

from pydantic import BaseModel

from healspan.remediation.repairers.contract import Failure, exact_text
from healspan.remediation.repairers.names import MAX_LENGTH, MAX_NAMES

__all__ = ["class_attributes", "data_attributes", "every_name", "missed"]

# Past whatever a metaclass overrides.
_mro, _namespace = type.__dict__["__mro__"], type.__dict__["__dict__"]
_FIELD_OF_TUPLE: Final = type(vars(namedtuple("_One", "field"))["field"])
_PLAIN: Final = (tuple, str, int, float, dict, list, SimpleNamespace, BaseException)
"""Built-in bases that look attributes up as `object` does."""
_OF_PYDANTIC: Final = BaseModel.__dict__.get("__getattr__")
"""Answers for private and extra attributes, and says that there is no other."""


def missed(failure: Failure) -> str | None:
    """Return the name of an attribute that an object of a plain type lacks, or None.

    The interpreter notes on the error whose attribute was missed: an error from inside a property is of another
    object. Types that look attributes up in their own way decline, and so do classes and modules.
    """
    error, owner = failure.error, failure.target
    if failure.kind != "attribute" or type(error) is not AttributeError or error.obj is not owner:
        return None
    name = exact_text(failure.argument, MAX_LENGTH)
    if name is None or exact_text(error.name, MAX_LENGTH) != name or name.startswith("_"):
        return None
    if owner is None or issubclass(type(owner), type | ModuleType):
        return None
    for each in _classes(owner):
        namespace = _namespace.__get__(each)
        own = namespace.get("__getattr__", _OF_PYDANTIC)
        looks = "__getattribute__" in namespace and not any(each is plain for plain in _PLAIN)
        if looks or own is not _OF_PYDANTIC:
            return None
    # A property that raises is there, and has its reason; a slot may be empty.
    there = any(type(each) is not MemberDescriptorType for each in class_attributes(owner, name))
    return None if there else name


def data_attributes(owner: object) -> frozenset[str] | None:
    """Return the names of what an object holds: its dictionary, its filled slots, the fields of a named tuple."""
    held = _dictionary(owner)
    if held is None:
        return None
    names = [name for name in held if type(name) is str]
    for namespace in _namespaces(owner):
        names += [name for name, value in namespace.items() if type(name) is str and _is_filled(value, owner)]
    return frozenset(name for name in names if not name.startswith("_")) if len(names) <= MAX_NAMES else None


def class_attributes(owner: object, name: str) -> list[Any]:
    """Return what the classes of an object have under a name, the nearest class first."""
    return [namespace[name] for namespace in _namespaces(owner) if name in namespace]


def every_name(owner: object) -> frozenset[str]:
    """Return the public names of an object and its classes, whatever stands behind them."""
    names = [name for namespace in _namespaces(owner) for name in namespace if type(name) is str]
    return frozenset(name for name in names if not name.startswith("_")) | (data_attributes(owner) or frozenset())


def _classes(owner: object) -> list[type]:
    """Return the classes of an object, the nearest first, `object` left out."""
    return [each for each in _mro.__get__(type(owner)) if each is not object]


def _namespaces(owner: object) -> list[MappingProxyType[str, Any]]:
    return [_namespace.__get__(each) for each in _classes(owner)]


def _dictionary(owner: object) -> dict[object, object] | None:
    """Return a copy of an object's dictionary, empty where it has none, or None where it is no plain one."""
    found = class_attributes(owner, "__dict__")
    if not found:
        return {}
    if type(found[0]) is not GetSetDescriptorType and type(found[0]) is not MemberDescriptorType:
        return None
    held = found[0].__get__(owner)
    if type(held) is not dict or len(held) > MAX_NAMES:
        return None
    try:
        return dict(held)
    except RuntimeError:  # another thread is changing it
        return None


def _is_filled(descriptor: object, owner: object) -> bool:
    if type(descriptor) is _FIELD_OF_TUPLE:
        return True
    if type(descriptor) is not MemberDescriptorType:
        return False
    try:
        descriptor.__get__(owner)
    except AttributeError:
        return False
    return True
