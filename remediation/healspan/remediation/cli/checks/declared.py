"""Checks of the boundaries that an application has declared, in its code or in a file."""

from __future__ import annotations

import inspect
import stat
import sys
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from healspan.remediation.boundary import Boundary, why_missing
from healspan.remediation.cli.checks.check import Check
from healspan.remediation.declaration import find_configuration, read_declarations
from healspan.remediation.errors import ConfigurationError
from healspan.remediation.settings import Settings

__all__ = ["check_boundaries", "check_configuration"]

_FORMS = {"compiled": "compiled into its function", "wrapper": "in a wrapper"}


def check_boundaries(boundaries: Mapping[str, Boundary]) -> Iterator[Check]:
    """Check what each boundary declares, and which form it has."""
    for boundary in boundaries.values():
        yield Check(name="boundary", status="ok", detail=f"{boundary.name}: {_FORMS[boundary.form]}{_why(boundary)}")
        unchecked = boundary.why_unchecked()
        for doubt in (*boundary.doubts, *([unchecked] if unchecked is not None else ())):
            yield Check(name="boundary", status="warning", detail=f"{boundary.name}: {doubt}")
        for strategy in boundary.strategies.values():
            try:
                strategy.tunables()
            except Exception as error:
                yield Check(
                    name="boundary",
                    status="problem",
                    detail=f"{boundary.name}: strategy {strategy.name!r} has annotations that cannot be read "
                    f"({type(error).__name__}: {error}); no fix can set its parameters",
                )
        if boundary.mode == "observe":
            yield Check(
                name="boundary",
                status="note",
                detail=f"{boundary.name} has mode 'observe': its failures are captured, and never healed",
            )
        if boundary.mode == "heal" and not _can_heal(boundary):
            yield Check(
                name="boundary",
                status="note",
                detail=f"{boundary.name} is not retry_safe and has neither strategy nor fallback: only a reviewed "
                "adapter can heal it",
            )
        if boundary.mode == "heal" and not boundary.has_contract:
            remedy = (
                "give one to a boundary around the function that consumes this generator"
                if inspect.isgeneratorfunction(boundary.function) or inspect.isasyncgenfunction(boundary.function)
                else "give it output=... or checks=[...]"
            )
            yield Check(
                name="boundary",
                status="note",
                detail=f"{boundary.name} declares no contract, so no verdict on its fixes can be complete; {remedy}",
            )


def check_configuration(
    settings: Settings,
    directory: Path,
    boundaries: Mapping[str, Boundary],
    *,
    imported: bool,
) -> Iterator[Check]:
    """Check the file that declares boundaries; with the application imported also what came of each."""
    try:
        path = find_configuration(directory, settings.config)
        declared = () if path is None else read_declarations(path)
    except ConfigurationError as error:
        yield Check(name="configuration", status="problem", detail=str(error))
        return
    if path is None:
        return
    told = f"{path} declares {len(declared)} boundar{'y' if len(declared) == 1 else 'ies'}"
    yield Check(name="configuration", status="ok", detail=told)
    if path.stat().st_mode & stat.S_IWOTH:
        yield Check(
            name="configuration",
            status="problem",
            detail=f"{path} may be written by anybody, who so chooses what the service imports and calls; take the "
            "right from others (chmod o-w)",
        )
    targets = {boundary.target for boundary in boundaries.values()}
    for one in declared:
        reasons = why_missing(one.target)
        for reason, in_part in reasons:
            yield Check(
                name="configuration", status="warning" if in_part else "problem", detail=f"{one.target} {reason}"
            )
        if not reasons and imported and not any(fnmatchcase(target, one.target) for target in targets):
            there = any(fnmatchcase(name, one.module) for name in tuple(sys.modules))
            told = "no function there has that name" if there else "its module was not imported (give it by --app)"
            yield Check(
                name="configuration",
                status="problem" if there else "warning",
                detail=f"{one.target} has no boundary: {told}; correct the target, or remove it",
            )


def _why(boundary: Boundary) -> str:
    return f", because {boundary.form_reason}" if boundary.form_reason else ""


def _can_heal(boundary: Boundary) -> bool:
    return bool(boundary.retry_safe or boundary.strategies or boundary.has_fallback)
