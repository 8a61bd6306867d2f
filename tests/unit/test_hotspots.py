"""Hotspots: rates with exposure, shrunk towards what boundary and document type suggest."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest

from healspan.analytics.hotspots import Calls, Failures, find_hotspots

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


def found(failures, calls):
    return {(spot.boundary, spot.context): spot for spot in find_hotspots(failures, calls, NOW)}


def test_nothing_called_is_nothing_to_expect():
    assert find_hotspots([], [], NOW) == ()


def test_the_rate_is_failures_per_call_pulled_towards_the_prior():
    spots = found([Failures("cogs", "10-K", NOW, 30)], [Calls("cogs", "10-K", NOW, 70)])
    # Seventy calls, thirty of them failing: the failing ones are among the calls.
    (spot,) = spots.values()
    assert spot.calls == pytest.approx(70.0)
    assert spot.rate == pytest.approx(30 / 70, rel=0.05)


def test_expected_failures_are_the_rate_times_the_calls_of_a_week():
    spots = found(
        [Failures("cogs", "10-K", ago(day), 1) for day in range(21)],
        [Calls("cogs", "10-K", ago(day), 10) for day in range(21)],
    )
    spot = spots["cogs", "document_type=10-K"]
    assert spot.rate == pytest.approx(0.1, rel=0.1)
    assert spot.expected == pytest.approx(8.0, rel=0.1)  # days 0 to 7 are within a week


def test_a_failure_counts_half_after_a_fortnight():
    spots = found([Failures("cogs", "10-K", ago(14), 8)], [Calls("cogs", "10-K", NOW, 100)])
    assert spots["cogs", "document_type=10-K"].failures == pytest.approx(4.0)


def test_a_cell_without_recent_calls_expects_no_failures():
    spots = found([Failures("cogs", "10-K", ago(20), 5)], [Calls("cogs", "10-K", ago(20), 10)])
    assert spots["cogs", "document_type=10-K"].expected == 0.0


def test_one_failure_in_three_calls_ranks_below_a_hundred_in_a_thousand():
    spots = find_hotspots(
        [Failures("rare", "10-K", NOW, 1), Failures("busy", "10-K", NOW, 100)],
        [Calls("rare", "10-K", NOW, 3), Calls("busy", "10-K", NOW, 1000)],
        NOW,
    )
    assert [spot.boundary for spot in spots] == ["busy", "rare"]
    assert spots[1].rate < 1 / 3


def test_a_cell_that_was_never_seen_to_fail_inherits_from_its_boundary_and_document_type():
    calls = [Calls(name, kind, NOW, 50) for name in ("cogs", "revenue") for kind in ("10-K", "10-Q")]
    calls.append(Calls("cogs", "20-F", NOW, 2))
    calls.append(Calls("revenue", "20-F", NOW, 2))
    spots = found([Failures("cogs", "10-K", NOW, 25), Failures("cogs", "10-Q", NOW, 25)], calls)
    assert spots["cogs", "document_type=20-F"].rate > 5 * spots["revenue", "document_type=20-F"].rate


def test_the_context_of_failing_calls_is_known_though_only_good_calls_are_sampled():
    # All hundred calls are counted, and every sampled one, being good, was a 10-K.
    spots = found([Failures("cogs", "10-Q", NOW, 40)], [Calls("cogs", "10-K", NOW, 100)])
    assert spots["cogs", "document_type=10-Q"].calls == pytest.approx(40.0)
    assert spots["cogs", "document_type=10-K"].calls == pytest.approx(60.0)


def test_calls_that_an_installed_repair_saved_are_failures_of_the_code():
    spots = found(
        [Failures("cogs", "10-K", NOW, 30, repaired=True)],
        [Calls("cogs", "10-K", NOW, 100)],
    )
    spot = spots["cogs", "document_type=10-K"]
    assert (spot.failures, spot.calls) == (30.0, 100.0)


def test_failures_whose_calls_were_never_flushed_are_calls_all_the_same():
    spots = found([Failures("cogs", "10-K", NOW, 4)], [])
    spot = spots["cogs", "document_type=10-K"]
    assert spot.calls == pytest.approx(4.0)
    assert 0 < spot.rate <= 1


def test_no_rate_is_ever_zero_infinite_or_above_one():
    calls = [Calls(name, kind, ago(day), n) for name in "ab" for kind in ("", "x") for day, n in ((0, 1), (9, 50))]
    events = [Failures("a", "x", ago(day), 7) for day in (0, 3, 30)]
    for spot in find_hotspots(events, calls, NOW) + find_hotspots([], calls, NOW):
        assert 0 < spot.rate <= 1
        assert math.isfinite(spot.expected)


def test_calls_without_a_document_type_have_an_empty_context():
    assert ("cogs", "") in found([], [Calls("cogs", "", NOW, 3)])


def test_the_explanation_gives_rate_prior_failures_and_calls():
    spots = found([Failures("cogs", "10-K", NOW, 30)], [Calls("cogs", "10-K", NOW, 100)])
    text = spots["cogs", "document_type=10-K"].explanation
    assert text == "30% of calls fail (prior 30%); 30 failures in 14 d; about 100 calls in the next 7 d"
