"""Several steps in one fix: found one behind the other, validated, kept and rewarded as one."""

from __future__ import annotations

import asyncio

import pytest
from tests import several
from tests.observe import drained, facts, wait_until
from tests.several import (
    by_strategy,
    flaky,
    flaky_calls,
    four_faults,
    hopeless,
    three_faults,
    two_faults,
    two_faults_async,
    two_functions,
)

from healspan.remediation.fix import Fix
from healspan.remediation.runtime import Runtime
from healspan.remediation.store.repository import Store

SWAPPED = {"Unit-Count": 3, "currency": "USD"}
RIGHT = {"unit_count": 3}


def only_fix(live: Runtime) -> Fix:
    drained(live)
    with Store.open(live.settings) as store:
        [view] = store.fixes.list()
    return view.fix


def test_a_second_failure_behind_a_repaired_one_is_repaired_too(live: Runtime) -> None:
    assert two_faults("$2", SWAPPED) == 6.0
    fix = only_fix(live)
    assert [step.kind for step in fix.steps] == ["repair", "repair"]
    assert [step.expression for step in fix.steps if step.kind == "repair"] == ["float(text)", 'payload["unit_count"]']
    [one] = facts(live)
    assert fix.scope.exact == one.incident.pattern.exact
    assert one.incident.error_type == "builtins.ValueError"
    with Store.open(live.settings) as store:
        [outcome] = store.outcomes.list(fix_id=fix.fix_id)
    assert outcome.application.steps == ("repair", "repair")
    assert outcome.reward == 1


def test_both_steps_act_ahead_of_the_failure_once_installed(live: Runtime) -> None:
    assert two_faults("$2", SWAPPED) == 6.0
    wait_until(lambda: len(live.repairs.installed()) == 2, "both steps to be installed")
    assert two_faults("$3", SWAPPED) == 9.0
    assert two_faults("$4", RIGHT) == 12.0
    assert len(facts(live)) == 1


def test_the_second_step_acts_only_behind_the_first(live: Runtime) -> None:
    assert two_faults("$2", SWAPPED) == 6.0
    wait_until(lambda: len(live.repairs.installed()) == 2, "both steps to be installed")
    # The second fault alone is a pattern of its own, for which a fix is found then.
    assert two_faults("2", SWAPPED) == 6.0
    first, second = facts(live)
    assert second.incident.error_type == "builtins.KeyError"
    assert second.resolution.tier == "2"
    assert second.resolution.fix_id != first.resolution.fix_id


def test_each_step_has_its_own_ways(live: Runtime) -> None:
    assert two_functions("$2", SWAPPED) == 6.0
    wait_until(lambda: len(live.repairs.installed()) == 2, "both steps to be installed")
    assert {repair.step.qualname: len(repair.paths) for repair in live.repairs.installed()} == {
        "read_price": 1,
        "two_functions": 1,
    }
    assert two_functions("$3", SWAPPED) == 9.0
    assert len(facts(live)) == 1


def test_three_steps_are_found_and_four_are_not(live: Runtime) -> None:
    assert three_faults("$2", "1,000", SWAPPED) == 1005.0
    assert len(only_fix(live).steps) == 3
    with pytest.raises(ValueError, match=r"could not convert string to float: '\$2'"):
        four_faults("$2", "1,000", "$3", SWAPPED)


def test_asynchronous_boundaries_likewise(live: Runtime) -> None:
    assert asyncio.run(two_faults_async("$2", SWAPPED)) == 6.0
    wait_until(lambda: len(live.repairs.installed()) == 2, "both steps to be installed")
    assert asyncio.run(two_faults_async("$3", SWAPPED)) == 9.0
    assert len(facts(live)) == 1


def test_where_nothing_answers_the_second_failure_the_first_exception_survives(live: Runtime) -> None:
    with pytest.raises(ValueError, match=r"could not convert string to float: '\$1'"):
        hopeless("$1", 0)
    assert live.repairs.installed() == ()
    drained(live)
    with Store.open(live.settings) as store:
        assert store.fixes.list() == ()
    assert hopeless("$1", 2) == 0.5


def test_a_retry_around_a_repair(live: Runtime) -> None:
    flaky_calls.clear()
    assert flaky("$2") == 2.0
    assert [step.kind for step in only_fix(live).steps] == ["repair", "retry"]


def test_a_repair_below_a_strategy(live: Runtime) -> None:
    assert by_strategy("about $7") == 7.0
    assert [step.kind for step in only_fix(live).steps] == ["repair", "strategy"]
    assert by_strategy("about $8") == 8.0
    assert [one.resolution.tier for one in facts(live)] == ["2", "1"]
    with pytest.raises(ValueError, match="could not convert"):
        several.read_price("$7")


def test_a_step_that_only_a_human_may_let_act_is_proposed_with_the_one_before_it(live: Runtime) -> None:
    with pytest.raises(ValueError, match="could not convert"):
        two_faults("-", SWAPPED)
    drained(live)
    with Store.open(live.settings) as store:
        proposals = store.fixes.proposed()
    assert [[step.kind for step in view.fix.steps] for view in proposals] == [["repair", "repair"]]
    assert [len(view.changes[0].paths) for view in proposals] == [2]
    assert live.repairs.installed() == ()


def test_a_known_fix_that_does_not_reach_far_enough_is_extended(live: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    # As on a host where it is not installed yet: it acts when the pattern shows.
    monkeypatch.setattr(live.serving, "serve", lambda snapshot: None)
    assert two_faults("$2", RIGHT) == 6.0
    assert two_faults("$3", SWAPPED) == 9.0
    assert two_faults("$4", SWAPPED) == 12.0
    assert two_faults("$5", RIGHT) == 15.0
    drained(live)
    with Store.open(live.settings) as store:
        steps = {view.fix.fix_id: len(view.fix.steps) for view in store.fixes.list()}
    found = [(one.resolution.tier, steps[one.resolution.fix_id or ""]) for one in facts(live)]
    assert found[:3] == [("2", 1), ("2", 2), ("1", 2)]
    assert found[3][0] == "1"
