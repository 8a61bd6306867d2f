"""What analytics adds to the command line: ``healspan analytics run`` and ``healspan analytics schedule``."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from healspan.remediation.errors import ConfigurationError

if TYPE_CHECKING:
    from healspan.analytics.job import JobReport

__all__ = ["app", "extra", "interval", "sentence"]

app = typer.Typer(help="Work out rewards of fixes and hotspots.", no_args_is_help=True, add_completion=False)

_LONGEST = 7 * 24 * 3_600
"""Seconds; a report that is older describes another week."""

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3_600}


def interval(text: str) -> timedelta:
    """Read an interval such as ``60s``, ``5m`` or ``1h``.

    Raises:
        typer.BadParameter: it is none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    if found is None:
        raise typer.BadParameter(f"{text!r} is no interval; write it like 60s, 5m or 1h")
    seconds = float(found[1]) * _UNITS[found[2]]
    if seconds > _LONGEST:
        raise typer.BadParameter(f"{text!r} is more than a week; give a shorter interval, like 60s, 5m or 1h")
    return timedelta(seconds=seconds)


@contextlib.contextmanager
def extra(name: str) -> Iterator[None]:
    """Say which extra to install where an import inside fails.

    Raises:
        ConfigurationError: a package is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"{error.name} is not installed; pip install 'healspan[{name}]'") from error


@app.command()
def run(
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Recompute reward scores, hotspots and masking alarms once."""
    with extra("analytics"):
        from healspan.analytics.job import run_job
        from healspan.analytics.masking import MaskingLimits
    from healspan.remediation.settings import load_settings
    from healspan.remediation.store import drain_all
    from healspan.remediation.store.repository import Store

    settings = load_settings()
    with Store.open(settings) as store:
        drain_all(settings)
        report = run_job(store, masking=MaskingLimits.of(settings))
    typer.echo(report.model_dump_json(indent=2) if json else sentence(report))


@app.command()
def schedule(
    every: Annotated[str, typer.Option(help="How often, e.g. 60s, 5m, 1h.")] = "60s",
) -> None:
    """Recompute again and again, in one process of the fleet at a time, until stopped."""
    with extra("analytics"):
        from healspan.analytics.masking import MaskingLimits
        from healspan.analytics.scheduler import AnalyticsScheduler
    from healspan.remediation.settings import load_settings
    from healspan.remediation.signals import stop_signal
    from healspan.remediation.store import drain_all
    from healspan.remediation.store.repository import Store

    settings, pause = load_settings(), interval(every)
    with Store.open(settings) as store, stop_signal() as stop:
        scheduler = AnalyticsScheduler(
            store,
            every=pause,
            masking=MaskingLimits.of(settings),
            prepare=lambda: drain_all(settings),
            report=lambda report: typer.echo(sentence(report)),
        )
        scheduler.start()
        stop.wait()
        scheduler.stop()


def sentence(report: JobReport) -> str:
    """Say what a run did."""
    return (
        f"{report.at:%H:%M:%S} UTC: scored {report.fixes} fixes ({report.written} changed) and {report.hotspots} "
        f"pairs of boundary and document type in {report.seconds:.2f} s"
        + (f"; hiding a fault: {report.masking}, see 'healspan review list'" if report.masking else "")
    )
