"""The store's database: opened by many at once, and clear about what is wrong with it."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection
from tests.world import World

from healspan.remediation.errors import ConfigurationError, StoreCorrupt, StoreUnavailable
from healspan.remediation.settings import Settings, load_settings
from healspan.remediation.store import migrate
from healspan.remediation.store.database import Database
from healspan.remediation.store.repository import Store

ROOT = Path(__file__).parents[2]


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    settings.prepare()
    database = Database.for_tool(settings)
    yield database
    database.close()


def path_of(settings: Settings) -> Path:
    return settings.data_dir / "healspan.db"


def pragma(database: Database, name: str) -> object:
    with database.reading() as connection:
        return connection.exec_driver_sql(f"PRAGMA {name}").scalar()


@pytest.mark.sqlite
def test_every_connection_is_set_up_for_several_processes(settings: Settings, database: Database) -> None:
    assert [pragma(database, name) for name in ("journal_mode", "synchronous", "foreign_keys")] == ["wal", 1, 1]
    assert pragma(database, "busy_timeout") == settings.busy_ms
    host = Database.for_host(settings)
    assert pragma(host, "busy_timeout") == settings.host_busy_ms
    host.close()


@pytest.mark.sqlite
def test_only_this_user_can_read_the_files(settings: Settings, database: Database) -> None:
    with database.writing() as connection:
        connection.exec_driver_sql("INSERT INTO revision VALUES ('x', 1)")
        files = list(settings.data_dir.glob("healspan.db*"))
        assert len(files) == 3
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_what_fails_halfway_leaves_nothing(database: Database) -> None:
    def write_and_fail() -> None:
        with database.writing() as connection:
            connection.exec_driver_sql("INSERT INTO revision VALUES ('x', 1)")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_and_fail()
    with database.reading() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM revision").scalar() == 0


def test_a_reader_sees_one_moment(database: Database) -> None:
    count = "SELECT count(*) FROM revision"
    with database.reading() as reader:
        assert reader.exec_driver_sql(count).scalar() == 0
        with database.writing() as writer:
            writer.exec_driver_sql("INSERT INTO revision VALUES ('x', 1)")
        assert reader.exec_driver_sql(count).scalar() == 0
    with database.reading() as reader:
        assert reader.exec_driver_sql(count).scalar() == 1


def test_processes_that_open_a_new_store_at_once_all_succeed(settings: Settings) -> None:
    code = (
        "from healspan.remediation.settings import load_settings\n"
        "from healspan.remediation.store.repository import Store\n"
        "Store.open(load_settings()).close()\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(4)
    ]
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, errors
    with Store.open(settings) as store:
        assert store.check() == []


def test_threads_that_open_a_new_store_at_once_all_succeed(settings: Settings) -> None:
    settings.prepare()
    start, failures = threading.Barrier(6), []

    def open_store() -> None:
        start.wait()
        try:
            Store.open(settings).close()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=open_store) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_new_store_is_told_in_one_line_and_the_hosts_own_alembic_goes_on(
    settings: Settings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    alembic, upgrade = logging.getLogger("alembic.runtime.migration"), migrate._upgrade

    def beside_the_host(connection: Connection, revision: str | None) -> None:
        host = threading.Thread(target=alembic.info, args=("the host's own",))
        host.start()
        host.join()
        upgrade(connection, revision)
        alembic.warning("what is wrong is told")

    monkeypatch.setattr(migrate, "_upgrade", beside_the_host)
    settings.prepare()
    with caplog.at_level(logging.INFO):
        Store.open(settings).close()
        alembic.info("afterwards")
    told = [record.getMessage() for record in caplog.records if record.name.startswith(("alembic", "healspan.store"))]
    ours = f"the store is of revision {migrate.HEAD} now, it was new"
    assert told == ["the host's own", "what is wrong is told", ours, "afterwards"]


@pytest.mark.sqlite
def test_a_store_that_another_process_is_just_making_is_waited_for(settings: Settings) -> None:
    settings.prepare()
    path = Database.for_tool(settings).path
    assert path is not None
    path.touch(mode=0o600)
    maker = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    maker.execute("BEGIN IMMEDIATE")  # not yet in WAL mode: SQLite refuses the change of mode without a wait
    release = threading.Timer(0.3, maker.rollback)
    release.start()
    try:
        with Store.open(settings) as store:
            assert store.check() == []
    finally:
        release.join()
        maker.close()


@pytest.mark.sqlite
def test_a_migration_that_is_interrupted_leaves_an_empty_store(
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = migrate._upgrade

    def interrupted(*arguments: object) -> None:
        original(*arguments)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(migrate, "_upgrade", interrupted)
    with pytest.raises(KeyboardInterrupt), database.reading():
        pass
    monkeypatch.undo()
    path = database.path
    assert path is not None
    with sqlite3.connect(path) as raw:
        assert raw.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    with database.reading() as connection:
        assert migrate.current_revision(connection) == migrate.HEAD


def test_a_store_of_a_newer_version_is_left_alone(database: Database) -> None:
    with database.writing() as connection:
        connection.exec_driver_sql(f"UPDATE {migrate.VERSION_TABLE} SET version_num = 'from the future'")
    database.close()
    with pytest.raises(StoreUnavailable, match="upgrade this installation"), database.reading():
        pass


@pytest.mark.sqlite
def test_a_damaged_file_is_said_so_with_what_to_do(settings: Settings, database: Database) -> None:
    path_of(settings).write_bytes(b"something else entirely " * 1_000)
    with pytest.raises(StoreCorrupt, match=r"healspan\.db is damaged .*move the file aside"), database.reading():
        pass


@pytest.mark.sqlite
def test_damage_inside_the_file_is_found_by_the_check(settings: Settings) -> None:
    world = World(settings=settings)
    for _ in range(50):
        world.failure()
    assert world.store.check() == []
    world.store.database.settle()
    world.close()
    data = bytearray(path_of(settings).read_bytes())
    data[-20_000:] = b"\xff" * 20_000  # where the rows are; the tables are described at the beginning
    path_of(settings).write_bytes(data)
    with Store.open(settings) as store:
        try:
            found = store.check()
        except StoreCorrupt as error:
            found = [str(error)]
    assert found


@pytest.mark.sqlite
def test_a_row_that_refers_to_nothing_is_found_by_the_check(settings: Settings) -> None:
    world = World(settings=settings)
    fix = world.fix()
    world.close()
    with sqlite3.connect(path_of(settings)) as raw:
        raw.execute("DELETE FROM fix WHERE fix_id = ?", (fix.fix_id,))
    with Store.open(settings) as store:
        assert store.check() == ["a row of state_change refers to a row of fix that is not there"]


@pytest.mark.sqlite
def test_a_locked_store_is_said_so(settings: Settings, database: Database) -> None:
    host = Database.for_host(settings)
    with (
        database.writing(),
        pytest.raises(StoreUnavailable, match="locked"),
        host.writing(),
    ):
        pass
    host.close()


@pytest.mark.sqlite
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_file_that_may_not_be_written_is_said_so(settings: Settings, database: Database) -> None:
    with database.reading():
        pass
    database.close()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.setuid(65534)
            try:
                with database.reading():
                    pass
            except StoreUnavailable as error:
                code = 0 if "give this user the right to write" in str(error) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.parametrize(
    "url", ["nonsense", "sqlite://", "sqlite:///:memory:", "nosuch://host/db", "postgresql+no://h/d"]
)
def test_a_url_that_cannot_be_used_is_said_so(url: str) -> None:
    with pytest.raises(ConfigurationError, match="HEALSPAN_DATABASE_URL"), Database(url, busy_ms=0).reading():
        pass


def test_a_message_shows_no_password() -> None:
    assert "hunter2" not in Database("postgresql+psycopg2://ana:hunter2@h/d", busy_ms=0).name


@pytest.mark.sqlite
def test_a_file_that_is_replaced_is_opened_again(settings: Settings, database: Database) -> None:
    world = World(settings=settings)
    world.failure()
    with database.reading() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM incident").scalar() == 1
    world.close()
    for path in settings.data_dir.glob("healspan.db*"):
        path.unlink()
    with database.writing() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM incident").scalar() == 0
    assert path_of(settings).exists()


@pytest.mark.sqlite
def test_the_data_version_changes_with_others_writes_and_with_the_connection(
    settings: Settings,
    database: Database,
) -> None:
    other = Database.for_tool(settings)
    first = database.data_version()
    assert database.data_version() == first
    with other.writing() as connection:
        connection.exec_driver_sql("INSERT INTO revision VALUES ('x', 1)")
    second = database.data_version()
    assert second != first
    database.close()
    assert database.data_version() != second
    other.close()


def test_a_forked_child_opens_connections_of_its_own(settings: Settings, database: Database) -> None:
    with database.writing() as connection:
        connection.exec_driver_sql("INSERT INTO revision VALUES ('parent', 1)")
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            with database.writing() as connection:
                connection.exec_driver_sql("INSERT INTO revision VALUES ('child', 1)")
            database.close()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    with database.writing() as connection:
        connection.exec_driver_sql("INSERT INTO revision VALUES ('parent again', 1)")
        assert connection.exec_driver_sql("SELECT count(*) FROM revision").scalar() == 3
    assert database.check() == []


@pytest.mark.sqlite
def test_a_copy_of_the_store_can_be_opened_elsewhere(settings: Settings, tmp_path: Path) -> None:
    world = World(settings=settings)
    fix = world.fix()
    world.store.database.settle()
    shutil.copy(path_of(settings), tmp_path / "copy.db")
    with Store.open(load_settings(database_url=f"sqlite:///{tmp_path}/copy.db")) as store:
        view = store.fixes.get(fix.fix_id)
    assert view is not None
    assert view.fix == fix
    world.close()
