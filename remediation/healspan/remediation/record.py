"""The base of every record that crosses between parts: frozen, closed, with one canonical JSON form."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import BaseModel, ConfigDict

__all__ = ["Record", "canonical_json", "content_address"]


class Record(BaseModel):
    """An immutable value; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


def canonical_json(payload: dict[str, Any]) -> bytes:
    """Return the one byte string of a JSON payload: sorted keys, no white space, UTF-8."""
    return json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def content_address(payload: dict[str, Any]) -> str:
    """Return the SHA-256 of the canonical JSON as 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(payload)).hexdigest()
