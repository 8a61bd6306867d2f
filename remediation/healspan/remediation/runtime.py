"""The runtime: what a process needs to heal, started when it is first needed and once per process.

A parent that forks, or a helper process that never fails, opens no file, thread or port. Whatever goes wrong
in here is logged, counted and kept from the application.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from functools import partial

from healspan.remediation.boundary import boundaries
from healspan.remediation.counted import counted
from healspan.remediation.credit import Credit
from healspan.remediation.engine import Engine
from healspan.remediation.errors import HealspanError
from healspan.remediation.exposition import Exposition
from healspan.remediation.golden import Exchange
from healspan.remediation.interrupts import is_interrupt
from healspan.remediation.later import Later
from healspan.remediation.metrics import Metrics, host_metrics
from healspan.remediation.own_errors import count_with, internal_error, report
from healspan.remediation.own_lock import OwnLock
from healspan.remediation.probation import Probation
from healspan.remediation.repair import Repairs
from healspan.remediation.sandbox import Sandbox
from healspan.remediation.scrubbing import CleanContexts, Scrubber
from healspan.remediation.second_tier import SecondTier
from healspan.remediation.serving import Serving
from healspan.remediation.settings import UNNAMED, Settings, load_settings
from healspan.remediation.signing import KeyRing
from healspan.remediation.store import Drainer, FixIndex, Reach, RunHistory, Snapshot, Spool
from healspan.remediation.switch import obeyed

__all__ = [
    "Runtime",
    "current_settings",
    "running",
    "runtime",
    "serve_as",
    "shut_down",
    "start_soon",
    "starts_now",
    "switched_off",
]

TALLY_SECONDS = 1.0
EXPOSURE_SECONDS = 10.0
RESTART_SECONDS = 30.0
"""After a start that failed, the next one is tried no sooner."""


class Runtime:
    """Everything that heals in this process.

    Args:
        settings: read once.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.resource = settings.resource
        self.metrics: Metrics = host_metrics(settings.service_name)
        self.scrubber = Scrubber(
            safe_keys=frozenset(settings.safe_keys),
            disabled_patterns=frozenset(settings.disabled_patterns),
        )
        self.repairs = Repairs(settings.in_app)
        self.serving = Serving(self.repairs)
        self._contexts = CleanContexts(self.scrubber)
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._exposed = time.monotonic()
        self._flushing = threading.RLock()
        self.exposition = Exposition(settings, waiting=self.metrics.waiting)
        if settings.disabled:
            return
        settings.prepare()
        self.keys = KeyRing.open(settings.keys_dir)
        self.spool = Spool(settings, on_drop=self.metrics.dropped)
        self.history = RunHistory()
        self._switched_off = False
        store_error = self.metrics.store_error
        reach = Reach(on_lost=store_error)
        self.index = FixIndex(
            settings, trust=self.keys.trust, vouch=self.keys.verify, on_change=self._serve, reach=reach
        )
        self.drainer = Drainer(settings, self.spool, reach=reach)
        self.probation = Probation(
            index=self.index,
            keys=self.keys,
            preset=settings.policy,
            now=lambda: datetime.now(UTC),
            on_decision=self.metrics.trial_decision,
        )
        self.credit = Credit(
            index=self.index,
            history=self.history,
            probation=self.probation,
            keys=self.keys,
            contexts=self._contexts,
            append=self.spool.append_many,
            on_repaired=self.metrics.repaired,
        )
        self.sandbox = Sandbox(
            seconds=settings.sandbox_seconds,
            memory=settings.sandbox_memory_mb * 1024 * 1024,
            host_calls=settings.sandbox_host_calls,
            workers=settings.sandbox_workers,
        )
        self.second_tier = SecondTier(
            settings,
            serving=lambda: self.index.snapshot.candidates,
            resting=self.index.resting,
            scrubber=self.scrubber,
            sandbox=self.sandbox,
            append=self.spool.append,
            consulted=self.metrics.consulted,
            on_store_error=partial(store_error, "similar"),
        )
        self.engine = Engine(
            journal=self.spool,
            index=self.index,
            keys=self.keys,
            repairs=self.repairs,
            diagnosers=self.second_tier.diagnosers,
            probation=self.probation,
            preset=settings.policy,
            adoptions_per_day=settings.adoptions_per_day,
            flight_wait=settings.flight_wait_seconds,
            replay_seconds=settings.replay_ms / 1_000,
            search_seconds=settings.search_ms / 1_000,
            lesson_rest=timedelta(minutes=settings.lesson_minutes),
            sandbox=self.sandbox,
        )
        self.later = Later(
            waiting=settings.claude_concurrent,
            on_error=lambda error: report("diagnose", error),
            on_drop=self.metrics.dropped,
        )
        self.exchange = Exchange(
            settings,
            keys=self.keys,
            scrubber=self.scrubber,
            append=self.spool.append,
            boundaries=boundaries,
            on_error=partial(store_error, "golden"),
        )

    def start(self) -> None:
        """Load what other processes have learned and start the helper threads."""
        if self.settings.disabled:
            return
        self.index.start(self.history)
        self.drainer.start()
        flusher = threading.Thread(target=self._flush_forever, name="healspan-flush", daemon=True)
        flusher.start()
        self._threads.append(flusher)

    def stop(self, timeout: float = 1.0) -> None:
        """Flush and stop the helper threads, within a bound."""
        if self.settings.disabled:
            return
        self._stopping.set()
        self.later.stop(timeout)
        with internal_error("stop"):
            self.flush(everything=True)
        self.index.stop()
        self.repairs.uninstall_all()
        with internal_error("golden"):
            self.exchange.exchange(look=False)
            self.exchange.close()
        with internal_error("second tier"):
            self.second_tier.close()
        self.drainer.stop(timeout)
        self.sandbox.close()
        self.spool.close()
        with internal_error("publish"):
            self.exposition.close()

    def _serve(self, snapshot: Snapshot) -> None:
        """Install what serves; where the kill switch was turned, write down that this process obeyed."""
        self.serving.serve(snapshot)
        if snapshot.disabled is not self._switched_off:
            self._switched_off = snapshot.disabled
            entry = obeyed(
                self.resource["service.instance.id"],
                off=snapshot.disabled,
                not_original=self.repairs.verify_uninstalled() if snapshot.disabled else [],
                at=datetime.now(UTC),
            )
            self.spool.append("audit", entry)

    @property
    def disabled(self) -> bool:
        """Whether a kill switch is on."""
        return self.settings.disabled or self.index.disabled

    # Flushing

    def flush(self, *, everything: bool = False) -> None:
        """Write down what was counted; exposure only when it is due, or everything.

        One at a time: what another thread is just writing down is in the spool when this returns.
        """
        with self._flushing:
            self.metrics.publish()
            self.credit.flush()
            if everything or time.monotonic() - self._exposed >= EXPOSURE_SECONDS:
                self._exposed = time.monotonic()
                for row in counted():
                    kept = row.model_copy(update={"context_keys": dict(self._contexts.of(row.context_keys))})
                    self.spool.append("exposure", kept)

    def _flush_forever(self) -> None:
        while not self._stopping.wait(TALLY_SECONDS):
            with internal_error("publish"):
                self.exposition.keep_up()
            with internal_error("flush"):
                self.flush()
                self.serving.retry()
            with internal_error("golden"):
                self.exchange.exchange()
            with internal_error("compare"):
                self.second_tier.catch_up()


