"""What the exporter keeps up of the fleet is what the review queue and the tables say, whatever came in which order."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import update
from tests.deeds import START, Deeds, store_in
from tests.facts import make_change, make_fix, make_incident

from healspan.remediation.fix import ALLOWED_CHANGES, SERVING_STATES, Fix, FixState, Match, Signature
from healspan.remediation.incident import Decision, IncidentStatus, Resolution, Tier
from healspan.remediation.record import Record
from healspan.remediation.store.facts import FixScore
from healspan.remediation.store.fleet import Fleet
from healspan.remediation.store.repository import Store
from healspan.remediation.store.review_queue import ReviewQueue
from healspan.remediation.store.tables import FixRow, table_of

BOUNDS = (0.25, 0.5, 1.0)
FIXES = [
    make_fix("a"),
    make_fix("a", context_keys={"document_type": "10-K"}),
    make_fix("b", match=Match.LOOSE),
    make_fix("c", match=Match.BOUNDARY),
    make_fix("d"),
]
UNREADABLE = FIXES[-1].fix_id

names = st.sampled_from("abcd")
minutes = st.integers(0, 9)
failures = st.tuples(
    st.just("fail"),
    names,
    st.sampled_from(["10-K", "10-Q"]),
    minutes,
    st.sampled_from(
        [IncidentStatus.ESCALATED, IncidentStatus.ESCALATED, IncidentStatus.HEALED, IncidentStatus.DEGRADED, None]
    ),
    st.integers(0, len(FIXES) - 1),
    st.booleans(),
)
changes = st.tuples(
    st.just("change"), st.integers(0, len(FIXES) - 1), st.sampled_from(FixState), st.booleans(), minutes
)
scores = st.tuples(st.just("score"), st.integers(0, len(FIXES) - 1), st.sampled_from([0.1, 0.5, 0.9]))
purges = st.tuples(st.just("purge"), minutes) | st.tuples(st.just("erase"), names)
looks = st.tuples(st.just("look"))

FALLEN_BACK: list[tuple[object, ...]] = [
    ("change", 0, FixState.PROPOSED, False, 0),
    ("change", 0, FixState.TRIAL, False, 0),
    ("fail", "a", "10-K", 5, IncidentStatus.ESCALATED, 1, False),
    ("fail", "a", "10-K", 7, IncidentStatus.DEGRADED, 0, False),
]
"""What a fix has not healed but made do with is no answer."""


class Fixes(Deeds):
    """A store in which fixes change, failures arrive and time goes by."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._late: list[Record] = []

    def begin(self) -> None:
        self.empty()
        self._late = []
        self.write(*FIXES)
        with self.store.database.writing() as connection:
            spoilt = update(table_of(FixRow)).where(FixRow.fix_id == UNREADABLE).values(body="{}")
            connection.execute(spoilt)

    def fail(
        self, name: str, context: str, minute: int, status: IncidentStatus | None, fix: int, resolved_first: bool
    ) -> None:
        at = START + timedelta(minutes=minute)
        incident = make_incident(f"about {name}", name=name).model_copy(
            update={"timestamp": at, "context_keys": {"document_type": context}}
        )
        if status is None:
            self.write(incident)
            return
        resolution = Resolution(
            error_id=incident.error_id,
            timestamp=at,
            status=status,
            tier=Tier.HUMAN if status is IncidentStatus.ESCALATED else Tier.KNOWN_FIX,
            fix_id=None if status is IncidentStatus.ESCALATED else FIXES[fix].fix_id,
            decisions=(Decision(fix_id=FIXES[fix].fix_id, applied=False, gate="apply", reason="it declined"),)
            if status is IncidentStatus.ESCALATED
            else (),
            elapsed_ms=1.0,
            diagnosed=False,
        )
        if resolved_first:
            self.write(resolution)
            self._late.append(incident)
        else:
            self.write(incident, resolution)

    def arrive(self) -> None:
        self.write(*self._late)
        self._late = []

    def change(self, number: int, state: FixState, by_human: bool, minute: int) -> None:
        fix: Fix = FIXES[number]
        latest = self.store.fixes.latest(fix.fix_id)
        previous = None if latest is None else latest.state
        if state not in ALLOWED_CHANGES[previous]:
            return
        change = make_change(fix, 1 if latest is None else latest.sequence + 1, state, previous)
        signature = Signature(algorithm="ed25519", key_id="k", value="00")
        by = {"actor": "human:ana", "signature": signature} if by_human else {"actor": "engine"}
        if previous is FixState.SUSPENDED and not by_human:
            return
        self.write(change.model_copy(update={"at": START + timedelta(minutes=minute), **by}))

    def score(self, number: int, value: float) -> None:
        one = FixScore(fix_id=FIXES[number].fix_id, reward_score=value, formula="test", updated_at=START)
        self.store.projections.write_scores([one])

    def look(self) -> None:
        self.arrive()


@pytest.fixture(scope="module")
def deeds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fixes]:
    with store_in(tmp_path_factory.mktemp("fleet")) as store:
        yield Fixes(store)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(failures | failures | changes | changes | scores | purges | looks, max_size=25), st.integers(1, 3))
@example(FALLEN_BACK, 3)
def test_what_is_kept_up_is_what_a_look_at_everything_says(
    deeds: Fixes, done: list[tuple[object, ...]], few: int
) -> None:
    deeds.begin()
    fleet = Fleet(scores=BOUNDS, seconds=(1.0,))
    for word, *arguments in [*done, ("look",)]:
        getattr(deeds, str(word))(*arguments)
        with deeds.store.database.reading() as connection:
            fleet.take(connection)
        queue = ReviewQueue(deeds.store.database)
        for limit in (few, 1_000):
            assert fleet.open_escalations(limit) == sum(
                one.answered_by is None for one in queue.escalations(limit=limit)
            )
        states = deeds.store.fixes.count_by_state()
        assert {state: fleet.states[state] for state in FixState} == states
        scored = {one.fix_id: one.reward_score for one in deeds.store.projections.scores()}
        latest = {fix_id: deeds.store.fixes.latest(fix_id) for fix_id in scored}
        expected = Counter(
            bisect_left(BOUNDS, scored[fix_id])
            for fix_id, change in latest.items()
            if change is not None and change.state in SERVING_STATES
        )
        assert fleet.rewards.keys() == ({"m"} if expected else set())
        for counts in fleet.rewards.values():
            assert counts.by_bucket == [expected[bucket] for bucket in range(len(BOUNDS))]
