"""Finds an attribute that was renamed, for ``order.userName`` where the object now has ``user_name``.

What counts as the same name is told by `names`. Only what the object holds can be chosen: its dictionary, its slots,
the fields of a named tuple; and only where no method or property of its class would do as well.
"""

from __future__ import annotations

from healspan.remediation.repairers.attributes import data_attributes, every_name, missed
from healspan.remediation.repairers.contract import EITHER, Failure, Repaired, within
from healspan.remediation.repairers.names import MAX_TEXT, NameParameters, chosen

__all__ = ["RenamedAttributeParameters", "RenamedAttributeRepairer"]


class RenamedAttributeParameters(NameParameters):
    """Which other names of the attribute a human knows, and how similar a misspelt one must be."""


class RenamedAttributeRepairer:
    """Gives the owner the name of the one attribute that means the missing one."""

    name = "renamed_attribute"
    summary = "use the one attribute that is the same name written otherwise"
    domain = "`object.name` of data classes, named tuples, models and plain objects, raising `AttributeError`"
    losses = EITHER
    library = "rapidfuzz"
    parameters = RenamedAttributeParameters

    def applies(self, kind: str, error: BaseException) -> bool:
        """Whether an attribute was missed, on something that is not None."""
        return kind == "attribute" and type(error) is AttributeError and error.obj is not None

    def repair(self, failure: Failure) -> Repaired | None:
        """Return the name of an attribute that the object has, or None."""
        parameters = failure.parameters
        if not self.applies(failure.kind, failure.error) or type(parameters) is not RenamedAttributeParameters:
            return None
        asked, owner = missed(failure), failure.target
        held = None if asked is None else data_attributes(owner)
        if asked is None or held is None or asked in held:
            return None
        every = every_name(owner)
        if sum(map(len, every)) > MAX_TEXT:
            return None
        found = chosen(asked, every, parameters)
        return None if found is None or found[0] not in held else within(parameters, *found)
