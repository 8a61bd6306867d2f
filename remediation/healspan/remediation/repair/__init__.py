"""`repair`: act at the one expression that fails, inside the live function, when and only when it raises."""

from healspan.remediation.repair.active import ActiveRepair, InstallReport, InstallStatus, active_repairs
from healspan.remediation.repair.enclosed import enclosed
from healspan.remediation.repair.enclosure import Enclosure, enclose, held
from healspan.remediation.repair.expression import Location, locate, source_lines
from healspan.remediation.repair.handled import way_unhandled
from healspan.remediation.repair.live import Probe, current_probe, resting_fixes
from healspan.remediation.repair.operands import failure_at
from healspan.remediation.repair.path import (
    calls_under_way,
    is_own,
    path_entry,
    register_boundary,
    register_hook,
    take_fired,
    way_down,
)
from healspan.remediation.repair.repairs import Repairs
from healspan.remediation.repair.running import FiredRepair, RunningCalls, untaken
from healspan.remediation.repair.source import function_hash, source_hash
from healspan.remediation.repair.swallowed import Swallowed

__all__ = [
    "ActiveRepair",
    "Enclosure",
    "FiredRepair",
    "InstallReport",
    "InstallStatus",
    "Location",
    "Probe",
    "Repairs",
    "RunningCalls",
    "Swallowed",
    "active_repairs",
    "calls_under_way",
    "current_probe",
    "enclose",
    "enclosed",
    "failure_at",
    "function_hash",
    "held",
    "is_own",
    "locate",
    "path_entry",
    "register_boundary",
    "register_hook",
    "resting_fixes",
    "source_hash",
    "source_lines",
    "take_fired",
    "untaken",
    "way_down",
    "way_unhandled",
]
