"""Rewards: what a fix's outcomes are worth, worked through by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import beta

from healspan.analytics.evidence import Outcome, weigh
from healspan.analytics.reward import combine, formula, rewards

NOW = 1_800_000_000.0
DAY = 86_400.0


def outcomes(
    good: int = 0,
    bad: int = 0,
    *,
    fix: str = "fix",
    context: str = "revenue",
    age: float = 0.0,
) -> list[Outcome]:
    """Outcomes an hour apart, so that none of them is a burst."""
    verdicts = [1] * good + [0] * bad
    return [
        Outcome(fix, context, "pattern", f"{fix}/{context}/{age}/{n}", NOW - age * DAY - n * 3600.0, verdict)
        for n, verdict in enumerate(verdicts)
    ]


def only(rows: list[Outcome], **families: str):
    (score,) = rewards(rows, families or {"fix": "ValueError"}, NOW)
    return score


def test_a_fix_without_outcomes_is_scored_by_its_relatives_and_called_stale():
    score = only([])
    assert score.mean_score == pytest.approx(0.5)
    assert score.score == pytest.approx(beta.ppf(0.1, 3, 3), abs=1e-3)
    assert score.stale


def test_the_score_is_the_lower_bound_of_a_beta_posterior():
    score = only(outcomes(good=4))
    s = sum(2 ** -(n / 24 / 30) for n in range(4))
    assert score.evidence == pytest.approx(s)
    assert score.score == pytest.approx(beta.ppf(0.1, 3 + s, 3), abs=1e-3)
    assert score.mean_score == pytest.approx((3 + s) / (6 + s), abs=1e-3)


@pytest.mark.parametrize(("good", "at_least"), [(4, 0.50), (15, 0.70), (60, 0.90)])
def test_clean_successes_raise_the_bound_but_never_to_one(good, at_least):
    assert at_least < only(outcomes(good=good)).score < 1


def test_an_outcome_counts_half_after_thirty_days():
    assert only(outcomes(good=1, age=30)).evidence == pytest.approx(0.5)


def test_an_outcome_from_a_clock_that_runs_ahead_counts_as_of_now():
    assert only(outcomes(good=1, age=-3)).evidence == pytest.approx(1.0)


def test_censored_outcomes_are_counted_but_weigh_nothing():
    censored = [Outcome("fix", "revenue", "pattern", "call", NOW, None)]
    score = only(outcomes(good=3) + censored)
    assert score.censored_count == 1
    assert score.score == only(outcomes(good=3)).score


def test_retries_of_one_failing_call_count_once_and_as_the_failure():
    call = [Outcome("fix", "revenue", "pattern", "call", NOW - n, verdict) for n, verdict in enumerate((1, 0, 1))]
    score = only(call)
    assert (score.success_count, score.failure_count) == (0, 1)
    assert score.evidence == pytest.approx(1.0)


def test_a_verdict_wins_over_none_for_the_same_failing_call():
    call = [Outcome("fix", "revenue", "pattern", "call", NOW, verdict) for verdict in (None, 1)]
    score = only(call)
    assert (score.success_count, score.censored_count) == (1, 0)


def test_a_burst_within_an_hour_weighs_one_plus_its_logarithm():
    burst = [Outcome("fix", "revenue", "pattern", str(n), NOW, 1) for n in range(100)]
    score = only(burst)
    assert score.success_count == 100
    assert score.evidence == pytest.approx(1 + math.log(100))


def test_an_aggregated_row_weighs_as_much_as_the_rows_it_stands_for():
    single = [Outcome("fix", "revenue", "pattern", str(n), NOW, 1) for n in range(50)]
    aggregated = [Outcome("fix", "revenue", "pattern", "all", NOW, 1, times=50)]
    assert only(aggregated).score == pytest.approx(only(single).score)


def test_a_burst_keeps_the_proportion_of_successes_and_failures():
    burst = [Outcome("fix", "revenue", "pattern", str(n), NOW, int(n < 30)) for n in range(40)]
    cells = weigh(burst, NOW).cells
    assert cells.successes[0] / cells.failures[0] == pytest.approx(3.0)


def test_bursts_of_different_patterns_are_capped_apart():
    burst = [Outcome("fix", "revenue", f"pattern {n}", str(n), NOW, 1) for n in range(10)]
    assert only(burst).evidence == pytest.approx(10.0)


def test_a_shadow_outcome_weighs_half():
    assert only([Outcome("fix", "revenue", "pattern", "call", NOW, 1, shadow=True)]).evidence == pytest.approx(0.5)


def test_a_shadow_run_beside_a_real_one_takes_nothing_from_it():
    real = Outcome("fix", "revenue", "pattern", "real", NOW, 1, times=3)
    shadow = Outcome("fix", "revenue", "pattern", "shadow", NOW, 1, shadow=True)
    assert only([real, shadow]).evidence == pytest.approx(only([real]).evidence + 0.5)


def test_a_new_fix_inherits_from_fixes_of_its_error_type_more_than_from_others():
    rows = outcomes(good=30, fix="old") + outcomes(bad=30, fix="other")
    families = {"old": "ValueError", "new": "ValueError", "other": "KeyError", "foreign": "KeyError"}
    scores = {score.fix_id: score for score in rewards(rows, families, NOW)}
    assert scores["new"].mean_score > 0.7
    assert scores["foreign"].mean_score < 0.3
    assert scores["old"].score > scores["new"].score


def test_the_prior_of_a_fix_does_not_contain_its_own_outcomes():
    score = only(outcomes(good=30))
    # The only fix of the only error type: its relatives have shown nothing, so the prior is 3 of 6.
    assert score.mean_score == pytest.approx((3 + score.evidence) / (6 + score.evidence), abs=1e-6)


def test_a_context_inherits_only_what_the_fix_did_elsewhere():
    (context,) = only(outcomes(good=30)).contexts
    assert context.mean == pytest.approx((3 + context.successes) / (6 + context.successes), abs=1e-6)


def test_a_context_is_judged_by_its_own_outcomes_and_inherits_the_rest_from_the_fix():
    rows = outcomes(good=20, context="10-K") + outcomes(bad=8, context="10-Q") + outcomes(good=1, context="20-F")
    contexts = {one.context: one for one in only(rows).contexts}
    assert contexts["10-K"].lower_bound > contexts["20-F"].lower_bound > contexts["10-Q"].lower_bound
    assert contexts["10-Q"].mean < 0.5 < contexts["20-F"].mean


def test_the_score_combines_what_was_computed_and_says_so():
    score = only(outcomes(good=5))
    assert score.formula == "1:reliability"
    assert score.components.keys() == {"reliability"}
    assert score.score == pytest.approx(score.components["reliability"])


def test_no_component_makes_up_for_a_zero_of_another():
    assert combine({"reliability": 1.0, "durability": 0.0}) < 0.1
    assert combine({"reliability": 0.8, "durability": 0.8, "generality": 0.8}) == pytest.approx(0.8)
    assert formula(("durability", "reliability")) == "1:reliability+durability"


@pytest.mark.parametrize("applications", [2, 5, 20])
def test_the_bound_holds_for_about_nine_fixes_of_ten(applications):
    """Coverage by simulation: true success rates from Beta(4.2, 1.8), a thousand fixes of five error types."""
    random = np.random.default_rng(7)
    rates = random.beta(4.2, 1.8, 1_000)
    rows = [
        Outcome(f"{fix:04}", "revenue", "pattern", f"{fix}/{n}", NOW - n * 3600.0, int(random.random() < rate))
        for fix, rate in enumerate(rates)
        for n in range(applications)
    ]
    scores = rewards(rows, {f"{fix:04}": f"type {fix % 5}" for fix in range(len(rates))}, NOW)
    held = np.mean([score.score <= rate for score, rate in zip(scores, rates, strict=True)])
    assert 0.86 <= held <= 0.95
