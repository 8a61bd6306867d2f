"""Repairs in force: what a guard asks, and in which contexts which of them act."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from types import FrameType

from healspan.remediation.repair.path import PathTree, calls_of
from healspan.remediation.repair.running import FiredRepair
from healspan.remediation.repairers import Repairer, RepairerParameters
from healspan.remediation.step import RepairStep

__all__ = ["LiveRepair", "Probe", "current_probe", "resting_fixes"]


class Probe:
    """Lets repairs act in one context only, until they are proven."""

    def __init__(self) -> None:
        self.uses: list[FiredRepair] = []
        self.unstable = False
        """Whether a repairer read its own reading as something else again."""

    def fired(self) -> bool:
        """Whether a repair has acted, and every time with a result."""
        return bool(self.uses) and all(use.succeeded for use in self.uses)


current_probe: ContextVar[Probe | None] = ContextVar("healspan_probe", default=None)


resting_fixes: ContextVar[frozenset[str]] = ContextVar("healspan_resting_fixes", default=frozenset())
"""Fixes whose installed repairs keep out of what runs in this context: they have had their turn in the call."""


@dataclass(frozen=True, slots=True)
class LiveRepair:
    """A repair as the guard uses it: everything is resolved already."""

    fix_id: str
    step: RepairStep
    boundary: str
    tree: PathTree
    repairer: Repairer
    parameters: RepairerParameters
    probe: Probe | None = None
    after: RepairStep | None = None
    """The step of the same fix that must have acted before, in the same call of the boundary."""
    currency: str | None = None
    """What the boundary must reckon in; None if it does not matter."""

    def is_declared(self, frame: FrameType) -> bool:
        """Whether the boundary of this frame heals, and reckons as the step takes it to."""
        calls = calls_of(frame)
        if calls is None:
            return self.currency is None
        return not calls.observed and self.currency in {None, calls.currency}

    def is_its_turn(self, frame: FrameType, after: RepairStep) -> bool:
        """Whether what must come before has acted below this boundary frame."""
        calls = calls_of(frame)
        uses = [] if calls is None else calls.uses(frame)
        if self.probe is not None:
            uses = [*uses, *self.probe.uses]
        return any(use.succeeded and use.fix_id == self.fix_id and use.step == after for use in uses)
