"""A boundary without any contract: a repair that needs a convention waits for a human there."""

from __future__ import annotations

from healspan.instrumentation import error_boundary


@error_boundary("unchecked", retry_safe=True)
def received(row):
    """Read a misspelt field; no annotation says what it must be."""
    return row["recieved_quantity"]
