"""What follows from the verdicts on a fix: accepted, rejected, suspended, demoted, or nothing yet."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from healspan.remediation.evidence import (
    DISCOUNT,
    HALF_LIFE,
    MOST_BURSTS,
    MOST_CONTEXTS,
    Evidence,
    Outcome,
    Result,
    result_of,
)
from healspan.remediation.fix import FixState, Match, StateChange
from healspan.remediation.outcome import Verdict
from healspan.remediation.sequential import TEST, SequentialTest, burst_weight
from healspan.remediation.trial import Decision, Ruling, rule, standing

START = datetime(2026, 1, 1, tzinfo=UTC)
TRIAL, ACTIVE, PROPOSED, SUSPENDED = FixState.TRIAL, FixState.ACTIVE, FixState.PROPOSED, FixState.SUSPENDED


RESULTS = {"g": Result.SUCCESS, "b": Result.FAILURE, "n": Result.NO_HELP}


def change(sequence: int, state: FixState, previous: FixState, at: datetime = START) -> StateChange:
    return StateChange(
        fix_id="f", sequence=sequence, state=state, previous=previous, policy="", actor="", reason="", at=at
    )


def evidence(results: str, *, state: FixState = TRIAL, regression: bool = False) -> Evidence:
    """Fold results, one letter each: g(ood), b(ad), n(o help)."""
    found = Evidence(fix_id="f").begin(change(2, state, PROPOSED))
    for number, letter in enumerate(results):
        at = START + timedelta(seconds=number)
        found = found.after(Outcome(RESULTS[letter], "", at, regression=letter == "b" and regression))
    return found


def decided(results: str, *, state: FixState = TRIAL, by_human: bool = False, regression: bool = False) -> str | None:
    ruling = rule(state, evidence(results, state=state, regression=regression), by_human=by_human)
    return None if ruling is None else ruling.decision.value


def first_decision(results: str, *, state: FixState = TRIAL, by_human: bool = False) -> tuple[int, str] | None:
    for number in range(1, len(results) + 1):
        found = decided(results[:number], state=state, by_human=by_human)
        if found is not None:
            return number, found
    return None


# The numbers that people quote


def test_eighteen_straight_successes_accept_and_seventeen_do_not() -> None:
    assert first_decision("g" * 30) == (18, "activate")


def test_three_straight_failures_reject_and_two_do_not() -> None:
    assert first_decision("b" * 5) == (3, "suspend")


def test_one_failure_among_successes_costs_eight_more_of_them() -> None:
    assert first_decision("b" + "g" * 40) == (27, "activate")


def test_a_fix_that_fails_now_and_then_is_rejected() -> None:
    assert first_decision("gb" * 10) == (6, "suspend")


@pytest.mark.parametrize(("good", "poor"), [(0.8, 0.9), (0.9, 0.9), (1.0, 0.8), (0.9, 0.0)])
def test_a_test_refuses_readings_that_are_none(good: float, poor: float) -> None:
    with pytest.raises(ValueError, match="poor < good"):
        SequentialTest(good=good, poor=poor)


@pytest.mark.parametrize("wrong", [0.0, 0.5, 0.7])
def test_a_test_refuses_to_be_always_right_or_no_better_than_a_coin(wrong: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1/2"):
        SequentialTest(false_rejection=wrong)
    with pytest.raises(ValueError, match="between 0 and 1/2"):
        SequentialTest(false_acceptance=wrong)


# A trial


def test_what_worked_and_then_broke_does_not_live_on_its_past() -> None:
    assert first_decision("g" * 15 + "b" * 5) == (18, "suspend")


def test_two_regressions_end_a_trial_whatever_else_it_did() -> None:
    assert decided("gggggggbgggggggb") is None
    assert decided("gggggggbgggggggb", regression=True) == "suspend"


def test_the_outcome_that_made_somebody_keep_the_fix_does_not_count_in_its_trial() -> None:
    found = Evidence(fix_id="f").after(Outcome(Result.SUCCESS, "", START - timedelta(seconds=1)))
    found = found.begin(change(2, TRIAL, PROPOSED))
    found = found.after(Outcome(Result.SUCCESS, "", START - timedelta(seconds=1)))
    assert found.counted() == (0, 0)
    assert found.posterior(START).mean > Evidence(fix_id="f").posterior(START).mean, "but it is known of the fix"


@pytest.mark.parametrize("state", [PROPOSED, SUSPENDED, FixState.RETIRED, FixState.PROMOTED])
def test_nothing_follows_for_a_fix_that_does_not_serve(state: FixState) -> None:
    assert rule(state, evidence("b" * 9), by_human=False) is None


# After it


def test_an_active_fix_that_fails_more_often_is_tried_again_then_suspended() -> None:
    assert first_decision("g" * 40 + "bgbgbg", state=ACTIVE) == (45, "demote")
    assert first_decision("bbb", state=ACTIVE) == (3, "suspend")


def test_two_failures_in_a_row_demote_where_the_record_makes_them_unlikely() -> None:
    assert first_decision("g" * 30 + "bb", state=ACTIVE) == (32, "demote")
    assert decided("ggbb", state=ACTIVE) is None


def test_a_demotion_is_no_fresh_start_for_a_row_of_failures() -> None:
    demoted = evidence("g" * 30 + "bb", state=ACTIVE).begin(change(3, TRIAL, ACTIVE, START + timedelta(minutes=1)))
    assert demoted.counted() == (0, 0)
    after = demoted.after(Outcome(Result.FAILURE, "", START + timedelta(minutes=2)))
    assert rule(TRIAL, after, by_human=False) == Ruling(Decision.SUSPEND, "it failed 3 times in a row")


def test_a_change_that_leaves_the_state_as_it_was_is_no_fresh_start() -> None:
    known = evidence("gb")
    assert known.begin(change(3, TRIAL, TRIAL, START + timedelta(minutes=1))) == known, "one more way, the same trial"
    assert known.begin(change(2, ACTIVE, TRIAL)) == known, "nor is one that has been taken in"


def test_an_approval_is_a_fresh_start() -> None:
    approved = evidence("bb").begin(change(3, ACTIVE, TRIAL, START + timedelta(minutes=1)))
    assert approved.in_a_row == 0


def test_a_machine_only_suspends_what_a_human_approved_and_needs_more_for_it() -> None:
    results = "g" * 40 + "bgbgbg"
    assert decided(results[:45], state=ACTIVE, by_human=True) is None
    assert first_decision("g" * 40 + "bg" * 9, state=ACTIVE, by_human=True) == (49, "suspend")
    assert first_decision("g" * 40 + "bbb", state=ACTIVE, by_human=True) == (43, "suspend")
    assert decided("g" * 40, by_human=True) is None


# What counts


def test_a_standing_begins_as_if_nothing_were_known() -> None:
    assert evidence("") == Evidence(fix_id="f", began=2, since=START)
    assert evidence("gb").begin(change(3, ACTIVE, TRIAL, START)) == Evidence(
        fix_id="f", began=3, since=START, contexts=evidence("gb").contexts
    )
    assert (evidence("").llr(), evidence("").surprise) == (0.0, 1.0), "nothing speaks either way, nothing surprises"


@pytest.mark.parametrize(("letter", "counts"), [("g", (1.0, 0.0)), ("b", (0.0, 1.0)), ("n", (0.0, 1.0))])
def test_one_outcome_is_one_success_or_one_failure_and_nothing_of_the_other(
    letter: str, counts: tuple[float, float]
) -> None:
    assert evidence(letter).contexts[""].by(START) == pytest.approx(counts)


@pytest.mark.parametrize(
    ("verdict", "steps", "says"),
    [
        (Verdict(resolved=True, no_regression=True, valid_output=True), ("strategy",), Result.SUCCESS),
        (Verdict(resolved=True, no_regression=None, valid_output=True), ("strategy",), None),
        (Verdict(resolved=True, no_regression=True, valid_output=None), ("strategy",), None),
        (Verdict(resolved=True, no_regression=False, valid_output=None), ("strategy",), Result.FAILURE),
        (Verdict(resolved=True, no_regression=False, valid_output=True, beyond=True), ("strategy",), Result.NO_HELP),
        (Verdict(resolved=False, no_regression=None, valid_output=False), ("strategy",), Result.FAILURE),
        (Verdict(resolved=False, no_regression=None, valid_output=None), ("strategy",), Result.NO_HELP),
        (Verdict(resolved=True, no_regression=True, valid_output=True, degraded=True), ("fallback",), None),
        (Verdict(resolved=True, no_regression=None, valid_output=None, degraded=True), ("fallback",), None),
        (Verdict(resolved=True, no_regression=True, valid_output=False, degraded=True), ("fallback",), Result.FAILURE),
        (Verdict(resolved=True, no_regression=False, valid_output=True, degraded=True), ("fallback",), Result.FAILURE),
        (
            Verdict(resolved=True, no_regression=True, valid_output=True, degraded=True),
            ("strategy", "fallback"),
            Result.FAILURE,
        ),
    ],
)
def test_a_fix_is_judged_by_what_it_promises(verdict: Verdict, steps: tuple[str, ...], says: Result | None) -> None:
    assert result_of(verdict, steps, Match.EXACT) is says


def test_of_a_fix_for_a_whole_boundary_the_contract_says_what_it_is_for() -> None:
    refused = Verdict(resolved=False, no_regression=None, valid_output=False)
    assert result_of(refused, ("strategy",), Match.BOUNDARY) is Result.NO_HELP
    assert result_of(refused, ("strategy",), Match.LOOSE) is Result.FAILURE
    harm = Verdict(resolved=True, no_regression=False, valid_output=True)
    assert result_of(harm, ("strategy",), Match.BOUNDARY) is Result.FAILURE


def test_giving_no_value_harms_nobody_and_is_no_reason_to_suspend_what_helps_others() -> None:
    assert decided("ngnnnngnngnn" * 4) is None
    assert decided("nbnnbnnbn") == "suspend", "nor does it break a row of failures"
    known = evidence("n" * 10)
    assert known.counted() == (0, 0)
    assert known.posterior(START).mean < evidence("").posterior(START).mean, "but others are tried first"


def test_what_no_longer_helps_goes_back_to_trial_and_is_not_lost_over_an_outage() -> None:
    assert first_decision("g" + "n" * 30, state=ACTIVE) == (21, "demote")
    assert first_decision("g" + "n" * 300) is None, "a trial lapses by itself"
    assert first_decision("n" * 30, state=ACTIVE, by_human=True) is None


def test_in_a_context_its_own_outcomes_weigh_most_and_those_of_others_stand_in_for_what_it_has_not_shown() -> None:
    found = evidence("")
    for _ in range(9):
        found = found.after(Outcome(Result.SUCCESS, "form=10-K", START)).after(
            Outcome(Result.FAILURE, "form=10-Q", START)
        )
    of_all, good, bad, new = (
        found.posterior(START, context) for context in (None, "form=10-K", "form=10-Q", "form=8-K")
    )
    assert good.mean > new.mean > bad.mean
    assert new.mean == pytest.approx(of_all.mean)
    assert of_all.strength > good.strength > new.strength


def test_an_outcome_that_arrives_late_counts_as_old_as_it_is() -> None:
    month = Outcome(Result.SUCCESS, "", START + HALF_LIFE)
    late = evidence("").after(month).after(Outcome(Result.SUCCESS, "", START))
    assert late.contexts[""].at == month.at
    assert late.contexts[""].by(month.at) == pytest.approx((DISCOUNT + 0.5, 0.0))
    assert late.contexts[""].by(START) == late.contexts[""].by(month.at), "a clock behind makes nothing count more"


def tallied(number: int, *, success: bool = True, hours: int = 0, context: str = "") -> Outcome:
    result = Result.SUCCESS if success else Result.FAILURE
    return Outcome(result, context, START + timedelta(hours=hours), count=number, tallied=True)


def test_a_burst_of_equal_calls_does_not_pass_for_as_many_inputs() -> None:
    burst = evidence("").after(tallied(1_000_000))
    assert rule(TRIAL, burst, by_human=False) is None
    assert burst.llr() == pytest.approx(burst_weight(1_000_000) * TEST.success)
    assert burst.posterior(START).strength < 25.0
    assert burst.counted() == (1_000_000, 0)


def test_a_burst_is_what_one_hour_of_the_clock_and_one_context_showed() -> None:
    found = evidence("")
    for minutes, context in ((0, ""), (59, ""), (60, ""), (59, "k=v")):
        found = found.after(dataclasses.replace(tallied(1, context=context), at=START + timedelta(minutes=minutes)))
    first = min(one.hour for one in found.bursts)
    shown = {(one.hour - first, one.context): one.successes for one in found.bursts}
    assert shown == {(0, ""): 2, (1, ""): 1, (0, "k=v"): 1}


def test_hour_by_hour_an_installed_repair_is_accepted_too() -> None:
    found = evidence("")
    for hour in range(10):
        found = found.after(tallied(100, hours=hour))
    ruling = rule(TRIAL, found, by_human=False)
    assert ruling is not None
    assert ruling.decision is Decision.ACTIVATE


def test_a_few_failures_among_many_calls_of_one_hour_do_not_reject_an_installed_repair() -> None:
    found = evidence("")
    for number in range(10):
        # As they come: failures at once, successes when they are flushed.
        found = found.after(tallied(1, success=False)).after(tallied(200 + number))
    assert found.in_a_row == 0
    assert rule(TRIAL, found, by_human=False) is None
    assert found.alarm < TEST.reject_at


def test_an_installed_repair_that_only_fails_is_rejected_at_the_third_call_too() -> None:
    found = evidence("")
    for number in range(1, 4):
        found = found.after(tallied(1, success=False))
        assert (rule(TRIAL, found, by_human=False) is not None) == (number == 3)


def test_what_is_counted_by_the_minute_counts_from_the_minute_the_trial_began_in() -> None:
    began = START + timedelta(seconds=40)
    found = Evidence(fix_id="f").begin(change(2, TRIAL, PROPOSED, began)).after(tallied(5))
    assert found.counted() == (5, 0)


# Bounds


def test_evidence_stays_small_whatever_comes() -> None:
    found = evidence("")
    for number in range(MOST_BURSTS + 50):
        found = found.after(tallied(10, hours=number, context=f"c={number}"))
    assert len(found.bursts) == MOST_BURSTS
    assert len(found.contexts) == MOST_CONTEXTS
    assert found.llr() == pytest.approx((MOST_BURSTS + 50) * TEST.burst(10, 0))


def test_of_too_many_contexts_the_one_that_has_just_come_is_not_forgotten() -> None:
    found = evidence("")
    for number in range(MOST_CONTEXTS + 1):
        found = found.after(Outcome(Result.SUCCESS, f"c={number}", START))
        assert f"c={number}" in found.contexts


def test_the_usual_latency_follows_the_calls() -> None:
    slow = dataclasses.replace(Outcome(Result.SUCCESS, "", START), latency_ms=100.0)
    found = evidence("").after(slow)
    assert found.latency_ms == 100.0
    assert 0.0 < found.after(dataclasses.replace(slow, latency_ms=0.0)).latency_ms < 100.0


# For people


def test_a_standing_says_how_far_it_is_either_way() -> None:
    found = standing(evidence("ggg"))
    assert (found.successes_to_accept, found.failures_to_reject) == (15, 3)
    assert first_decision("ggg" + "g" * found.successes_to_accept) == (18, "activate")
    worse = standing(evidence("gbb"))
    assert (worse.failures_to_reject, worse.in_a_row) == (1, 2)
