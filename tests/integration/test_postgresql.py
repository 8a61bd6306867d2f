"""The store on a real PostgreSQL server: away and back, many writers, and what is only true there.

That the rest holds there as well is shown by the same tests that show it of SQLite (`make test` runs them twice).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

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


def test_a_message_shows_no_password(on_postgresql: str) -> None:
    url = make_url(on_postgresql).set(password="hunter2", host="127.0.0.1", port=9, query={})
    database = Database(url.render_as_string(hide_password=False), busy_ms=50)
    with pytest.raises(StoreUnavailable) as caught, database.reading():
        pass
    assert "hunter2" not in str(caught.value)
