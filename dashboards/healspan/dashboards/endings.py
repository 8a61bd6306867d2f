"""How an incident ended, in the words and colours that every page and chart uses."""

from __future__ import annotations

from enum import Enum
from typing import Literal

from healspan.remediation.incident import IncidentStatus, Tier

__all__ = ["Ending", "Hue", "ending_of"]

Hue = Literal["green", "blue", "orange", "red", "gray"]


class Ending(Enum):
    """An ending, best first: label, colour of charts, colour of badges, icon."""

    KNOWN = ("known fix", "#0d7a5f", "green", ":material/bolt:")
    DIAGNOSED = ("after a diagnosis", "#6cc4a1", "green", ":material/biotech:")
    DEGRADED = ("fallback value", "#e0a030", "orange", ":material/trending_down:")
    OBSERVED = ("observed only", "#8d99ae", "gray", ":material/visibility:")
    ESCALATED = ("escalated", "#c8433f", "red", ":material/priority_high:")
    OPEN = ("open", "#ccd3dc", "gray", ":material/hourglass_empty:")

    def __init__(self, label: str, colour: str, hue: Hue, icon: str) -> None:
        self.label = label
        self.colour = colour
        self.hue = hue
        self.icon = icon


def ending_of(status: IncidentStatus, tier: Tier | None) -> Ending:
    """Return how an incident of this status and tier ended."""
    if status is IncidentStatus.HEALED:
        return Ending.KNOWN if tier is Tier.KNOWN_FIX else Ending.DIAGNOSED
    return {
        IncidentStatus.DEGRADED: Ending.DEGRADED,
        IncidentStatus.OBSERVED: Ending.OBSERVED,
        IncidentStatus.ESCALATED: Ending.ESCALATED,
        IncidentStatus.OPEN: Ending.OPEN,
    }[status]
