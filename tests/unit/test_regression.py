"""The no-regression criterion, word by word."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import uuid4

import pytest
from tests.story import Known

from healspan.remediation.given import given, steady
from healspan.remediation.judging import judge_run
from healspan.remediation.outcome import Verdict
from healspan.remediation.regression import ENOUGH_RUNS, no_regression, verdict
from healspan.remediation.run import Applied, Failed, Run

FIX, NEW, OLD = "fix", "v1:new", "v1:old"


def test_nothing_later_is_no_regression() -> None:
    assert no_regression(FIX, [], frozenset(), Known()).value is True


def test_what_fails_beyond_the_reach_of_runs_without_the_fix_is_no_harm() -> None:
    later = [Failed(NEW, "further")]
    criterion = no_regression(FIX, later, frozenset(), Known(runs=3), behind=frozenset({"further"}))
    assert (criterion.value, criterion.beyond) == (False, True)
    given = Applied(FIX, "b", resolved=True, valid_output=True)
    assert verdict(given, criterion).reward == 0


def test_harm_is_harm_though_something_failed_beyond_as_well() -> None:
    later = [Failed(NEW, "further"), Failed("v1:other", "later")]
    criterion = no_regression(FIX, later, frozenset(), Known(runs=ENOUGH_RUNS), behind=frozenset({"further"}))
    assert (criterion.value, criterion.beyond) == (False, False)


def test_a_pattern_known_from_runs_without_the_fix_is_excused() -> None:
    assert no_regression(FIX, [Failed(OLD, "later")], frozenset(), Known(seen=frozenset({OLD}))).value is True


def test_a_new_pattern_with_enough_runs_to_compare_is_a_regression_even_if_healed() -> None:
    known = Known(runs=ENOUGH_RUNS)
    assert no_regression(FIX, [Failed(NEW, "later")], frozenset({"later"}), known).value is False


def test_a_new_pattern_with_too_few_runs_is_unknown() -> None:
    criterion = no_regression(FIX, [Failed(NEW, "later")], frozenset(), Known(runs=ENOUGH_RUNS - 1))
    assert criterion.value is None
    assert criterion.unknown_patterns == (NEW,)


def test_the_third_unknown_makes_all_three_false() -> None:
    first, second = uuid4(), uuid4()
    known = Known(runs=3, earlier=(first, second))
    criterion = no_regression(FIX, [Failed(NEW, "later")], frozenset(), known)
    assert criterion.value is False
    assert criterion.overrules == (first, second)


def test_a_call_that_was_given_the_same_unchanging_input_does_not_speak_against_the_fix() -> None:
    page = Page("one")

    def judged(first: object, second: object) -> bool | None:
        run = Run("p")
        error_id = uuid4()
        run.note(Failed(OLD, "a", error_id=error_id, given=given([first]), steady=steady([first])))
        run.applied(Applied(FIX, "a", resolved=True, valid_output=True, error_id=error_id))
        run.note(Failed(NEW, "later", given=given([second]), steady=steady([second])))
        [(_, criterion)] = judge_run(run, Known(runs=ENOUGH_RUNS))
        return criterion.value

    assert judged(page, page) is True
    assert judged("one", "one") is True
    assert judged(page, Page("one")) is False
    assert judged("one", "two") is False
    changing = Changing()
    assert judged(changing, changing) is False


@dataclass(frozen=True)
class Page:
    name: str


class Changing:
    pass


def test_one_run_names_an_unknown_once_however_often_the_fix_acted_in_it() -> None:
    run = Run("p")
    for _ in range(3):
        run.applied(Applied(FIX, "rows", resolved=True, valid_output=True))
    run.failed(NEW, "later")
    judged = [criterion for _, criterion in judge_run(run, Known(runs=3))]
    assert [criterion.value for criterion in judged] == [None, None, None]
    assert [criterion.unknown_patterns for criterion in judged] == [(NEW,), (), ()]


def test_no_fix_is_credited_in_a_run_that_broke_an_invariant() -> None:
    run = Run("p")
    run.applied(Applied(FIX, "b", resolved=True, valid_output=True))
    run.broken = "check balances is not True of the run"
    [(_, criterion)] = judge_run(run, Known(runs=ENOUGH_RUNS, seen=frozenset({NEW})))
    assert criterion.value is False
    assert "balances" in criterion.reason


def test_a_failure_where_no_run_without_the_fix_had_come_is_part_of_a_cascade_if_it_healed() -> None:
    known = Known(runs=ENOUGH_RUNS, reached=frozenset())
    assert no_regression(FIX, [Failed(NEW, "later")], frozenset({"later"}), known).value is True


def test_and_speaks_against_the_fix_if_it_did_not_heal() -> None:
    known = Known(runs=1, reached=frozenset())
    assert no_regression(FIX, [Failed(NEW, "later")], frozenset(), known).value is False


def test_only_what_comes_after_the_fix_counts() -> None:
    run = Run("p")
    run.failed(NEW, "earlier")
    run.applied(Applied(FIX, "b", resolved=True, valid_output=True))
    [(_, criterion)] = judge_run(run, Known(runs=ENOUGH_RUNS))
    assert criterion.value is True


def test_the_run_remembers_what_came_before_and_after_each_fix() -> None:
    run = Run("p", context_keys={"document_type": "10-K"})
    run.reach("a")
    run.failed(OLD, "a")
    run.applied(Applied(FIX, "a", resolved=True, valid_output=True))
    run.reach("b")
    run.failed(NEW, "b")
    fact = run.fact()
    assert fact.patterns == ((OLD, ()), (NEW, (FIX,)))
    assert fact.reached == (("a", ()), ("b", (FIX,)))
    assert fact.fixes == (FIX,)


@pytest.mark.parametrize(
    ("criteria", "degraded", "reward"),
    [
        ((True, True, True), False, 1),
        ((True, True, True), True, 0),
        ((True, None, True), False, None),
        ((True, None, False), False, 0),
        ((False, None, None), False, 0),
        ((True, True, None), False, None),
    ],
)
def test_the_reward_is_binary_or_censored(
    criteria: tuple[bool | None, bool | None, bool | None],
    degraded: bool,
    reward: int | None,
) -> None:
    resolved, regression, valid = criteria
    one = Verdict(resolved=resolved, no_regression=regression, valid_output=valid, degraded=degraded)
    assert one.reward == reward


def test_a_verdict_joins_the_call_and_its_run() -> None:
    applied = Applied(FIX, "b", resolved=True, valid_output=True)
    criterion = no_regression(FIX, [], frozenset(), Known())
    assert verdict(applied, criterion).reward == 1
