"""Finds repairers by name. They are imported on first use, so that importing the package costs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from healspan.remediation.errors import UnknownRepairer
from healspan.remediation.repairers.contract import Repairer

__all__ = ["catalogue", "repairer"]


@cache
def catalogue() -> Mapping[str, Repairer]:
    """Return the built-in repairers by name, those with the narrower domain first."""
    from healspan.remediation.repairers.number import NumberRepairer
    from healspan.remediation.repairers.renamed_key import RenamedKeyRepairer

    builtin: tuple[Repairer, ...] = (NumberRepairer(), RenamedKeyRepairer())
    return MappingProxyType({each.name: each for each in builtin})


def repairer(name: str) -> Repairer:
    """Return the repairer of that name.

    Raises:
        UnknownRepairer: No repairer of that name is installed here.
    """
    try:
        return catalogue()[name]
    except KeyError:
        raise UnknownRepairer(
            f"no repairer named {name!r}; known here: {', '.join(catalogue())}. "
            f"Upgrade healspan if the fix was made by a newer version, or correct the name in the fix."
        ) from None
