"""Who is failing: the OpenTelemetry resource of this process, and a cheap look at its state."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from pydantic import JsonValue

from healspan.remediation.resource import resource_attributes

__all__ = ["memory_usage_mb", "resource_from_environment", "system_state"]

_KEPT = frozenset(
    (
        "service.name",
        "service.namespace",
        "service.version",
        "service.instance.id",
        "deployment.environment.name",
    ),
)
_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 1_048_576 if hasattr(os, "sysconf") else 0.0
_MAX_MODULES = 12


def resource_from_environment(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return service name, version and instance from the ``OTEL_*`` variables of the environment."""
    given = os.environ if environment is None else environment
    found = {key: value for key, value in resource_attributes(given).items() if key in _KEPT}
    if name := given.get("OTEL_SERVICE_NAME"):
        found["service.name"] = name[:200]
    return found


def memory_usage_mb() -> float | None:
    """Return the resident memory of this process in MiB, or None where the system does not tell."""
    try:
        with open("/proc/self/statm", "rb", buffering=0) as statm:  # noqa: PTH123 - half the time of a Path
            return round(int(statm.read(128).split()[1]) * _PAGE_MB, 1)
    except (OSError, ValueError, IndexError):
        return None


def system_state(active_modules: list[str]) -> dict[str, JsonValue]:
    """Return what is known of the process now.

    Args:
        active_modules: those on the failing stack, the innermost last. Of many the last are kept: a web framework has
            a dozen of its own before the first of the application's.
    """
    state: dict[str, JsonValue] = {
        "active_modules": list(active_modules[-_MAX_MODULES:]),
        "loaded_modules": len(sys.modules),
    }
    if (memory := memory_usage_mb()) is not None:
        state["memory_usage_mb"] = memory
    return state
