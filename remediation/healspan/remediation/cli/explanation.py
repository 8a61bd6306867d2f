"""Why a fix was, or was not, applied: everything that `healspan fixes explain` shows, gathered."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from uuid import UUID

from healspan.remediation.boundary import Boundary, boundaries
from healspan.remediation.errors import SignatureRefused
from healspan.remediation.fix import GIVEN_UP_STATES, SERVING_STATES, Fix, FixState, Signature
from healspan.remediation.incident import Decision, PatternPart
from healspan.remediation.record import Record
from healspan.remediation.replay import Assessment, GateAnswer, assess_fix, covers
from healspan.remediation.settings import Settings
from healspan.remediation.signing import KeyRing
from healspan.remediation.staleness import why_stale
from healspan.remediation.store.facts import Refusal
from healspan.remediation.store.repository import Store
from healspan.remediation.store.views import FixView, IncidentFilter, IncidentView, PlanView
from healspan.remediation.trial import Standing
from healspan.remediation.validation import Validation

__all__ = ["Explanation", "explain_fix"]

LOOKED_AT = 500
"""Incidents of the boundary, the newest, whose decisions are looked through."""


class StateLine(Record):
    """One change of state, and whether it is believed."""

    sequence: int
    at: datetime
    state: FixState
    actor: str
    reason: str
    signature: str


class DecisionCount(Record):
    """Equal decisions about the fix."""

    gate: str
    applied: bool
    reason: str
    incidents: int


class Explanation(Record):
    """Why a fix was, or was not, applied."""

    answer: str
    """The whole in one sentence."""
    fix: Fix
    pattern: tuple[PatternPart, ...]
    history: tuple[StateLine, ...]
    fix_signature: str
    source: str
    refusals: tuple[Refusal, ...]
    policy: str
    incident: UUID | None
    gates: tuple[GateAnswer, ...]
    successes: int
    failures: int
    unknown: int
    score: float | None
    score_parts: dict[str, float]
    bucket: str | None
    last_applied: datetime | None
    trial: Standing | None
    decisions: tuple[DecisionCount, ...]
    validations: tuple[Validation, ...]
    """How far it came on the validation ladder, latest first."""
    plans: tuple[PlanView, ...]
    """Cascades in which it is one of the fixes."""
    candidates: tuple[Decision, ...]
    """All decisions on the incident, if one was asked for."""


def explain_fix(store: Store, settings: Settings, view: FixView, asked: IncidentView | None = None) -> Explanation:
    """Gather why a fix was, or was not, applied.

    Args:
        store: where it is.
        settings: for the policy and the keys.
        view: the fix.
        asked: the incident to explain for; None: the newest that it was made for.
    """
    fix = view.fix
    keys = KeyRing.open(settings.keys_dir)
    boundary = boundaries().get(fix.scope.module)
    recent = store.incidents.list(IncidentFilter(module=fix.scope.module), limit=LOOKED_AT)
    made_for = next((one for one in recent if covers(fix, one.incident)), None)
    example = asked or made_for
    assessment = None
    if example is not None:
        assessment = assess_fix(view, example.incident, keys=keys, preset=settings.policy, boundary=boundary)
    solution = next(iter(store.fixes.solutions(fix_ids=[fix.fix_id])), None)
    return Explanation(
        answer=_answer(view, assessment, disabled=settings.disabled or store.controls.is_disabled()),
        fix=fix,
        pattern=() if made_for is None else made_for.incident.pattern.parts,
        history=tuple(
            StateLine(
                sequence=change.sequence,
                at=change.at,
                state=change.state,
                actor=change.actor,
                reason=change.reason,
                signature=_signature(keys, change.signed_bytes(), change.signature),
            )
            for change in view.changes
        ),
        fix_signature=_signature(keys, fix.signed_bytes(), fix.signature),
        source=_source(fix, boundary),
        refusals=store.fixes.refusals(fix_id=fix.fix_id, limit=5),
        policy=settings.policy,
        incident=None if example is None else example.incident.error_id,
        gates=() if assessment is None else assessment.gates,
        successes=0 if solution is None else solution.success_count,
        failures=0 if solution is None else solution.failure_count,
        unknown=0 if solution is None else solution.censored_count,
        score=None if solution is None else solution.reward_score,
        score_parts={} if solution is None else solution.reward_parts,
        bucket=None if solution is None else solution.bucket,
        last_applied=None if solution is None else solution.last_applied,
        trial=None if solution is None else solution.trial,
        decisions=_decisions(fix.fix_id, recent),
        validations=store.fixes.validations(fix.fix_id),
        plans=store.plans.list(fix_id=fix.fix_id),
        candidates=() if asked is None or asked.resolution is None else asked.resolution.decisions,
    )


def _answer(view: FixView, assessment: Assessment | None, *, disabled: bool) -> str:
    who = f"Fix {view.fix.fix_id[:12]}"
    if disabled:
        return f"{who} is not applied: a kill switch is on ('healspan enable', HEALSPAN_DISABLED)."
    if view.state not in SERVING_STATES:
        why = f", since {view.changes[-1].reason}" if view.state in GIVEN_UP_STATES else ""
        return f"{who} is not applied: its state is {view.state or 'unknown'}{why}."
    if assessment is None:
        return f"{who} is {view.state}; no incident that it was made for is in the store."
    if assessment.refusal is not None:
        return f"{who} is not applied: gate {assessment.refusal.gate!r} refuses: {assessment.reason}."
    return f"{who} is applied: {assessment.reason}."


def _signature(keys: KeyRing, data: bytes, signature: Signature | None) -> str:
    """Say who signed, and whether that is believed here."""
    try:
        keys.verify(data, signature)
    except SignatureRefused as error:
        return f"refused: {error}"
    return "believed" if signature is None else f"believed, {signature.key_id}"


def _source(fix: Fix, boundary: Boundary | None) -> str:
    if boundary is None:
        return "not looked at: name the application's module with --app MODULE"
    return why_stale(fix, boundary) or "what it was made for is what runs"


def _decisions(fix_id: str, recent: tuple[IncidentView, ...]) -> tuple[DecisionCount, ...]:
    counts = Counter(
        (one.gate, one.applied, one.reason)
        for view in recent
        if view.resolution is not None
        for one in view.resolution.decisions
        if one.fix_id == fix_id
    )
    return tuple(
        DecisionCount(gate=gate, applied=applied, reason=reason, incidents=number)
        for (gate, applied, reason), number in counts.most_common()
    )
