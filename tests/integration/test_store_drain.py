"""From spool to store: in order, each once, whatever happens in between."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tests.facts import make_change, make_exposure, make_fix, make_incident

from healspan.remediation.errors import StoreCorrupt, StoreUnavailable
from healspan.remediation.fix import FixState
from healspan.remediation.record import Record
from healspan.remediation.settings import Settings
from healspan.remediation.store import Drainer, Spool, drain_all
from healspan.remediation.store import drainer as drainer_module
from healspan.remediation.store.database import Database
from healspan.remediation.store.ingest import Ingest
from healspan.remediation.store.repository import Store
from healspan.remediation.store.spool_file import Entry

ROOT = Path(__file__).parents[2]


def eventually(condition: Callable[[], bool], seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def abandon(settings: Settings, *facts: tuple[str, Record]) -> Path:
    """Leave a spool as a process does that died."""
    spool = Spool(settings)
    assert spool.append_many(facts)
    spool.close()
    assert spool.path is not None
    return spool.path


def stored_messages(store: Store) -> list[str]:
    return [view.incident.error_message for view in store.incidents.list(limit=100_000)][::-1]


def test_facts_arrive_in_order_and_leave_the_spool(settings: Settings, store: Store) -> None:
    spool = Spool(settings)
    drainer = Drainer(settings, spool)
    messages = [str(number) for number in range(50)]
    for message in messages:
        spool.append("incident", make_incident(message))
    eventually(lambda: stored_messages(store) == messages)
    eventually(lambda: spool.read() == [])
    drainer.stop(timeout=60)
    spool.close()
    assert list(settings.spool_dir.iterdir()) == []


def test_a_storm_is_stored_together_and_what_others_go_by_is_not_kept_waiting(
    settings: Settings,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(drainer_module, "APART_SECONDS", 3_600.0)
    batches: list[int] = []
    take = Ingest.take

    def noted(ingest: Ingest, entries: Sequence[Entry], *, spool: str) -> int:
        batches.append(len(entries))
        return take(ingest, entries, spool=spool)

    monkeypatch.setattr(Ingest, "take", noted)
    spool, drains = Spool(settings), []
    drainer = Drainer(settings, spool)
    drain = drainer._drain_once
    monkeypatch.setattr(drainer, "_drain_once", lambda: (drain(), drains.append(1))[0])
    spool.append("incident", make_incident("first"))
    eventually(lambda: drains)
    assert stored_messages(store) == ["first"]
    for number in range(20):
        spool.append("incident", make_incident(str(number)))
    spool.append("fix", make_fix())
    eventually(lambda: spool.read() == [])
    assert batches == [1, 21]
    spool.append("incident", make_incident("last"))
    drainer.stop()
    assert stored_messages(store)[-1] == "last", "the end of a process waits for no storm"
    spool.close()


def test_every_kind_of_fact_finds_its_table(settings: Settings, store: Store) -> None:
    fix = make_fix()
    abandon(
        settings,
        ("fix", fix),
        ("state_change", make_change(fix, 1, FixState.PROPOSED, None)),
        ("exposure", make_exposure()),
        ("incident", make_incident()),
    )
    drained = drain_all(settings)
    assert (drained.facts, drained.dead_letters, drained.spools) == (4, 0, 1)
    assert store.fixes.proposed()[0].fix == fix


def test_taking_facts_in_again_changes_nothing(settings: Settings, store: Store) -> None:
    fix = make_fix()
    facts = [
        ("incident", make_incident()),
        ("exposure", make_exposure()),
        ("fix", fix),
        ("state_change", make_change(fix, 1, FixState.PROPOSED, None)),
        ("nonsense", make_incident()),
    ]
    entries = [Entry(number, kind, record.model_dump_json()) for number, (kind, record) in enumerate(facts)]
    ingest = Ingest(Database.for_tool(settings))
    for _ in range(3):
        ingest.take(entries, spool="one.db")
    assert len(stored_messages(store)) == 1
    assert store.controls.count_dead_letters() == 1
    assert len(store.fixes.list()) == 1
    with store.database.reading() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM exposure").scalar() == 1
    ingest.close()


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("hex", "{}"),
        ("incident", "no json"),
        ("incident", '{"error_id": "x"}'),
        ("incident", "[" * 100_000),
        ("exposure", make_exposure().model_copy(update={"calls": 2**70}).model_dump_json()),
        ("fix", '{"version": 2}'),
    ],
)
def test_a_row_that_cannot_be_taken_in_blocks_nobody(
    settings: Settings,
    store: Store,
    caplog: pytest.LogCaptureFixture,
    kind: str,
    body: str,
) -> None:
    before, after = make_incident("before"), make_incident("after")
    entries = [
        Entry(1, "incident", before.model_dump_json()),
        Entry(2, kind, body),
        Entry(3, kind, body),
        Entry(4, "incident", after.model_dump_json()),
    ]
    ingest = Ingest(Database.for_tool(settings))
    with caplog.at_level(logging.ERROR, logger="healspan.store"):
        assert ingest.take(entries, spool="one.db") == 2
    ingest.close()
    assert stored_messages(store) == ["before", "after"]
    letters = store.controls.dead_letters()
    assert [letter.body for letter in letters] == [body, body]
    assert len(caplog.records) == 1, "said once"


def test_a_change_that_lost_a_race_is_written_down(settings: Settings, store: Store) -> None:
    fix = make_fix()
    store.fixes.add(
        fix,
        make_change(fix, 1, FixState.PROPOSED, None),
        make_change(fix, 2, FixState.RETIRED, FixState.PROPOSED),
    )
    abandon(settings, ("state_change", make_change(fix, 2, FixState.TRIAL, FixState.PROPOSED)))
    drain_all(settings)
    latest = store.fixes.latest(fix.fix_id)
    assert latest is not None
    assert latest.state is FixState.RETIRED
    (entry,) = store.controls.audits(subject=fix.fix_id)
    assert entry.action == "lost race"


@pytest.mark.sqlite
def test_while_the_store_is_away_the_spool_keeps_and_later_delivers(
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings.prepare()
    obstacle = settings.data_dir / "healspan.db"
    obstacle.mkdir()
    spool = Spool(settings)
    drainer = Drainer(settings, spool)
    with caplog.at_level(logging.WARNING, logger="healspan.store"):
        assert spool.append("incident", make_incident("first"))
        eventually(lambda: "facts stay in the spool" in caplog.text)
        assert spool.append("incident", make_incident("second"))
        obstacle.rmdir()
        with Store.open(settings) as store:
            eventually(lambda: stored_messages(store) == ["first", "second"])
        eventually(lambda: "takes facts in again" in caplog.text)
    assert caplog.text.count("facts stay in the spool") == 1
    drainer.stop(timeout=60)
    spool.close()


@pytest.mark.sqlite
@pytest.mark.parametrize(("long", "said"), [(0.2, 1), (1_000.0, 0)])
def test_a_store_that_somebody_keeps_locked_is_said_once_and_an_everyday_lock_is_not(
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    long: float,
    said: int,
) -> None:
    monkeypatch.setattr(drainer_module, "LONG_SECONDS", long)
    with Store.open(settings):
        pass
    spool, tries = Spool(settings), []
    drainer = Drainer(settings, spool)
    drain = drainer._drain_once
    monkeypatch.setattr(drainer, "_drain_once", lambda: (tries.append(1), drain())[1])
    with contextlib.closing(sqlite3.connect(settings.data_dir / "healspan.db", isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with caplog.at_level(logging.WARNING, logger="healspan.store"):
            assert spool.append("incident", make_incident("kept"))
            eventually(lambda: "facts stay in the spool" in caplog.text if said else len(tries) >= 6)
    with Store.open(settings) as store:
        eventually(lambda: stored_messages(store) == ["kept"])
    drainer.stop(timeout=60)
    spool.close()
    assert caplog.text.count("facts stay in the spool") == said


@pytest.mark.sqlite
def test_a_damaged_store_costs_nothing_in_the_spool(settings: Settings) -> None:
    settings.prepare()
    store = settings.data_dir / "healspan.db"
    store.write_bytes(b"not a database, whatever its name says" * 300)
    path = abandon(settings, ("incident", make_incident("kept")))
    with pytest.raises(StoreCorrupt, match="move the file aside"):
        drain_all(settings)
    assert path.exists()
    store.rename(store.with_suffix(".aside"))
    assert drain_all(settings).facts == 1


def test_a_damaged_spool_is_moved_aside_and_the_others_are_drained(
    settings: Settings,
    store: Store,
    caplog: pytest.LogCaptureFixture,
) -> None:
    damaged = abandon(settings, ("incident", make_incident("lost")))
    damaged.write_bytes(b"\0\1\2" * 9_999)
    abandon(settings, ("incident", make_incident("kept")))
    with caplog.at_level(logging.WARNING, logger="healspan.store"):
        drained = drain_all(settings)
    assert (drained.damaged, drained.facts) == (1, 1)
    assert stored_messages(store) == ["kept"]
    assert [path.name.startswith(f"{damaged.name}.corrupt-") for path in settings.spool_dir.iterdir()] == [True]
    assert "is damaged" in caplog.text
    assert drain_all(settings).damaged == 0, "only once"


def test_the_spool_of_a_living_process_is_left_to_it(settings: Settings, store: Store) -> None:
    spool = Spool(settings)
    spool.append("incident", make_incident())
    assert (drain_all(settings).living, stored_messages(store)) == (1, [])
    spool.close()
    assert drain_all(settings).facts == 1


def test_a_lock_that_nobody_holds_and_guards_nothing_is_swept_away(settings: Settings) -> None:
    settings.prepare()
    (settings.spool_dir / "host-1-1.lock").touch()
    drain_all(settings)
    assert list(settings.spool_dir.iterdir()) == []


@pytest.mark.sqlite
def test_the_end_of_a_process_waits_no_longer_than_it_may(settings: Settings) -> None:
    Store.open(settings).close()
    spool = Spool(settings)
    drainer = Drainer(settings, spool)
    blocker = sqlite3.connect(settings.data_dir / "healspan.db", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    spool.append("incident", make_incident())
    started = time.monotonic()
    drainer.stop(timeout=0.3)
    waited = time.monotonic() - started
    spool.close()
    blocker.execute("ROLLBACK")
    blocker.close()
    assert waited < 20, "it waits for its own bound, not for the other process"
    assert drain_all(settings).facts == 1


def test_what_is_appended_before_the_end_is_delivered_at_the_end(settings: Settings, store: Store) -> None:
    spool = Spool(settings)
    drainer = Drainer(settings, spool)
    for number in range(1_200):
        spool.append("incident", make_incident(str(number)))
    drainer.stop(timeout=60)
    spool.close()
    assert len(stored_messages(store)) == 1_200


def test_a_forked_child_drains_its_own_spool(settings: Settings, store: Store) -> None:
    spool = Spool(settings)
    drainer = Drainer(settings, spool)
    spool.append("incident", make_incident("parent"))
    eventually(lambda: stored_messages(store) == ["parent"])
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            spool.append("incident", make_incident("child"))
            drainer.stop(timeout=30)
            code = 0 if spool.read() == [] else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    spool.append("incident", make_incident("parent again"))
    eventually(lambda: set(stored_messages(store)) == {"parent", "child", "parent again"})
    drainer.stop(timeout=60)
    spool.close()


# Other processes

WRITER = """
import sys
from tests.facts import make_incident
from healspan.remediation.settings import load_settings
from healspan.remediation.store import Drainer, Spool
settings = load_settings()
spool = Spool(settings)
drainer = Drainer(settings, spool)
number = 0
while True:
    incident = make_incident(f"{sys.argv[1]}/{number}" + "x" * 3000)
    if not spool.append("incident", incident):
        print("dropped", flush=True)
        continue
    print(incident.error_id, flush=True)
    number += 1
