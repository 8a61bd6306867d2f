"""Cascades on real boundaries: one fix lets the run reach the next failure, and they are judged as one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from tests.observe import drained
from tests.report_service import (
    adds_up,
    read_rows,
    report,
    report_and,
    report_async,
    report_catching,
    report_in_threads,
    report_or_none,
    report_quietly,
)

from healspan.instrumentation import ContractViolation, error_boundary, pipeline
from healspan.remediation.incident import IncidentStatus
from healspan.remediation.runtime import Runtime, runtime, shut_down
from healspan.remediation.store.repository import Store
from healspan.remediation.store.views import PlanView

GOOD = {"unit": "thousands", "cells": ["1", "2", "3"], "lines": ["a", "b", "total"]}
TWO = {"unit": "millions", "cells": ["1,000", "2", "1,002"], "lines": ["a", "b", "total"]}
THREE = {"unit": "millions", "cells": ["1,000", "2", "1,002"], "lines": ["a", "b", "sum"]}


def plans(live: Runtime) -> tuple[PlanView, ...]:
    drained(live)
    with Store.open(live.settings) as store:
        return store.plans.list()


def verdicts(live: Runtime) -> dict[str, list[int | None]]:
    """Rewards of the applications by boundary, the newest first."""
    drained(live)
    found: dict[str, list[int | None]] = {}
    with Store.open(live.settings) as store:
        for one in store.outcomes.list(limit=1_000):
            found.setdefault(one.application.boundary, []).append(one.reward)
    return found


def boundaries_of(plan: PlanView) -> list[str]:
    return [link.boundary for link in plan.plan.links]


def test_a_chain_of_fixes_is_one_plan_and_every_member_is_credited(live: Runtime) -> None:
    assert report(THREE)[0] == 1_002_000_000
    [plan] = plans(live)
    assert boundaries_of(plan) == ["unit", "numbers", "section"]
    assert (plan.successes, plan.failures, plan.unknown) == (1, 0, 0)
    assert plan.verified
    assert verdicts(live) == {"section": [1], "numbers": [1], "unit": [1]}


def test_the_same_chain_is_the_same_plan_and_each_run_gives_it_one_outcome(live: Runtime) -> None:
    for _ in range(3):
        report(THREE)
    [plan] = plans(live)
    assert plan.successes == 3
    assert plan.reward.lift > 1


def test_a_run_that_needs_one_fix_only_is_no_plan(live: Runtime) -> None:
    report({**GOOD, "unit": "millions"})
    report(GOOD)
    assert plans(live) == ()


def test_a_chain_whose_end_is_not_healed_credits_nobody(live: Runtime) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        report({**TWO, "cells": ["none", "2", "3"]})
    assert verdicts(live)["unit"] == [0]
    assert plans(live) == ()


def test_a_known_plan_that_does_not_come_to_its_end_has_failed_in_that_run(live: Runtime) -> None:
    report(TWO)
    with pytest.raises(ValueError, match="invalid literal"):
        report({**TWO, "cells": ["none", "2", "3"]})
    [plan] = plans(live)
    assert (plan.successes, plan.failures) == (1, 1)
    assert not plan.verified


def test_failures_that_the_application_carries_on_after_are_no_cascade(live: Runtime) -> None:
    report_catching(TWO)
    assert plans(live) == ()


def test_what_handles_a_failure_outside_the_run_does_not_hide_a_cascade(live: Runtime) -> None:
    assert report_or_none(TWO) == 1_002_000_000
    assert [boundaries_of(one) for one in plans(live)] == [["unit", "numbers"]]


def test_what_swallows_a_failure_inside_the_run_does(live: Runtime) -> None:
    assert report_quietly(TWO) == 1_002_000_000
    assert plans(live) == ()


def test_a_process_that_starts_later_knows_the_plans(live: Runtime) -> None:
    report(TWO)
    [plan] = plans(live)
    shut_down()
    view = runtime().history.view("report", {"form": "10-K"})
    links = tuple((link.boundary, link.fix_id) for link in plan.plan.links)
    assert view.verified(links)
    assert [one.plan_id for one in view.plans()] == [plan.plan.plan_id]


def test_asynchronous_runs_are_seen_through_as_well(live: Runtime) -> None:
    assert asyncio.run(report_async(THREE)) == 1_002_000_000
    [plan] = plans(live)
    assert boundaries_of(plan) == ["unit", "numbers", "section"]
    assert verdicts(live) == {"section": [1], "numbers": [1], "unit": [1]}


def test_in_threads_the_chain_is_known_once_a_run_has_shown_what_happens_without_the_fix(live: Runtime) -> None:
    for _ in range(4):
        assert report_in_threads(TWO) == 1_002_000_000
    assert plans(live) == ()
    assert verdicts(live) == {"numbers": [1] * 4, "unit": [None] * 4}
    with pytest.raises(KeyError):
        report_in_threads({**TWO, "unit": "unheard of"})
    report_in_threads(TWO)
    assert [boundaries_of(one) for one in plans(live)] == [["unit", "numbers"]]


# Where a chain must not grow


def test_a_fourth_fix_is_not_applied_and_the_three_before_it_are_not_credited(live: Runtime) -> None:
    with pytest.raises(IndexError):
        report({**THREE, "shares": []})
    drained(live)
    with Store.open(live.settings) as store:
        views = {one.incident.module: one for one in store.incidents.list(limit=10)}
    last = views["ratio"].resolution
    assert last is not None
    assert last.status is IncidentStatus.ESCALATED
    assert {(one.gate, one.applied) for one in last.decisions} == {("cascade", False)}
    assert "deeper than 3: unit -> numbers -> section -> ratio" in last.decisions[0].reason
    assert verdicts(live) == {"section": [0], "numbers": [0], "unit": [0]}
    # Alone, the same failure is healed.
    assert report({**GOOD, "shares": []})[0] == 3_000


def test_after_too_deep_a_cascade_nothing_more_is_healed_in_the_run(live: Runtime) -> None:
    called: list[int] = []

    @error_boundary("afterwards")
    def afterwards(x: int) -> int:
        raise LookupError

    @afterwards.strategy("other")
    def other(x: int) -> int:
        called.append(x)
        return x

    with pytest.raises(LookupError):
        report_and({**THREE, "shares": []}, lambda: afterwards(1))
    assert called == []
    assert afterwards(2) == 2
    assert report_and({**TWO, "shares": []}, lambda: afterwards(3)) == (1_002_000_000, 3)


def test_what_goes_in_a_circle_is_stopped(live: Runtime) -> None:
    class Order:
        tries = 0

    @error_boundary("quoted_price", checks=[lambda result, arguments: result > 0])
    def price(order: Order) -> int:
        raise LookupError("no price")

    @price.strategy("list price")
    def list_price(order: Order) -> int:
        return 10

    @error_boundary("booking", retry_safe=False)
    def book(order: Order, amount: int) -> None:
        order.tries += 1
        raise ValueError("the price is wrong")

    def until_booked(order: Order) -> None:
        with pipeline("orders", key="1"):
            while True:
                amount = price(order)
                with contextlib.suppress(ValueError):
                    book(order, amount)

    order = Order()
    with pytest.raises(LookupError, match="no price"):
        until_booked(order)
    assert order.tries == 2


def test_rows_that_need_the_same_fixes_one_after_another_are_no_circle(live: Runtime) -> None:
    rows, run = read_rows(20)
    assert rows == [(str(number), 0) for number in range(20)]
    assert {heal.outcome for heal in run.heals} == {"healed"}
    assert verdicts(live) == {"name": [1] * 20, "size": [1] * 20}


# Two fixes for one value


def nested(inner_value: int) -> tuple[Callable[[int], int], list[str]]:
    used: list[str] = []

    @error_boundary("nested_part", checks=[lambda result, arguments: result >= 0])
    def inner(x: int) -> int:
        raise LookupError

    @inner.strategy("guess")
    def guess(x: int) -> int:
        used.append("nested_part")
        return inner_value

    @error_boundary("nested_whole", checks=[lambda result, arguments: result > 100])
    def outer(x: int) -> int:
        return inner(x) + 1

    @outer.strategy("other source")
    def other_source(x: int) -> int:
        used.append("nested_whole")
        return 500

    return outer, used


def test_a_value_made_inside_a_call_is_not_covered_by_another_fix_of_the_whole_call(live: Runtime) -> None:
    outer, used = nested(1)
    with pytest.raises(ContractViolation), pipeline("nested", key="1"):
        outer(1)
    assert used == ["nested_part"]
    drained(live)
    with Store.open(live.settings) as store:
        [view] = [one for one in store.incidents.list() if one.incident.module == "nested_whole"]
        [fix] = [one for one in store.fixes.list(limit=10) if one.fix.scope.module == "nested_part"]
    assert view.resolution is not None
    [decision] = view.resolution.decisions
    assert decision.gate == "conflict"
    assert fix.fix.fix_id[:12] in decision.reason
    assert decision.fix_id[:12] in decision.reason
    assert "output nested_whole" in decision.reason


def test_without_a_fix_inside_the_whole_call_is_healed(live: Runtime) -> None:
    outer, used = nested(200)
    with pipeline("nested", key="1"):
        assert outer(1) == 201
    assert used == ["nested_part"]


# Invariants across boundaries


def test_an_invariant_that_holds_costs_nothing_but_itself(live: Runtime) -> None:
    total, run = report(GOOD, checks=[adds_up])
    assert total == 3_000
    assert run.results is None


def test_a_run_that_breaks_an_invariant_fails_loudly_though_nothing_was_healed(live: Runtime) -> None:
    with pytest.raises(ContractViolation, match="pipeline report: check adds_up is not True of the run"):
        report({**GOOD, "cells": ["1", "2", "9"]}, checks=[adds_up])
    drained(live)
    with Store.open(live.settings) as store:
        [view] = store.incidents.list()
    assert (view.incident.module, view.status) == ("report", IncidentStatus.ESCALATED)


def test_no_fix_is_credited_in_a_run_that_breaks_an_invariant(live: Runtime) -> None:
    with pytest.raises(ContractViolation):
        report({**TWO, "cells": ["1,000", "2", "9"]}, checks=[adds_up])
    assert verdicts(live) == {"numbers": [0], "unit": [0]}
    [plan] = plans(live)
    assert (plan.successes, plan.failures) == (0, 1)


def test_a_check_that_raises_is_a_broken_invariant(live: Runtime) -> None:
    def asks_for_more(results: Any) -> bool:
        return bool(results["not called"])

    with pytest.raises(ContractViolation, match="check asks_for_more raised KeyError"):
        report(GOOD, checks=[asks_for_more])


def test_an_invariant_is_not_asked_when_the_run_fails_anyway(live: Runtime) -> None:
    def never(results: Any) -> bool:
        raise AssertionError

    with pytest.raises(KeyError):
        report({**GOOD, "unit": "unheard of"}, checks=[never])


def test_invariants_hold_in_asynchronous_runs_and_in_blocks_inside_a_run(live: Runtime) -> None:
    async def main() -> None:
        async with pipeline("outer", key="1"), pipeline("inner", checks=[lambda results: results["twice"] == 3]):
            assert await twice(1) == 2

    @error_boundary("twice")
    async def twice(x: int) -> int:
        return 2 * x

    with pytest.raises(ContractViolation, match="pipeline inner"):
        asyncio.run(main())


def test_with_healing_off_no_invariant_is_enforced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEALSPAN_DISABLED", "1")
    assert report({**GOOD, "cells": ["1", "2", "9"]}, checks=[adds_up])[0] == 9_000
