"""A golden sample: a good call of a boundary as it is stored, signed by the machine that took it."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from pydantic import JsonValue

from healspan.remediation.fix import SignedRecord

__all__ = ["GoldenSample"]


class GoldenSample(SignedRecord):
    """A good call, stored without any loss."""

    sample_id: UUID
    boundary: str
    at: datetime
    arguments: dict[str, JsonValue]
    """By parameter name, defaults left out, each as `plain.encode` writes it."""
    result: JsonValue
    """Likewise."""
    digest: str
    """SHA-256 of the result in its canonical form: equal results, equal digests."""
