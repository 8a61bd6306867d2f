"""Two processes that decide about one fix at the same moment: one order in the store, signed, and nothing lost."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest
from tests.facts import make_change, make_fix

from healspan.remediation.errors import SignatureRefused, StateConflict
from healspan.remediation.fix import SERVING_STATES, Fix, FixState, StateChange
from healspan.remediation.review import approve, reject
from healspan.remediation.settings import load_settings
from healspan.remediation.signing import KeyRing, Reviewer, enrol
from healspan.remediation.store.database import Database
from healspan.remediation.store.index import FixIndex
from healspan.remediation.store.ingest import Ingest
from healspan.remediation.store.repository import Store
from healspan.remediation.store.spool_file import Entry

ROUNDS = 12
PATIENCE = 60.0

Said = tuple[str, str]
"""Fix id, and what a process was told: ``done``, or the name of an error."""


def machine(barrier: Barrier, fix_ids: Sequence[str], told: Any) -> None:
    """A service whose trial rejects each fix: it is suspended here at once, and in the store by the drainer."""
    settings = load_settings()
    keys = KeyRing.open(settings.keys_dir)
    ingest = Ingest(Database.for_tool(settings), seal=keys)
    for number, fix_id in enumerate(fix_ids):
        change = StateChange.model_validate(
            {
                **make_change(make_fix(), 3, FixState.SUSPENDED, FixState.TRIAL).model_dump(),
                "fix_id": fix_id,
            },
        )
        entry = Entry(number + 1, "state_change", keys.sign_change(change).model_dump_json())
        barrier.wait(PATIENCE)
        poison = ingest.take([entry], spool="racing")
        told.put((fix_id, "done" if not poison else "poison"))
    ingest.close()


def human(barrier: Barrier, fix_ids: Sequence[str], told: Any, verb: str, key: str) -> None:
    """A reviewer who has looked at each fix on trial, and decides."""
    settings = load_settings()
    reviewer = Reviewer.open(Path(key), name="ann")
    database = Database.for_tool(settings)
    for fix_id in fix_ids:
        barrier.wait(PATIENCE)
        try:
            if verb == "approve":
                approve(database, fix_id, reviewer, settings.keys_dir, reason="good", seen=2)
            else:
                reject(database, fix_id, reviewer, reason="wrong", seen=2)
        except StateConflict as conflict:
            told.put((fix_id, type(conflict).__name__))
        else:
            told.put((fix_id, "done"))
    database.close()


@pytest.fixture
def on_trial(data_dir: Path, tmp_path: Path) -> list[Fix]:
    """Fixes that a machine has put on trial, and a reviewer whom it trusts."""
    settings = load_settings()
    settings.prepare()
    keys = KeyRing.open(settings.keys_dir)
    enrol(settings.keys_dir, Reviewer.open(tmp_path / "ann.pem", name="ann", create=True))
    fixes = [keys.sign_fix(make_fix(str(number))) for number in range(ROUNDS)]
    with Store.open(settings) as store:
        for fix in fixes:
            proposed = make_change(fix, 1, FixState.PROPOSED, None)
            trial = make_change(fix, 2, FixState.TRIAL, FixState.PROPOSED)
            store.fixes.add(fix, keys.sign_change(proposed), keys.sign_change(trial))
    return fixes


def race(tmp_path: Path, fixes: Sequence[Fix], verb: str) -> tuple[dict[str, str], dict[str, str]]:
    """Let both decide; return what the machine and the human were told, by fix."""
    context = multiprocessing.get_context("spawn")
    barrier, ids = context.Barrier(2), [fix.fix_id for fix in fixes]
    by_machine, by_human = context.Queue(), context.Queue()
    both = [
        context.Process(target=machine, args=(barrier, ids, by_machine)),
        context.Process(target=human, args=(barrier, ids, by_human, verb, str(tmp_path / "ann.pem"))),
    ]
    for process in both:
        process.start()
    told = [dict(queue.get(timeout=PATIENCE) for _ in ids) for queue in (by_machine, by_human)]
    for process in both:
        process.join(PATIENCE)
    assert [process.exitcode for process in both] == [0, 0]
    return told[0], told[1]


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_one_suspends_while_the_other_decides(tmp_path: Path, on_trial: list[Fix], verb: str) -> None:
    by_machine, by_human = race(tmp_path, on_trial, verb)
    assert set(by_machine.values()) == {"done"}, "what a machine gives up is never refused"
    settings = load_settings()
    keys = KeyRing.open(settings.keys_dir)
    index = FixIndex(settings, trust=keys.trust)
    with Store.open(settings) as store:
        views = {view.fix.fix_id: view for view in store.fixes.list(limit=1_000)}
        damage = store.check()
        lost = {entry.subject for entry in store.controls.audits(action="lost race", limit=1_000)}
    assert not damage
    index.refresh()
    for fix in on_trial:
        changes = views[fix.fix_id].changes
        # One order, without a gap: each change follows from the one before it.
        assert [one.sequence for one in changes] == list(range(1, len(changes) + 1))
        assert [one.previous for one in changes[1:]] == [one.state for one in changes[:-1]]
        # Whoever was told that it is done finds it there; who came too late was told so.
        states = [one.state for one in changes]
        wanted = FixState.ACTIVE if verb == "approve" else FixState.RETIRED
        assert (wanted in states) is (by_human[fix.fix_id] == "done")
        assert by_human[fix.fix_id] in {"done", "StateConflict"}
        if verb == "approve":
            assert FixState.SUSPENDED in states, "giving up loses no race"
            assert states[-1] is FixState.SUSPENDED
        else:
            assert states[-1] in {FixState.RETIRED, FixState.SUSPENDED}
            assert (FixState.SUSPENDED in states) is not (fix.fix_id in lost), "what came too late is written down"
        # What serves, or served, was signed; and nothing serves in the end.
        for change in changes:
            if change.state in SERVING_STATES:
                keys.trust(views[fix.fix_id].fix, change)
        assert index.latest(fix.fix_id) == changes[-1]
    assert not index.snapshot.candidates
    index.stop()


def test_an_approval_whose_order_was_changed_afterwards_is_not_believed(on_trial: list[Fix], tmp_path: Path) -> None:
    settings = load_settings()
    keys, fix = KeyRing.open(settings.keys_dir), on_trial[0]
    reviewer = Reviewer.open(tmp_path / "ann.pem", name="ann")
    approval = reviewer.sign_change(make_change(fix, 3, FixState.ACTIVE, FixState.TRIAL, actor="human:ann"))
    keys.trust(fix, approval)
    # Put behind the suspension that has come first, as if it had been given in its knowledge.
    for later in ({"sequence": 4}, {"previous": FixState.SUSPENDED}, {"sequence": 4, "previous": FixState.SUSPENDED}):
        with pytest.raises(SignatureRefused):
            keys.trust(fix, approval.model_copy(update=later))
