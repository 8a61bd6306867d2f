"""The store as tools use it: the command line, the console, analytics, the exporter."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self

from healspan.remediation.settings import Settings
from healspan.remediation.store.controls import Controls
from healspan.remediation.store.database import Database
from healspan.remediation.store.fixes import Fixes
from healspan.remediation.store.goldens import Goldens
from healspan.remediation.store.incidents import Incidents
from healspan.remediation.store.masking import Masking
from healspan.remediation.store.outcomes import Outcomes
from healspan.remediation.store.plans import Plans
from healspan.remediation.store.projections import Projections
from healspan.remediation.store.retention import fixes_with, purge_before, purge_subject
from healspan.remediation.store.spending import Spending
from healspan.remediation.store.views import Purged

__all__ = ["Store"]


class Store:
    """Everything that can be asked of a store, by noun. Use as a context manager, or `close` it.

    Args:
        database: where it is.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.incidents = Incidents(database)
        self.fixes = Fixes(database)
        self.outcomes = Outcomes(database)
        self.plans = Plans(database)
        self.projections = Projections(database)
        self.masking = Masking(database)
        self.controls = Controls(database)
        self.goldens = Goldens(database)
        self.spending = Spending(database)

    @classmethod
    def open(cls, settings: Settings) -> Store:
        """Open the store that the settings name, and bring it up to date.

        Raises:
            ConfigurationError: the URL cannot be used.
            StoreUnavailable: it cannot be reached or written, or a newer healspan made it.
            StoreCorrupt: it is damaged.
        """
        settings.prepare()
        store = cls(Database.for_tool(settings))
        with store.database.reading():
            return store

    def purge_before(self, before: datetime, *, actor: str) -> Purged:
        """Erase incidents, runs and dead letters from before a moment."""
        return purge_before(self.database, before, actor=actor)

    def purge_expired(self, settings: Settings, *, now: datetime | None = None) -> Purged:
        """Erase what is older than `Settings.retention_days`."""
        moment = (now or datetime.now(UTC)) - timedelta(days=settings.retention_days)
        return purge_before(self.database, moment, actor="retention")

    def purge_subject(self, subject: str, *, actor: str) -> Purged:
        """Erase whatever contains a text."""
        return purge_subject(self.database, subject, actor=actor)

    def fixes_with(self, subject: str) -> tuple[str, ...]:
        """Return the ids of the fixes that contain a text, which no purge takes away."""
        return fixes_with(self.database, subject)

    def check(self) -> list[str]:
        """Look for damage; return what is wrong in words, nothing if all is well."""
        return self.database.check()

    def close(self) -> None:
        """Close all connections."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
