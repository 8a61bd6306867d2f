"""Brings the store's tables to the revision this version of healspan works with.

Safe when several processes open a new store at once: whoever gets the write lock first migrates, in one
transaction, and the others find the work done. Alembic is loaded only when there is work.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from healspan.remediation.errors import StoreUnavailable

__all__ = ["HEAD", "VERSION_TABLE", "current_revision", "migrate"]

logger = logging.getLogger("healspan.store")

HEAD = "0007"
"""The newest revision in ``migrations/versions``; a test holds the two together."""

VERSION_TABLE = "healspan_revision"
"""Not Alembic's default name: a service may keep its own Alembic in the same database."""


def current_revision(connection: Connection) -> str | None:
    """Return the revision of a store; None if it is empty."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    found = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608 - a constant
    return None if found is None else str(found)


def migrate(engine: Engine) -> None:
    """Upgrade the store if it is older than this version of healspan.

    Raises:
        StoreUnavailable: it is newer.
    """
    with engine.connect() as connection:
        revision = current_revision(connection)
    if revision == HEAD:
        return
    with engine.connect().execution_options(healspan_write=True) as connection, connection.begin():
        revision = current_revision(connection)
        if revision != HEAD:
            with _told_in_one_line():
                _upgrade(connection, revision)
            logger.info("the store is of revision %s now, it was %s", HEAD, revision or "new")


@contextlib.contextmanager
def _told_in_one_line() -> Iterator[None]:
    """Keep what Alembic says of each step from the application's log; what it says in other threads is the host's."""
    mine = threading.get_ident()

    def is_not_mine(record: logging.LogRecord) -> bool:
        return record.thread != mine or record.levelno >= logging.WARNING

    loggers = [logging.getLogger(f"alembic.runtime.{name}") for name in ("migration", "plugins")]
    for one in loggers:
        one.addFilter(is_not_mine)
    try:
        yield
    finally:
        for one in loggers:
            one.removeFilter(is_not_mine)


def _upgrade(connection: Connection, revision: str | None) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from alembic.util.exc import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    if revision is not None:
        try:
            ScriptDirectory.from_config(config).get_revision(revision)
        except CommandError as error:
            raise StoreUnavailable(
                f"the store is of revision {revision!r}, which a newer healspan has made; upgrade this installation",
            ) from error
    command.upgrade(config, HEAD)
