"""The algebra of a trial: posteriors, the sequential test, and the evidence that is folded for them."""

from __future__ import annotations

import itertools
import math
import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import beta

from healspan.remediation.evidence import Evidence, Outcome, Result
from healspan.remediation.fix import FixState, StateChange
from healspan.remediation.posterior import PRIOR, QUANTILE, Beta, shrunk
from healspan.remediation.sequential import TEST, SequentialTest, burst_weight
from healspan.remediation.trial import Decision, rule

START = datetime(2026, 1, 1, tzinfo=UTC)

shapes = st.floats(0.05, 500.0)
counts = st.integers(0, 300)
outcomes = st.builds(
    Outcome,
    result=st.sampled_from(Result),
    context=st.sampled_from(["", "document_type=10-K", "document_type=10-Q"]),
    at=st.integers(0, 20 * 86_400).map(lambda seconds: START + timedelta(seconds=seconds)),
    count=st.just(1),
    tallied=st.just(False),
    regression=st.booleans(),
) | st.builds(
    Outcome,
    result=st.sampled_from(Result),
    context=st.sampled_from(["", "document_type=10-K"]),
    at=st.integers(0, 5 * 3_600).map(lambda seconds: START + timedelta(seconds=seconds)),
    count=st.integers(1, 1_000),
    tallied=st.just(True),
)


def trial() -> Evidence:
    """Evidence at the beginning of a trial."""
    change = StateChange(
        fix_id="f",
        sequence=2,
        state=FixState.TRIAL,
        previous=FixState.PROPOSED,
        policy="",
        actor="",
        reason="",
        at=START,
    )
    return Evidence(fix_id="f").begin(change)


def folded(*given_outcomes: Outcome) -> Evidence:
    evidence = trial()
    for outcome in given_outcomes:
        evidence = evidence.after(outcome)
    return evidence


# Posterior


@given(a=shapes, b=shapes)
def test_the_lower_bound_is_the_quantile(a: float, b: float) -> None:
    bound = Beta(a, b).lower_bound()
    assert beta.cdf(bound, a, b) == pytest.approx(QUANTILE, abs=1e-4) or bound < 1e-6


@given(a=shapes, b=shapes, rate=st.floats(0.0, 1.0))
@example(a=2.0, b=3.0, rate=0.0)
@example(a=2.0, b=3.0, rate=1.0)
def test_the_distribution_is_that_of_the_library(a: float, b: float, rate: float) -> None:
    assert Beta(a, b).at_most(rate) == pytest.approx(beta.cdf(rate, a, b), abs=1e-6)


@given(successes=counts, failures=counts)
def test_a_bound_rises_with_a_success_and_falls_with_a_failure(successes: int, failures: int) -> None:
    bound = shrunk(successes, failures, PRIOR).lower_bound()
    assert shrunk(successes + 1, failures, PRIOR).lower_bound() > bound
    assert shrunk(successes, failures + 1, PRIOR).lower_bound() < bound
    assert 0.0 < bound < 1.0


# The test


@given(good=st.floats(0.6, 0.99), gap=st.floats(0.05, 0.5), wrong=st.floats(0.001, 0.2), missed=st.floats(0.001, 0.2))
def test_a_success_speaks_for_and_a_failure_against(good: float, gap: float, wrong: float, missed: float) -> None:
    test = SequentialTest(good=good, poor=good - gap, false_rejection=wrong, false_acceptance=missed)
    assert test.success < 0 < test.failure
    assert test.accept_at < 0 < test.reject_at


@given(successes=counts, failures=counts)
def test_a_burst_moves_the_same_way_as_its_outcomes_and_less_far(successes: int, failures: int) -> None:
    value = TEST.burst(successes, failures)
    assert TEST.burst(successes + 1, failures) < value or successes + failures == 0
    assert TEST.burst(successes, failures + 1) > value
    assert abs(value) <= abs(TEST.llr(successes, failures)) + 1e-9
    assert burst_weight(successes + failures) <= successes + failures


