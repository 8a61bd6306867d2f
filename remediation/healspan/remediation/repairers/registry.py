"""Finds repairers by name: the built-in ones, then those that installed packages bring along.

They are imported on first use, so that importing the package costs nothing. A package brings its own through the
entry point group `ENTRY_POINTS`; what cannot be used is skipped with one line in the log, and nothing that a
plugin does or raises reaches the application.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from healspan.remediation.errors import ConfigurationError, UnknownRepairer
from healspan.remediation.plugins import made_of
from healspan.remediation.repairers.contract import Failure, Loss, Repaired, Repairer, RepairerParameters, within

__all__ = ["ENTRY_POINTS", "catalogue", "left_out", "repairer"]

logger = logging.getLogger("healspan.repairers")

ENTRY_POINTS = "healspan.repairers"
"""The group of entry points; each names a repairer, or a class or function that makes one."""

PATIENCE = 2.0
"""Seconds that a failing call waits, once in a process, for each of them to be imported."""

_Answer = TypeVar("_Answer")


class _Catalogue(NamedTuple):
    """What this process has, and what it could not use."""

    repairers: Mapping[str, Repairer]
    left_out: Mapping[str, str]


@cache
def _installed() -> _Catalogue:
    left_out: dict[str, str] = {}
    found = assemble(entry_points(group=ENTRY_POINTS), left_out)
    return _Catalogue(MappingProxyType(found), MappingProxyType(left_out))


def catalogue() -> Mapping[str, Repairer]:
    """Return the repairers by name, those with the narrower domain first, plugins last."""
    return _installed().repairers


def left_out() -> Mapping[str, str]:
    """Return the entry points of the catalogue that cannot be used, and why."""
    return _installed().left_out


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
            f"Upgrade healspan if the fix was made by a newer version, install the package that brings it, "
            f"or correct the name in the fix."
        ) from None


def assemble(points: Iterable[EntryPoint], left_out: dict[str, str]) -> dict[str, Repairer]:
    """Return the built-in repairers and those of these entry points; the first of a name counts.

    Args:
        points: what packages bring.
        left_out: gets those that cannot be used, and why.
    """
    found: dict[str, Repairer] = {each.name: each for each in _builtin()}

    def skip(point: EntryPoint, reason: str) -> None:
        left_out[f"{point.name} ({point.value})"] = reason
        logger.warning("repairer %s (%s) is left out: %s", point.name, point.value, reason)

    for point in sorted(points, key=lambda each: (each.name, each.value)):
        if point.name in found:
            skip(point, "the name is taken; choose another")
            continue
        try:
            found[point.name] = made_of(point, partial(_Plugin, point.name), seconds=PATIENCE)
        except ConfigurationError as error:
            skip(point, str(error))
    return found


def _builtin() -> tuple[Repairer, ...]:
    from healspan.remediation.repairers.boolean import BooleanRepairer
    from healspan.remediation.repairers.date import DateRepairer
    from healspan.remediation.repairers.declared_default import DeclaredDefaultRepairer
    from healspan.remediation.repairers.delimiter import DelimiterRepairer
    from healspan.remediation.repairers.encoding import EncodingRepairer
    from healspan.remediation.repairers.invisible import InvisibleRepairer
    from healspan.remediation.repairers.json_notation import JsonRepairer
    from healspan.remediation.repairers.mojibake import MojibakeRepairer
    from healspan.remediation.repairers.moved_key import MovedKeyRepairer
    from healspan.remediation.repairers.number import NumberRepairer
    from healspan.remediation.repairers.renamed_attribute import RenamedAttributeRepairer
    from healspan.remediation.repairers.renamed_key import RenamedKeyRepairer
    from healspan.remediation.repairers.xml_notation import XmlRepairer

    return (
        JsonRepairer(),
        XmlRepairer(),
        EncodingRepairer(),
        DateRepairer(),
        BooleanRepairer(),
        NumberRepairer(),
        RenamedKeyRepairer(),
        InvisibleRepairer(),
        DelimiterRepairer(),
        MojibakeRepairer(),
        MovedKeyRepairer(),
        RenamedAttributeRepairer(),
        DeclaredDefaultRepairer(),
    )


class _Plugin:
    """A repairer of another package, held to the contract: total, and within the loss that a fix accepts."""

    def __init__(self, name: str, made: object) -> None:
        built: Any = made() if callable(made) else made
        self.name: str = built.name
        self.summary: str = built.summary
        self.domain: str = built.domain
        self.losses: tuple[Loss, ...] = tuple(built.losses)
        self.library: str = built.library
        self.parameters: type[RepairerParameters] = built.parameters
        self._applies: Callable[[str, BaseException], bool] = built.applies
        self._repair: Callable[[Failure], Repaired | None] = built.repair
        self._complained = False
        texts = (self.name, self.summary, self.domain, self.library)
        if not all(isinstance(each, str) for each in texts) or not self.summary or not self.domain:
            raise TypeError("name, summary, domain and library must be texts")
        if not self.losses or not set(self.losses) <= {Loss.NONE, Loss.NORMALISED}:
            raise TypeError("losses must be Loss.NONE, Loss.NORMALISED or both")
        if self.name != name:
            raise ValueError(f"the entry point must have the repairer's own name, {self.name!r}")
        if not (isinstance(self.parameters, type) and issubclass(self.parameters, RepairerParameters)):
            raise TypeError("parameters must be a subclass of RepairerParameters")
        if not callable(self._applies) or not callable(self._repair):
            raise TypeError("applies and repair must be methods")

    def applies(self, kind: str, error: BaseException) -> bool:
        """Whether the plugin says that it may help here."""
        return bool(self._asked(lambda: self._applies(kind, error) is True))

    def repair(self, failure: Failure) -> Repaired | None:
        """Return what the plugin returns, unless it costs more than the fix accepts."""
        if type(failure.parameters) is not self.parameters:
            return None
        repaired = self._asked(lambda: self._repair(failure))
        if type(repaired) is not Repaired or repaired.loss not in (Loss.NONE, Loss.NORMALISED):
            return None
        return within(failure.parameters, repaired.value, repaired.loss, repaired.owner)

    def _asked(self, question: Callable[[], _Answer]) -> _Answer | None:
        try:
            return question()
        except Exception as error:  # declining is the only thing that a failing repairer may do
            if not self._complained:
                self._complained = True
                logger.warning("repairer %s raised %s; it declines; please tell its author", self.name, type(error))
            return None
