"""The store's database: one engine, opened lazily, migrated on opening, closed around forks.

SQLite or PostgreSQL by URL. Readers see one consistent moment; writers take turns: on SQLite by its write lock, taken
at once (BEGIN IMMEDIATE), so that nobody has to upgrade a lock halfway and fail, on PostgreSQL by an advisory lock.
So positions and revisions become visible in their order, and whoever has read up to one has missed none.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    NoSuchModuleError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from healspan.remediation.errors import ConfigurationError, StoreCorrupt, StoreError, StoreUnavailable
from healspan.remediation.settings import Settings, private_directory, private_file
from healspan.remediation.store.forks import hold_for_forks
from healspan.remediation.store.spool_file import is_corrupt

__all__ = ["Database"]

logger = logging.getLogger("healspan.store")

FORK_WAIT_SECONDS = 1.0
MIGRATION_BUSY_MS = 5_000
"""Opening a new store may wait for another process that is migrating it; this happens on no host thread."""

LOG_RETRY_SECONDS = 0.01

CONNECT_SECONDS = 5
SILENCE_SECONDS = 30
"""After which a server that does not answer is given up, and by it a writer that says nothing in its turn: what a host
that has gone leaves behind would otherwise be waited for, by the kill switch as well, for as long as TCP does."""

_WRITERS = 0x6865616C7370616E
"""The advisory lock of writers on PostgreSQL, in the database of the store."""

_serials = itertools.count(1)
_inherited: list[Engine] = []


class Database:
    """Connections to the store.

    Args:
        url: SQLAlchemy URL; a SQLite file is made (0600) if it is not there.
        busy_ms: how long to wait for another process's lock.

    Raises:
        ConfigurationError: the URL cannot be used.
    """

    def __init__(self, url: str, *, busy_ms: int) -> None:
        try:
            self._url: URL = make_url(url)
            dialect = self._url.get_dialect()
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            raise _unusable(error) from error
        if dialect.is_async or dialect.name not in ("postgresql", "sqlite"):
            raise _unusable(f"{self._url.drivername} is no driver for it")
        self._busy_ms = busy_ms
        self._engine: Engine | None = None
        self._inode: tuple[int, int] | None = None
        self._gate = threading.Condition()
        self._users = 0
        self._forking = False
        hold_for_forks(self)

    @classmethod
    def for_host(cls, settings: Settings) -> Database:
        """Return the database as the helper threads of a service use it: impatient with locks."""
        return cls(settings.database_url, busy_ms=settings.host_busy_ms)

    @classmethod
    def for_tool(cls, settings: Settings) -> Database:
        """Return the database as the worker, the command line and the console use it."""
        return cls(settings.database_url, busy_ms=settings.busy_ms)

    @property
    def _patience(self) -> float:
        """Seconds that opening may wait for another process that is making the store."""
        return max(self._busy_ms, MIGRATION_BUSY_MS) / 1_000

    @property
    def name(self) -> str:
        """The URL without its password, for messages."""
        return self._url.render_as_string(hide_password=True)

    @functools.cached_property
    def path(self) -> Path | None:
        """The file of a SQLite store; None for another database."""
        if self._url.get_backend_name() != "sqlite":
            return None
        if not self._url.database or self._url.database == ":memory:":
            raise ConfigurationError(
                "HEALSPAN_DATABASE_URL names a database in memory, which no other process can see; give a file",
            )
        return Path(self._url.database)

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection that sees one moment of the store.

        Raises:
            StoreUnavailable: it cannot be reached, or is locked for too long.
            StoreCorrupt: it is damaged, or no store of healspan.
        """
        with self._connection(write=False) as connection, connection.begin():
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give a connection in a transaction that commits at the end, or not at all.

        Raises:
            StoreUnavailable, StoreCorrupt: as `reading`; nothing was written.
        """
        with self._connection(write=True) as connection, connection.begin():
            yield connection

    def data_version(self) -> tuple[int, int] | None:
        """Return a value that changes when another connection changes a SQLite store; None on other databases.

        Raises:
            StoreUnavailable, StoreCorrupt: as `reading`.
        """
        if self.path is None:
            return None
        with self._connection(write=False) as connection:
            # The pragma compares with what this very connection saw last, so it goes with a serial of its own.
            pooled = connection.connection
            serial = pooled.info.setdefault("healspan_serial", next(_serials))
            return serial, _of_sqlite(connection).execute("PRAGMA data_version").fetchone()[0]

    def check(self) -> list[str]:
        """Look for damage; return what is wrong in words, nothing if all is well.

        Raises:
            StoreUnavailable, StoreCorrupt: as `reading`.
        """
        if self.path is None:
            return []
        with self.reading() as connection:
            found = [row[0] for row in connection.exec_driver_sql("PRAGMA quick_check(20)")]
            orphans = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
        damage = [] if found == ["ok"] else found
        return damage + [f"a row of {row[0]} refers to a row of {row[2]} that is not there" for row in orphans]

    def settle(self) -> None:
        """Bring everything from the write-ahead log into the file of a SQLite store, as far as nobody is reading.

        Raises:
            StoreUnavailable, StoreCorrupt: as `reading`.
        """
        if self.path is None:
            return
        with self._connection(write=False) as connection:
            _of_sqlite(connection).execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        """Close all connections; the next use opens new ones."""
        with self._gate:
            if self._engine is not None:
                self._engine.dispose()
                self._engine = None

    @contextlib.contextmanager
    def _connection(self, *, write: bool) -> Iterator[Connection]:
        with self._translated(), self._in_use() as engine:
            options: dict[str, Any] = {"healspan_write": write}
            with engine.connect().execution_options(**options) as connection:
                yield connection

    @contextlib.contextmanager
    def _in_use(self) -> Iterator[Engine]:
        with self._gate:
            self._gate.wait_for(lambda: not self._forking, timeout=FORK_WAIT_SECONDS)
            engine = self._open()
            self._users += 1
        try:
            yield engine
        finally:
            with self._gate:
                self._users -= 1
                self._gate.notify_all()

    def _open(self) -> Engine:
        path = self.path
        if self._engine is not None:
            if path is None or self._inode == _inode(path):
                return self._engine
            # Somebody removed or replaced the file: what is written to the old one nobody would ever see.
            logger.warning("the store %s was replaced; it is opened again", self.name)
            self._engine.dispose()
            self._engine = None
        if path is not None:
            _make_private(path)
        engine = self._create()
        try:
            # Imported here: a process that finds the store up to date never loads the migrations.
            from healspan.remediation.store.migrate import migrate

            migrate(engine)
        except BaseException:
            engine.dispose()
            raise
        # Its connections are patient, as a migration needs it; those that follow are as patient as they should be.
        engine.dispose()
        self._engine = engine
        self._inode = _inode(path) if path is not None else None
        return engine

    def _create(self) -> Engine:
        if self.path is None:
            try:
                engine = create_engine(self._url, pool_pre_ping=True, pool_size=2, connect_args=_bounds(self._url))
            except ImportError as error:
                raise _unusable(error) from error
            if engine.dialect.name == "postgresql":
                event.listen(engine, "begin", self._begin_on_postgresql)
            return engine
        try:
            engine = create_engine(
                self._url,
                connect_args={
                    "timeout": self._patience,
                    "isolation_level": None,
                    "check_same_thread": False,
                },
                pool_size=2,
            )
        except ImportError as error:
            raise _unusable(error) from error
        event.listen(engine, "connect", self._prepare)
        event.listen(engine, "begin", _begin)
        return engine

    def _prepare(self, connection: sqlite3.Connection, _record: object) -> None:
        _log_ahead(connection, time.monotonic() + self._patience)
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA foreign_keys=ON")
        if self._engine is not None:
            connection.execute(f"PRAGMA busy_timeout={self._busy_ms}")

    def _begin_on_postgresql(self, connection: Connection) -> None:
        if not connection.get_execution_options().get("healspan_write", False):
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            return
        wait = self._busy_ms if self._engine is not None else round(self._patience * 1_000)
        # 0 would be forever.
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {max(wait, 1)}")
        connection.exec_driver_sql(f"SET LOCAL idle_in_transaction_session_timeout = {SILENCE_SECONDS * 1_000}")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITERS})")

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn the driver's errors about the store into ours; those about one row or statement stay."""
        try:
            yield
        except (IntegrityError, DataError, ProgrammingError, NotSupportedError):
            raise
        except (DBAPIError, sqlite3.Error, PoolTimeout) as error:
            raise self._error(error) from error

    def _error(self, error: Exception) -> StoreError:
        origin = error.orig if isinstance(error, DBAPIError) else error
        detail = str(origin).strip().splitlines()[0] if str(origin).strip() else type(origin).__name__
        if isinstance(origin, sqlite3.Error) and is_corrupt(origin):
            return StoreCorrupt(
                f"the store {self.name} is damaged ({detail}); move the file aside and restart: facts that were not "
                "taken in yet wait in the spools, and 'healspan doctor' says what is left",
            )
        away = isinstance(error, OperationalError | PoolTimeout | sqlite3.Error)
        advice = (
            "check that it is reachable, that this user can write it and that there is room; facts wait in the spools"
            if away
            else "run 'healspan doctor'"
        )
        return StoreUnavailable(f"the store {self.name} did not do what was asked ({detail}); {advice}")

    # Around a fork

    def before_fork(self) -> None:
        """Wait until nobody is using a connection, and close them all; no longer than a host may be held up."""
        deadline = time.monotonic() + FORK_WAIT_SECONDS
        self._forking = True
        # Whoever opens the store holds the gate, for as long as a server takes to answer.
        if not self._gate.acquire(timeout=FORK_WAIT_SECONDS):
            return
        try:
            left = max(deadline - time.monotonic(), 0.0)
            if self._gate.wait_for(lambda: self._users == 0, timeout=left) and self._engine is not None:
                self._engine.dispose()
                self._engine = None
        finally:
            self._gate.release()

    def after_fork(self, *, child: bool) -> None:
        """Go on; connections are opened again when they are needed."""
        if child:
            self._gate = threading.Condition()
            self._users = 0
            self._forking = False
            if self._engine is not None:
                # Still in use at the fork: SQLite forbids the child even to close it.
                _inherited.append(self._engine)
                self._engine = None
            return
        self._forking = False
        if self._gate.acquire(blocking=False):
            self._gate.notify_all()
            self._gate.release()


