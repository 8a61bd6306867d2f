"""What runs have shown, as verdicts ask for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from healspan.remediation.ids import uuid7
from healspan.remediation.outcome import Judgement, RunFact, Verdict
from healspan.remediation.store import RunHistory

NOW = datetime(2026, 6, 30, 12, tzinfo=UTC)


def history() -> RunHistory:
    return RunHistory(now=lambda: NOW)


def run(
    *,
    patterns: tuple[tuple[str, tuple[str, ...]], ...] = (),
    fixes: tuple[str, ...] = (),
    reached: tuple[tuple[str, tuple[str, ...]], ...] = (),
    document_type: str = "10-K",
    pipeline: str = "valuation",
    ago: timedelta = timedelta(),
) -> RunFact:
    return RunFact(
        run_id=uuid7(),
        pipeline=pipeline,
        key=None,
        context_keys={"document_type": document_type},
        closed_at=NOW - ago,
        patterns=patterns,
        fixes=fixes,
        reached=reached,
    )


CONTEXT = {"document_type": "10-K"}


def test_runs_without_the_fix_are_counted_in_their_own_pipeline_and_context() -> None:
    known = history()
    for fact in (run(), run(fixes=("f",)), run(document_type="10-Q"), run(pipeline="other"), run(fixes=("g",))):
        known.add(fact)
    assert known.view("valuation", CONTEXT).runs_without("f") == 2


def test_a_run_is_counted_once() -> None:
    known, fact = history(), run()
    known.add(fact)
    known.add(fact)
    assert known.view("valuation", CONTEXT).runs_without("f") == 1


def test_a_pattern_counts_as_seen_where_the_fix_had_not_been_applied_before_it() -> None:
    known = history()
    view = known.view("valuation", CONTEXT)
    known.add(run(patterns=(("p", ("f",)),), fixes=("f",)))
    assert not view.seen_without("f", "p")
    assert view.seen_without("g", "p")
    known.add(run(patterns=(("p", ()),), fixes=("f",)))
    assert view.seen_without("f", "p"), "the fix came after the pattern"


def test_a_pattern_before_and_after_the_fix_in_one_run_was_seen_without_it() -> None:
    known = history()
    known.add(run(patterns=(("p", ()), ("p", ("f",))), fixes=("f",)))
    assert known.view("valuation", CONTEXT).seen_without("f", "p")


def test_a_boundary_counts_as_reached_where_the_fix_had_not_been_applied_before_it() -> None:
    known = history()
    view = known.view("valuation", CONTEXT)
    known.add(run(reached=(("cogs", ("f",)),), fixes=("f",)))
    assert not view.reached_without("f", "cogs")
    known.add(run(reached=(("cogs", ()),)))
    assert view.reached_without("f", "cogs")


def test_runs_older_than_the_window_count_no_more() -> None:
    moment = [NOW]
    known = RunHistory(now=lambda: moment[0])
    known.add(run(ago=timedelta(days=40)))
    known.add(run(ago=timedelta(days=20)))
    view = known.view("valuation", CONTEXT)
    assert view.runs_without("f") == 1
    moment[0] += timedelta(days=20)
    known.add(run(pipeline="other", ago=-timedelta(days=20)))
    assert view.runs_without("f") == 0


def test_a_run_from_a_clock_that_is_ahead_does_not_push_the_others_out() -> None:
    known = history()
    known.add(run())
    known.add(run(ago=-timedelta(days=400)))
    assert known.view("valuation", CONTEXT).runs_without("f") == 2


def judgement(*, unknown: tuple[str, ...] = (), overrules: tuple[UUID, ...] = ()) -> Judgement:
    return Judgement(
        application_id=uuid7(),
        fix_id="f",
        timestamp=NOW,
        verdict=Verdict(resolved=True, no_regression=None, valid_output=True),
        reason="",
        unknown_patterns=unknown,
        overrules=overrules,
    )


def test_unknowns_are_remembered_once_each_until_they_are_settled() -> None:
    known = history()
    view = known.view("valuation", CONTEXT)
    first, second = judgement(unknown=("p",)), judgement(unknown=("p", "q"))
    for one in (first, first, second):
        known.add_judgement(one)
    assert view.unknowns("f", "p") == (first.application_id, second.application_id)
    assert view.unknowns("g", "p") == ()
    known.add_judgement(judgement(overrules=(first.application_id,)))
    assert view.unknowns("f", "p") == (second.application_id,)
