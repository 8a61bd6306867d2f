"""A store to which a property test does what a list of words says; each word is a method."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import delete

from healspan.remediation.record import Record
from healspan.remediation.settings import load_settings
from healspan.remediation.store.ingest import add_facts
from healspan.remediation.store.repository import Store
from healspan.remediation.store.rows import Inserts
from healspan.remediation.store.tables import TABLES

START = datetime(2026, 1, 1, tzinfo=UTC)
"""Minutes count from here."""


class Deeds:
    """What can be done to any store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def empty(self) -> None:
        """Take everything out."""
        with self.store.database.writing() as connection:
            for table in reversed(TABLES):
                connection.execute(delete(table))

    def write(self, *records: Record) -> None:
        """Let facts arrive."""
        with self.store.database.writing() as connection:
            add_facts(connection, Inserts(connection.dialect), [(one, None) for one in records], now=START)

    def purge(self, minute: int) -> None:
        """Erase what is older."""
        self.store.purge_before(START + timedelta(minutes=minute), actor="test")

    def erase(self, name: str) -> None:
        """Erase what is about somebody."""
        self.store.purge_subject(f"about {name}", actor="test")


@contextlib.contextmanager
def store_in(directory: Path) -> Iterator[Store]:
    """A store of its own, whatever the environment says."""
    known = load_settings().model_copy(
        update={"data_dir": directory, "database_url": f"sqlite:///{directory / 'store.db'}"}
    )
    with Store.open(known) as store:
        yield store
