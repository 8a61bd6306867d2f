"""The analytics job on a real store: what it reads, what it writes, and who may run it."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from datetime import timedelta

import pytest
from sqlalchemy import select
from tests.world import World
from typer.testing import CliRunner

from healspan.analytics import AnalyticsScheduler, run_job
from healspan.analytics.commands import app, extra
from healspan.analytics.scheduler import LEASE
from healspan.remediation.errors import ConfigurationError, StateConflict
from healspan.remediation.fix import Fix, FixState
from healspan.remediation.incident import IncidentStatus, Tier
from healspan.remediation.store.repository import Store
from healspan.remediation.store.tables import MaskingRow, table_of

MINUTE = timedelta(minutes=1)


def score_of(world: World, fix) -> float:
    return next(score.reward_score for score in world.store.projections.scores() if score.fix_id == fix.fix_id)


def test_an_empty_store_gives_an_empty_report(world):
    report = run_job(world.store)
    assert (report.fixes, report.hotspots) == (0, 0)


def test_every_fix_gets_a_score_also_one_that_was_never_applied(world):
    good, fresh = world.fix("revenue", state=FixState.TRIAL), world.fix("cogs")
    for hours in range(6):
        world.application(good, ago=timedelta(hours=hours))
    run_job(world.store)
    assert score_of(world, good) > 0.5
    (stale,) = [score for score in world.store.projections.scores() if score.fix_id == fresh.fix_id]
    assert stale.parts["stale"] == 1.0
    assert stale.formula == "1:reliability"


def test_the_scores_reach_the_solution_that_people_see(world):
    fix = world.fix("revenue", state=FixState.TRIAL)
    world.application(fix)
    run_job(world.store)
    (solution,) = world.store.fixes.solutions()
    assert solution.reward_score == score_of(world, fix)
    assert 0 < solution.reward_parts["uncertainty"] < 1


def test_how_a_fix_lasts_stands_beside_its_score(world):
    fix, fresh = world.fix("revenue", state=FixState.TRIAL), world.fix("cogs", state=FixState.TRIAL)
    for days in range(10):
        world.application(fix, ago=timedelta(days=days))
    run_job(world.store)
    found = {score.fix_id: score for score in world.store.projections.scores()}
    assert found[fix.fix_id].parts["days"] == 10.0
    assert 0.28 < found[fix.fix_id].parts["durability"] < found[fix.fix_id].parts["durability_mean"] < 1
    assert "durability" not in found[fresh.fix_id].parts
    assert found[fix.fix_id].formula == "1:reliability"  # the score is what it was without it


def test_an_unknown_that_was_overruled_counts_as_a_failure(world):
    fix = world.fix("revenue", state=FixState.TRIAL)
    unknown = [world.application(fix, reward=None, ago=timedelta(hours=n)) for n in (3, 2)]
    run_job(world.store)
    before = score_of(world, fix)
    world.application(fix, reward=0, overrules=tuple(one.application_id for one in unknown))
    run_job(world.store)
    (score,) = world.store.projections.scores()
    assert score.reward_score < before
    assert score.parts["n_eff"] == pytest.approx(3.0, abs=0.01)


def test_an_application_that_was_never_judged_weighs_nothing(world):
    fix = world.fix("revenue", state=FixState.TRIAL)
    world.application(fix, judged=False)
    run_job(world.store)
    (score,) = world.store.projections.scores()
    assert score.parts["n_eff"] == 0.0


def test_two_applications_to_one_incident_are_one_outcome(world):
    incident = world.failure("revenue", status=IncidentStatus.HEALED, tier=Tier.KNOWN_FIX)
    fix = world.fix("revenue", state=FixState.TRIAL, like=incident)
    world.application(fix, incident=incident)
    world.application(fix, incident=incident)
    run_job(world.store)
    (score,) = world.store.projections.scores()
    assert score.parts["n_eff"] == pytest.approx(1.0, abs=0.01)


def test_hotspots_take_incidents_saved_calls_and_exposure_together(world):
    incident = world.failure("revenue", status=IncidentStatus.HEALED, tier=Tier.KNOWN_FIX)
    fix = world.fix("revenue", state=FixState.TRIAL, like=incident)
    world.application(fix, count=9)
    world.calls("revenue", 40)
    world.calls("cogs", 40, document_type="10-Q")
    run_job(world.store)
    first, second = world.store.projections.hotspots()
    assert (first.boundary, first.context) == ("revenue", "document_type=10-K")
    assert first.failures == pytest.approx(10.0, rel=0.01)
    assert first.expected > second.expected > 0


def test_a_second_run_finds_nothing_to_write(world):
    fix = world.fix("revenue", state=FixState.TRIAL)
    world.application(fix)
    first = run_job(world.store, now=world.now)
    scores = world.store.projections.scores()
    second = run_job(world.store, now=world.now)
    assert (first.written, second.written) == (1, 0)
    assert world.store.projections.scores() == scores


def test_hotspots_that_are_gone_are_gone(world):
    world.calls("revenue", 5, ago=timedelta(days=100))
    run_job(world.store)
    assert world.store.projections.hotspots()
    run_job(world.store, now=world.now + timedelta(days=100))
    assert not world.store.projections.hotspots()


def hides(world: World, fix: Fix, *, healed: int = 10, calls: int = 100, hours: int = 24) -> None:
    for hour in range(hours):
        world.calls(fix.scope.module, calls, ago=timedelta(hours=hour))
        world.application(fix, count=healed, ago=timedelta(hours=hour))


def test_a_fix_that_heals_a_large_share_of_all_calls_drafts_a_ticket(world):
    fix = world.fix("revenue", state=FixState.TRIAL, ago=timedelta(days=3))
    hides(world, fix)
    assert run_job(world.store).masking == 1
    (alarm,) = world.store.masking.open()
    assert (alarm.fix_id, alarm.boundary) == (fix.fix_id, "revenue")
    assert alarm.share == pytest.approx(0.1)
    assert 0.05 < alarm.at_least < 0.1
    assert fix.fix_instruction in alarm.ticket
    (solution,) = world.store.fixes.solutions()
    assert solution.bucket == "architectural deficiency"


def test_a_fix_that_fires_seldom_or_does_not_serve_drafts_none(world):
    seldom, suspended = world.fix("revenue", state=FixState.TRIAL), world.fix("cogs", state=FixState.TRIAL)
    hides(world, seldom, healed=5, calls=1_000)
    hides(world, suspended)
    world.change(suspended, FixState.SUSPENDED)
    assert run_job(world.store).masking == 0
    assert world.store.masking.firing() == ()
    assert {solution.bucket for solution in world.store.fixes.solutions()} == {None}


def test_shadow_runs_and_failed_attempts_heal_nothing(world):
    fix = world.fix("revenue", state=FixState.TRIAL)
    for hour in range(24):
        world.calls("revenue", 100, ago=timedelta(hours=hour))
        world.application(fix, count=50, reward=0, ago=timedelta(hours=hour))
    run_job(world.store)
    assert world.store.masking.firing() == ()


def test_an_answer_closes_an_alarm_until_its_share_grows(world):
    fix = world.fix("revenue", state=FixState.TRIAL, ago=timedelta(days=3))
    hides(world, fix)
    run_job(world.store)
    world.store.masking.answer(fix.fix_id, actor="human:ann", reason="ticket 12")
    for _ in range(2):
        assert run_job(world.store).masking == 0
    assert len(world.store.masking.firing()) == 1
    (solution,) = world.store.fixes.solutions()
    assert solution.bucket is None
    for hour in range(24):
        world.application(fix, count=30, ago=timedelta(hours=hour))
    assert run_job(world.store).masking == 1
    (alarm,) = world.store.masking.open()
    assert alarm.share == pytest.approx(0.4)


def test_an_alarm_that_is_over_is_gone_and_an_answer_outlives_it(world):
    fix = world.fix("revenue", state=FixState.TRIAL, ago=timedelta(days=3))
    hides(world, fix)
    run_job(world.store)
    world.store.masking.answer(fix.fix_id, actor="human:ann", reason="ticket 12")
    run_job(world.store, now=world.now + timedelta(days=3))
    assert world.store.masking.firing() == ()
    run_job(world.store)
    assert len(world.store.masking.firing()) == 1
    assert world.store.masking.open() == ()


def test_only_an_open_alarm_can_be_answered(world):
    fix, other = world.fix("revenue", state=FixState.TRIAL, ago=timedelta(days=3)), world.fix("cogs")
    hides(world, fix)
    run_job(world.store)
    with pytest.raises(ConfigurationError, match="does not fire so often"):
        world.store.masking.answer(other.fix_id, actor="human:ann", reason="")
    world.store.masking.answer(fix.fix_id, actor="human:ann", reason="ticket 12")
    with pytest.raises(StateConflict, match=r"human:ann has answered on .* \(ticket 12\)"):
        world.store.masking.answer(fix.fix_id, actor="human:bob", reason="mine")
    (entry,) = world.store.controls.audits(action="answer")
    assert (entry.actor, entry.subject, entry.detail["reason"]) == ("human:ann", fix.fix_id, "ticket 12")


def test_what_a_purge_erases_is_erased_from_alarms_and_answers(world):
    fix = world.fix("revenue", state=FixState.TRIAL, ago=timedelta(days=3))
    hides(world, fix)
    run_job(world.store)
    world.store.masking.answer(fix.fix_id, actor="human:ann", reason="customer 4711 sends it so")
    world.store.purge_subject("customer 4711", actor="human:ann")
    with world.store.database.reading() as connection:
        assert connection.execute(select(table_of(MaskingRow))).all() == []


def test_only_the_holder_of_the_lease_runs(world):
    first = AnalyticsScheduler(world.store, every=MINUTE, holder="one")
    second = AnalyticsScheduler(world.store, every=MINUTE, holder="two")
    assert first.tick() is not None
    assert second.tick() is None
    assert first.tick() is not None


def test_the_lease_of_a_leader_that_died_runs_out(world):
    past = world.now - timedelta(hours=1)
    assert world.store.controls.acquire_lease(LEASE, "the dead one", MINUTE, at=past)
    assert AnalyticsScheduler(world.store, every=MINUTE, holder="two").tick() is not None


def test_a_started_scheduler_runs_at_once_and_gives_the_lease_back(world):
    ran = threading.Event()
    scheduler = AnalyticsScheduler(world.store, every=MINUTE, holder="one", report=lambda _report: ran.set())
    scheduler.start()
    assert ran.wait(60)
    scheduler.stop()
    assert AnalyticsScheduler(world.store, every=MINUTE, holder="two").tick() is not None


@pytest.mark.sqlite
def test_a_store_that_is_away_does_not_end_the_scheduler(world, caplog):
    world.store.database.path.write_bytes(b"no database any more" * 400)
    assert AnalyticsScheduler(world.store, every=MINUTE).tick() is None
    assert "will be tried again" in caplog.text


def test_an_interval_of_nothing_is_refused(world):
    with pytest.raises(ConfigurationError, match="too short"):
        AnalyticsScheduler(world.store, every=timedelta())


def test_the_command_prints_its_report_as_json(world):
    world.fix("revenue")
    world.close()
    result = CliRunner().invoke(app, ["run", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["fixes"] == 1


def test_the_command_prints_a_sentence(world):
    world.close()
    result = CliRunner().invoke(app, ["run"])
    assert "scored 0 fixes" in result.output


def test_an_interval_that_is_none_is_refused_in_words():
    result = CliRunner().invoke(app, ["schedule", "--every", "soon"])
    assert result.exit_code == 2
    assert "60s, 5m or 1h" in result.output


def test_a_missing_package_is_said_with_the_extra_that_brings_it():
    said = r"no_such_package is not installed; pip install 'healspan\[analytics\]'"
    with pytest.raises(ConfigurationError, match=said), extra("analytics"):
        import no_such_package  # noqa: F401 - it fails


def test_importing_analytics_loads_neither_numpy_nor_scipy():
    probe = "import sys, healspan.analytics, healspan.analytics.commands; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", probe], check=False).returncode == 0


def test_analytics_leave_the_facts_alone(world):
    world.failure("revenue")
    with Store.open(world.settings) as other:
        run_job(other)
    assert world.store.incidents.count() == 1
