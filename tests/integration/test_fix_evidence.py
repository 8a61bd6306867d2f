"""The evidence on a fix in the store: folded once for every verdict, and the same when it is folded again."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.world import World

from healspan.remediation.evidence import Evidence
from healspan.remediation.fix import Fix, FixState
from healspan.remediation.ids import uuid7
from healspan.remediation.outcome import Application, Judgement, Verdict
from healspan.remediation.record import Record
from healspan.remediation.store.changes import next_revision
from healspan.remediation.store.fix_evidence import read_evidence, rebuild


@pytest.fixture
def fix(world: World) -> Fix:
    return world.fix(state=FixState.TRIAL, ago=timedelta(hours=1))


def evidence(world: World, fix: Fix) -> Evidence:
    with world.store.database.reading() as connection:
        return read_evidence(connection, [fix.fix_id])[fix.fix_id]


def rebuilt(world: World, fix: Fix) -> Evidence:
    with world.store.database.writing() as connection:
        rebuild(connection, [fix.fix_id], next_revision(connection))
    return evidence(world, fix)


def judged(
    world: World, fix: Fix, *, verdict: Verdict, minutes: int, count: int = 1, overrules: tuple[Application, ...] = ()
) -> tuple[Application, Judgement]:
    at = world.now - timedelta(minutes=minutes)
    application = Application(
        application_id=uuid7(),
        fix_id=fix.fix_id,
        error_id=None if count > 1 else uuid7(),
        run_id=uuid7(),
        boundary=fix.scope.module,
        pipeline="p",
        context_keys={"document_type": "10-K"},
        timestamp=at,
        tier="1",
        mode="trial",
        steps=("strategy",),
        resolved=True,
        valid_output=True,
        added_latency_ms=1.0,
        propensity=1.0,
        count=count,
    )
    judgement = Judgement(
        application_id=application.application_id,
        fix_id=fix.fix_id,
        timestamp=at,
        verdict=verdict,
        reason="said so by the test",
        unknown_patterns=("x",) if verdict.no_regression is None else (),
        overrules=tuple(one.application_id for one in overrules),
    )
    return application, judgement


GOOD = Verdict(resolved=True, no_regression=True, valid_output=True)
BAD = Verdict(resolved=False, no_regression=None, valid_output=False)
UNKNOWN = Verdict(resolved=True, no_regression=None, valid_output=True)
REGRESSION = Verdict(resolved=True, no_regression=False, valid_output=True)


def test_a_verdict_is_folded_once_however_often_it_is_brought(world: World, fix: Fix) -> None:
    application, judgement = judged(world, fix, verdict=GOOD, minutes=5)
    world.write(application)
    for _ in range(3):
        world.write(judgement)
        world.write(application, judgement, judgement)
    assert evidence(world, fix).counted() == (1, 0)


def test_what_is_not_known_yet_does_not_count(world: World, fix: Fix) -> None:
    world.write(*judged(world, fix, verdict=UNKNOWN, minutes=5))
    assert evidence(world, fix).counted() == (0, 0)


def test_an_unknown_that_was_overruled_counts_as_a_regression(world: World, fix: Fix) -> None:
    first, second = (judged(world, fix, verdict=UNKNOWN, minutes=minutes) for minutes in (9, 8))
    third = judged(world, fix, verdict=REGRESSION, minutes=7, overrules=(first[0], second[0]))
    world.write(*first, *second)
    world.write(*third)
    world.write(*third)
    found = evidence(world, fix)
    assert (found.counted(), found.regressions) == ((0, 3), 3)


def test_an_overruling_that_arrives_before_what_it_overrules_counts_too(world: World, fix: Fix) -> None:
    first = judged(world, fix, verdict=UNKNOWN, minutes=9)
    second = judged(world, fix, verdict=REGRESSION, minutes=7, overrules=(first[0],))
    world.write(*second)
    assert evidence(world, fix).counted() == (0, 1)
    world.write(*first)
    assert evidence(world, fix).counted() == (0, 2)


def test_a_change_of_state_begins_the_test_afresh(world: World, fix: Fix) -> None:
    world.write(*judged(world, fix, verdict=BAD, minutes=5))
    before = world.store.fixes.latest(fix.fix_id)
    assert before is not None
    update = {"sequence": 3, "state": FixState.ACTIVE, "previous": FixState.TRIAL, "at": world.now}
    world.write(world.keys.sign_change(before.model_copy(update=update)))
    found = evidence(world, fix)
    assert (found.began, found.counted(), found.in_a_row) == (3, (0, 0), 0)
    assert found.contexts, "what is known of the fix stays"


def test_a_verdict_whose_application_was_lost_says_nothing(world: World, fix: Fix) -> None:
    _, judgement = judged(world, fix, verdict=GOOD, minutes=5)
    world.write(judgement)
    assert evidence(world, fix).counted() == (0, 0)


def test_erasing_a_subject_erases_what_is_known_by_it(world: World, fix: Fix) -> None:
    world.write(*judged(world, fix, verdict=GOOD, minutes=5))
    world.application(fix, document_type="ACME-4711", ago=timedelta(minutes=4))
    assert "ACME-4711" in evidence(world, fix).model_dump_json()
    world.store.purge_subject("ACME-4711", actor="human:ana")
    found = evidence(world, fix)
    assert "ACME-4711" not in found.model_dump_json()
    assert found.counted() == (1, 0)


kinds = st.sampled_from([GOOD, BAD, UNKNOWN, REGRESSION])


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    verdicts=st.lists(st.tuples(kinds, st.sampled_from([1, 1, 1, 40])), max_size=10),
    chance=st.randoms(use_true_random=False),
)
def test_folding_again_gives_the_same(world: World, verdicts: list[tuple[Verdict, int]], chance: object) -> None:
    fix = world.fix(boundary=uuid7().hex, state=FixState.TRIAL, ago=timedelta(hours=1))
    brought: list[Record] = []
    unknown: list[Application] = []
    for number, (verdict, count) in enumerate(verdicts):
        pair = judged(
            world,
            fix,
            verdict=verdict,
            minutes=50 - number,
            count=count,
            overrules=tuple(unknown) if verdict is REGRESSION else (),
        )
        unknown = [*unknown, pair[0]] if verdict is UNKNOWN else unknown
        brought += pair
    for _ in range(2):
        position = 0
        while position < len(brought):
            size = chance.randint(1, 6)
            world.write(*brought[position : position + size])
            position += size
    folded, again = evidence(world, fix), rebuilt(world, fix)
    assert again.llr() == pytest.approx(folded.llr())
    assert (again.counted(), again.regressions) == (folded.counted(), folded.regressions)
    if not unknown:
        # Nobody signs what follows from the store alone.
        assert again == folded.model_copy(update={"signature": None})
