"""The spool: durable when `append` returns, harmless when it cannot be."""

from __future__ import annotations

import logging
import multiprocessing
import os
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.facts import make_exposure, make_incident

from healspan.remediation.settings import Settings, load_settings
from healspan.remediation.store import Spool
from healspan.remediation.store.spool_file import OwnerLock, SpoolFile


@pytest.fixture
def spool(settings: Settings) -> Iterator[Spool]:
    spool = Spool(settings)
    yield spool
    spool.close()


def rows(path: Path | None) -> list[tuple[str, str]]:
    """What another connection sees."""
    assert path is not None
    connection = sqlite3.connect(path)
    try:
        return connection.execute("SELECT kind, body FROM entry ORDER BY sequence").fetchall()
    finally:
        connection.close()


def test_a_fact_is_committed_when_append_returns(spool: Spool) -> None:
    incident = make_incident()
    assert spool.append("incident", incident)
    assert rows(spool.path) == [("incident", incident.model_dump_json())]


def test_nothing_is_opened_before_the_first_append(settings: Settings, spool: Spool) -> None:
    assert spool.path is None
    assert not settings.spool_dir.exists()


def test_several_facts_are_appended_together(spool: Spool) -> None:
    facts = [("incident", make_incident()), ("exposure", make_exposure())]
    assert spool.append_many(facts)
    assert [kind for kind, _ in rows(spool.path)] == ["incident", "exposure"]


def test_only_this_user_can_read_the_files(settings: Settings, spool: Spool) -> None:
    spool.append("incident", make_incident())
    assert stat.S_IMODE(settings.spool_dir.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in settings.spool_dir.iterdir()}
    assert len(modes) >= 3
    assert set(modes.values()) == {0o600}