"""

DRAINER = """
from healspan.remediation.settings import load_settings
from healspan.remediation.store import drain_all
print(drain_all(load_settings()).facts, flush=True)
"""


def start(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def acknowledged(process: subprocess.Popen[str], seconds: float) -> list[str]:
    """Kill a writer after some seconds of writing; return what it said it had made durable."""
    assert process.stdout is not None
    # As many as a test needs to mean something, however slow the machine is.
    first = [process.stdout.readline() for _ in range(11)]
    timer = threading.Timer(seconds, process.send_signal, [signal.SIGKILL])
    timer.start()
    lines = [*first, *process.stdout.readlines()]
    process.wait()
    timer.cancel()
    return [line.strip() for line in lines if line.endswith("\n")]


def arrived(settings: Settings) -> Sequence[str]:
    with Store.open(settings) as store, store.database.reading() as connection:
        return [row[0] for row in connection.exec_driver_sql("SELECT error_id FROM incident")]


def test_killed_at_any_moment_a_process_loses_and_doubles_nothing(settings: Settings) -> None:
    chance = random.Random(7)
    said: list[str] = []
    for attempt in range(8):
        said += acknowledged(start(WRITER, str(attempt)), chance.uniform(0.0, 0.25))
    drained = drain_all(settings)
    assert "dropped" not in said
    assert len(said) > 80, "the writers wrote"
    stored = arrived(settings)
    assert len(stored) == len(set(stored)), "doubled"
    assert set(said) <= set(stored), "lost"
    # Killed between the commit and the print, a fact is stored and was not yet acknowledged.
    assert len(stored) - len(said) <= 8
    assert drained.damaged == 0
    with Store.open(settings) as store:
        assert store.check() == []
    assert list(settings.spool_dir.iterdir()) == []


def test_the_dead_are_drained_by_a_living_process(settings: Settings, store: Store) -> None:
    said = acknowledged(start(WRITER, "dead"), 0.05)
    spool = Spool(settings)
    drainer = Drainer(settings, spool)
    drainer.start()
    eventually(lambda: set(said) <= set(arrived(settings)))
    eventually(lambda: list(settings.spool_dir.glob("*.db")) == [])
    drainer.stop(timeout=60)
    spool.close()


def test_three_processes_that_drain_the_same_spools_take_each_fact_once(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # SQLite lets those who wait try at random moments: on a busy machine one of them may lose for seconds.
    monkeypatch.setenv("HEALSPAN_BUSY_MS", "60000")
    for spool in range(6):
        abandon(settings, *(("incident", make_incident(f"{spool}/{number}")) for number in range(150)))
    processes = [start(DRAINER) for _ in range(3)]
    counts = [int(process.communicate()[0]) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sum(counts) == 900
    stored = arrived(settings)
    assert len(stored) == len(set(stored)) == 900
    assert list(settings.spool_dir.iterdir()) == []


@pytest.mark.sqlite
def test_a_store_that_cannot_be_opened_is_said_so(settings: Settings) -> None:
    settings.prepare()
    (settings.data_dir / "healspan.db").mkdir()
    abandon(settings, ("incident", make_incident()))
    with pytest.raises(StoreUnavailable, match="HEALSPAN_DATABASE_URL"):
        drain_all(settings)
