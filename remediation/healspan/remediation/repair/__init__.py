"""`repair`: act at the one expression that fails, inside the live function, when and only when it raises."""

from healspan.remediation.repair.enclosed import enclosed
from healspan.remediation.repair.enclosure import Enclosure, enclose, held
from healspan.remediation.repair.expression import Location, locate
from healspan.remediation.repair.guard import Probe
from healspan.remediation.repair.path import is_own, path_entry, register_boundary, register_hook, take_fired
from healspan.remediation.repair.repairs import ActiveRepair, InstallReport, InstallStatus, Repairs
from healspan.remediation.repair.running import FiredRepair, RunningCalls, untaken
from healspan.remediation.repair.source import function_hash, source_hash

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
    "enclose",
    "enclosed",
    "function_hash",
    "held",
    "is_own",
    "locate",
    "path_entry",
    "register_boundary",
    "register_hook",
    "source_hash",
    "take_fired",
    "untaken",
]
