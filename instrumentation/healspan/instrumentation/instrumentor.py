"""The instrumentor that ``opentelemetry-instrument`` finds: healspan takes part without a change to the service's code.

It opens no database, thread or port, since helper processes and parents are instrumented too; all that begins with the
first failure. It raises nothing, for an instrumentor that does ends those that come after it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Collection, Iterator
from difflib import get_close_matches
from os import PathLike
from pathlib import Path
from typing import Any

from opentelemetry import _logs, trace
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined] # it has no types

from healspan.instrumentation.configured import ConfiguredBoundaries
from healspan.instrumentation.hangup import Hangup
from healspan.instrumentation.screen import Screen
from healspan.instrumentation.signals.processors import LogWatcher, SpanWatcher
from healspan.instrumentation.signals.watcher import watcher
from healspan.instrumentation.uncaught import UncaughtHooks
from healspan.remediation.declaration import find_configuration
from healspan.remediation.errors import ConfigurationError
from healspan.remediation.own_errors import internal_error
from healspan.remediation.runtime import serve_as
from healspan.remediation.settings import load_settings

__all__ = ["HealspanInstrumentor"]

logger = logging.getLogger("healspan")

_PATIENCE_SECONDS = 5.0
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

    _watched: list[tuple[Any, SpanWatcher | LogWatcher]]
    """Providers that have a processor of ours; held, so that none is taken for another, or given a second one."""
    _configured: ConfiguredBoundaries | None
    _hangup: Hangup
    _uncaught: UncaughtHooks | None
    _screen: Screen
    _changing: threading.RLock
    _where: tuple[Path, str] | None
    """In which directory a file of boundaries is looked for again, and under which name; None: nowhere."""

    def __new__(cls, *args: Any, **kwargs: Any) -> HealspanInstrumentor:
        """Return the one there is."""
        instance: HealspanInstrumentor = super().__new__(cls, *args, **kwargs)
        if "_watched" not in vars(instance):
            instance._watched = []
            instance._configured = instance._uncaught = instance._where = None
            instance._hangup = Hangup(instance._reload)
            instance._screen = Screen(logger)
            instance._changing = threading.RLock()
            if hasattr(os, "register_at_fork"):
                os.register_at_fork(after_in_child=instance._after_fork)
        return instance

    def instrumentation_dependencies(self) -> Collection[str]:
        """Nothing else has to be installed."""
        return ()

    def instrument(self, **options: Any) -> Any:
        """Begin; see the class. Threads that begin and end at once do so one after the other."""
        with self._alone():
            return super().instrument(**options)

    def uninstrument(self, **options: Any) -> Any:
        """Put everything back."""
        with self._alone():
            return super().uninstrument(**options)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        # To begin imports what a file refers to: who holds a module's import and waits for us must not do so for ever.
        mine = self._changing.acquire(timeout=_PATIENCE_SECONDS)
        try:
            yield
        finally:
            if mine:
                self._changing.release()

    def _instrument(self, **options: Any) -> None:
        self._screen.install()
        options = _usable(options)
        with internal_error("instrument"):
            traces = options.get("tracer_provider") or trace.get_tracer_provider()
            _name_service(traces)
            if options.get("spans", True):
                self._watch_spans(traces)
            if options.get("logs", True):
                self._watch_logs(options.get("logger_provider") or _logs.get_logger_provider())
            watcher.active = True
        with internal_error("configure"):
            settings = load_settings()
            if options.get("uncaught", settings.uncaught):
                self._uncaught = UncaughtHooks(watcher)
                self._uncaught.install()
            self._configure(str(options.get("config") or settings.config))

    def _uninstrument(self, **_: Any) -> None:
        with internal_error("uninstrument"):
            watcher.active = False
            for _provider, processor in self._watched:
                processor.active = False
            if self._uncaught is not None:
                self._uncaught.remove()
            self._hangup.remove()
            if self._configured is not None:
                self._configured.remove()
            self._configured = self._uncaught = self._where = None
        self._screen.remove()

    def _configure(self, chosen: str) -> None:
        directory = _here()
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
        self._where = directory, chosen
        self._hangup.install()

    def _reload(self) -> None:
        with internal_error("read the configuration again"):
            if self._where is None:
                return
            configured, where = self._configured, self._where
            if configured is None:
                path = find_configuration(*where)
                if path is None:
                    logger.warning("healspan finds no file in %s that declares boundaries", where[0])
                    return
                configured = self._configured = ConfiguredBoundaries(path)
            try:
                configured.apply()
            finally:
                if self._configured is not configured or self._where is not where:  # uninstrumented meanwhile
                    configured.remove()
            logger.info("healspan has read %s again", configured.path)

    def _after_fork(self) -> None:
        """Read a file that has changed.

        A server that starts its workers anew at SIGHUP, as gunicorn, forks them from a process that has read the file
        as it was, and hears no SIGHUP itself.
        """
        self._changing = threading.RLock()
        configured = self._configured
        if configured is not None:
            configured.forked()
        if self._where is not None and (configured is None or configured.is_outdated()):
            with contextlib.suppress(RuntimeError):  # no more threads
                threading.Thread(target=self._reload, name="healspan-reload", daemon=True).start()

    def _watch_spans(self, provider: Any) -> None:
        if not hasattr(provider, "add_span_processor"):
            _no_provider("spans", "tracer_provider")
        elif not self._wake(provider, SpanWatcher):
            processor = SpanWatcher(watcher)
            provider.add_span_processor(processor)
            self._watched.append((provider, processor))

    def _watch_logs(self, provider: Any) -> None:
        if not hasattr(provider, "add_log_record_processor"):
            _no_provider("log records", "logger_provider")
        elif not self._wake(provider, LogWatcher):
            processor = LogWatcher(watcher)
            provider.add_log_record_processor(processor)
            self._watched.append((provider, processor))

    def _wake(self, provider: Any, kind: type[SpanWatcher | LogWatcher]) -> bool:
        """Have the processor that a provider has of ours take signals again; False if it has none."""
        mine = [one for each, one in self._watched if each is provider and type(one) is kind]
        for processor in mine:
            processor.active = True
        return bool(mine)


def _here() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:  # it was removed, and holds no file
        return Path()


def _no_provider(what: str, option: str) -> None:
    logger.warning(
        "healspan hears of no exceptions of %s: no SDK of OpenTelemetry is set up for them; start the service by "
        "opentelemetry-instrument, or call instrument() after the SDK is set up, or give it %s=",
        what,
        option,
    )


def _name_service(provider: Any) -> None:
    """Take over the name that OpenTelemetry has for the service, wherever it has it from."""
    known = getattr(getattr(provider, "resource", None), "attributes", {})
    name = str(known.get("service.name", ""))
    if not name.startswith("unknown_service"):
        serve_as(name, str(known.get("service.version", "")))


def _usable(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that can be meant; of the others it is said what is wrong with them."""
    usable = {}
    for name, value in options.items():
        if name not in _OPTIONS:
            meant = get_close_matches(name, _OPTIONS, n=1)
            advice = f"did you mean {meant[0]!r}?" if meant else f"there are {', '.join(_OPTIONS)}."
            logger.warning("healspan has no option %r; %s It is ignored", name, advice)
        elif name in {"spans", "logs", "uncaught"} and not isinstance(value, bool):
            logger.warning("the option %s=%r is neither true nor false, and is ignored", name, value)
        elif name == "config" and not isinstance(value, str | PathLike):
            logger.warning("the option config=%r is no path, and is ignored", value)
        else:
            usable[name] = value
    return usable
