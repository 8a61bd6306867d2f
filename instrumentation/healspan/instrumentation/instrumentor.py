"""The instrumentor that ``opentelemetry-instrument`` finds: healspan takes part without a change to the service's code.

It opens no database, thread or port, since helper processes and parents are instrumented too; all that begins with the
first failure. It raises nothing, for an instrumentor that does ends those that come after it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Collection
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from opentelemetry import _logs, trace
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined] # it has no types

from healspan.instrumentation.configured import ConfiguredBoundaries
from healspan.instrumentation.hangup import Hangup
from healspan.instrumentation.signals.processors import LogWatcher, SpanWatcher
from healspan.instrumentation.signals.watcher import watcher
from healspan.instrumentation.uncaught import UncaughtHooks
from healspan.remediation.declaration import find_configuration
from healspan.remediation.errors import ConfigurationError
from healspan.remediation.runtime import internal_error
from healspan.remediation.settings import load_settings

__all__ = ["HealspanInstrumentor"]

logger = logging.getLogger("healspan")

_OPTIONS = ("tracer_provider", "logger_provider", "spans", "logs", "uncaught", "config")


class HealspanInstrumentor(BaseInstrumentor):  # type: ignore[misc] # likewise
    """Makes incidents of the exceptions that spans and log records carry, and puts configured boundaries on.

    Options of `instrument`, which a declarative configuration may give as well:
        tracer_provider: whose spans; default: the global one.
        logger_provider: whose log records; likewise.
        spans: whether exceptions of spans are taken; default True.
        logs: whether those of log records are.
        uncaught: whether exceptions that nobody catches are taken, of the main thread, threads, asyncio's tasks and the
            processes of multiprocessing; default False, or ``HEALSPAN_UNCAUGHT``.
        config: the file that declares boundaries; default: ``HEALSPAN_CONFIG``, or that of the working directory.
    """

    _watched: list[Any]
    """Providers that have a processor of ours; held, so that none is taken for another."""
    _configured: ConfiguredBoundaries | None
    _hangup: Hangup | None
    _uncaught: UncaughtHooks | None
    _reload: Callable[[], None] | None

    def __new__(cls, *args: Any, **kwargs: Any) -> HealspanInstrumentor:
        """Return the one there is."""
        instance: HealspanInstrumentor = super().__new__(cls, *args, **kwargs)
        if "_watched" not in vars(instance):
            instance._watched = []
            instance._configured = instance._hangup = instance._uncaught = instance._reload = None
            if hasattr(os, "register_at_fork"):
                os.register_at_fork(after_in_child=instance._after_fork)
        return instance

    def instrumentation_dependencies(self) -> Collection[str]:
        """Nothing else has to be installed."""
        return ()

    def _instrument(self, **options: Any) -> None:
        with internal_error("instrument"):
            _refuse_unknown(options)
            if options.get("spans", True):
                self._watch_spans(options.get("tracer_provider") or trace.get_tracer_provider())
            if options.get("logs", True):
                self._watch_logs(options.get("logger_provider") or _logs.get_logger_provider())
            watcher.active = True
        with internal_error("configure"):
            settings = load_settings()
            if options.get("uncaught", settings.uncaught):
                self._uncaught = UncaughtHooks(watcher)
                self._uncaught.install()
            self._configure(options.get("config") or settings.config)

    def _uninstrument(self, **_: Any) -> None:
        # A provider gives no processor back: those there are stay, and take nothing.
        watcher.active = False
        if self._uncaught is not None:
            self._uncaught.remove()
        if self._hangup is not None:
            self._hangup.remove()
        if self._configured is not None:
            self._configured.remove()
        self._hangup = self._configured = self._uncaught = self._reload = None

    def _configure(self, chosen: str) -> None:
        directory = Path.cwd()
        try:
            path = find_configuration(directory, chosen)
        except ConfigurationError:
            # Whoever corrects the file sends SIGHUP, as for any other, and that must not end the service.
            self._listen(directory, chosen)
            raise
        if path is not None:
            self._configured = ConfiguredBoundaries(path)
            self._listen(directory, chosen)
            self._configured.apply()

    def _listen(self, directory: Path, chosen: str) -> None:
        """Read the file again at each SIGHUP; one that could not be found at first is looked for where it was."""

        def reload() -> None:
            with internal_error("read the configuration again"):
                if self._configured is None:
                    path = find_configuration(directory, chosen)
                    if path is None:
                        logger.warning("healspan finds no file in %s that declares boundaries", directory)
                        return
                    self._configured = ConfiguredBoundaries(path)
                self._configured.apply()
                logger.info("healspan has read %s again", self._configured.path)

        self._reload = reload
        self._hangup = Hangup(reload)
        self._hangup.install()

    def _after_fork(self) -> None:
        """Read a file that has changed.

        A server that starts its workers anew at SIGHUP, as gunicorn, forks them from a process that has read the file
        as it was, and hears no SIGHUP itself.
        """
        configured = self._configured
        if configured is not None:
            configured.forked()
        if self._reload is not None and (configured is None or configured.is_outdated()):
            with contextlib.suppress(RuntimeError):  # no more threads
                threading.Thread(target=self._reload, name="healspan-reload", daemon=True).start()

    def _watch_spans(self, provider: Any) -> None:
        if any(each is provider for each in self._watched):
            return
        if not hasattr(provider, "add_span_processor"):
            _no_provider("spans", "tracer_provider")
            return
        provider.add_span_processor(SpanWatcher(watcher))
        self._watched.append(provider)

    def _watch_logs(self, provider: Any) -> None:
        if any(each is provider for each in self._watched):
            return
        if not hasattr(provider, "add_log_record_processor"):
            _no_provider("log records", "logger_provider")
            return
        provider.add_log_record_processor(LogWatcher(watcher))
        self._watched.append(provider)


def _no_provider(what: str, option: str) -> None:
    logger.warning(
        "healspan hears of no exceptions of %s: no SDK of OpenTelemetry is set up for them; start the service by "
        "opentelemetry-instrument, or call instrument() after the SDK is set up, or give it %s=",
        what,
        option,
    )


def _refuse_unknown(options: dict[str, Any]) -> None:
    for name in options:
        if name not in _OPTIONS:
            meant = get_close_matches(name, _OPTIONS, n=1)
            advice = f"did you mean {meant[0]!r}?" if meant else f"there are {', '.join(_OPTIONS)}"
            logger.warning("healspan has no option %r; %s It is ignored", name, advice)
