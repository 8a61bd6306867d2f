"""The runtime: what a process needs to heal, started when it is first needed and once per process.

A parent that forks, or a helper process that never fails, opens no file, thread or port. Whatever goes wrong
in here is logged, counted and kept from the application.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from types import FrameType

from healspan.remediation.acted import heal_of, kept_from_happening
from healspan.remediation.boundary import boundaries
from healspan.remediation.counted import counted
from healspan.remediation.engine import Engine
from healspan.remediation.errors import HealspanError
from healspan.remediation.exposition import Exposition
from healspan.remediation.fix import FixState
from healspan.remediation.golden import Exchange
from healspan.remediation.interrupts import is_interrupt
from healspan.remediation.judging import judge_plans, judge_run
from healspan.remediation.later import Later
from healspan.remediation.metrics import Metrics, host_metrics
from healspan.remediation.own_lock import OwnLock
from healspan.remediation.probation import Probation
from healspan.remediation.record import Record
from healspan.remediation.regression import NoRegression, judgement_of
from healspan.remediation.repair import FiredRepair, Repairs
from healspan.remediation.run import Applied, Run
from healspan.remediation.sandbox import Sandbox
from healspan.remediation.scrubbing import Scrubber
from healspan.remediation.second_tier import SecondTier
from healspan.remediation.serving import Serving
from healspan.remediation.settings import UNNAMED, Settings, load_settings
from healspan.remediation.signing import KeyRing
from healspan.remediation.store import Drainer, FixIndex, Reach, RunHistory, Snapshot, Spool
from healspan.remediation.switch import obeyed
from healspan.remediation.tally import Tallied, Tally, rows

__all__ = [
    "Runtime",
    "current_settings",
    "internal_error",
    "report",
    "runtime",
    "serve_as",
    "shut_down",
    "start_soon",
    "starts_now",
    "switched_off",
]

logger = logging.getLogger("healspan")

TALLY_SECONDS = 1.0
EXPOSURE_SECONDS = 10.0
_ContextKeys = tuple[tuple[str, str], ...]

_MOST_CONTEXTS = 1_000
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
        self._tally = Tally()
        self._contexts: dict[_ContextKeys, _ContextKeys] = {}
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._exposed = time.monotonic()
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
        self._unruled: set[str] = set()
        """Fixes whose installed repairs have failed since the last flush."""
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

    # Runs and verdicts

    def close_run(self, run: Run) -> None:
        """Give the verdicts that waited for the end of a run, and remember what the run showed."""
        now = datetime.now(UTC)
        view = self.history.view(run.pipeline or "", run.context_keys)
        facts: list[tuple[str, Record]] = []
        judged = judge_run(run, view)
        for applied, criterion in judged:
            facts += self._judged(applied, criterion, run, now)
        facts += self.probation.ruled({one.fix_id for one, _ in judged if one.application_id is not None})
        for one in judge_plans(run, judged, view, at=now):
            facts += [("plan", one.plan), ("plan_outcome", self.keys.sign_record(one.outcome))]
            self.history.add_plan(one.plan)
            self.history.add_plan_outcome(one.outcome)
        if run.pipeline is not None:
            fact = run.fact(now)
            facts.append(("run", fact))
            self.history.add(fact)
        if facts:
            self.spool.append_many(facts)

    def _judged(
        self,
        applied: Applied,
        criterion: NoRegression,
        run: Run,
        now: datetime,
    ) -> list[tuple[str, Record]]:
        if applied.application_id is not None:
            judgement = judgement_of(applied, criterion, applied.application_id, at=now)
            self.history.add_judgement(judgement)
            self.probation.closed(applied, judgement)
            return [("judgement", judgement)]
        active = self._active(applied.fix_id)
        if criterion.value is True and applied.resolved:
            tallied = Tallied(
                applied.fix_id,
                applied.boundary,
                run.pipeline,
                applied.context_keys,
                applied.valid_output,
                active,
            )
            self._tally.add(tallied, applied.elapsed_ms)
            return []
        self.metrics.repaired(applied.boundary)
        # What is not plainly good is worth a row of its own: a later unknown may overrule it.
        application, judgement = rows(applied, criterion, run, at=now, active=active)
        self.history.add_judgement(judgement)
        self.probation.judged(application, judgement)
        # Successes beside it are still being counted: both are weighed at the next flush.
        self._unruled.add(applied.fix_id)
        return [("application", application), ("judgement", judgement)]

    def _active(self, fix_id: str) -> bool:
        change = self.index.latest(fix_id)
        return change is not None and change.state is FixState.ACTIVE

    def repaired(
        self,
        boundary: str,
        mine: Sequence[FiredRepair],
        context_keys: Mapping[str, str],
        run: Run | None,
        *,
        resolved: bool,
        valid: bool | None,
        frame: FrameType | None = None,
    ) -> None:
        """Take in a call in which installed repairs acted; judged with its run, or at once without one.

        Args:
            boundary: its name.
            mine: what acted.
            context_keys: of the call.
            run: the pipeline run it belongs to.
            resolved: whether it returned with a result that keeps its contract.
            valid: whether that keeps the contract; None without one.
            frame: of the boundary's wrapper, where the call is still going on.
        """
        context = self._scrubbed(context_keys)
        elapsed: dict[str, int] = {}
        for one in mine:
            elapsed[one.fix_id] = elapsed.get(one.fix_id, 0) + one.elapsed_ns
        own: Run | None = None
        for fix_id, nanoseconds in elapsed.items():
            if run is None and resolved:
                # Outside a pipeline the run ends with the call: nothing can come later that went wrong.
                tallied = Tallied(fix_id, boundary, None, context, valid, self._active(fix_id))
                self._tally.add(tallied, nanoseconds / 1e6)
                continue
            applied = Applied(
                fix_id=fix_id,
                boundary=boundary,
                resolved=resolved,
                valid_output=valid,
                context_keys=context,
                elapsed_ms=nanoseconds / 1e6,
                instead_of=None if run is None else kept_from_happening(run, fix_id, boundary, mine, frame),
            )
            if run is not None:
                run.applied(applied)
                run.heals.append(heal_of(applied, mine))
            else:
                own = own or Run(None, context_keys=context_keys)
                own.applied(applied)
        if own is not None:
            self.close_run(own)

    def _scrubbed(self, context_keys: Mapping[str, str]) -> _ContextKeys:
        """Return context keys without secrets, sorted; a repaired call must not pay for the same ones again."""
        if not context_keys:
            return ()
        raw = tuple(context_keys.items())
        known = self._contexts.get(raw)
        if known is None:
            if len(self._contexts) >= _MOST_CONTEXTS:
                self._contexts.clear()
            known = self._contexts[raw] = tuple(sorted(self.scrubber.scrub_context(context_keys).items()))
        return known

    # Flushing

    def flush(self, *, everything: bool = False) -> None:
        """Write down what was counted; exposure only when it is due, or everything."""
        self.metrics.publish()
        unruled: set[str] = set()
        with contextlib.suppress(KeyError):
            while True:
                unruled.add(self._unruled.pop())
        for application, judgement in self._tally.take():
            self.metrics.repaired(application.boundary, application.count)
            self.spool.append_many([("application", application), ("judgement", judgement)])
            self.probation.judged(application, judgement)
            unruled.add(application.fix_id)
        decided = self.probation.ruled(sorted(unruled))
        if decided:
            self.spool.append_many(decided)
        if everything or time.monotonic() - self._exposed >= EXPOSURE_SECONDS:
            self._exposed = time.monotonic()
            for row in counted():
                kept = row.model_copy(update={"context_keys": dict(self._scrubbed(row.context_keys))})
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
_starting = False


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


def start_soon() -> None:
    """Start the runtime from a thread of its own, so that a good call does not wait for it."""
    global _starting
    if _runtime is not None or _starting:
        return
    _starting = True

    def start() -> None:
        global _starting
        with internal_error("start"):
            runtime()
        _starting = False

    try:
        threading.Thread(target=start, name="healspan-start", daemon=True).start()
    except RuntimeError as error:  # no more threads, or the interpreter is going down
        _starting = False
        report("start", error)


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
    _runtime, _starting, _failed_at, _failure = None, False, None, None
    if parent is not None:
        # The child's runtime does not know of the parent's repairs, and its kill switch would not reach them.
        with internal_error("fork"):
            parent.repairs.uninstall_all()


atexit.register(shut_down)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

_SAY_AGAIN = 60.0
_MOST_SAID = 200
_said: dict[str, float] = {}


@contextlib.contextmanager
def internal_error(where: str) -> Iterator[None]:
    """Keep an error of our own from the application: log it (the same one once a minute), count it, go on.

    So also whatever is raised by code of the application's that nobody but us had called; see `interrupts`.
    """
    try:
        yield
    except BaseException as error:
        report(where, error)


def report(where: str, error: BaseException) -> None:
    """Log and count an error of our own that has been kept from the application; an interrupt goes on.

    Called while it is being handled.
    """
    if is_interrupt(error):
        raise error
    with contextlib.suppress(Exception):
        # Words of others may hold what must not be logged: a context function of the application can raise.
        words = f"{type(error).__name__}: {error}" if isinstance(error, HealspanError) else type(error).__name__
        now = time.monotonic()
        if now - _said.get(words, -_SAY_AGAIN) >= _SAY_AGAIN:
            if len(_said) >= _MOST_SAID:
                _said.clear()
            _said[words] = now
            logger.warning("healspan could not %s, the application goes on: %s", where, words)
        live = _runtime
        if live is not None:
            live.metrics.internal_error(where)
