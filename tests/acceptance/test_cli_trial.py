"""What `healspan fixes` tells of a trial."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from tests.world import World
from typer.testing import CliRunner

from healspan.remediation.cli.app import app
from healspan.remediation.fix import Fix, FixState
from healspan.remediation.step import FallbackStep


@pytest.fixture
def fix(world: World) -> Fix:
    return world.fix(state=FixState.TRIAL, ago=timedelta(hours=1))


def told(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "250"}, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_list_says_how_far_a_trial_is(world: World, fix: Fix) -> None:
    for _ in range(3):
        world.application(fix, incident=world.failure())
    assert "15 good to accept, 3 bad to reject" in told("fixes")
    [listed] = json.loads(told("fixes", "--json"))
    assert (listed["trial"]["successes"], listed["trial"]["failures_to_reject"]) == (3, 3)


def test_a_fallback_counts_down_to_nothing(world: World) -> None:
    fix = world.fix(state=FixState.TRIAL, ago=timedelta(hours=1), step=FallbackStep())
    listed, explained = told("fixes"), told("fixes", "explain", fix.fix_id[:12])
    for each in (listed, explained):
        assert "its degraded values count neither way" in each
        assert "bad to reject" not in each


def test_an_active_fix_shows_its_alarm(world: World) -> None:
    fix = world.fix(state=FixState.ACTIVE, ago=timedelta(hours=1))
    world.application(fix, reward=0, incident=world.failure())
    assert "accepted; alarm 1.4 of 2.9" in told("fixes")


def test_what_does_not_serve_has_no_trial(world: World) -> None:
    world.fix(state=FixState.PROPOSED)
    [listed] = json.loads(told("fixes", "--json"))
    assert listed["trial"] is None


def test_explain_shows_the_test_and_its_limits(world: World, fix: Fix) -> None:
    world.application(fix, incident=world.failure())
    world.application(fix, reward=0, incident=world.failure())
    explained = told("fixes", "explain", fix.fix_id[:12])
    assert "Its trial" in explained
    assert "1 successes, 1 failures" in explained
    assert "+1.21; accepts at -2.94, rejects at +2.94" in explained
    assert "1; 2 in a trial suspend it" in explained


def test_explain_says_why_a_fix_was_suspended(world: World, fix: Fix) -> None:
    before = world.store.fixes.latest(fix.fix_id)
    assert before is not None
    update = {"sequence": 3, "state": FixState.SUSPENDED, "previous": FixState.TRIAL, "reason": "it failed 3 times"}
    world.write(world.keys.sign_change(before.model_copy(update=update)))
    assert "is not applied: its state is suspended, since it failed 3 times" in told("fixes", "explain", fix.fix_id)
