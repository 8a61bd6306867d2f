"""Fields of records: whether each holds what its class declares, strictly.

A validator takes an instance of a dataclass or a model for what it claims to be; a class may be made without any check.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

__all__ = ["broken_field"]

_MOST = 1_000
"""Fields looked at in one value."""


def broken_field(value: object) -> str | None:
    """Return the first field that does not hold what its class declares, with the reason; None if there is none.

    Args:
        value: a dataclass, a model or a named tuple, or a list, tuple or mapping of them; anything else has no fields.
    """
    waiting: list[tuple[str, object]] = [("", value)]
    looked = 0
    while waiting and looked < _MOST:
        where, each = waiting.pop()
        for name, part, adapter in _parts(each):
            looked += 1
            place = f"{where}.{name}" if where else name
            if adapter is not None:
                try:
                    adapter.validate_python(part, strict=True)
                except ValidationError as error:
                    return f"{place}: {error.errors(include_url=False, include_input=False)[0]['msg']}"
                except Exception:  # a validator of the application's
                    return f"{place}: its validation raised"
            waiting.append((place, part))
    return None


def _parts(value: object) -> Iterator[tuple[str, Any, TypeAdapter[Any] | None]]:
    kind: Any = type(value)  # a type is hashable, which its stub does not say
    if issubclass(kind, Mapping):
        for key, part in value.items() if isinstance(value, dict) else ():
            yield str(key)[:50], part, None
    elif kind in (list, tuple):
        for index, part in enumerate(value[:_MOST] if isinstance(value, list | tuple) else ()):
            yield str(index), part, None
    else:
        for name, adapter in _fields(kind).items():
            try:
                yield name, getattr(value, name), adapter
            except AttributeError:
                continue  # never set; what reads it will say so


@functools.lru_cache(maxsize=500)
def _fields(kind: type[Any]) -> dict[str, TypeAdapter[Any] | None]:
    """Return the declared fields of a class, each with its validator, or None where its type says nothing."""
    if dataclasses.is_dataclass(kind):
        names = [field.name for field in dataclasses.fields(kind)]
    elif issubclass(kind, BaseModel):
        names = list(kind.model_fields)
    elif issubclass(kind, tuple) and hasattr(kind, "_fields"):
        names = list(kind._fields)
    else:
        return {}
    try:
        hints = get_type_hints(kind, include_extras=True)
    except Exception:  # annotations are the application's code
        return {}
    return {name: _adapter(hints[name]) for name in names if name in hints}


def _adapter(hint: Any) -> TypeAdapter[Any] | None:
    for config in (ConfigDict(arbitrary_types_allowed=True), None):
        with contextlib.suppress(Exception):  # a class with a configuration of its own; a type that nothing validates
            return TypeAdapter(hint, config=config)
    return None
