"""Every gate has a test: the gate says no -> nothing happened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest
from tests.adapters import body
from tests.facts import make_repair

from healspan.remediation.boundary import Boundary, FailedCall, Strategy
from healspan.remediation.fix import Fix, FixDraft, FixState, Match, RiskLevel, Scope, StateChange
from healspan.remediation.policy import Preset, Request, first_refusal
from healspan.remediation.run import Applied, Failed, Run
from healspan.remediation.signing import KeyRing, Reviewer
from healspan.remediation.step import AdapterStep, FallbackStep, Step, StrategyStep

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FAILING = UUID(int=1)


def make_call(**declared: Any) -> FailedCall:
    boundary = Boundary(name="revenue", function=None, target="app:f")
    boundary.strategies["other"] = Strategy("other", lambda: None)
    boundary.strategies["last"] = Strategy("last", lambda: None, automatic=False)
    boundary.fallback = declared.pop("fallback", boundary.fallback)
    incident = SimpleNamespace(
        module="revenue",
        error_type="builtins.KeyError",
        context_keys={"document_type": "10-K"},
        pattern=SimpleNamespace(exact="v1:aa", loose="v1:bb"),
        error_id=FAILING,
    )
    run = declared.pop("run", Run(None))
    return cast(
        "FailedCall", SimpleNamespace(boundary=boundary, incident=incident, repeatable=None, run=run, **declared)
    )


def make_fix(step: Step = StrategyStep(strategy="other"), risk: RiskLevel = RiskLevel.LOW, **scope: Any) -> Fix:
    draft = FixDraft(
        pattern="p",
        scope=Scope(**{"module": "revenue", "exact": "v1:aa", **scope}),
        diagnosis="d",
        fix_type="t",
        fix_instruction="i",
        affected_module="app",
        confidence=0.5,
        risk_level=risk,
        risk_assessment="r",
        steps=(step,),
        origin="test",
    )
    return Fix.from_draft(draft, created_at=NOW)


def make_change(fix: Fix, state: FixState = FixState.ACTIVE, expires: datetime | None = None) -> StateChange:
    return StateChange(
        fix_id=fix.fix_id,
        sequence=1,
        state=state,
        policy="guarded",
        actor="engine",
        reason="r",
        at=NOW,
        expires=expires,
    )


@pytest.fixture
def approve(tmp_path: Path) -> Callable[[StateChange], StateChange]:
    return Reviewer.open(tmp_path / "k.pem", name="ann", create=True).sign_change


def gate_of(
    fix: Fix,
    change: StateChange | None = None,
    call: FailedCall | None = None,
    preset: Preset = "guarded",
) -> str | None:
    refusal = first_refusal(Request(fix, change, call or make_call(), preset, NOW))
    return refusal.gate if refusal else None


def test_a_low_risk_fix_passes_every_gate() -> None:
    assert gate_of(make_fix()) is None


def test_suggest_never_applies_even_what_is_approved(approve: Callable[[StateChange], StateChange]) -> None:
    fix = make_fix()
    assert gate_of(fix, approve(make_change(fix)), preset="suggest") == "policy"


def test_guarded_lets_medium_risk_wait_for_a_human(
    approve: Callable[[StateChange], StateChange],
    tmp_path: Path,
) -> None:
    fix = make_fix(risk=RiskLevel.MEDIUM)
    machine = KeyRing.open(tmp_path / "keys").sign_change(make_change(fix))
    assert gate_of(fix) == "policy"
    assert gate_of(fix, machine) == "policy"
    assert gate_of(fix, approve(make_change(fix))) is None


def test_autonomous_lets_medium_risk_act_and_high_risk_wait() -> None:
    assert gate_of(make_fix(risk=RiskLevel.MEDIUM), preset="autonomous") is None
    assert gate_of(make_fix(risk=RiskLevel.HIGH), preset="autonomous") == "policy"


@pytest.mark.parametrize(
    ("preset", "contract", "confidence", "risk", "gate"),
    [
        ("guarded", True, 0.8, RiskLevel.LOW, None),
        ("guarded", True, 0.79, RiskLevel.LOW, "policy"),
        ("guarded", False, 0.9, RiskLevel.LOW, "policy"),
        ("guarded", True, 0.9, RiskLevel.MEDIUM, "policy"),
        ("autonomous", False, 0.1, RiskLevel.MEDIUM, None),
        ("autonomous", True, 0.9, RiskLevel.HIGH, "policy"),
        ("suggest", True, 0.9, RiskLevel.LOW, "policy"),
    ],
)
def test_a_low_risk_adapter_of_a_machine_waits_without_contract_or_confidence(
    preset: Preset, contract: bool, confidence: float, risk: RiskLevel, gate: str | None
) -> None:
    failing = make_call()
    failing.boundary.has_contract = contract
    step = AdapterStep(text=body("return 1.0"))
    fix = make_fix(step, risk).model_copy(update={"confidence": confidence})
    assert gate_of(fix, call=failing, preset=preset) == gate


@pytest.mark.parametrize("preset", ["guarded", "autonomous"])
@pytest.mark.parametrize(
    ("currency", "parameters", "gate"),
    [
        ("USD", {}, None),
        ("USD", {"accept": "none", "currency": "USD", "percent": "decline"}, None),
        ("EUR", {"currency": "EUR"}, None),
        ("EUR", {}, "policy"),
        ("USD", {"currency": "EUR"}, "policy"),
        ("USD", {"currency": "any"}, "policy"),
        ("USD", {"currency": None}, "policy"),
        ("USD", {"percent": "ratio"}, "policy"),
        ("USD", {"percent": "points"}, "policy"),
    ],
)
def test_what_only_the_owner_of_the_data_can_say_waits_for_a_human_whatever_risk_is_stated(
    approve: Callable[[StateChange], StateChange],
    preset: Preset,
    currency: str,
    parameters: dict[str, Any],
    gate: str | None,
) -> None:
    failing = make_call()
    failing.boundary.currency = currency
    fix = make_fix(make_repair(**parameters))
    assert gate_of(fix, call=failing, preset=preset) == gate
    assert gate_of(fix, approve(make_change(fix)), call=failing, preset=preset) is None


@pytest.mark.parametrize("preset", ["guarded", "autonomous"])
def test_a_reading_of_its_own_waits_where_the_operand_leaves_something_open(
    approve: Callable[[StateChange], StateChange], preset: Preset
) -> None:
    fix, call = make_fix(), make_call()
    asked = Request(fix, None, call, preset, NOW, "a percentage")
    refusal = first_refusal(asked)
    assert refusal is not None
    assert (refusal.gate, "a percentage" in refusal.reason) == ("policy", True)
    assert first_refusal(replace(asked, change=approve(make_change(fix)))) is None


@pytest.mark.parametrize("state", [FixState.PROPOSED, FixState.SUSPENDED, FixState.RETIRED, FixState.PROMOTED])
def test_a_fix_that_does_not_serve_is_refused(state: FixState) -> None:
    fix = make_fix()
    assert gate_of(fix, make_change(fix, state)) == "state"


def test_an_expired_fix_is_refused() -> None:
    fix = make_fix()
    assert gate_of(fix, make_change(fix, expires=NOW)) == "state"
    assert gate_of(fix, make_change(fix, expires=NOW + timedelta(seconds=1))) is None


@pytest.mark.parametrize(
    "scope",
    [
        {"module": "cogs"},
        {"exact": "v1:other"},
        {"match": Match.LOOSE, "loose": "v1:other"},
        {"context_keys": {"document_type": "10-Q"}},
        {"context_keys": {"tenant": "x"}},
    ],
)
def test_a_fix_for_something_else_is_refused(scope: dict[str, Any]) -> None:
    assert gate_of(make_fix(**scope)) == "scope"


def test_a_whole_boundary_needs_a_human(approve: Callable[[StateChange], StateChange]) -> None:
    fix = make_fix(match=Match.BOUNDARY)
    assert gate_of(fix) == "scope"
    assert gate_of(fix, approve(make_change(fix))) is None
    other = make_fix(match=Match.BOUNDARY, error_types=("builtins.ValueError",))
    assert gate_of(other, approve(make_change(other))) == "scope"


def test_a_strategy_or_fallback_that_is_not_declared_is_refused() -> None:
    assert gate_of(make_fix(StrategyStep(strategy="unknown"))) == "declared"
    assert gate_of(make_fix(FallbackStep())) == "declared"
    assert gate_of(make_fix(FallbackStep()), call=make_call(fallback=None)) is None


def test_a_repairer_that_is_not_installed_is_refused(approve: Callable[[StateChange], StateChange]) -> None:
    fix = make_fix(make_repair().model_copy(update={"repairer": "of_a_package_that_is_gone"}))
    assert gate_of(fix, approve(make_change(fix))) == "declared"


def test_a_strategy_kept_for_humans_needs_one(approve: Callable[[StateChange], StateChange]) -> None:
    fix = make_fix(StrategyStep(strategy="last"))
    assert gate_of(fix) == "declared"
    assert gate_of(fix, approve(make_change(fix))) is None


def test_nothing_calls_again_what_is_not_retry_safe() -> None:
    call = make_call()
    cast("Any", call).repeatable = "boundary 'revenue' is not declared retry_safe"
    assert gate_of(make_fix(make_repair()), call=call) == "repetition"
    assert gate_of(make_fix(), call=call) is None


def test_a_broken_gate_refuses() -> None:
    def broken(_: Request) -> str | None:
        raise RuntimeError

    refusal = first_refusal(Request(make_fix(), None, make_call(), "guarded", NOW), (("broken", broken),))
    assert refusal is not None
    assert refusal.gate == "broken"


class _Known:
    """What other runs have shown: a failure of any boundary ends the run."""

    def __init__(self, verified: tuple[tuple[str, str], ...] = ()) -> None:
        self._verified = verified

    def unfixed(self, boundary: str) -> int:
        return 1

    def reached_unfixed(self, boundary: str, later: str) -> bool:
        return False

    def verified(self, links: tuple[tuple[str, str], ...]) -> bool:
        return links == self._verified


def run_after(*healed: str, evidence: _Known, within: tuple[int, ...] = ()) -> Run:
    run = Run("p", evidence=evidence)
    if within:
        run.reach("revenue")
    for number, boundary in enumerate(healed, start=2):
        run.reach(boundary)
        error_id = UUID(int=number)
        run.note(Failed(f"v1:{boundary}", boundary, error_id=error_id, within=within))
        writes = frozenset({("output", boundary)})
        run.applied(
            Applied(f"fix:{boundary}", boundary, resolved=True, valid_output=True, error_id=error_id, writes=writes)
        )
    if not within:
        run.reach("revenue")
    run.note(Failed("v1:aa", "revenue", error_id=FAILING, call=7))
    return run


def test_three_fixes_that_led_here_are_enough() -> None:
    assert gate_of(make_fix(), call=make_call(run=run_after("a", "b", evidence=_Known()))) is None
    deep = make_call(run=run_after("a", "b", "c", evidence=_Known()))
    assert gate_of(make_fix(), call=deep) == "cascade"


def test_a_value_that_another_fix_made_inside_the_call_is_not_replaced() -> None:
    fix = make_fix()
    inner = make_call(run=run_after("inner", evidence=_Known(), within=(7,)))
    refusal = first_refusal(Request(fix, None, inner, "guarded", NOW))
    assert refusal is not None
    assert refusal.gate == "conflict"
    assert "fix:inner" in refusal.reason
    assert fix.fix_id[:12] in refusal.reason


def test_unless_the_two_have_been_verified_together_or_a_human_approved_it(
    approve: Callable[[StateChange], StateChange],
) -> None:
    fix = make_fix()
    plan = (("inner", "fix:inner"), ("revenue", fix.fix_id))
    known = make_call(run=run_after("inner", evidence=_Known(plan), within=(7,)))
    assert gate_of(fix, call=known) is None
    unknown = make_call(run=run_after("inner", evidence=_Known(), within=(7,)))
    assert gate_of(fix, make_change(fix), call=unknown) == "conflict"
    assert gate_of(fix, approve(make_change(fix)), call=unknown) is None
