"""The tiers as a service lives them: what is proven, what waits for a human, what is remembered."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.observe import drained, facts, wait_until
from tests.service import amount, checked_amount, untyped, ways

from healspan.instrumentation import error_boundary, pipeline
from healspan.remediation import review
from healspan.remediation.fix import FixState
from healspan.remediation.runtime import Runtime, runtime, shut_down
from healspan.remediation.signing import Reviewer
from healspan.remediation.store import FixIndex
from healspan.remediation.store.repository import Store

SWAPPED = {"recieved_amount": 7, "currency": "USD"}


def proposed(live: Runtime) -> list[str]:
    drained(live)
    with Store.open(live.settings) as store:
        return [view.fix.fix_id for view in store.fixes.proposed() if view.fix is not None]


def test_the_same_pattern_is_diagnosed_once_and_known_afterwards(live: Runtime) -> None:
    @error_boundary("known")
    def primary(x: int) -> int:
        raise LookupError

    @primary.strategy("other")
    def other(x: int) -> int:
        return x

    assert [primary(n) for n in range(3)] == [0, 1, 2]
    assert [(one.resolution.tier, one.resolution.diagnosed) for one in facts(live)] == [
        ("2", True),
        ("1", False),
        ("1", False),
    ]


@pytest.mark.parametrize("looks", [2, 3], ids=["before the first candidate", "before its gates"])
def test_a_fix_that_another_process_learns_during_a_diagnosis_heals_the_call(
    live: Runtime, monkeypatch: pytest.MonkeyPatch, looks: int
) -> None:
    @error_boundary("learned_meanwhile")
    def primary(x: int) -> int:
        raise LookupError

    @primary.strategy("other")
    def other(x: int) -> int:
        return x

    assert primary(1) == 1
    groups, seen = FixIndex.groups, []

    def not_yet(self: FixIndex, *scope: Any) -> Any:
        seen.append(scope)
        return [] if len(seen) <= looks else groups(self, *scope)

    monkeypatch.setattr(FixIndex, "groups", not_yet)
    assert primary(2) == 2
    [_, resolution] = [one.resolution for one in facts(live)]
    assert (resolution.tier, resolution.diagnosed) == ("1", True)


def test_suggest_applies_nothing_and_proposes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEALSPAN_POLICY", "suggest")
    with pytest.raises(ValueError, match="could not convert"):
        amount("$1")
    assert len(proposed(runtime())) >= 1


def test_medium_risk_waits_for_a_human_and_serves_once_approved(live: Runtime, reviewer: Reviewer) -> None:
    with pytest.raises(KeyError):
        untyped(SWAPPED)
    [fix_id] = proposed(live)
    with Store.open(live.settings) as store:
        review.approve(store.database, fix_id, reviewer, live.settings.keys_dir, reason="read the payload's docs")
    wait_until(live.repairs.installed, "the approved repair to be installed")
    assert untyped(SWAPPED) == 7
    assert len(facts(live)) == 1


def test_a_humans_no_holds_for_looser_fixes_of_the_same_expression(live: Runtime, reviewer: Reviewer) -> None:
    assert checked_amount("$1,234") == 1234.0
    drained(live)
    [fix_id] = [one.resolution.fix_id for one in facts(live)]
    assert fix_id is not None
    with Store.open(live.settings) as store:
        review.reject(store.database, fix_id, reviewer, reason="not here")
    wait_until(lambda: not live.repairs.installed(), "the repair to be taken out")
    with pytest.raises(ValueError, match="could not convert"):
        checked_amount("$1,234")


def test_a_reading_by_convention_waits_for_a_human_where_no_check_looks_at_it(live: Runtime) -> None:
    with pytest.raises(ValueError, match="could not convert"):
        amount("-")
    assert checked_amount("-") == 0.0


def test_what_an_installed_repair_healed_is_told_to_the_run(live: Runtime) -> None:
    assert amount("$1,234") == 1234.0
    wait_until(live.repairs.installed, "the repair to be installed")
    with pipeline("p", key="1", context={}) as run:
        assert amount("$5") == 5.0
    assert [(heal.outcome, heal.tier, heal.steps) for heal in run.heals] == [("healed", "1", ("repair",))]


def test_a_second_way_to_the_expression_is_proven_before_the_repair_acts_on_it(live: Runtime) -> None:
    assert ways("$5", further=False) == 5.0
    wait_until(live.repairs.installed, "the repair to be installed")
    assert ways("$6", further=True) == 6.0
    assert len(facts(live)) == 2
    assert ways("$7", further=True) == 7.0
    assert ways("$8", further=False) == 8.0


def test_verdicts_wait_for_the_end_of_the_run(live: Runtime) -> None:
    @error_boundary("early", checks=[lambda result, arguments: result > 0])
    def early(x: int) -> int:
        raise LookupError

    @early.strategy("other")
    def other(x: int) -> int:
        return 1

    def outcomes() -> list[int | None]:
        drained(live)
        with Store.open(live.settings) as store:
            return [
                outcome.judgement.verdict.reward if outcome.judgement else None for outcome in store.outcomes.list()
            ]

    with pipeline("p", key="1", context={"k": "v"}):
        early(1)
        assert outcomes() == [None]
    assert outcomes() == [1]


def test_a_lapsed_trial_is_proven_again(live: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    @error_boundary("lapses")
    def primary(x: int) -> int:
        raise LookupError

    @primary.strategy("other")
    def other(x: int) -> int:
        return x

    primary(1)
    later = datetime.now(UTC).replace(year=datetime.now(UTC).year + 1)
    for part in (live.engine, live.index):
        monkeypatch.setattr(part, "_now", lambda: later)
    live.index.refresh()
    [known] = [one for one in facts(live) if one.resolution.fix_id]
    assert primary(2) == 2
    change = live.index.latest(known.resolution.fix_id or "")
    assert change is not None
    assert (change.state, change.sequence) == (FixState.TRIAL, 3)


def test_a_failing_gate_means_nothing_happened(live: Runtime) -> None:
    calls: list[str] = []

    @error_boundary("gated")
    def primary(x: int) -> int:
        raise LookupError

    def record(name: str) -> Callable[[int], int]:
        def strategy(x: int) -> int:
            calls.append(name)
            return x

        return strategy

    primary.strategy("human only", automatic=False)(record("human only"))
    with pytest.raises(LookupError):
        primary(1)
    assert calls == []
    assert proposed(live) == []


def test_what_one_process_learned_is_there_after_a_restart(live: Runtime) -> None:
    @error_boundary("restarts")
    def primary(x: int) -> int:
        raise LookupError

    @primary.strategy("other")
    def other(x: int) -> int:
        return x

    primary(1)
    drained(live)
    shut_down()
    primary(2)
    assert [one.resolution.tier for one in facts(runtime())] == ["2", "1"]