_told: dict[str, str] = {}
"""Settings that somebody else knows where this environment says nothing."""
_lock = OwnLock()
_runtime: Runtime | None = None
_failed_at: float | None = None
_failure: Exception | None = None
_starting: Future[None] | None = None
"""The start that a thread of its own is at."""


def runtime() -> Runtime:
    """Return this process's runtime, starting it at the first call.

    Raises:
        HealspanError: it cannot start; callers are inside `internal_error`, and the next try waits a while.
    """
    global _runtime, _failed_at, _failure
    live = _runtime
    if live is not None:
        return live
    if _lock.mine:
        raise HealspanError("a failure in the middle of the start, in the same thread, cannot be taken")
    with _lock:
        if _runtime is not None:
            return _runtime
        if _failure is not None and _failed_at is not None and time.monotonic() - _failed_at < RESTART_SECONDS:
            # Without what earlier raises have left on it, which would keep every caller's arguments alive.
            raise _failure.with_traceback(None)
        try:
            fresh = Runtime(_as_told(load_settings()))
            fresh.start()
        except Exception as error:
            if not is_interrupt(error):
                _failed_at, _failure = time.monotonic(), error
            raise
        _runtime = fresh
        return fresh


def running() -> Runtime | None:
    """Return this process's runtime as `runtime` does, but where none has started yet, none is."""
    return _runtime


