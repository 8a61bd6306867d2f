"""Reads the default that a field declares where an object lacks it, for ``job.retries`` of an older pickle.

An object that was made before its class had the field (a pickle, ``__new__``, a copy from another version) does not
have the attribute, while the class says what it is if nobody says otherwise: the default of a data class or of a
pydantic model. Always normalised. The default must be a value that nobody can change: a new list for each reading would
lose what is appended to it. A field without a default declines, whatever its annotation says: ``str | None`` allows
None, it does not declare it.
"""

from __future__ import annotations

from dataclasses import MISSING, Field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import EnumMeta
from types import SimpleNamespace
from typing import Any, Final
from uuid import UUID

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from healspan.remediation.repairers.attributes import class_attributes, data_attributes, missed
from healspan.remediation.repairers.contract import Failure, Loss, Repaired, RepairerParameters, within

__all__ = ["DeclaredDefaultParameters", "DeclaredDefaultRepairer"]

_UNCHANGEABLE: Final = (
    *(type(None), bool, int, float, complex, str, bytes),
    *(Decimal, UUID, date, time, datetime, timedelta),
)
_UNCHANGEABLE_IDS = frozenset(map(id, _UNCHANGEABLE))
_EMPTY: Final[dict[int, object]] = {id(made): made() for made in (tuple, frozenset, str, bytes, bool, int, float)}
"""What the factories of built-in types make."""
_MOST_ITEMS, _DEEPEST = 100, 3


class DeclaredDefaultParameters(RepairerParameters):
    """Nothing but how much loss is accepted."""


class DeclaredDefaultRepairer:
    """Gives an attribute another owner, one that has the default which the class declares."""

    name = "declared_default"
    summary = "use the default that the class declares for the missing field"
    domain = "`object.field` of data classes and pydantic models made without the field, raising `AttributeError`"
    losses = (Loss.NORMALISED,)
    library = ""
    parameters = DeclaredDefaultParameters

    def applies(self, kind: str, error: BaseException) -> bool:
        """Whether an attribute was missed, on something that is not None."""
        return kind == "attribute" and type(error) is AttributeError and error.obj is not None

    def repair(self, failure: Failure) -> Repaired | None:
        """Return the field's name, and an owner that has its default, or None."""
        parameters = failure.parameters
        if not self.applies(failure.kind, failure.error) or type(parameters) is not DeclaredDefaultParameters:
            return None
        name = missed(failure)
        held = None if name is None else data_attributes(failure.target)
        if name is None or held is None or name in held:
            return None
        found = _default(failure.target, name)
        if not found or not _is_unchangeable(found[0], _DEEPEST):
            return None
        return within(parameters, name, Loss.NORMALISED, SimpleNamespace(**{name: found[0]}))


def _default(owner: object, name: str) -> tuple[object, ...]:
    """Return the default of a field, or nothing."""
    for fields in class_attributes(owner, "__dataclass_fields__") + class_attributes(owner, "__pydantic_fields__"):
        if type(fields) is not dict:
            return ()
        field: Any = fields.get(name)
        if field is None:
            continue
        if type(field) is not Field and type(field) is not FieldInfo:
            return ()
        if field.default is not MISSING and field.default is not PydanticUndefined:
            return (field.default,)
        made = id(field.default_factory)
        return (_EMPTY[made],) if made in _EMPTY else ()
    return ()


def _is_unchangeable(value: object, deepest: int) -> bool:
    """Whether a value is of a built-in type that nobody can change, all through."""
    if id(type(value)) in _UNCHANGEABLE_IDS or type(type(value)) is EnumMeta:
        return True
    if type(value) is not tuple and type(value) is not frozenset:
        return False
    return deepest > 0 and len(value) <= _MOST_ITEMS and all(_is_unchangeable(each, deepest - 1) for each in value)
