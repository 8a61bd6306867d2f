"""`repair`: act at the one expression that fails, inside the live function, when and only when it raises."""

from healspan.remediation.repair.expression import Location, locate
from healspan.remediation.repair.guard import FiredRepair, Probe, current_probe, fired, take_fired
from healspan.remediation.repair.handled import way_unhandled
from healspan.remediation.repair.operands import failure_at
from healspan.remediation.repair.path import is_own, path_entry, register_boundary, way_down
from healspan.remediation.repair.repairs import ActiveRepair, InstallReport, InstallStatus, Repairs, active_repairs
from healspan.remediation.repair.source import function_hash, source_hash

__all__ = [
    "ActiveRepair",
    "FiredRepair",
    "InstallReport",
    "InstallStatus",
    "Location",
    "Probe",
    "Repairs",
    "active_repairs",
    "current_probe",
    "failure_at",
    "fired",
    "function_hash",
    "is_own",
    "locate",
    "path_entry",
    "register_boundary",
    "source_hash",
    "take_fired",
    "way_down",
    "way_unhandled",
]
