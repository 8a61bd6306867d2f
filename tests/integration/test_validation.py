"""The ladder in a service: which rung says no, and that nothing happens then."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest
from tests.kept import changed, counted, kept, outer, outer_async, passing, restless, tuned, unasked, undeclared
from tests.observe import drained, facts, uninstall_for_good, wait_until
from typer.testing import CliRunner

from healspan.instrumentation import pipeline
from healspan.remediation.boundary import boundaries
from healspan.remediation.cli.app import app
from healspan.remediation.incident import Decision
from healspan.remediation.reservoir import Reservoir
from healspan.remediation.runtime import Runtime, runtime
from healspan.remediation.store.repository import Store
from healspan.remediation.validation import Outcome, Rung, Validation


@pytest.fixture(autouse=True)
def empty() -> Iterator[None]:
    """Boundaries of the service outlive a test; what they keep must not."""
    counted.clear()
    before = {one.name: one.golden for one in boundaries().values()}
    yield
    for name, reservoir in before.items():
        boundaries()[name].golden = None if reservoir is None else Reservoir(reservoir._signature, reservoir.rate)


def validations(live: Runtime) -> list[Validation]:
    drained(live)
    with Store.open(live.settings) as store:
        return [one for view in store.fixes.list() for one in store.fixes.validations(view.fix.fix_id)]


def rungs(validation: Validation) -> dict[Rung, Outcome]:
    return {one.rung: one.outcome for one in validation.rungs}


def decisions(live: Runtime, incident: int = -1) -> list[Decision]:
    """What was decided about the candidates that the policy lets act."""
    return [one for one in facts(live)[incident].resolution.decisions if one.gate != "policy"]


def test_a_fix_that_passes_every_rung_serves_and_its_climb_is_kept(live: Runtime) -> None:
    for number in range(6):
        kept.golden(str(number))
    assert kept("$2") == 2.0
    [validation] = validations(live)
    assert rungs(validation) == dict.fromkeys(Rung, Outcome.PASSED)
    told = {one.rung: one.reason for one in validation.rungs}
    assert told[Rung.CONTRACT] == "the result keeps the contract; like 6 good calls"
    assert told[Rung.GOLDEN] == "6 of 6 good calls were made again and gave what they gave"
    [fix_id] = {one.resolution.fix_id for one in facts(live)}
    assert validation.fix_id == fix_id


def test_explain_shows_the_climb(live: Runtime) -> None:
    assert unasked("$2") == 2.0
    [validation] = validations(live)
    runner = CliRunner()
    shown = runner.invoke(app, ["fixes", "explain", validation.fix_id])
    assert "The validation ladder" in shown.stdout
    assert "no golden sample of this boundary is kept" in " ".join(shown.stdout.split())
    found = json.loads(runner.invoke(app, ["fixes", "explain", validation.fix_id, "--json"]).stdout)
    assert [one["outcome"] for one in found["validations"][0]["rungs"]] == [
        "passed",
        "passed",
        "passed",
        "passed",
        "skipped",
        "passed",
        "passed",
    ]


def test_a_fix_that_changes_a_good_call_does_not_serve_and_is_remembered(live: Runtime) -> None:
    changed.golden("1")
    for _ in range(2):
        with pytest.raises(ValueError, match=r"could not convert string to float: '\$2'"):
            changed("$2")
    [first] = decisions(live, 0)
    assert (first.gate, first.applied) == ("golden", True)
    assert {(one.gate, one.applied) for one in decisions(live, 1)} == {("lesson", False)}
    assert live.repairs.installed() == ()
    drained(live)
    with Store.open(live.settings) as store:
        assert store.fixes.list() == ()
        [validation] = store.fixes.validations(first.fix_id)
    failed = validation.failed
    assert failed is not None
    assert failed.rung is Rung.GOLDEN


def test_a_good_call_that_differs_by_itself_says_nothing(live: Runtime) -> None:
    restless.golden("1")
    assert restless("$2") > 2.0
    [validation] = validations(live)
    assert rungs(validation)[Rung.GOLDEN] is Outcome.SKIPPED
    assert "differ without the fix as well" in validation.rungs[4].reason


def test_a_result_unlike_all_good_ones_is_refused(live: Runtime) -> None:
    for number in range(1, 7):
        undeclared.golden(str(number))
    assert undeclared("$4") == 4.0
    uninstall_for_good(live)
    with pytest.raises(ValueError, match="could not convert"):
        undeclared("$4,000,000")
    assert [one.gate for one in decisions(live)] == ["contract"]
    assert "unlike all 6 good calls" in decisions(live)[0].reason


def test_what_was_learned_gives_way_to_the_checks_of_the_application(live: Runtime) -> None:
    from tests.service import checked_amount

    for number in range(1, 7):
        checked_amount.golden(str(number))
    assert checked_amount("$4,000,000") == 4e6


def test_a_failure_that_does_not_come_again_is_no_work_for_a_repair(live: Runtime) -> None:
    with pytest.raises(ValueError, match="could not convert"):
        passing("$2")
    assert {one.gate for one in decisions(live)} == {"reproduce"}
    assert "transient" in decisions(live)[0].reason
    assert validations(live) == []


def test_other_parameters_are_not_credited_with_what_passed_by_itself(live: Runtime) -> None:
    with pytest.raises(LookupError):
        tuned({"new": 2, "old": 1})
    assert [one.gate for one in decisions(live) if "parameters" in one.what] == ["reproduce"]


def test_a_convention_needs_something_that_looks_at_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEALSPAN_POLICY", "autonomous")
    live = runtime()
    with pytest.raises(ValueError, match="could not convert"):
        undeclared("-")
    assert any("a convention decides" in one.reason for one in decisions(live))
    for number in range(6):
        undeclared.golden(str(number))
    assert undeclared("-") == 0.0


def test_without_time_for_it_nothing_is_replayed_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEALSPAN_REPLAY_MS", "0")
    for number in range(3):
        kept.golden(str(number))
    live = runtime()
    assert kept("$2") == 2.0
    [validation] = validations(live)
    assert rungs(validation)[Rung.GOLDEN] is Outcome.SKIPPED
    assert "the time for more was up" in validation.rungs[4].reason


def test_a_boundary_that_must_not_be_called_again_skips_openly(live: Runtime) -> None:
    from healspan.instrumentation import error_boundary

    @error_boundary("kept_once", golden=1.0)
    def once(x: int) -> int:
        raise LookupError

    @once.strategy("other")
    def other(x: int) -> int:
        return x

    assert once(1) == 1
    [validation] = validations(live)
    assert rungs(validation) == {
        Rung.PARSE: Outcome.PASSED,
        Rung.REPRODUCE: Outcome.SKIPPED,
        Rung.RUN: Outcome.PASSED,
        Rung.CONTRACT: Outcome.PASSED,
        Rung.GOLDEN: Outcome.SKIPPED,
        Rung.NEIGHBOURS: Outcome.SKIPPED,
        Rung.TRIAL: Outcome.PASSED,
    }


def test_what_waits_for_a_human_brings_its_climb_along(live: Runtime) -> None:
    from tests.service import amount

    with pytest.raises(ValueError, match="could not convert"):
        amount("-")
    [validation, *_] = validations(live)
    assert rungs(validation)[Rung.TRIAL] is Outcome.SKIPPED
    assert validation.rungs[-1].reason == "a human has to approve it before it serves"
    wait_until(lambda: not live.repairs.installed(), "nothing to be installed")


def test_a_replayed_call_is_no_part_of_the_callers_pipeline(live: Runtime) -> None:
    outer.golden("1", further=True)
    with pipeline("p") as run:
        assert outer("$2") == 2.0
    assert list(run.boundaries) == ["outer"]
    [validation] = validations(live)
    assert rungs(validation)[Rung.GOLDEN] is Outcome.PASSED


def test_a_coroutine_is_replayed_likewise(live: Runtime) -> None:
    async def main() -> list[str]:
        await outer_async.golden("1", further=True)
        with pipeline("p") as run:
            assert await outer_async("$2") == 2.0
        return list(run.boundaries)

    assert asyncio.run(main()) == ["outer_async"]
    [validation] = validations(live)
    assert rungs(validation)[Rung.GOLDEN] is Outcome.PASSED
