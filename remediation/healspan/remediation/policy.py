"""The policy: which fix may act on which call. Gates are pure, run in one order, and fail closed.

Each gate answers with a sentence when it says no; the first no decides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol, assert_never

from healspan.remediation.adapter import read_text
from healspan.remediation.boundary import Boundary
from healspan.remediation.cascade import conflict, stopped
from healspan.remediation.conventions import assumed
from healspan.remediation.errors import InvalidFix, StepInapplicable
from healspan.remediation.fix import SERVING_STATES, Fix, Match, RiskLevel, StateChange
from healspan.remediation.incident import Incident
from healspan.remediation.repairers import catalogue
from healspan.remediation.run import Run
from healspan.remediation.step import (
    AdapterStep,
    FallbackStep,
    ParametersStep,
    RepairStep,
    RetryStep,
    Step,
    StrategyStep,
    used_repairers,
    used_strategies,
)

__all__ = ["ADAPTER_CONFIDENCE", "GATES", "Preset", "Refusal", "Request", "first_refusal"]

Preset = Literal["suggest", "guarded", "autonomous"]

ADAPTER_CONFIDENCE = 0.8
"""With less of it, an adapter waits for a human under the preset 'guarded'."""


class GatedCall(Protocol):
    """As much of a failing call as the gates look at; that of a stored incident will do."""

    @property
    def boundary(self) -> Boundary:
        """The declaration."""

    @property
    def incident(self) -> Incident:
        """The captured failure."""

    @property
    def run(self) -> Run:
        """The pipeline run, or a run of this call's own."""

    @property
    def repeatable(self) -> str | None:
        """None if the call may be made again; otherwise why not."""


@dataclass(frozen=True, slots=True)
class Request:
    """A fix that asks to act on a failing call."""

    fix: Fix
    change: StateChange | None
    """Its latest trusted state change; None for a candidate of a diagnosis, which has no state yet."""
    call: GatedCall
    preset: Preset
    now: datetime
    left_open: str | None = None
    """What of the failing operand only the owner of the data can say, where the fix reads it in a way of its own."""

    @property
    def approved(self) -> bool:
        """Whether a human signed the state it is in."""
        return self.change is not None and self.change.by_human


@dataclass(frozen=True, slots=True)
class Refusal:
    """Which gate said no, and why."""

    gate: str
    reason: str


def _preset(request: Request) -> str | None:
    risk = request.fix.risk_level
    match request.preset:
        case "suggest":
            return "policy 'suggest' never applies a fix; approve it and use 'guarded' to let it act"
        case "guarded":
            if risk is not RiskLevel.LOW and not request.approved:
                return f"risk is {risk}: 'healspan review approve' it to let it act"
            if not request.approved:
                return _adapter_preset(request) or _unsaid(request)
        case "autonomous":
            if risk is RiskLevel.HIGH and not request.approved:
                return "risk is high: a human must approve it"
            if not request.approved:
                return _unsaid(request)
        case _:
            assert_never(request.preset)
    return None


def _adapter_preset(request: Request) -> str | None:
    """Say why an adapter of low risk must wait for a human all the same."""
    if not any(isinstance(step, AdapterStep) for step in request.fix.steps):
        return None
    if not request.call.boundary.has_contract:
        return f"it has an adapter and boundary {request.call.boundary.name!r} declares no contract that could judge it"
    if request.fix.confidence < ADAPTER_CONFIDENCE:
        return f"it has an adapter and a confidence of {request.fix.confidence:.2f}, below {ADAPTER_CONFIDENCE}"
    return None


def _unsaid(request: Request) -> str | None:
    """Say what a fix takes the data to mean that its boundary does not declare and no check could tell."""
    if request.left_open is not None:
        return f"it would read {request.left_open}, and only a human can say what is meant: approve it if it does"
    boundary = request.call.boundary
    return next(filter(None, (assumed(step, boundary) for step in request.fix.steps)), None)


def _state(request: Request) -> str | None:
    if request.change is None:
        return None
    if request.change.state not in SERVING_STATES:
        return f"its state is {request.change.state}"
    for expires in (request.fix.expires_at, request.change.expires):
        if expires is not None and expires <= request.now:
            return f"it expired at {expires:%Y-%m-%d %H:%M} UTC; approve it again"
    return None


