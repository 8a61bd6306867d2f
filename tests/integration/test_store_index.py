"""The index: what serves, what is refused, and how it keeps up with the store."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.facts import make_change, make_fix, make_pattern

from healspan.remediation.errors import SignatureRefused, StoreUnavailable
from healspan.remediation.fix import Fix, FixState, Match, StateChange
from healspan.remediation.ids import uuid7
from healspan.remediation.outcome import RunFact
from healspan.remediation.settings import Settings, load_settings
from healspan.remediation.signing import KeyRing
from healspan.remediation.store import FixIndex, FixScore, RunHistory, Snapshot, index_loader
from healspan.remediation.store.database import Database
from healspan.remediation.store.ingest import add_facts
from healspan.remediation.store.repository import Store
from healspan.remediation.store.rows import Inserts
from healspan.remediation.store.tables import FixRow, StateChangeRow, table_of

PROPOSED, TRIAL, ACTIVE, SUSPENDED = FixState.PROPOSED, FixState.TRIAL, FixState.ACTIVE, FixState.SUSPENDED


def believe(fix: Fix, change: StateChange) -> None:
    """A trust that asks no questions."""


@pytest.fixture
def index(settings: Settings) -> FixIndex:
    """An index that looks when it is told to."""
    return FixIndex(settings, trust=believe)


def serve(store: Store, fix: Fix, *, expires: datetime | None = None) -> None:
    store.fixes.add(fix, make_change(fix, 1, PROPOSED, None), make_change(fix, 2, TRIAL, PROPOSED, expires=expires))


def found(index: FixIndex, name: str = "a", **context: str) -> list[str]:
    return [one.fix.fix_id for one in index.candidates(make_pattern(name), "m", context)]


def test_a_serving_fix_is_found_by_its_pattern(store: Store, index: FixIndex) -> None:
    fix, waiting = make_fix(), make_fix("b")
    serve(store, fix)
    store.fixes.add(waiting, make_change(waiting, 1, PROPOSED, None))
    index.refresh()
    assert found(index) == [fix.fix_id]
    assert found(index, "b") == []
    assert index.candidates(make_pattern(), "other boundary", {}) == ()
    latest = index.latest(waiting.fix_id)
    assert latest is not None
    assert latest.state is PROPOSED


def resting(index: FixIndex, name: str = "a", module: str = "m") -> list[str]:
    return [one.fix.fix_id for one in index.resting(make_pattern(name), module)]


def test_what_is_for_a_failure_and_does_not_serve_is_known_too(store: Store, index: FixIndex) -> None:
    proposed, lapsed, suspended, serving = (make_fix(context_keys={"number": f"{number}"}) for number in range(4))
    store.fixes.add(proposed, make_change(proposed, 1, PROPOSED, None))
    serve(store, lapsed, expires=datetime.now(UTC) - timedelta(days=1))
    serve(store, suspended)
    store.fixes.append_change(make_change(suspended, 3, SUSPENDED, TRIAL))
    serve(store, serving)
    wider = make_fix(match=Match.LOOSE)
    store.fixes.add(wider, make_change(wider, 1, PROPOSED, None))
    index.refresh()
    assert resting(index) == [suspended.fix_id, lapsed.fix_id, proposed.fix_id]
    assert found(index) == [serving.fix_id], "none of them serves"
    assert resting(index, "b") == []
    assert resting(index, module="other boundary") == []


def test_what_this_process_has_proposed_is_known_at_once(index: FixIndex) -> None:
    fix = make_fix()
    assert index.add(fix, make_change(fix, 1, PROPOSED, None))
    assert resting(index) == [fix.fix_id]
    assert found(index) == []


def test_a_proposal_that_nobody_trusted_has_signed_is_not_known_and_no_news(
    store: Store, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    keys = KeyRing.open(settings.keys_dir)
    index = FixIndex(settings, trust=keys.trust)
    unsigned, signed = make_fix(), keys.sign_fix(make_fix(context_keys={"a": "b"}))
    store.fixes.add(unsigned, make_change(unsigned, 1, PROPOSED, None))
    store.fixes.add(signed, keys.sign_change(make_change(signed, 1, PROPOSED, None)))
    index.refresh()
    assert resting(index) == [signed.fix_id]
    assert caplog.records == []


def test_candidates_come_exact_first_then_by_context_then_by_score(store: Store, index: FixIndex) -> None:
    boundary, loose = make_fix(match=Match.BOUNDARY), make_fix(match=Match.LOOSE)
    low, high = make_fix(), make_fix(context_keys={"document_type": "10-Q"})
    for fix in (boundary, loose, low, high):
        serve(store, fix)
    now = datetime.now(UTC)
    store.projections.write_scores(
        [
            FixScore(fix_id=low.fix_id, reward_score=0.2, formula="1", updated_at=now),
            FixScore(fix_id=high.fix_id, reward_score=0.9, formula="1", updated_at=now),
        ],
    )
    index.refresh()
    assert found(index, document_type="10-Q") == [high.fix_id, low.fix_id, loose.fix_id, boundary.fix_id]
    assert found(index, document_type="10-K") == [low.fix_id, high.fix_id, loose.fix_id, boundary.fix_id]


def test_an_unchanged_store_is_not_read_again(store: Store, index: FixIndex) -> None:
    serve(store, make_fix())
    assert index.refresh()
    assert not index.refresh()
    serve(store, make_fix("b"))
    assert index.refresh()


def test_two_threads_look_one_after_the_other(store: Store, index: FixIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    read, go_on, load = threading.Event(), threading.Event(), index_loader.load

    def slow(*given: Any, **named: Any) -> index_loader.Delta:
        found = load(*given, **named)
        if not read.is_set():
            read.set()
            assert go_on.wait(60)
        return found

    monkeypatch.setattr(index_loader, "load", slow)
    first, second, third = (make_fix(name) for name in "abc")
    serve(store, first)
    looks = [threading.Thread(target=index.refresh) for _ in range(2)]
    looks[0].start()
    assert read.wait(60)
    # What has been read is old by the time that it is taken in: whoever looks meanwhile must not be overtaken.
    serve(store, second)
    serve(store, third)
    looks[1].start()
    looks[1].join(0.1)
    go_on.set()
    for one in looks:
        one.join(60)
    assert {*index.snapshot.candidates} == {first.fix_id, second.fix_id, third.fix_id}


def test_a_suspended_fix_stops_serving(store: Store, index: FixIndex) -> None:
    fix = make_fix()
    serve(store, fix)
    index.refresh()
    store.fixes.append_change(make_change(fix, 3, SUSPENDED, TRIAL))
    index.refresh()
    assert found(index) == []
    assert index.snapshot.serving == ()


def test_a_new_score_alone_is_taken_up(store: Store, index: FixIndex) -> None:
    fix = make_fix()
    serve(store, fix)
    index.refresh()
    store.projections.write_scores(
        [FixScore(fix_id=fix.fix_id, reward_score=0.7, formula="1", updated_at=datetime.now(UTC))],
    )
    index.refresh()
    assert index.snapshot.candidates[fix.fix_id].score == 0.7


def test_the_kill_switch_is_obeyed_and_lifted(store: Store, index: FixIndex) -> None:
    fix = make_fix()
    serve(store, fix)
    index.refresh()
    store.controls.set_disabled(True, actor="human:ana")
    index.refresh()
    assert index.disabled
    assert found(index) == []
    assert index.snapshot.serving == ()
    store.controls.set_disabled(False, actor="human:ana")
    index.refresh()
    assert found(index) == [fix.fix_id]


def test_an_approval_that_expires_ends_by_itself(settings: Settings, store: Store) -> None:
    moment = [datetime.now(UTC)]
    index = FixIndex(settings, trust=believe, now=lambda: moment[0])
    serve(store, make_fix(), expires=moment[0] + timedelta(hours=1))
    index.refresh()
    assert len(found(index)) == 1
    moment[0] += timedelta(hours=1)
    assert not index.refresh(), "nothing new in the store"
    assert found(index) == []


# Trust


@pytest.fixture
def keys(settings: Settings) -> KeyRing:
    return KeyRing.open(settings.keys_dir)


def serve_signed(store: Store, keys: KeyRing, fix: Fix) -> Fix:
    signed = keys.sign_fix(fix)
    changes = (make_change(fix, 1, PROPOSED, None), make_change(fix, 2, TRIAL, PROPOSED))
    store.fixes.add(signed, *(keys.sign_change(change) for change in changes))
    return signed


def overwrite(store: Store, row: type[FixRow | StateChangeRow], old: str, new: str) -> None:
    """What somebody with the database in their hands could do."""
    table = table_of(row)
    with store.database.writing() as connection:
        for body in connection.execute(table.select()).mappings().all():
            assert old in body["body"]
            connection.execute(
                table.update().where(table.c.body == body["body"]).values(body=body["body"].replace(old, new)),
            )


def test_what_is_signed_serves(settings: Settings, store: Store, keys: KeyRing) -> None:
    fix = serve_signed(store, keys, make_fix())
    index = FixIndex(settings, trust=keys.trust)
    index.refresh()
    assert found(index) == [fix.fix_id]


@pytest.mark.parametrize(
    ("row", "old", "new"),
    [
        (FixRow, '"strategy":"other"', '"strategy":"worse"'),
        (FixRow, '"version":1', '"version":9'),
        (FixRow, '"kind":"strategy"', '"kind":"shell"'),
        (FixRow, '"pattern"', "pattern"),
        (StateChangeRow, '"policy":"guarded"', '"policy":"autonomous"'),
        (StateChangeRow, '"sequence"', '"sequences"'),
    ],
)
def test_altered_bytes_are_refused_said_once_and_recorded_once(
    settings: Settings,
    store: Store,
    keys: KeyRing,
    caplog: pytest.LogCaptureFixture,
    row: type[FixRow | StateChangeRow],
    old: str,
    new: str,
) -> None:
    fix = serve_signed(store, keys, make_fix())
    overwrite(store, row, old, new)
    for _ in range(2):
        index = FixIndex(settings, trust=keys.trust)
        with caplog.at_level(logging.ERROR, logger="healspan.store"):
            index.refresh()
            serve(store, make_fix(uuid7().hex))
            index.refresh()
        assert found(index) == []
    (refusal,) = store.fixes.refusals(fix_id=fix.fix_id)
    assert refusal.reason
    assert sum(fix.fix_id[:12] in record.message for record in caplog.records) == 2, "once per process"


def test_a_refusal_that_could_not_be_recorded_is_recorded_later(settings: Settings, store: Store) -> None:
    def refuse(fix: Fix, change: StateChange) -> None:
        raise SignatureRefused("altered")

    serve(store, make_fix())
    index = FixIndex(settings, trust=refuse)
    with Database.for_tool(settings).writing(), pytest.raises(StoreUnavailable):
        index.refresh()
    index.refresh()
    assert [refusal.reason for refusal in store.fixes.refusals()] == ["altered"]


def test_a_signed_change_moved_to_another_place_is_refused(settings: Settings, store: Store, keys: KeyRing) -> None:
    fix = keys.sign_fix(make_fix())
    approved = keys.sign_change(make_change(fix, 2, TRIAL, PROPOSED))
    store.fixes.add(
        fix,
        make_change(fix, 1, PROPOSED, None),
        approved,
        make_change(fix, 3, SUSPENDED, TRIAL),
    )
    table = table_of(StateChangeRow)
    with store.database.writing() as connection:
        connection.execute(
            table.update().where(table.c.sequence == 3).values(body=approved.model_dump_json(), state=TRIAL),
        )
    index = FixIndex(settings, trust=keys.trust)
    index.refresh()
    assert found(index) == []
    assert "moved" in store.fixes.refusals()[0].reason


def test_one_refused_fix_does_not_keep_the_others_out(settings: Settings, store: Store, keys: KeyRing) -> None:
    unsigned = make_fix("b")
    serve(store, unsigned)
    fix = serve_signed(store, keys, make_fix())
    index = FixIndex(settings, trust=keys.trust)
    index.refresh()
    assert found(index) == [fix.fix_id]
    assert found(index, "b") == []


# What this process adds itself


def test_what_this_process_adds_serves_at_once(index: FixIndex) -> None:
    fix = make_fix()
    assert index.add(fix, make_change(fix, 1, PROPOSED, None))
    assert found(index) == []
    assert index.add(fix, make_change(fix, 2, TRIAL, PROPOSED))
    assert found(index) == [fix.fix_id]


def test_what_this_process_suspends_stops_at_once(store: Store, index: FixIndex) -> None:
    fix = make_fix()
    serve(store, fix)
    index.refresh()
    index.add(fix, make_change(fix, 3, SUSPENDED, TRIAL))
    assert found(index) == []
    index.refresh()
    assert found(index) == [], "the store does not know of it yet"


def test_the_store_takes_over_from_what_was_added(store: Store, index: FixIndex) -> None:
    fix = make_fix()
    index.add(fix, make_change(fix, 1, PROPOSED, None))
    index.add(fix, make_change(fix, 2, TRIAL, PROPOSED))
    store.fixes.add(fix, make_change(fix, 1, PROPOSED, None))
    index.refresh()
    assert found(index) == [fix.fix_id], "the store is behind"
    store.fixes.append_change(make_change(fix, 2, FixState.RETIRED, PROPOSED))
    index.refresh()
    assert found(index) == [], "somebody else was first"


def test_what_this_process_may_not_trust_it_does_not_serve(settings: Settings) -> None:
    def refuse(fix: Fix, change: StateChange) -> None:
        raise SignatureRefused("no")

    index = FixIndex(settings, trust=refuse)
    fix = make_fix()
    assert not index.add(fix, make_change(fix, 1, TRIAL, None))
    assert found(index) == []


# The thread


def eventually(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def test_every_change_of_what_serves_is_announced(settings: Settings, store: Store) -> None:
    heard: list[Snapshot] = []
    changed = threading.Event()

    def hear(snapshot: Snapshot) -> None:
        heard.append(snapshot)
        changed.set()
        raise RuntimeError("a listener that fails hurts nobody")

    index = FixIndex(settings, trust=believe, on_change=hear)
    index.start()
    for number in range(1, 3):
        serve(store, make_fix(str(number)))
        assert changed.wait(60)
        changed.clear()
        assert len(heard[-1].serving) == number
    fix = make_fix("local")
    index.add(fix, make_change(fix, 1, TRIAL, None))
    assert changed.wait(60)
    assert len(heard[-1].serving) == 3
    index.stop()


def test_known_fixes_and_runs_are_there_when_start_returns(settings: Settings, store: Store) -> None:
    fix = make_fix()
    serve(store, fix)
    fact = RunFact(run_id=uuid7(), pipeline="p", key=None, closed_at=datetime.now(UTC))
    with store.database.writing() as connection:
        add_facts(connection, Inserts(connection.dialect), [(fact, None)], now=datetime.now(UTC))
    index, history = FixIndex(load_settings(start_wait_ms=60_000), trust=believe), RunHistory()
    index.start(history)
    assert found(index) == [fix.fix_id]
    assert history.view("p", {}).runs_without("f") == 1
    index.stop()


@pytest.mark.sqlite
def test_a_store_that_is_away_at_the_start_is_taken_up_when_it_is_there(
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings.prepare()
    path = settings.data_dir / "healspan.db"
    path.mkdir()
    index = FixIndex(settings, trust=believe)
    with caplog.at_level(logging.WARNING, logger="healspan.store"):
        index.start()
        assert found(index) == []
        path.rmdir()
        fix = make_fix()
        with Store.open(settings) as store:
            serve(store, fix)
        eventually(lambda: found(index) == [fix.fix_id])
    index.stop()
    assert [record.message[:20] for record in caplog.records] == ["the known fixes stay", "the store can be rea"]


@pytest.mark.sqlite
def test_a_store_that_is_replaced_is_read_from_its_beginning(settings: Settings) -> None:
    index = FixIndex(settings, trust=believe)
    old, new = make_fix(), make_fix("b")
    with Store.open(settings) as store:
        serve(store, old)
        serve(store, make_fix("c"))
    index.refresh()
    assert found(index) == [old.fix_id]
    for path in settings.data_dir.glob("healspan.db*"):
        path.unlink()
    with Store.open(settings) as store:
        serve(store, new)
    index.refresh()
    assert found(index) == []
    assert found(index, "b") == [new.fix_id]


def test_a_process_that_goes_on_without_the_known_fixes_says_so(
    store: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    index, go_on = FixIndex(load_settings(start_wait_ms=1), trust=believe), threading.Event()
    look = index.refresh

    def slow() -> bool:
        go_on.wait(60)
        return look()

    monkeypatch.setattr(index, "refresh", slow)
    try:
        with caplog.at_level(logging.WARNING, logger="healspan"):
            index.start()
        assert "not answered within 1 ms (HEALSPAN_START_WAIT_MS)" in caplog.text
    finally:
        go_on.set()
        index.stop(60)