def _bounds(url: URL) -> dict[str, int]:
    """Return the bounds of waiting for a server, in the words of libpq; what the URL says itself is left to it."""
    if url.get_driver_name() not in ("psycopg", "psycopg2"):
        return {}
    bounds = {
        "connect_timeout": CONNECT_SECONDS,
        "keepalives_idle": SILENCE_SECONDS // 3,
        "keepalives_interval": SILENCE_SECONDS // 3,
        "keepalives_count": 2,
        "tcp_user_timeout": SILENCE_SECONDS * 1_000,
    }
    return {name: bound for name, bound in bounds.items() if name not in url.query}


def _begin(connection: Connection) -> None:
    write = connection.get_execution_options().get("healspan_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _of_sqlite(connection: Connection) -> sqlite3.Connection:
    """Return SQLite's own connection; a store with a `path` has one."""
    return cast("sqlite3.Connection", connection.connection.driver_connection)


def _log_ahead(connection: sqlite3.Connection, deadline: float) -> None:
    """Set the write-ahead log, which the file remembers; `deadline` is monotonic, in seconds.

    SQLite asks its busy handler for every lock but this one: of several that open a new file at once, all but one
    would be refused without a wait.
    """
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                raise
            time.sleep(LOG_RETRY_SECONDS)
        else:
            return


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _make_private(path: Path) -> None:
    """Create the file with mode 0600 before SQLite would with another; its companions copy the mode.

    A file that is there is never opened: closing any descriptor of it would drop all locks that this process's
    connections hold, and the next process to leave would delete the log they are writing to.
    """
    try:
        if not path.parent.exists():
            private_directory(path.parent)
        private_file(path)
    except OSError as error:
        raise StoreUnavailable(
            f"the store {path} cannot be written ({error.strerror}); give this user the right to write it, or set "
            "HEALSPAN_DATABASE_URL to another place",
        ) from error


def _unusable(error: object) -> ConfigurationError:
    return ConfigurationError(
        f"HEALSPAN_DATABASE_URL cannot be used ({error}); give e.g. sqlite:////var/lib/healspan/healspan.db "
        "or postgresql+psycopg://user@host/healspan, and install the driver it names",
    )
