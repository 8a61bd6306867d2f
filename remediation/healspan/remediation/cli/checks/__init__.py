"""What `healspan doctor` looks at. Every check looks and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from healspan.remediation.boundary import Boundary
from healspan.remediation.cli.checks.check import Check
from healspan.remediation.cli.checks.collector import check_collector
from healspan.remediation.cli.checks.declared import check_boundaries, check_configuration
from healspan.remediation.cli.checks.environment import (
    SettingLine,
    check_claude,
    check_embedder,
    check_extras,
    check_repairers,
    check_sandbox,
    check_settings,
    setting_lines,
)
from healspan.remediation.cli.checks.files import check_directory, check_keys, check_spools
from healspan.remediation.cli.checks.stored import check_store
from healspan.remediation.settings import Settings

__all__ = ["Check", "SettingLine", "run_checks", "setting_lines"]


def run_checks(
    settings: Settings,
    boundaries: Mapping[str, Boundary],
    environment: Mapping[str, str],
    *,
    imported: bool = False,
) -> Iterator[Check]:
    """Yield every check.

    Args:
        settings: read once.
        boundaries: of the application; empty where it is not imported.
        environment: of this process.
        imported: whether it is.
    """
    yield from check_settings(settings, environment)
    unusable = settings.why_unusable()
    if unusable is None:
        yield from check_directory(settings.data_dir)
        yield from check_keys(settings)
        yield from check_spools(settings)
        yield from check_store(settings, boundaries)
    else:
        yield Check(name="data directory", status="problem", detail=unusable)
    yield from check_configuration(settings, Path.cwd(), boundaries, imported=imported)
    yield from check_boundaries(boundaries)
    yield from check_extras()
    yield from check_repairers()
    yield from check_collector(environment)
    yield from check_sandbox(settings)
    yield check_claude(settings)
    yield from check_embedder(settings)
