"""The catalogue of repairers: what a `repair` step may do to the operand of a failing expression."""

from healspan.remediation.repairers.contract import (
    ABSENT,
    Failure,
    Kind,
    Loss,
    Repaired,
    Repairer,
    RepairerParameters,
)
from healspan.remediation.repairers.registry import catalogue, repairer

__all__ = [
    "ABSENT",
    "Failure",
    "Kind",
    "Loss",
    "Repaired",
    "Repairer",
    "RepairerParameters",
    "catalogue",
    "repairer",
]
