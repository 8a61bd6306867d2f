"""Rebuilding: undo what crossing did, where a declared type says how; nothing else is converted.

A dict becomes the dataclass, pydantic model or named tuple that is declared, a value the enumeration's member, a
text the path or UUID. A text never becomes a number here: the contract must be able to say no.
"""

from __future__ import annotations

import collections
import dataclasses
import types
import typing
from collections.abc import Mapping
from enum import Enum
from pathlib import PurePath
from typing import Annotated, Any, Union, get_args, get_origin
from uuid import UUID

from pydantic import BaseModel

from healspan.remediation.sandbox.notation import Unplain

__all__ = ["rebuild"]

_SEQUENCES = (list, set, frozenset, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection)
_MAPPINGS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)


def rebuild(value: Any, declared: Any) -> Any:
    """Return a plain value as an instance of the declared type where it stands for one, else the value itself.

    Raises:
        Unplain: it stands for one and does not fit it.
    """
    origin, args = get_origin(declared), get_args(declared)
    if origin is Annotated:
        return rebuild(value, args[0])
    if origin in (Union, types.UnionType):
        return _one_of(value, args)
    if origin is not None:
        return _inside(value, origin, args)
    return _instance(value, declared) if isinstance(declared, type) else value


def _one_of(value: Any, choices: tuple[Any, ...]) -> Any:
    """Rebuild as the first choice that it fits; a value that is of a choice already stays."""
    if any(isinstance(choice, type) and type(value) is choice for choice in choices):
        return value
    for choice in choices:
        try:
            built = rebuild(value, choice)
        except Unplain:
            continue
        if built is not value:
            return built
    return value


def _inside(value: Any, origin: Any, args: tuple[Any, ...]) -> Any:
    if origin is tuple and type(value) is tuple and args:
        kinds = args[:1] * len(value) if args[-1] is Ellipsis else args
        return tuple(map(rebuild, value, kinds)) if len(kinds) == len(value) else value
    if origin in _SEQUENCES and args and type(value) in (list, set, frozenset, tuple):
        return type(value)(rebuild(one, args[0]) for one in value)
    if origin in _MAPPINGS and len(args) == 2 and type(value) is dict:
        return {rebuild(key, args[0]): rebuild(one, args[1]) for key, one in value.items()}
    if isinstance(origin, type) and type(value) is dict:
        return _instance(value, origin)
    return value


def _instance(value: Any, declared: type) -> Any:
    try:
        if type(value) is dict and not issubclass(declared, Mapping):
            return _from_fields(value, declared)
        if issubclass(declared, Enum) and not isinstance(value, Enum):
            return declared(value)
        if issubclass(declared, PurePath | UUID) and type(value) is str:
            return declared(value)
    except Unplain:
        raise
    except Exception as error:  # a constructor or a validator of the application's
        raise Unplain(f"no {declared.__qualname__} can be made of it ({type(error).__qualname__})") from None
    return value


def _from_fields(value: dict[Any, Any], declared: type) -> Any:
    """Make an instance of a dataclass, a model or a named tuple; a dict that is declared as a dict stays one."""
    if issubclass(declared, BaseModel):
        hints = _hints(declared)
        aliases = {
            name: one.validation_alias if isinstance(one.validation_alias, str) else name
            for name, one in declared.model_fields.items()
        }
        fields = {aliases.get(key, key): rebuild(one, hints.get(key)) for key, one in value.items()}
        return declared.model_validate(fields, strict=True)
    if dataclasses.is_dataclass(declared):
        known = {one.name: one.init for one in dataclasses.fields(declared)}
        return declared(**_known(value, declared, known))
    if issubclass(declared, tuple) and hasattr(declared, "_fields"):
        return declared(**_known(value, declared, dict.fromkeys(declared._fields, True)))
    return value


def _known(value: dict[Any, Any], declared: type, known: Mapping[str, bool]) -> dict[str, Any]:
    """Return the rebuilt fields that a constructor takes; a field that it makes itself is left to it."""
    unknown = [key for key in value if key not in known]
    if unknown:
        raise Unplain(f"it has {len(unknown)} fields that {declared.__qualname__} has not")
    hints = _hints(declared)
    return {key: rebuild(one, hints.get(key)) for key, one in value.items() if known[key]}


def _hints(declared: type) -> Mapping[str, Any]:
    try:
        return typing.get_type_hints(declared)
    except Exception:  # annotations that cannot be resolved here say nothing
        return {}
