"""Finds a key that was renamed, for ``record["userName"]`` where the record now says ``user_name``.

What counts as the same name is told by `names`. The owners are built-in mappings, whose keys can be read without
running code of anybody's; the environment; and, where the application has loaded pandas, the columns of a data frame
and the labels of a series.
"""

from __future__ import annotations

from healspan.remediation.repairers.contract import EITHER, Failure, Repaired, within
from healspan.remediation.repairers.keys import missed_key, text_keys
from healspan.remediation.repairers.names import NameParameters, chosen

__all__ = ["RenamedKeyParameters", "RenamedKeyRepairer"]


class RenamedKeyParameters(NameParameters):
    """Which other names of the key a human knows, and how similar a misspelt one must be."""


class RenamedKeyRepairer:
    """Gives a subscript of a mapping the one present key that means the missing one."""

    name = "renamed_key"
    summary = "use the one key that is the same name written otherwise"
    domain = "`mapping[key]` of built-in mappings, `os.environ`, pandas frames and series, raising `KeyError`"
    losses = EITHER
    library = "rapidfuzz"
    parameters = RenamedKeyParameters

    def applies(self, kind: str, error: BaseException) -> bool:
        """Whether a subscript raised KeyError itself, not a subclass with a meaning of its own."""
        return kind == "subscript" and type(error) is KeyError

    def repair(self, failure: Failure) -> Repaired | None:
        """Return a key of the mapping, or None."""
        parameters = failure.parameters
        if not self.applies(failure.kind, failure.error) or type(parameters) is not RenamedKeyParameters:
            return None
        asked, keys = missed_key(failure), text_keys(failure.target)
        if asked is None or keys is None or asked in keys:
            return None
        found = chosen(asked, keys, parameters)
        return None if found is None else within(parameters, *found)
