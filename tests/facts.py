"""Small facts for tests of the spool and the store; unlike `World`, nothing is written."""

from __future__ import annotations

from datetime import UTC, datetime

from healspan.remediation.fix import Fix, FixDraft, FixState, Match, RiskLevel, Scope, StateChange
from healspan.remediation.ids import uuid7
from healspan.remediation.incident import Incident, Pattern
from healspan.remediation.outcome import Exposure
from healspan.remediation.step import RepairStep, StrategyStep

__all__ = ["make_change", "make_exposure", "make_fix", "make_incident", "make_pattern", "make_repair"]


def make_pattern(name: str = "a") -> Pattern:
    """A pattern whose hashes are readable."""
    return Pattern(error_pattern=f"ValueError::m::{name}", exact=f"v1:{name}", loose=f"v1:l{name}", site="v1:s")


def make_incident(message: str = "boom", *, name: str = "a") -> Incident:
    """An incident of boundary ``m``."""
    return Incident(
        error_id=uuid7(),
        timestamp=datetime.now(UTC),
        error_type="builtins.ValueError",
        error_message=message,
        stack_trace="Traceback (most recent call last): ...",
        frames=(),
        module="m",
        target="app:m",
        pattern=make_pattern(name),
        context_keys={"document_type": "10-K"},
    )


def make_fix(
    name: str = "a",
    *,
    match: Match = Match.EXACT,
    context_keys: dict[str, str] | None = None,
    expires_at: datetime | None = None,
) -> Fix:
    """An unsigned fix of boundary ``m`` for the pattern of that name."""
    pattern = make_pattern(name)
    draft = FixDraft(
        pattern=pattern.error_pattern,
        scope=Scope(
            module="m",
            match=match,
            exact=pattern.exact,
            loose=pattern.loose,
            context_keys=context_keys or {},
        ),
        diagnosis="an alternative fits",
        fix_type="strategy",
        fix_instruction=f"use the other way for {name} ({match})",
        affected_module="app",
        confidence=0.9,
        risk_level=RiskLevel.LOW,
        risk_assessment="calls what the application registered",
        steps=(StrategyStep(strategy="other"),),
        origin="test",
    )
    return Fix.from_draft(draft, created_at=datetime.now(UTC), expires_at=expires_at)


def make_repair(**parameters: object) -> RepairStep:
    """A repair of the only expression of ``read`` in module ``app``, `float(text)`."""
    return RepairStep(
        module="app",
        qualname="read",
        source_hash="0" * 64,
        expression="float(text)",
        line=1,
        end_line=1,
        column=4,
        end_column=15,
        error_type="builtins.ValueError",
        repairer="number",
        parameters=parameters,
    )


def make_change(
    fix: Fix,
    sequence: int,
    state: FixState,
    previous: FixState | None,
    *,
    actor: str = "engine",
    expires: datetime | None = None,
) -> StateChange:
    """An unsigned change of a fix's state."""
    return StateChange(
        fix_id=fix.fix_id,
        sequence=sequence,
        state=state,
        previous=previous,
        policy="guarded",
        actor=actor,
        reason="said so by the test",
        at=datetime.now(UTC),
        expires=expires,
    )


def make_exposure(calls: int = 1) -> Exposure:
    """Calls of boundary ``m``."""
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    return Exposure(exposure_id=uuid7(), boundary="m", hour=hour, calls=calls, ok_ms=1.0)
