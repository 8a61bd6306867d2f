"""What tools ask the store."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.world import World

from healspan.remediation.fix import FixState
from healspan.remediation.ids import uuid7
from healspan.remediation.incident import IncidentStatus, Tier
from healspan.remediation.outcome import RunFact
from healspan.remediation.store import FixScore, Hotspot
from healspan.remediation.store.repository import Store
from healspan.remediation.store.tables import FixRow, table_of
from healspan.remediation.store.views import IncidentFilter


@pytest.fixture
def store(world: World) -> Store:
    return world.store


def test_an_incident_comes_back_as_it_went_in(world: World, store: Store) -> None:
    incident = world.failure()
    view = store.incidents.get(incident.error_id)
    assert view is not None
    assert view.incident == incident
    assert view.status is IncidentStatus.ESCALATED


def test_an_incident_is_found_by_the_end_of_its_id_if_that_is_clear(world: World, store: Store) -> None:
    first, second = world.failure(), world.failure()
    found = store.incidents.get(str(first.error_id)[-12:])
    assert found is not None
    assert found.incident == first
    common = str(first.error_id)[:4]
    assert str(second.error_id).startswith(common)
    assert store.incidents.get(common) is None


def test_a_percent_sign_is_no_wildcard(world: World, store: Store) -> None:
    world.failure()
    assert store.incidents.get("%") is None


def test_an_incident_without_a_resolution_is_open(world: World, store: Store) -> None:
    world.failure(status=None)
    (view,) = store.incidents.list(IncidentFilter(status=IncidentStatus.OPEN))
    assert view.status is IncidentStatus.OPEN


def test_incidents_are_listed_latest_first_page_by_page(world: World, store: Store) -> None:
    made = [world.failure().error_id for _ in range(5)]
    first = store.incidents.list(limit=3)
    second = store.incidents.list(limit=3, before=first[-1].position)
    assert [view.incident.error_id for view in first + second] == made[::-1]


@pytest.mark.parametrize(
    ("wanted", "number"),
    [
        (IncidentFilter(), 3),
        (IncidentFilter(module="cogs"), 1),
        (IncidentFilter(status=IncidentStatus.ESCALATED), 2),
        (IncidentFilter(tier=Tier.KNOWN_FIX), 1),
        (IncidentFilter(context="document_type=10-Q"), 1),
        (IncidentFilter(error_type="builtins.KeyError", module="revenue"), 2),
        (IncidentFilter(error_type="builtins.IndexError"), 0),
    ],
)
def test_incidents_are_filtered(world: World, store: Store, wanted: IncidentFilter, number: int) -> None:
    world.failure("revenue")
    world.failure("revenue", document_type="10-Q")
    world.failure("cogs", status=IncidentStatus.HEALED, tier=Tier.KNOWN_FIX)
    assert store.incidents.count(wanted) == number
    assert len(store.incidents.list(wanted)) == number


def test_a_period_has_a_beginning_and_no_end_of_its_own(world: World, store: Store) -> None:
    for days in (0, 1, 2):
        world.failure(ago=timedelta(days=days))
    day = timedelta(days=1)
    assert store.incidents.count(IncidentFilter(since=world.now - day)) == 2
    assert store.incidents.count(IncidentFilter(until=world.now - day)) == 1


def test_a_solution_counts_what_became_of_a_fix(world: World, store: Store) -> None:
    fix = world.fix(state=FixState.ACTIVE, ago=timedelta(days=3))
    world.application(fix, ago=timedelta(days=2))
    world.application(fix, count=40, document_type="10-Q")
    world.application(fix, reward=0)
    world.application(fix, reward=None)
    world.application(fix, judged=False)
    (solution,) = store.fixes.solutions()
    assert (solution.success_count, solution.failure_count, solution.censored_count) == (41, 1, 2)
    assert solution.contexts_applied == ("document_type=10-K", "document_type=10-Q")
    assert solution.state is FixState.ACTIVE
    assert solution.first_seen == world.now - timedelta(days=3)
    assert solution.last_applied == world.now
    assert solution.reward_score is None


def test_an_unknown_that_was_overruled_is_a_failure(world: World, store: Store) -> None:
    fix = world.fix(state=FixState.TRIAL)
    unknown = world.application(fix, reward=None)
    world.application(fix, reward=0, overrules=(unknown.application_id,))
    (solution,) = store.fixes.solutions(fix_ids=[fix.fix_id])
    assert (solution.failure_count, solution.censored_count) == (2, 0)
    assert [view.reward for view in store.outcomes.list(fix_id=fix.fix_id)] == [0, 0]


def test_outcomes_are_found_by_incident(world: World, store: Store) -> None:
    fix, incident = world.fix(state=FixState.TRIAL), world.failure()
    application = world.application(fix, incident=incident)
    world.application(fix)
    (view,) = store.outcomes.list(error_id=incident.error_id)
    assert view.application == application
    assert view.reward == 1


def test_fixes_are_found_by_state_and_counted(world: World, store: Store) -> None:
    waiting = world.fix("revenue")
    world.fix("cogs", state=FixState.ACTIVE)
    assert [view.fix for view in store.fixes.proposed()] == [waiting]
    assert [view.state for view in store.fixes.list(module="cogs")] == [FixState.ACTIVE]
    counts = store.fixes.count_by_state()
    assert (counts[FixState.PROPOSED], counts[FixState.ACTIVE], counts[FixState.RETIRED]) == (1, 1, 0)


def test_a_fix_is_found_by_the_beginning_of_its_id(world: World, store: Store) -> None:
    fix = world.fix()
    view = store.fixes.get(fix.fix_id[:12])
    assert view is not None
    assert view.fix == fix
    assert store.fixes.get("") == view
    world.fix("cogs")
    assert store.fixes.get("") is None


def test_a_fix_that_cannot_be_read_does_not_hide_the_others(world: World, store: Store) -> None:
    fix, other = world.fix("revenue"), world.fix("cogs")
    table = table_of(FixRow)
    with world.store.database.writing() as connection:
        connection.execute(
            table.update().where(table.c.fix_id == fix.fix_id).values(body='{"version": 2, "kind": "unheard of"}'),
        )
    assert [view.fix for view in store.fixes.list()] == [other]
    assert [solution.fix_id for solution in store.fixes.solutions()] == [other.fix_id]


def test_scores_replace_the_earlier_ones(world: World, store: Store) -> None:
    fix = world.fix(state=FixState.ACTIVE)
    for value in (0.4, 0.8):
        store.projections.write_scores(
            [
                FixScore(
                    fix_id=fix.fix_id,
                    reward_score=value,
                    parts={"reward": value},
                    formula="1",
                    updated_at=world.now,
                ),
            ],
        )
    assert [score.reward_score for score in store.projections.scores()] == [0.8]
    (solution,) = store.fixes.solutions()
    assert solution.reward_score == 0.8
    assert solution.reward_parts == {"reward": 0.8}


def test_hotspots_replace_all_earlier_ones(world: World, store: Store) -> None:
    def spot(boundary: str) -> Hotspot:
        return Hotspot(
            boundary=boundary,
            context="",
            rate=0.1,
            expected=2,
            failures=1,
            calls=10,
            explanation="",
            updated_at=world.now,
        )

    store.projections.write_hotspots([spot("a"), spot("b")])
    store.projections.write_hotspots([spot("c")])
    assert [one.boundary for one in store.projections.hotspots()] == ["c"]


def test_the_kill_switch_is_stored_and_who_turned_it_is_written_down(store: Store) -> None:
    assert not store.controls.is_disabled()
    store.controls.set_disabled(True, actor="human:ana")
    assert store.controls.is_disabled()
    store.controls.set_disabled(False, actor="human:ben")
    assert not store.controls.is_disabled()
    assert [(one.actor, one.action) for one in store.controls.audits()] == [
        ("human:ben", "enable"),
        ("human:ana", "disable"),
    ]


def test_a_lease_has_one_holder_until_it_expires(world: World, store: Store) -> None:
    minute = timedelta(minutes=1)
    leases = store.controls
    assert leases.acquire_lease("leader", "a", minute, at=world.now)
    assert not leases.acquire_lease("leader", "b", minute, at=world.now)
    assert leases.acquire_lease("leader", "a", minute, at=world.now + minute / 2)
    assert not leases.acquire_lease("leader", "b", minute, at=world.now + minute)
    assert leases.acquire_lease("leader", "b", minute, at=world.now + 2 * minute)
    leases.release_lease("leader", "a")
    assert not leases.acquire_lease("leader", "a", minute, at=world.now + 2 * minute)
    leases.release_lease("leader", "b")
    assert leases.acquire_lease("leader", "a", minute, at=world.now + 2 * minute)


def test_a_watermark_is_kept(store: Store) -> None:
    assert store.controls.get("analytics") is None
    store.controls.put("analytics", {"position": 7}, actor="analytics")
    assert store.controls.get("analytics") == {"position": 7}


def test_a_run_comes_back_as_it_went_in(world: World, store: Store) -> None:
    fact = RunFact(run_id=uuid7(), pipeline="p", key="k", closed_at=world.now, patterns=(("x", ("f",)),))
    world.write(fact)
    assert store.outcomes.run(fact.run_id) == fact
    assert store.outcomes.runs(pipeline="p") == (fact,)
    assert store.outcomes.runs(pipeline="q") == ()


def test_what_is_too_old_is_erased_and_outcomes_stay(world: World, store: Store) -> None:
    fix = world.fix(state=FixState.ACTIVE)
    old, new = world.failure(ago=timedelta(days=31)), world.failure()
    world.application(fix, incident=old, ago=timedelta(days=31))
    assert store.purge_expired(world.settings, now=world.now).incidents == 1
    assert [view.incident for view in store.incidents.list()] == [new]
    assert len(store.outcomes.list()) == 1
    assert store.controls.audits(action="purge")[0].actor == "retention"


def test_a_subject_is_erased_from_the_bytes_of_the_file(world: World, store: Store) -> None:
    kept = world.failure(message="for customer 4711")
    world.failure(message='for customer 4712 "Ünal"')
    run = RunFact(run_id=uuid7(), pipeline="p", key='4712 "Ünal"', closed_at=world.now)
    world.write(run)
    purged = store.purge_subject('4712 "Ünal"', actor="human:ana")
    assert (purged.incidents, purged.runs) == (1, 1)
    assert [view.incident for view in store.incidents.list()] == [kept]
    assert all(b"4712" not in path.read_bytes() for path in world.settings.data_dir.glob("healspan.db*"))


def test_an_empty_subject_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="match everything"):
        store.purge_subject("  ", actor="human:ana")