def test_threads_lose_nothing(spool: Spool) -> None:
    def append() -> None:
        for _ in range(25):
            assert spool.append("incident", make_incident())

    threads = [threading.Thread(target=append) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({body for _, body in rows(spool.path)}) == 500
    assert spool.counts.appended == 500


def test_the_drainer_never_opens_a_file_that_an_append_is_making(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opening: list[Path] = []
    met: list[Path] = []

    class Slow(SpoolFile):
        def __init__(self, path: Path, *, busy_ms: int) -> None:
            met.extend(opening)
            opening.append(path)
            time.sleep(0.02)
            super().__init__(path, busy_ms=busy_ms)
            opening.remove(path)

    monkeypatch.setattr("healspan.remediation.store.spool.SpoolFile", Slow)
    spool = Spool(settings)
    appended = threading.Event()
    drainer = threading.Thread(target=lambda: [spool.read() for _ in iter(appended.is_set, True)])
    drainer.start()
    kept = spool.append("incident", make_incident())
    appended.set()
    drainer.join()
    assert kept
    assert len(spool.read()) == 1
    assert not met
    spool.close()


def test_text_that_is_no_unicode_is_kept_in_another_spelling(spool: Spool) -> None:
    assert spool.append("incident", make_incident("half \ud83d a character, NUL \x00 and 😀"))
    assert "half \ufffd a character" in rows(spool.path)[0][1]
    assert "😀" in rows(spool.path)[0][1]


def test_a_record_that_cannot_be_written_is_dropped_and_counted(settings: Settings) -> None:
    reasons: list[str] = []
    spool = Spool(settings, on_drop=reasons.append)
    hostile = make_incident().model_copy(update={"system_state": {"x": object()}})
    assert spool.append("incident", hostile) is False
    assert reasons == ["unserialisable"]
    assert spool.append("incident", make_incident())
    spool.close()


def test_a_directory_that_cannot_be_written_costs_the_facts_and_nothing_else(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "file").write_text("in the way")
    spool = Spool(load_settings(data_dir=tmp_path / "file" / "data"))
    with caplog.at_level(logging.WARNING, logger="healspan.store"):
        results = [spool.append("incident", make_incident()) for _ in range(3)]
    assert results == [False, False, False]
    assert spool.counts.dropped == 3
    assert len(caplog.records) == 1
    assert "HEALSPAN_DATA_DIR" in caplog.text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_read_only_directory_costs_the_facts_and_nothing_else(settings: Settings) -> None:
    settings.prepare()

    def as_nobody(out: multiprocessing.connection.Connection) -> None:
        os.setuid(65534)
        spool = Spool(settings)
        out.send((spool.append("incident", make_incident()), spool.counts.dropped))

    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=as_nobody, args=(theirs,))
    child.start()
    assert ours.recv() == (False, 1)
    child.join()


def test_a_locked_file_costs_the_fact_and_not_the_time(settings: Settings) -> None:
    reasons: list[str] = []
    spool = Spool(settings, on_drop=reasons.append)
    spool.append("incident", make_incident())
    assert spool.path is not None
    other = sqlite3.connect(spool.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert spool.append("incident", make_incident()) is False
    assert reasons == ["busy"]
    other.execute("ROLLBACK")
    other.close()
    assert spool.append("incident", make_incident())
    assert len(rows(spool.path)) == 2
    spool.close()


def test_a_damaged_file_is_moved_aside_and_a_new_one_used(
    settings: Settings,
    spool: Spool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    spool.append("incident", make_incident())
    first = spool.path
    assert first is not None
    # The connection is closed around a fork, so the next append reads the file afresh.
    spool.before_fork()
    for path in settings.spool_dir.glob(f"{first.name}*"):
        path.write_bytes(b"this is no database" * 1000)
    spool.after_fork(child=False)
    with caplog.at_level(logging.ERROR, logger="healspan.store"):
        assert spool.append("incident", make_incident())
    assert spool.path is not None
    assert spool.path != first
    assert len(rows(spool.path)) == 1
    assert spool.counts.moved_aside == 1
    assert list(settings.spool_dir.glob("*.corrupt-*"))
    assert "is damaged" in caplog.text


def test_a_file_that_somebody_removed_is_replaced(spool: Spool) -> None:
    spool.append("incident", make_incident())
    first = spool.path
    assert first is not None
    first.unlink()
    spool.tidy()
    assert spool.append("incident", make_incident())
    assert spool.path is not None
    assert spool.path != first
    assert len(rows(spool.path)) == 1


def test_without_room_counts_go_first_and_acknowledged_facts_stay(settings: Settings) -> None:
    one = len(make_incident().model_dump_json())
    spool = Spool(load_settings(spool_bytes=one * 10))
    while spool.append("exposure", make_exposure()) and spool.counts.dropped_counts == 0:
        pass
    kept = 0
    while spool.append("incident", make_incident()):
        kept += 1
    assert [kind for kind, _ in rows(spool.path)].count("incident") == kept
    assert "exposure" not in [kind for kind, _ in rows(spool.path)]
    assert kept == 10
    assert spool.counts.dropped_counts > 0
    assert spool.counts.dropped == 1
    spool.close()


def test_an_empty_file_goes_at_close_and_one_with_facts_stays(settings: Settings) -> None:
    spool = Spool(settings)
    spool.append("incident", make_incident())
    spool.delete(spool.read())
    spool.close()
    assert list(settings.spool_dir.iterdir()) == []
    spool = Spool(settings)
    spool.append("incident", make_incident())
    spool.close()
    assert len(rows(spool.path)) == 1


def test_the_owner_holds_a_lock_as_long_as_it_lives(settings: Settings) -> None:
    spool = Spool(settings)
    spool.append("incident", make_incident())
    assert spool.path is not None
    assert OwnerLock.take(spool.path.with_suffix(".lock")) is None
    spool.close()
    lock = OwnerLock.take(spool.path.with_suffix(".lock"))
    assert lock is not None
    lock.release()


def test_a_forked_child_has_a_file_of_its_own_and_the_parent_keeps_its_own(settings: Settings, spool: Spool) -> None:
    spool.append("incident", make_incident("parent"))
    before = spool.path
    assert before is not None

    def child(out: multiprocessing.connection.Connection) -> None:
        out.send((spool.append("incident", make_incident("child")), spool.path))
        out.recv()
        os._exit(0)

    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=child, args=(theirs,))
    process.start()
    appended, childs = ours.recv()
    assert appended
    assert childs != before
    assert OwnerLock.take(childs.with_suffix(".lock")) is None
    assert OwnerLock.take(before.with_suffix(".lock")) is None
    assert spool.append("incident", make_incident("parent again"))
    assert spool.path == before
    ours.send("go")
    process.join()
    assert ["parent" in body for _, body in rows(before)] == [True, True]
    assert ["child" in body for _, body in rows(childs)] == [True]
    left = OwnerLock.take(childs.with_suffix(".lock"))
    assert left is not None, "a dead child's lock is free"
    left.release()


def test_a_fork_amid_appends_leaves_no_child_hanging(spool: Spool) -> None:
    done = threading.Event()

    def busy() -> None:
        while not done.is_set():
            spool.append("incident", make_incident())

    threads = [threading.Thread(target=busy) for _ in range(4)]
    for thread in threads:
        thread.start()
    codes = []
    for _ in range(20):
        pid = os.fork()
        if pid == 0:
            os._exit(0 if spool.append("incident", make_incident()) else 1)
        deadline = time.monotonic() + 30
        while (waited := os.waitpid(pid, os.WNOHANG)) == (0, 0):
            assert time.monotonic() < deadline, "the child hangs"
            time.sleep(0.005)
        codes.append(os.waitstatus_to_exitcode(waited[1]))
    done.set()
    for thread in threads:
        thread.join()
    assert codes == [0] * 20
