"""Plans in the store: each once, with one outcome for each run, and gone with the subject they name."""

from __future__ import annotations

import pytest
from tests.world import World

from healspan.remediation.fix import FixState
from healspan.remediation.ids import uuid7
from healspan.remediation.plan import Link, Plan, PlanOutcome
from healspan.remediation.store.history import RunHistory
from healspan.remediation.store.index_loader import Marks, load


def make_plan(world: World, *fix_ids: str, form: str = "10-K") -> Plan:
    links = [Link(boundary=f"b{number}", fix_id=fix_id) for number, fix_id in enumerate(fix_ids)]
    return Plan.of("report", {"form": form}, links, found_at=world.now)


def outcome(world: World, plan: Plan, reward: int | None) -> PlanOutcome:
    return PlanOutcome.of(plan, uuid7(), reward, "said so by the test", at=world.now)


def test_a_plan_and_its_outcomes_are_taken_in_once_however_often_they_come(world: World) -> None:
    plan = make_plan(world, "a" * 64, "b" * 64)
    good = outcome(world, plan, 1)
    for _ in range(2):
        world.write(plan, good, outcome(world, plan, 0), outcome(world, plan, None))
    [view] = world.store.plans.list()
    assert view.plan == plan
    assert (view.successes, view.failures, view.unknown) == (1, 2, 2)
    assert view.last_at == world.now
    assert not view.verified


def test_a_plan_stands_beside_its_fixes_taken_alone(world: World) -> None:
    fixes = [world.fix(f"b{number}", state=FixState.ACTIVE) for number in range(2)]
    for fix in fixes:
        for reward in (1, 1, 0):
            world.application(fix, reward=reward)
    plan = make_plan(world, *(fix.fix_id for fix in fixes))
    world.write(plan, *(outcome(world, plan, 1) for _ in range(6)))
    [view] = world.store.plans.list()
    assert [one.does for one in view.fixes] == [fix.fix_instruction for fix in fixes]
    assert [one.mean for one in view.fixes] == [0.6, 0.6]
    assert view.reward.prior == pytest.approx(0.36)
    assert view.reward.expected == pytest.approx((6 * 0.36 + 6) / 12)
    assert view.verified


def test_plans_are_found_by_pipeline_fix_and_run(world: World) -> None:
    one, other = make_plan(world, "a" * 64, "b" * 64), make_plan(world, "c" * 64, "d" * 64)
    told = outcome(world, one, 1)
    world.write(one, other, told)
    assert {view.plan.plan_id for view in world.store.plans.list()} == {one.plan_id, other.plan_id}
    assert [view.plan for view in world.store.plans.list(fix_id="b" * 64)] == [one]
    assert [view.plan for view in world.store.plans.list(run_id=told.run_id)] == [one]
    assert world.store.plans.list(pipeline="another") == ()
    assert len(world.store.plans.list(pipeline="report", limit=1)) == 1


def test_the_history_of_a_process_takes_them_in_from_the_store(world: World) -> None:
    plan = make_plan(world, "a" * 64, "b" * 64)
    world.write(plan, outcome(world, plan, 1))
    delta = load(world.store.database, Marks(), now=world.now)
    history = RunHistory()
    for known in delta.plans:
        history.add_plan(known)
    for told in (*delta.plan_outcomes, *delta.plan_outcomes):
        history.add_plan_outcome(told)
    links = tuple((link.boundary, link.fix_id) for link in plan.links)
    assert history.view("report", {"form": "10-K"}).plans() == (plan,)
    assert history.view("report", {"form": "10-K"}).verified(links)
    assert not history.view("report", {"form": "10-Q"}).verified(links)
    again = load(world.store.database, delta.marks, now=world.now)
    assert not again.plans
    assert not again.plan_outcomes
    world.write(bad := outcome(world, plan, 0))
    history.add_plan_outcome(bad)
    assert not history.view("report", {"form": "10-K"}).verified(links)


def test_a_subject_takes_the_plans_that_name_it_along(world: World) -> None:
    kept, gone = make_plan(world, "a" * 64, "b" * 64), make_plan(world, "a" * 64, "b" * 64, form="customer 4711")
    world.write(kept, gone, outcome(world, kept, 1), outcome(world, gone, 1))
    assert world.store.purge_subject("4711", actor="human:ana").plans == 1
    assert [view.plan for view in world.store.plans.list()] == [kept]
    assert load(world.store.database, Marks(), now=world.now).plans == [kept]
