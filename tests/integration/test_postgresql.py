"""The store on a real PostgreSQL server: away and back, many writers, and what is only true there.

That the rest holds there as well is shown by the same tests that show it of SQLite (`make test` runs them twice).
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy.engine import make_url
from tests.facts import make_incident
from tests.postgresql import new_database, start_server
from tests.world import World

from healspan.remediation.errors import StoreUnavailable
from healspan.remediation.settings import load_settings
from healspan.remediation.store.database import Database
from healspan.remediation.store.drainer import Drainer
from healspan.remediation.store.repository import Store
from healspan.remediation.store.spool import Spool


def eventually(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


@pytest.fixture
def on_postgresql(monkeypatch: pytest.MonkeyPatch) -> str:
    url = new_database()
    monkeypatch.setenv("HEALSPAN_DATABASE_URL", url)
    return url


def test_while_the_server_is_away_the_spool_keeps_and_later_delivers(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with start_server() as server:
        monkeypatch.setenv("HEALSPAN_DATABASE_URL", server.url)
        world = World()
        server.stop()
        spool = Spool(world.settings)
        drainer = Drainer(world.settings, spool)
        with caplog.at_level(logging.WARNING, logger="healspan.store"):
            assert spool.append("incident", make_incident("while away"))
            eventually(lambda: "facts stay in the spool" in caplog.text)
            server.start()
            eventually(lambda: "takes facts in again" in caplog.text)
        assert [view.incident.error_message for view in world.store.incidents.list()] == ["while away"]
        drainer.stop()
        spool.close()
        world.close()


def test_what_writers_write_at_once_becomes_visible_in_its_order(on_postgresql: str) -> None:
    world = World()
    written, read, wrong = threading.Event(), [], []
    database = Database.for_tool(load_settings())

    def write() -> None:
        mine = World()
        for number in range(10):
            mine.write(make_incident(str(number)))
        mine.close()

    def watch() -> None:
        last = 0
        while not written.is_set() or last < 40:
            with database.reading() as connection:
                positions = (
                    connection.exec_driver_sql("SELECT position FROM incident ORDER BY position").scalars().all()
                )
            if [each for each in read if each not in positions]:
                wrong.append(positions)
            if any(each <= last for each in positions if each not in read):
                wrong.append(positions)
            read.extend(each for each in positions if each not in read)
            last = len(read)

    threads = [threading.Thread(target=write) for _ in range(4)]
    watcher = threading.Thread(target=watch)
    watcher.start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    written.set()
    watcher.join(60)
    assert not watcher.is_alive()
    assert wrong == []
    database.close()
    world.close()


def test_a_writer_waits_for_another_one_no_longer_than_it_may(on_postgresql: str) -> None:
    settings = load_settings()
    with Store.open(settings) as store, store.database.writing():
        impatient = Database.for_host(settings)
        with impatient.reading():
            pass
        with pytest.raises(StoreUnavailable, match="lock"), impatient.writing():
            pass
        impatient.close()


def test_a_writer_that_says_nothing_loses_its_turn(on_postgresql: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("healspan.remediation.store.database.SILENCE_SECONDS", 1)
    stuck, other = Database(on_postgresql, busy_ms=1_000), Database(on_postgresql, busy_ms=30_000)
    taken = threading.Event()
    with pytest.raises(StoreUnavailable), stuck.writing(), other.writing():
        taken.set()
    assert taken.is_set()
    stuck.close()
    other.close()


@pytest.fixture
def silent_server() -> Iterator[tuple[str, threading.Event]]:
    """A server that takes connections and never answers; the event is set once it has given up."""
    gone = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken: list[socket.socket] = []

        def give_up() -> None:
            gone.set()
            server.shutdown(socket.SHUT_RDWR)

        def take() -> None:
            with contextlib.suppress(OSError):
                while True:
                    taken.append(server.accept()[0])
            for connection in taken:
                connection.close()

        timer, thread = threading.Timer(30, give_up), threading.Thread(target=take)
        timer.start()
        thread.start()
        yield f"postgresql+psycopg://u@127.0.0.1:{server.getsockname()[1]}/healspan", gone
        timer.cancel()
        if not gone.is_set():
            give_up()
        thread.join()


def test_a_server_that_never_answers_is_given_up(
    silent_server: tuple[str, threading.Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, gone = silent_server
    monkeypatch.setattr("healspan.remediation.store.database.CONNECT_SECONDS", 2)
    with pytest.raises(StoreUnavailable, match="reachable"), Database(url, busy_ms=50).reading():
        pass
    assert not gone.is_set()


def test_a_host_forks_while_its_store_is_waited_for(silent_server: tuple[str, threading.Event]) -> None:
    url, gone = silent_server
    database = Database(f"{url}?connect_timeout=60", busy_ms=50)

    def look() -> None:
        with contextlib.suppress(StoreUnavailable), database.reading():
            pass

    threading.Thread(target=look, daemon=True).start()
    eventually(lambda: not _is_free(database))
    pid = os.fork()
    if pid == 0:
        os._exit(0 if _is_free(database) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert not gone.is_set()


def _is_free(database: Database) -> bool:
    """Whether nobody is opening it."""
    if free := database._gate.acquire(blocking=False):
        database._gate.release()
    return free


def test_a_message_shows_no_password(on_postgresql: str) -> None:
    url = make_url(on_postgresql).set(password="hunter2", host="127.0.0.1", port=9, query={})
    database = Database(url.render_as_string(hide_password=False), busy_ms=50)
    with pytest.raises(StoreUnavailable) as caught, database.reading():
        pass
    assert "hunter2" not in str(caught.value)
