"""Counters that are kept in the store: a purge, an exporter at work, and what must not stay."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import Connection, Engine, event, select, text
from tests.world import World

from healspan.remediation import exporter as exporter_module
from healspan.remediation import metrics as names
from healspan.remediation.errors import StoreUnavailable
from healspan.remediation.exporter import StoreCollector
from healspan.remediation.fix import FixState
from healspan.remediation.incident import IncidentStatus, Tier
from healspan.remediation.store import totals
from healspan.remediation.store.repository import Store
from healspan.remediation.store.tables import CounterRow, table_of
from healspan.remediation.store.views import Amount

DAY = timedelta(days=1)


def counted(collector: StoreCollector, name: str = names.INCIDENTS.name) -> dict[tuple[str, ...], float]:
    return {
        tuple(sample.labels.values()): sample.value
        for family in collector.collect()
        for sample in family.samples
        if sample.name == name
    }


def test_an_exporter_that_starts_after_a_purge_goes_on_where_the_old_one_was(world):
    for ago in (3 * DAY, 2 * DAY, timedelta()):
        world.failure("revenue", ago=ago)
    before = counted(StoreCollector(world.store))
    world.store.purge_before(world.now - DAY, actor="test")
    assert world.store.incidents.count() == 1
    assert counted(StoreCollector(world.store)) == before == {("filings", "revenue", "builtins.KeyError"): 3.0}


def test_what_a_purge_takes_before_anybody_has_looked_is_counted(world):
    exporter = StoreCollector(world.store)
    world.failure("revenue", ago=2 * DAY)
    assert sum(counted(exporter).values()) == 1
    world.failure("revenue", ago=2 * DAY, status=IncidentStatus.HEALED, tier=Tier.KNOWN_FIX)
    world.store.purge_before(world.now - DAY, actor="test")
    assert sum(counted(exporter).values()) == 2
    assert sum(counted(exporter, names.HEALS.name).values()) == 2
    assert sum(counted(exporter, f"{names.HEAL_SECONDS.name}_count").values()) == 2


KILLED = """
import os, signal
from datetime import UTC, datetime
from healspan.remediation.settings import load_settings
from healspan.remediation.store import retention
from healspan.remediation.store.repository import Store

retention._note = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # the last thing before the commit
with Store.open(load_settings()) as store:
    store.purge_before(datetime.now(UTC), actor="test")
