"""Sums of whole numbers, which are whole numbers on every database: PostgreSQL adds BIGINT up to NUMERIC."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, ColumnElement, case, cast, func

__all__ = ["number_of", "total"]


def total(numbers: ColumnElement[Any]) -> ColumnElement[int]:
    """Return the sum of a column of whole numbers; 0 of no rows."""
    return cast(func.coalesce(func.sum(numbers), 0), BigInteger)


def number_of(condition: ColumnElement[bool]) -> ColumnElement[int]:
    """Return in how many rows something holds."""
    return total(case((condition, 1), else_=0))
