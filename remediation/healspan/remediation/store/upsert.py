"""An insert that may find its row there already: each database has a clause of its own for that."""

from __future__ import annotations

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite

__all__ = ["Upsert", "insert_into"]

Upsert = sqlite.Insert | postgresql.Insert


def insert_into(table: Table, dialect: str) -> Upsert:
    """Return an insert that can be told what to do on a conflict.

    Args:
        table: what to insert into.
        dialect: name of the database's, ``sqlite`` or ``postgresql``.
    """
    return sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)
