"""Remediation: the engine that heals, and the records that cross between the parts."""

from healspan.remediation.boundary import Boundary, Strategy, boundaries
from healspan.remediation.errors import HealspanError
from healspan.remediation.fix import Fix, FixDraft, FixState, RiskLevel, Scope, StateChange
from healspan.remediation.incident import Incident, IncidentStatus, Pattern, Resolution, Tier
from healspan.remediation.outcome import Application, Exposure, Judgement, RunFact, Verdict
from healspan.remediation.run import Heal, Run
from healspan.remediation.settings import Settings
from healspan.remediation.solution import Solution
from healspan.remediation.step import AdapterStep, FallbackStep, RepairStep, Step, StrategyStep

__all__ = [
    "AdapterStep",
    "Application",
    "Boundary",
    "Exposure",
    "FallbackStep",
    "Fix",
    "FixDraft",
    "FixState",
    "Heal",
    "HealspanError",
    "Incident",
    "IncidentStatus",
    "Judgement",
    "Pattern",
    "RepairStep",
    "Resolution",
    "RiskLevel",
    "Run",
    "RunFact",
    "Scope",
    "Settings",
    "Solution",
    "StateChange",
    "Step",
    "Strategy",
    "StrategyStep",
    "Tier",
    "Verdict",
    "boundaries",
]
