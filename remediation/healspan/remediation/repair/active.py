"""Repairs as they are to be installed, and what became of each."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

from healspan.remediation.repair.path import ways_to
from healspan.remediation.step import FramePath, RepairStep

__all__ = ["ActiveRepair", "InstallReport", "InstallStatus", "active_repairs"]


@dataclass(frozen=True, slots=True)
class ActiveRepair:
    """One `repair` step that is to act below one boundary, on the ways shown to reach it."""

    fix_id: str
    step: RepairStep
    boundary: str
    paths: frozenset[FramePath]
    after: RepairStep | None = None
    """The step of the same fix that must have acted before it, in the same call of the boundary."""
    currency: str | None = None
    """Code of the one that a boundary reckons in below which alone it acts; None if it does not matter."""


def active_repairs(
    fix_id: str,
    steps: Sequence[RepairStep],
    boundary: str,
    paths: Collection[FramePath],
    *,
    in_order: bool = True,
) -> list[ActiveRepair]:
    """Return the repairs of a fix as they are to be installed.

    Args:
        fix_id: of the fix.
        steps: in the order in which their expressions failed.
        boundary: below which they act.
        paths: all ways that the fix has been shown; a step takes those that end in its own function.
        in_order: whether a step acts only where the one before it has acted. The fix is made for the failure that
            its first step repairs, and the failures behind it are its business only once that one is repaired.
    """
    before: Sequence[RepairStep | None] = [None, *steps] if in_order else [None] * len(steps)
    return [
        ActiveRepair(fix_id, step, boundary, ways_to(step.module, step.qualname, paths), after)
        for step, after in zip(steps, before, strict=False)
    ]


class InstallStatus(StrEnum):
    """What became of one repair that was to be installed."""

    INSTALLED = "installed"
    PENDING = "pending"
    """A module it needs is not imported yet; `Repairs.retry_pending` tries again."""
    DECLINED = "declined"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class InstallReport:
    """What became of one repair, and why."""

    repair: ActiveRepair
    status: InstallStatus
    reason: str = ""
