"""A request as a fake server received it, to be searched by a test."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

__all__ = ["Received"]


@dataclass(frozen=True)
class Received:
    """One request, whole: what a client let out of its process."""

    path: str
    headers: tuple[tuple[str, str], ...]
    """As they came, the key among them."""
    body: bytes

    def header(self, name: str) -> str:
        """Return the value of a header, whatever its case; "" if it is not there."""
        return next((value for each, value in self.headers if each.lower() == name.lower()), "")

    @property
    def key(self) -> str:
        """The key that came along, "" if none."""
        return self.header("x-api-key") or self.header("authorization").removeprefix("Bearer ").strip()

    @property
    def json(self) -> dict[str, Any]:
        """The body as JSON; empty if it is no JSON object."""
        try:
            parsed = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return parsed if isinstance(parsed, dict) else {}

    @property
    def wire(self) -> str:
        """All of it as one text, to search for what must not have left: as sent, and with its JSON read."""
        lines = [self.path, *(f"{name}: {value}" for name, value in self.headers)]
        return "\n".join((*lines, self.body.decode("utf-8", "replace"), *_texts(self.json)))


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for name, item in value.items() for text in (name, *_texts(item))]
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    return []