@pytest.mark.parametrize(("rate", "rejected_at_most", "accepted_at_most"), [(0.95, 0.05, 1.0), (0.80, 1.0, 0.05)])
def test_wrong_decisions_are_as_rare_as_wald_says(
    rate: float, rejected_at_most: float, accepted_at_most: float
) -> None:
    chance, trials = random.Random(20261126), 4_000
    ended = {"accepted": 0, "rejected": 0}
    lengths = []
    for _ in range(trials):
        llr = 0.0
        for length in itertools.count(1):
            llr += TEST.success if chance.random() < rate else TEST.failure
            if llr >= TEST.reject_at or llr <= TEST.accept_at:
                ended["rejected" if llr > 0 else "accepted"] += 1
                lengths.append(length)
                break
    # Wald: rejected given good <= alpha / (1 - beta), accepted given poor <= beta / (1 - alpha); and noise.
    slack = 0.05 / 0.95 - 0.05 + 3 * math.sqrt(0.05 * 0.95 / trials)
    assert ended["rejected"] / trials <= rejected_at_most + slack
    assert ended["accepted"] / trials <= accepted_at_most + slack
    assert sum(lengths) / trials < 60, "a sequential test is short on average"


# Evidence


@given(st.lists(outcomes, max_size=12), st.randoms(use_true_random=False))
def test_the_test_does_not_depend_on_the_order(given_outcomes: list[Outcome], chance: random.Random) -> None:
    shuffled = list(given_outcomes)
    chance.shuffle(shuffled)
    one, other = folded(*given_outcomes), folded(*shuffled)
    assert one.llr() == pytest.approx(other.llr(), abs=1e-9)
    assert (one.counted(), one.regressions, one.bursts) == (other.counted(), other.regressions, other.bursts)


@given(st.lists(outcomes, max_size=12), outcomes)
def test_a_success_never_counts_against_and_a_failure_never_for(given_outcomes: list[Outcome], more: Outcome) -> None:
    before, after = folded(*given_outcomes), folded(*given_outcomes, more)
    change = after.llr() - before.llr()
    assert after.alarm >= 0.0
    match more.result:
        case Result.SUCCESS:
            assert change < 1e-9
        case Result.FAILURE:
            assert change > -1e-9
            assert after.alarm >= before.alarm - 1e-9
        case Result.NO_HELP:
            assert change == 0.0


@given(st.lists(outcomes, max_size=20))
def test_evidence_survives_its_own_json(given_outcomes: list[Outcome]) -> None:
    evidence = folded(*given_outcomes)
    assert Evidence.model_validate_json(evidence.model_dump_json()) == evidence


@given(st.lists(outcomes, max_size=20), st.sampled_from(["", "document_type=10-K", "document_type=S-1"]))
def test_a_posterior_is_finite_and_fades_to_the_prior(given_outcomes: list[Outcome], context: str) -> None:
    evidence = folded(*given_outcomes)
    posterior = evidence.posterior(START + timedelta(days=20), context)
    assert 0.0 < posterior.lower_bound() < posterior.mean < 1.0
    later = evidence.posterior(START + timedelta(days=3_650), context)
    assert later.mean == pytest.approx(PRIOR.mean, abs=1e-3)
    assert later.strength == pytest.approx(PRIOR.strength, abs=1e-3)


@given(st.lists(st.booleans(), min_size=1, max_size=80))
def test_what_the_test_accepts_is_surely_better_than_the_serving_threshold(results: list[bool]) -> None:
    evidence = folded(
        *(Outcome(Result.SUCCESS if one else Result.FAILURE, "", START) for one in [*results, *[True] * 60])
    )
    ruling = rule(FixState.TRIAL, evidence, by_human=False)
    if ruling is not None and ruling.decision is Decision.ACTIVATE:
        # What is asked of a low-risk fix to become active; the acceptance implies it, so nobody asks twice.
        assert evidence.posterior(START).lower_bound() >= 0.5
