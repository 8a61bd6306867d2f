"""What the console adds to the command line: ``healspan console``, and ``healspan up`` for everything at once."""

from __future__ import annotations

import contextlib
from typing import Annotated

import typer

from healspan.remediation.errors import ConfigurationError, StoreUnavailable

__all__ = ["console", "up"]

_WATCH_SECONDS = 1.0


def console(
    host: Annotated[str | None, typer.Option(help="Where to listen; default: HEALSPAN_CONSOLE_HOST.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="Likewise; default: HEALSPAN_CONSOLE_PORT.")
    ] = None,
) -> None:
    """Serve the console, until stopped."""
    from healspan.dashboards.server import ConsoleServer
    from healspan.remediation.settings import load_settings
    from healspan.remediation.signals import stop_signal

    settings = load_settings()
    unusable = settings.why_unusable()
    if unusable is not None:
        raise StoreUnavailable(f"the console has nothing to show: {unusable}")
    with stop_signal() as stop:
        server = ConsoleServer(
            host=settings.console_host if host is None else host,
            port=settings.console_port if port is None else port,
        )
        with contextlib.closing(server):
            server.wait_until_ready(stop)
            if not stop.is_set():
                typer.echo(f"console    {server.url}")
            while not stop.wait(_WATCH_SECONDS):
                _check(server.running)


def up(
    host: Annotated[str | None, typer.Option(help="Where to listen; default: as the settings say.")] = None,
    console_port: Annotated[int | None, typer.Option(min=0, max=65_535, help="Default: HEALSPAN_CONSOLE_PORT.")] = None,
    metrics_port: Annotated[int | None, typer.Option(min=0, max=65_535, help="Default: HEALSPAN_METRICS_PORT.")] = None,
    every: Annotated[str, typer.Option(help="How often analytics run, e.g. 60s, 5m, 1h.")] = "60s",
    with_console: Annotated[bool, typer.Option("--console/--no-console", help="Serve the console.")] = True,
    with_metrics: Annotated[bool, typer.Option("--metrics/--no-metrics", help="Publish /metrics.")] = True,
    with_analytics: Annotated[bool, typer.Option("--analytics/--no-analytics", help="Run analytics.")] = True,
) -> None:
    """Run scheduled analytics, /metrics and the console together, on this machine, until stopped."""
    from healspan.analytics.commands import extra, interval

    with extra("console" if with_console else "analytics"):
        from healspan.analytics.masking import MaskingLimits
        from healspan.analytics.scheduler import AnalyticsScheduler
    from healspan.dashboards.server import ConsoleServer
    from healspan.remediation.claude.budget import Limits
    from healspan.remediation.exporter import StoreCollector
    from healspan.remediation.metrics_server import MetricsServer
    from healspan.remediation.settings import load_settings
    from healspan.remediation.signals import stop_signal
    from healspan.remediation.store import drain_all
    from healspan.remediation.store.repository import Store

    settings, pause = load_settings(), interval(every)
    server: ConsoleServer | None = None
    with contextlib.ExitStack() as running:
        stop = running.enter_context(stop_signal())
        store = running.enter_context(Store.open(settings))
        if with_metrics:
            published = MetricsServer(
                StoreCollector(store, budget=Limits.of(settings).day),
                host=settings.metrics_host if host is None else host,
                port=settings.metrics_port if metrics_port is None else metrics_port,
            )
            running.callback(published.close)
        if with_console:
            server = ConsoleServer(
                host=settings.console_host if host is None else host,
                port=settings.console_port if console_port is None else console_port,
            )
            running.callback(server.close)
        if with_analytics:
            scheduler = AnalyticsScheduler(
                store, every=pause, masking=MaskingLimits.of(settings), prepare=lambda: drain_all(settings)
            )
            scheduler.start()
            running.callback(scheduler.stop)
            typer.echo(f"analytics  every {every}, into {store.database.name}")
        if with_metrics:
            typer.echo(f"metrics    {published.url}")
        if server is not None:
            server.wait_until_ready(stop)
            typer.echo(f"console    {server.url}")
        typer.echo("Ctrl-C ends them all.")
        while not stop.wait(_WATCH_SECONDS):
            _check(server is None or server.running)


def _check(running: bool) -> None:
    if not running:
        raise ConfigurationError("the console has ended on its own; what it wrote above says why")
