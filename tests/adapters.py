"""Adapters for tests: one that a human has approved, serving in this process."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tests.observe import facts

from healspan.remediation.boundary import boundaries
from healspan.remediation.fix import Fix, FixDraft, FixState, Match, RiskLevel, Scope, StateChange
from healspan.remediation.incident import Decision
from healspan.remediation.runtime import Runtime
from healspan.remediation.signing import Reviewer, enrol
from healspan.remediation.staleness import live_hashes
from healspan.remediation.step import AdapterStep, Step

HEAD = "def heal(call, arguments, error):\n"


def body(*lines: str) -> str:
    """Return the text of an adapter with these lines in it."""
    return HEAD + "".join(f"    {line}\n" for line in lines)


def unchecked(text: str, **more: Any) -> AdapterStep:
    """Return a step whose text nobody has looked at."""
    return AdapterStep.model_construct(
        kind="adapter",
        text=text,
        **{"arguments": None, "strategies": (), "repairers": (), **more},
    )


def make_draft(boundary: str, *steps: Step, **more: Any) -> FixDraft:
    """Return what a human says of a fix for a whole boundary."""
    return FixDraft(
        pattern=f"{boundary}::adapted",
        scope=Scope(module=boundary, match=Match.BOUNDARY),
        diagnosis="The input comes in another form.",
        fix_type="adapter",
        fix_instruction="Bring the input into the form that the function reads.",
        affected_module="tests",
        risk_assessment="Runs in the sandbox; the contract looks at the result.",
        steps=steps,
        origin="human:ann",
        source_hash=live_hashes(steps, boundaries()[boundary]),
        **{"confidence": 0.7, "risk_level": RiskLevel.MEDIUM, **more},
    )


def serve(live: Runtime, reviewer: Reviewer, boundary: str, *steps: Step) -> Fix:
    """Approve a fix and let it serve here at once."""
    enrol(live.settings.keys_dir, reviewer)
    now = datetime.now(UTC)
    fix = reviewer.sign_fix(Fix.from_draft(make_draft(boundary, *steps), created_at=now))
    change = StateChange(
        fix_id=fix.fix_id,
        sequence=1,
        state=FixState.ACTIVE,
        policy="guarded",
        actor="human:ann",
        reason="read it",
        at=now,
    )
    assert live.index.add(fix, reviewer.sign_change(change))
    return fix


def decisions(live: Runtime) -> list[Decision]:
    """Return what was decided about the latest failure."""
    return list(facts(live)[-1].resolution.decisions)
