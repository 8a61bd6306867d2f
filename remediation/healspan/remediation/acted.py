"""What installed repairs have done in a call, as the run that it belongs to notes it."""

from __future__ import annotations

from collections.abc import Sequence
from types import FrameType

from healspan.remediation.incident import IncidentStatus, Tier
from healspan.remediation.repair import FiredRepair, way_down
from healspan.remediation.run import Applied, Failed, Heal, Run

__all__ = ["heal_of", "kept_from_happening"]


def kept_from_happening(
    run: Run,
    fix_id: str,
    boundary: str,
    mine: Sequence[FiredRepair],
    frame: FrameType | None,
) -> Failed | None:
    """Say what would have left the boundary; once for each of a run, since a repaired call must cost microseconds."""
    if frame is None or run.has_acted(fix_id, boundary):
        return None
    step = next(one.step for one in mine if one.fix_id == fix_id)
    way, within = way_down(frame.f_back, run.opened_in)
    return Failed("", boundary, error_type=step.error_type, call=id(frame), within=within, way=way)


def heal_of(applied: Applied, mine: Sequence[FiredRepair]) -> Heal:
    """Say of a call what an installed repair did before any exception left the function."""
    step = next(one.step for one in mine if one.fix_id == applied.fix_id)
    return Heal(
        boundary=applied.boundary,
        outcome=IncidentStatus.HEALED if applied.resolved else IncidentStatus.ESCALATED,
        tier=Tier.KNOWN_FIX,
        fix_id=applied.fix_id,
        steps=("repair",),
        error_type=step.error_type,
        error_id=None,
        elapsed_ms=applied.elapsed_ms,
        diagnosed=False,
        reason="" if applied.resolved else "the call failed, or its result broke the contract, all the same",
    )
