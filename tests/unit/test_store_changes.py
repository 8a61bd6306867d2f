"""Changes of a fix's state: of two who make the next one, one is told."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from tests.facts import make_change, make_fix

from healspan.remediation.errors import StateConflict
from healspan.remediation.fix import Fix, FixState, StateChange
from healspan.remediation.settings import load_settings
from healspan.remediation.store.changes import settle_change
from healspan.remediation.store.repository import Store

PROPOSED, TRIAL, ACTIVE, SUSPENDED, RETIRED = (
    FixState.PROPOSED,
    FixState.TRIAL,
    FixState.ACTIVE,
    FixState.SUSPENDED,
    FixState.RETIRED,
)


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.open(load_settings()) as store:
        yield store


@pytest.fixture
def fix(store: Store) -> Fix:
    """A fix in trial after two changes."""
    fix = make_fix()
    store.fixes.add(fix, make_change(fix, 1, PROPOSED, None), make_change(fix, 2, TRIAL, PROPOSED))
    return fix


def states(store: Store, fix: Fix) -> list[FixState]:
    view = store.fixes.get(fix.fix_id)
    assert view is not None
    return [change.state for change in view.changes]


def test_the_next_change_is_made(store: Store, fix: Fix) -> None:
    assert store.fixes.append_change(make_change(fix, 3, ACTIVE, TRIAL))
    assert states(store, fix) == [PROPOSED, TRIAL, ACTIVE]


def test_the_same_change_again_changes_nothing(store: Store, fix: Fix) -> None:
    change = make_change(fix, 3, ACTIVE, TRIAL)
    assert store.fixes.append_change(change)
    assert not store.fixes.append_change(change)
    assert states(store, fix) == [PROPOSED, TRIAL, ACTIVE]


@pytest.mark.parametrize(
    ("sequence", "state", "previous", "says"),
    [
        (2, ACTIVE, PROPOSED, "somebody else was first"),
        (4, ACTIVE, TRIAL, "somebody else was first"),
        (3, ACTIVE, PROPOSED, "somebody else was first"),
        (3, PROPOSED, TRIAL, "it can become active, retired, suspended, trial"),
    ],
)
def test_a_change_that_does_not_follow_is_refused(
    store: Store,
    fix: Fix,
    sequence: int,
    state: FixState,
    previous: FixState,
    says: str,
) -> None:
    with pytest.raises(StateConflict, match=says):
        store.fixes.append_change(make_change(fix, sequence, state, previous))
    assert states(store, fix) == [PROPOSED, TRIAL]


def test_a_change_of_an_unknown_fix_is_refused(store: Store) -> None:
    with pytest.raises(StateConflict, match="add the fix"):
        store.fixes.append_change(make_change(make_fix("other"), 1, PROPOSED, None))


def test_a_fix_and_its_changes_are_added_together_or_not_at_all(store: Store) -> None:
    fix = make_fix("other")
    with pytest.raises(StateConflict):
        store.fixes.add(fix, make_change(fix, 1, PROPOSED, None), make_change(fix, 2, SUSPENDED, PROPOSED))
    assert store.fixes.get(fix.fix_id) is None


def test_of_many_who_approve_at_once_one_succeeds(store: Store, fix: Fix) -> None:
    start = threading.Barrier(8)
    results: list[str] = []

    def approve(number: int) -> None:
        with Store.open(load_settings()) as mine:
            change = make_change(fix, 3, ACTIVE, TRIAL, actor=f"human:{number}")
            start.wait()
            try:
                mine.fixes.append_change(change)
                results.append("made")
            except StateConflict:
                results.append("told")

    threads = [threading.Thread(target=approve, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["made"] + ["told"] * 7
    assert states(store, fix) == [PROPOSED, TRIAL, ACTIVE]


# What processes decide on their own, and the drainer brings


def settle(store: Store, change: StateChange) -> str | None:
    with store.database.writing() as connection:
        return settle_change(connection, change)


def test_two_processes_that_find_the_same_fix_agree(store: Store, fix: Fix) -> None:
    assert settle(store, make_change(fix, 1, PROPOSED, None)) is not None, "long past: it did not become that"
    assert settle(store, make_change(fix, 2, TRIAL, PROPOSED)) is None
    assert states(store, fix) == [PROPOSED, TRIAL]


def test_a_suspension_never_loses_a_race(store: Store, fix: Fix) -> None:
    store.fixes.append_change(make_change(fix, 3, ACTIVE, TRIAL))
    assert settle(store, make_change(fix, 3, SUSPENDED, TRIAL)) is None
    assert states(store, fix) == [PROPOSED, TRIAL, ACTIVE, SUSPENDED]
    assert settle(store, make_change(fix, 3, SUSPENDED, TRIAL)) is None
    assert states(store, fix) == [PROPOSED, TRIAL, ACTIVE, SUSPENDED]


def test_an_activation_that_lost_to_a_retirement_stays_out(store: Store, fix: Fix) -> None:
    store.fixes.append_change(make_change(fix, 3, RETIRED, TRIAL))
    reason = settle(store, make_change(fix, 3, ACTIVE, TRIAL))
    assert reason is not None
    assert "somebody else was first" in reason
    assert states(store, fix) == [PROPOSED, TRIAL, RETIRED]
