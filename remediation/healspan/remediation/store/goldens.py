"""The golden samples of the store."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy import func, select

from healspan.remediation.sample import GoldenSample
from healspan.remediation.store.database import Database
from healspan.remediation.store.rows import Inserts, row_of
from healspan.remediation.store.tables import GoldenRow, table_of

__all__ = ["Goldens"]

logger = logging.getLogger("healspan.store")

_GOLDEN = table_of(GoldenRow)


class Goldens:
    """Good calls, by boundary."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, samples: Iterable[GoldenSample]) -> None:
        """Add samples that are not there yet.

        Raises:
            StoreUnavailable, StoreCorrupt: nothing was written.
        """
        with self._database.writing() as connection:
            inserts = Inserts(connection.dialect)
            for sample in samples:
                table, values = row_of(sample)
                inserts.add(connection, table, [values])

    def latest(self, boundary: str, *, limit: int = 32) -> tuple[GoldenSample, ...]:
        """Return the latest samples of a boundary, newest first; one that cannot be read is left out and logged."""
        query = (
            select(_GOLDEN.c.body)
            .where(_GOLDEN.c.boundary == boundary)
            .order_by(_GOLDEN.c.position.desc())
            .limit(limit)
        )
        found: list[GoldenSample] = []
        with self._database.reading() as connection:
            for body in connection.execute(query).scalars():
                try:
                    found.append(GoldenSample.model_validate_json(body))
                except ValidationError:
                    logger.warning("a stored golden sample cannot be read and is left out; upgrade healspan")
        return tuple(found)

    def erased(self, sample_ids: Collection[UUID]) -> frozenset[UUID]:
        """Return those of the samples that the store does not have (any more)."""
        if not sample_ids:
            return frozenset()
        query = select(_GOLDEN.c.sample_id).where(_GOLDEN.c.sample_id.in_([str(one) for one in sample_ids]))
        with self._database.reading() as connection:
            there = {UUID(one) for one in connection.execute(query).scalars()}
        return frozenset(sample_ids) - there

    def counts(self) -> dict[str, int]:
        """Return the number of samples of each boundary that has any."""
        query = select(_GOLDEN.c.boundary, func.count()).group_by(_GOLDEN.c.boundary).order_by(_GOLDEN.c.boundary)
        with self._database.reading() as connection:
            return {row[0]: int(row[1]) for row in connection.execute(query)}