"""


def test_a_purge_that_is_killed_has_neither_erased_nor_counted(world):
    world.failure("revenue", ago=2 * DAY)
    assert subprocess.run([sys.executable, "-c", KILLED], check=False, timeout=60).returncode == -signal.SIGKILL
    assert world.store.incidents.count() == 1
    with world.store.database.reading() as connection:
        assert connection.execute(select(table_of(CounterRow))).all() == []
    world.store.purge_before(world.now - DAY, actor="test")
    assert sum(counted(StoreCollector(world.store)).values()) == 1


def test_exporters_purges_and_writers_at_once_count_everything_once(world):
    done, errors = threading.Event(), []

    def scrape() -> Iterator[float]:
        with Store.open(world.settings) as store:
            exporter = StoreCollector(store)
            while True:
                yield sum(counted(exporter).values())

    def watch() -> None:
        last = 0.0
        for value in scrape():
            if value < last:
                errors.append((last, value))
            last = value
            if done.wait(0.01):
                return

    threads = [threading.Thread(target=watch) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(30):
        world.failure("revenue", ago=2 * DAY, service=f"s{number % 3}")
        if number % 5 == 0:
            world.store.purge_before(world.now - DAY, actor="test")
    done.set()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sum(counted(StoreCollector(world.store)).values()) == 30


def test_a_label_that_holds_what_is_erased_becomes_other_and_the_number_stays(world):
    for boundary in ("acme_orders", "acme_orders", "orders"):
        world.failure(boundary, status=IncidentStatus.HEALED, tier=Tier.KNOWN_FIX, service="shop")
    exporter = StoreCollector(world.store)
    assert ("shop", "acme_orders", "builtins.KeyError") in counted(exporter)
    world.store.purge_subject("acme", actor="test")
    for one in (exporter, StoreCollector(world.store)):
        assert counted(one) == {
            ("shop", "other", "builtins.KeyError"): 2.0,
            ("shop", "orders", "builtins.KeyError"): 1.0,
        }
        assert counted(one, names.HEALS.name)["shop", "other", "1", "healed"] == 2.0
    world.failure("acme_orders", service="shop")  # a new fact, which nobody has asked to erase
    assert counted(exporter)["shop", "acme_orders", "builtins.KeyError"] == 1.0


def test_error_types_beyond_so_many_are_other_and_known_ones_stay(world, monkeypatch):
    monkeypatch.setattr(totals, "MOST_ERROR_TYPES", 2)
    exporter = StoreCollector(world.store)
    for kind in ("A", "B", "C", "A", "D"):
        world.failure("revenue", error_type=f"app.{kind}", service="shop")
        counted(exporter)
    world.failure("revenue", error_type="app.C", service="batch")
    place = ("shop", "revenue")
    assert counted(exporter) == {
        (*place, "app.A"): 2.0,
        (*place, "app.B"): 1.0,
        (*place, "other"): 2.0,
        ("batch", "revenue", "app.C"): 1.0,
    }


def test_boundaries_beyond_so_many_are_other_in_all_counters(world, monkeypatch):
    monkeypatch.setattr(totals, "MOST_BOUNDARIES", 2)
    exporter = StoreCollector(world.store)
    for boundary in ("a", "b", "c", "a", "d"):
        world.failure(boundary, service="shop", status=IncidentStatus.HEALED, tier=Tier.KNOWN_FIX)
        counted(exporter)
    assert {by[1]: value for by, value in counted(exporter).items()} == {"a": 2.0, "b": 1.0, "other": 2.0}
    heals = counted(exporter, names.HEALS.name)
    assert {by[1]: value for by, value in heals.items() if value} == {"a": 2.0, "b": 1.0, "other": 2.0}


def test_words_of_healspans_own_are_no_subject(world):
    world.failure("revenue", status=IncidentStatus.HEALED, tier=Tier.KNOWN_FIX)
    exporter = StoreCollector(world.store)
    world.store.purge_subject("healed", actor="test")
    assert counted(exporter, names.HEALS.name)["filings", "revenue", "1", "healed"] == 1.0


def test_counters_hold_numbers_and_labels_and_nothing_of_what_was_counted(world):
    incident = world.failure("revenue", message="customer 4711", ago=2 * DAY)
    world.application(world.fix("revenue", state=FixState.TRIAL, like=incident), count=3)
    counted(StoreCollector(world.store))
    world.store.purge_subject("4711", actor="test")
    with world.store.database.reading() as connection:
        rows = connection.execute(text("SELECT name, labels FROM counter")).all()
    assert {tuple(row) for row in rows} == {
        (names.INCIDENTS.name, '["filings", "revenue", "builtins.KeyError"]'),
        (names.HEALS.name, '["filings", "revenue", "3", "escalated"]'),
        (names.HEALS.name, '["filings", "revenue", "1", "healed"]'),
        (names.APPLICATIONS.name, '["filings", "revenue", "1", "trial", "true"]'),
        *(
            (names.VERDICT_PARTS.name, f'["filings", "revenue", "{criterion}", "true"]')
            for criterion in ("resolved", "no_regression", "valid_output")
        ),
        (f"{names.HEAL_SECONDS.name}_bucket", '["filings", "3", "escalated", "0.001"]'),
        (f"{names.HEAL_SECONDS.name}_sum", '["filings", "3", "escalated"]'),
    }


def test_many_facts_are_counted_in_turns(world, monkeypatch):
    monkeypatch.setattr(exporter_module, "AT_ONCE", 2)
    for _ in range(5):
        world.failure("revenue", status=IncidentStatus.HEALED, tier=Tier.KNOWN_FIX)
    exporter = StoreCollector(world.store)
    assert sum(counted(exporter).values()) == 5
    assert sum(counted(exporter, names.HEALS.name).values()) == 5


def test_a_scrape_that_finds_nothing_new_writes_nothing(world):
    world.failure("revenue")
    exporter = StoreCollector(world.store)
    counted(exporter)
    with Store.open(world.settings) as other:
        version = other.database.data_version()
        counted(exporter)
        assert other.database.data_version() == version


@pytest.mark.sqlite
def test_a_scrape_works_through_what_is_new_and_not_through_what_is_there(world: World) -> None:
    steps = 0

    def step() -> int:
        nonlocal steps
        steps += 1
        return 0

    def watch(connection: sqlite3.Connection, _record: object) -> None:
        connection.set_progress_handler(step, 1)

    def work(store: Store) -> int:
        """Scrape twice with news, and return the instructions that the database has taken for the second time."""
        exporter = StoreCollector(store, budget=Amount())
        for _ in range(2):
            nonlocal steps
            world.failure("revenue")
            world.failure("revenue", status=IncidentStatus.HEALED, tier=Tier.KNOWN_FIX)
            steps = 0
            exporter.collect()
        return steps

    event.listen(Engine, "connect", watch)
    try:
        with Store.open(world.settings) as store:
            few = work(store)
            for _ in range(200):
                world.failure("revenue")
                world.failure("revenue", status=IncidentStatus.HEALED, tier=Tier.KNOWN_FIX)
            assert work(store) < 1.2 * few
    finally:
        event.remove(Engine, "connect", watch)


def test_what_could_not_be_kept_is_not_published_nor_counted_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.failure("revenue")
    exporter = StoreCollector(world.store)
    assert sum(counted(exporter).values()) == 1
    world.failure("revenue")
    database, writing = world.store.database, world.store.database.writing

    @contextlib.contextmanager
    def full() -> Iterator[Connection]:
        with writing() as connection:
            yield connection
            raise StoreUnavailable("there is no room")

    with monkeypatch.context() as patch:
        patch.setattr(database, "writing", full)
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                counted(exporter)
    assert sum(counted(exporter).values()) == 2
    with Store.open(world.settings) as other:
        world.failure("revenue")
        counted(StoreCollector(other))  # which is not what this one knows of
    world.failure("revenue")
    assert counted(exporter) == counted(StoreCollector(world.store)) == {("filings", "revenue", "builtins.KeyError"): 4}