def _scope(request: Request) -> str | None:
    scope, incident = request.fix.scope, request.call.incident
    if scope.module != incident.module:
        return f"it is for boundary {scope.module!r}"
    if scope.match is Match.EXACT and scope.exact != incident.pattern.exact:
        return "it is for another exact pattern"
    if scope.match is Match.LOOSE and scope.loose != incident.pattern.loose:
        return "it is for another loose pattern"
    if scope.match is Match.BOUNDARY:
        if not request.approved:
            return "a fix for a whole boundary needs a human's approval"
        if scope.error_types and incident.error_type not in scope.error_types:
            return f"it is for {', '.join(scope.error_types)}, not {incident.error_type}"
    for key, value in scope.context_keys.items():
        if incident.context_keys.get(key) != value:
            return f"it is for {key}={value}, this call has {incident.context_keys.get(key)!r}"
    return None


def _declared(request: Request) -> str | None:
    return next((reason for step in request.fix.steps if (reason := _undeclared(step, request)) is not None), None)


def _undeclared(step: Step, request: Request) -> str | None:
    """Say what a step needs and this process does not have."""
    boundary = request.call.boundary
    match step:
        case StrategyStep():
            return _strategies(step, request)
        case FallbackStep():
            return None if boundary.has_fallback else f"boundary {boundary.name!r} declares no fallback"
        case ParametersStep():
            try:
                boundary.tuned(step.arguments)
            except StepInapplicable as refusal:
                return str(refusal)
        case AdapterStep():
            try:
                read_text(step.text)
            except InvalidFix as refusal:
                return str(refusal)
            return _strategies(step, request) or _repairers(step)
        case RepairStep():
            return _repairers(step)
        case RetryStep():
            pass
        case _:
            assert_never(step)
    return None


def _strategies(step: Step, request: Request) -> str | None:
    boundary = request.call.boundary
    for name in used_strategies(step):
        strategy = boundary.strategies.get(name)
        if strategy is None:
            return f"boundary {boundary.name!r} registers no strategy {name!r} in this process"
        if not strategy.automatic and not request.approved:
            return f"strategy {name!r} is declared automatic=False: a human must approve it"
    return None


def _repairers(step: Step) -> str | None:
    gone = [name for name in used_repairers(step) if name not in catalogue()]
    return f"repairer {gone[0]!r} is not installed in this process" if gone else None


def _repetition(request: Request) -> str | None:
    steps = request.fix.steps
    if any(isinstance(step, RepairStep | RetryStep | ParametersStep) for step in steps) or any(
        isinstance(step, AdapterStep) and step.calls for step in steps
    ):
        why_not = request.call.repeatable
        if why_not is not None:
            return f"it makes the call again, and {why_not}"
    return None


def _cascade(request: Request) -> str | None:
    return stopped(request.call.run, request.call.incident.pattern.exact, request.call.incident.module)


def _conflict(request: Request) -> str | None:
    run, fix, incident = request.call.run, request.fix, request.call.incident
    failing = run.failure(incident.error_id)
    if run.pipeline is None or failing is None or request.approved:
        return None
    found = conflict(run, fix, failing)
    if found is None:
        return None
    other, value = found
    links = ((other.boundary, other.fix_id), (incident.module, fix.fix_id))
    if run.evidence is not None and run.evidence.verified(links):
        return None
    return (
        f"it would set {' '.join(value)}, as fix {other.fix_id[:12]} of {other.boundary!r} has done in this run; "
        f"approve fix {fix.fix_id[:12]} or retire one of the two"
    )


Gate = Callable[[Request], str | None]

GATES: tuple[tuple[str, Gate], ...] = (
    ("policy", _preset),
    ("state", _state),
    ("scope", _scope),
    ("declared", _declared),
    ("repetition", _repetition),
    ("cascade", _cascade),
    ("conflict", _conflict),
)


def first_refusal(request: Request, gates: Sequence[tuple[str, Gate]] = GATES) -> Refusal | None:
    """Ask every gate in order; a gate that raises says no."""
    for name, gate in gates:
        try:
            reason = gate(request)
        except Exception as error:
            reason = f"the gate itself failed ({type(error).__name__}); nothing was applied"
        if reason is not None:
            return Refusal(name, reason)
    return None
