"""Progress: what is known of one failing call on its way up the tiers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from healspan.remediation.fix import Fix
from healspan.remediation.incident import Decision, Tier
from healspan.remediation.record import Record
from healspan.remediation.selection import Choice
from healspan.remediation.step import FramePath, RepairStep, in_words

__all__ = ["Progress", "Success"]


@dataclass(slots=True)
class Progress:
    """What is known so far of one failing call on its way up the tiers."""

    decisions: list[Decision] = field(default_factory=list)
    tried: set[str] = field(default_factory=set)
    """Fixes decided upon already, by id."""
    raised: dict[str, tuple[Exception, tuple[RepairStep, ...]]] = field(default_factory=dict)
    """What known fixes that acted have left raised, with the repairs that had acted by then."""
    proposed: list[str] = field(default_factory=list)
    """Fixes that would have helped, and that wait for a human, by id."""
    tier: Tier = Tier.KNOWN_FIX
    diagnosed: bool = False
    later: bool = False
    """Whether the caller has gone: what heals now heals nobody, and only shows what will."""
    choice: Choice | None = None
    """How the fix that is being tried was chosen; None where there was nothing to choose from."""
    rivals: tuple[str, ...] = ()
    """Then: all that could have been."""
    facts: list[tuple[str, Record]] = field(default_factory=list)
    """What is to be written when the call has ended: one commit, before the application gets its value."""

    def decide(self, fix: Fix, gate: str, reason: str, *, applied: bool = False) -> None:
        """Note what was decided about a fix; it is not tried again on this call."""
        what = ", then ".join(in_words(step) for step in fix.steps)
        self.decisions.append(Decision(fix_id=fix.fix_id, what=what, applied=applied, gate=gate, reason=reason))
        self.tried.add(fix.fix_id)

    def take_facts(self) -> list[tuple[str, Record]]:
        """Return what is to be written, once."""
        taken, self.facts = self.facts, []
        return taken


@dataclass(frozen=True, slots=True)
class Success:
    """A fix whose value stands for the call's result."""

    fix: Fix
    value: Any
    degraded: bool
    path: FramePath | None
    """The new way to a repaired expression that this success has shown, if any."""
