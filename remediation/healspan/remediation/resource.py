"""What ``OTEL_RESOURCE_ATTRIBUTES`` says of this service, which is where deployments name theirs."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote

__all__ = ["resource_attributes"]

_LONGEST = 200


def resource_attributes(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the attributes of the resource, decoded and bounded; what cannot be read is left out."""
    found: dict[str, str] = {}
    for entry in environment.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","):
        key, separator, value = entry.partition("=")
        if separator:
            found[key.strip()] = unquote(value.strip())[:_LONGEST]
    return found