def starts_now() -> bool:
    """Whether whoever asks for the runtime now waits for its start."""
    if _runtime is not None:
        return False
    return _failed_at is None or time.monotonic() - _failed_at >= RESTART_SECONDS


def serve_as(name: str, version: str) -> None:
    """Name the service of this process, for a runtime that starts later and has no other name for it."""
    _told.update(service_name=name, service_version=version)


def _as_told(settings: Settings) -> Settings:
    unset = {name: told for name, told in _told.items() if told and getattr(settings, name) in {UNNAMED, ""}}
    return settings.model_copy(update=unset)


def switched_off() -> bool:
    """Whether a kill switch is known to be on; a runtime that has not started yet knows of none."""
    return _runtime is not None and _runtime.disabled


def current_settings() -> Settings | None:
    """Return what the runtime goes by; None where none has started yet."""
    live = _runtime
    return None if live is None else live.settings


def serve_again() -> None:
    """Install what serves anew, since other boundaries are there than before."""
    live = _runtime
    if live is not None and not live.disabled:
        live.serving.serve(live.index.snapshot)


def start_soon() -> Future[None] | None:
    """Start the runtime from a thread of its own, so that a good call does not wait for it.

    Returns:
        What is done when that start has ended, one for all who ask meanwhile; None if there is none to wait for.
    """
    global _starting
    if _runtime is not None:
        return None
    if (under_way := _starting) is not None:
        return under_way
    ended: Future[None] = Future()
    ended.set_running_or_notify_cancel()  # nobody who waits for it can cancel it for the others
    _starting = ended

    def start() -> None:
        global _starting
        try:
            with internal_error("start"):
                runtime()
        finally:
            _starting = None
            ended.set_result(None)

    try:
        threading.Thread(target=start, name="healspan-start", daemon=True).start()
    except RuntimeError as error:  # no more threads, or the interpreter is going down
        _starting = None
        ended.set_result(None)
        report("start", error)
        return None
    return ended


def shut_down() -> None:
    """Flush and stop; the next failure starts afresh. Called at exit, and by tests between settings."""
    global _runtime, _failed_at, _failure
    with _lock:
        live, _runtime, _failed_at, _failure = _runtime, None, None, None
    if live is not None:
        with internal_error("stop"):
            live.stop()


def _after_fork() -> None:
    """Forget the parent's runtime: its threads did not come along, its files belong to the parent."""
    global _runtime, _lock, _starting, _failed_at, _failure
    parent = _runtime
    _lock = OwnLock()
    _runtime, _starting, _failed_at, _failure = None, None, None, None
    if parent is not None:
        # The child's runtime does not know of the parent's repairs, and its kill switch would not reach them.
        with internal_error("fork"):
            parent.repairs.uninstall_all()


def _count(where: str) -> None:
    live = _runtime
    if live is not None:
        live.metrics.internal_error(where)


count_with(_count)
atexit.register(shut_down)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
