"""The metrics of healspan, all of them, on an explicit prometheus-client registry.

In a service live counters, histograms and one gauge that prefork servers can merge (see `SPOOL_FACTS`); gauges over
the whole fleet are published by the exporter from the store.

Whatever goes wrong in here is said once and kept from the caller: a number that is missing must not cost a heal.
"""

from __future__ import annotations

import functools
import logging
from collections import deque
from collections.abc import Callable
from typing import Concatenate, NamedTuple, ParamSpec, TypeVar

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from healspan.remediation.claude.consultation import Consultation
from healspan.remediation.fix import Fix
from healspan.remediation.incident import Incident, IncidentStatus, Resolution, Tier
from healspan.remediation.interrupts import is_interrupt
from healspan.remediation.own_lock import OwnLock
from healspan.remediation.shared_directory import SharedDirectory
from healspan.remediation.store.forks import hold_for_forks
from healspan.remediation.trial import Decision

__all__ = [
    "APPLICATIONS",
    "CLAUDE_BUDGET_TOKENS",
    "CLAUDE_BUDGET_USD",
    "CLAUDE_COST",
    "CLAUDE_REQUESTS",
    "CLAUDE_SECONDS",
    "CLAUDE_TOKENS",
    "CONSULTATIONS",
    "DROPPED",
    "DROP_REASONS",
    "DURABILITY",
    "ESCALATIONS_OPEN",
    "FIXES",
    "HEALS",
    "HEAL_SECONDS",
    "HEAL_SECONDS_BUCKETS",
    "HOTSPOT_EXPECTED",
    "INCIDENTS",
    "INTERNAL_ERRORS",
    "MASKING_ALARMS",
    "REVIEW_BACKLOG",
    "REWARD_SCORES",
    "REWARD_SCORE_BOUNDS",
    "SPOOL_FACTS",
    "STORE_ERRORS",
    "STORE_OPERATIONS",
    "TRIALS",
    "VERDICT_PARTS",
    "Definition",
    "Metrics",
    "host_metrics",
]

logger = logging.getLogger("healspan")

_Arguments = ParamSpec("_Arguments")
_Metric = TypeVar("_Metric", Counter, Gauge, Histogram)


class Definition(NamedTuple):
    """What a metric is called wherever it is published."""

    name: str
    documentation: str
    labels: tuple[str, ...] = ()


INCIDENTS = Definition(
    "healspan_incidents_total",
    "Failures captured at an error boundary.",
    ("service", "boundary", "error_type"),
)
HEALS = Definition(
    "healspan_heals_total",
    "Failing calls by how they ended.",
    ("service", "boundary", "tier", "outcome"),
)
HEAL_SECONDS = Definition(
    "healspan_heal_duration_seconds",
    "From the exception to the healed value, or to the re-raise.",
    ("service", "tier", "outcome"),
)
APPLICATIONS = Definition(
    "healspan_applications_total",
    "Uses of fixes, by the tier that chose them, as what they were used, and whether they led to a result.",
    ("service", "boundary", "tier", "mode", "resolved"),
)
VERDICT_PARTS = Definition(
    "healspan_verdict_parts_total",
    "Verdicts on uses of fixes, by criterion: whether it was met, not met, or could not be told.",
    ("service", "boundary", "criterion", "value"),
)
TRIALS = Definition(
    "healspan_trial_decisions_total",
    "Fixes that verdicts have activated, demoted to trial, or suspended.",
    ("service", "boundary", "decision"),
)
CONSULTATIONS = Definition(
    "healspan_diagnoses_total",
    "Diagnoses by Claude by how they ended, and those that were not let through by why.",
    ("service", "boundary", "state"),
)
CLAUDE_REQUESTS = Definition(
    "healspan_claude_requests_total",
    "Requests by what came of them: answered, or why there was no answer.",
    ("service", "model", "outcome"),
)
CLAUDE_TOKENS = Definition(
    "healspan_claude_tokens_total",
    "Tokens that were charged.",
    ("service", "model", "kind"),
)
CLAUDE_COST = Definition(
    "healspan_claude_cost_usd_total",
    "US dollars, where the price of the model is known.",
    ("service", "model"),
)
CLAUDE_SECONDS = Definition(
    "healspan_claude_request_duration_seconds",
    "From a question to its answer.",
    ("service", "model"),
)
CLAUDE_BUDGET_TOKENS = Definition(
    "healspan_claude_budget_tokens",
    "Tokens that Claude may cost on this day in UTC: the budget, and what is left of it.",
    ("amount",),
)
CLAUDE_BUDGET_USD = Definition(
    "healspan_claude_budget_usd",
    "US dollars that Claude may cost on this day in UTC: the budget, and what is left of it.",
    ("amount",),
)
DROPPED = Definition(
    "healspan_dropped_total",
    "Facts and signals that were not kept, by why.",
    ("service", "reason"),
)
INTERNAL_ERRORS = Definition(
    "healspan_internal_errors_total",
    "Errors of healspan itself that were kept from the application.",
    ("service", "where"),
)
STORE_ERRORS = Definition(
    "healspan_store_errors_total",
    "Attempts on the store that failed, by what was tried.",
    ("service", "operation"),
)
SPOOL_FACTS = Definition(
    "healspan_spool_facts",
    "Facts that wait for the store in the data directory, of all its processes, those that have ended included.",
    ("service",),
)
"""A gauge in services all the same: each process looks at the whole directory, so that of a prefork server's processes
whoever looked last is right, and one that was killed leaves nothing behind that has to be taken back."""

FIXES = Definition("healspan_fixes", "Fixes by the state they are in.", ("state",))
ESCALATIONS_OPEN = Definition("healspan_escalations_open", "Escalated patterns that no serving fix answers yet.")
REVIEW_BACKLOG = Definition("healspan_review_backlog", "Proposed fixes that wait for a human.")
HOTSPOT_EXPECTED = Definition(
    "healspan_hotspot_expected_failures",
    "Failures expected in the next seven days, where most are expected.",
    ("boundary", "document_type"),
)
MASKING_ALARMS = Definition(
    "healspan_masking_alarms",
    "Fixes that fire so often that they hide a fault, and that no human has answered for.",
    ("boundary",),
)

REWARD_SCORES = Definition(
    "healspan_fix_reward_score",
    "Serving fixes by the reward score, from 0 to 1, that analytics last gave them.",
    ("boundary",),
)
DURABILITY = Definition(
    "healspan_fix_durability",
    "Serving fixes that have worked by the probability, from 0 to 1, that they do so on fourteen more days of use.",
    ("boundary",),
)

HEAL_SECONDS_BUCKETS = (
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
)
"""From a known fix (about a millisecond) to a diagnosis (seconds)."""


CLAUDE_SECONDS_BUCKETS = (0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0)

REWARD_SCORE_BOUNDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)

DROP_REASONS = ("full", "busy", "unwritable", "unserialisable", "background", "storm", "queue")
"""The spool's, that of diagnoses which wait their turn, and the signals' two."""

STORE_OPERATIONS = ("drain", "refresh", "golden", "similar", "claude")
"""Handing facts over; looking for fixes, golden samples, what solved failures looked like; leave to ask Claude."""

FORK_WAIT_SECONDS = 1.0

_MOST_ERROR_TYPES = 500
_MOST_BOUNDARIES = 2_000
"""Values of the label; an application that makes classes of exceptions, or functions, as it goes must not make series
for ever."""


def _harmless(
    count: Callable[Concatenate[Metrics, _Arguments], None],
) -> Callable[Concatenate[Metrics, _Arguments], None]:
    """Count, unless something is wrong with what the numbers are kept in, which nobody but an operator is told of."""

    @functools.wraps(count)
    def counting(self: Metrics, /, *args: _Arguments.args, **named: _Arguments.kwargs) -> None:
        if not self.published:
            return
        try:
            if self._lock.mine:  # the client's own locks would be waited for, for ever
                self._later.append(functools.partial(count, self, *args, **named))
                return
            with self._lock:
                if self._directory is not None:
                    self._directory.check()
                count(self, *args, **named)
                while self._later:
                    self._later.popleft()()
        except Exception as error:
            if is_interrupt(error):
                raise
            self._say(error)

    return counting


class Metrics:
    """What one process counts. No method raises.

    Args:
        registry: where the metrics are registered, all or none; None counts nothing.
        service: the ``service`` label.

    Raises:
        ValueError: the registry has a metric of one of the names.
    """

    def __init__(self, registry: CollectorRegistry | None, service: str) -> None:
        self._service = service
        self._error_types: set[str] = set()
        self._boundaries: set[str] = set()
        self._directory = SharedDirectory.found()
        self._said = False
        # The client's locks are not let go of in a forked child, so no thread of ours may hold one during a fork.
        self._lock = OwnLock()
        self._later: deque[Callable[[], None]] = deque()
        """What the handler of a signal has come with while its thread counts."""
        self._held = False
        self._passed_over = 0
        self._incidents = Counter(*INCIDENTS, registry=None)
        self._heals = Counter(*HEALS, registry=None)
        self._seconds = Histogram(*HEAL_SECONDS, buckets=HEAL_SECONDS_BUCKETS, registry=None)
        self._trials = Counter(*TRIALS, registry=None)
        self._consultations = Counter(*CONSULTATIONS, registry=None)
        self._requests = Counter(*CLAUDE_REQUESTS, registry=None)
        self._tokens = Counter(*CLAUDE_TOKENS, registry=None)
        self._cost = Counter(*CLAUDE_COST, registry=None)
        self._request_seconds = Histogram(*CLAUDE_SECONDS, buckets=CLAUDE_SECONDS_BUCKETS, registry=None)
        self._dropped = Counter(*DROPPED, registry=None)
        self._internal = Counter(*INTERNAL_ERRORS, registry=None)
        self._store_errors = Counter(*STORE_ERRORS, registry=None)
        self._spool_facts = Gauge(*SPOOL_FACTS, registry=None, multiprocess_mode="mostrecent")
        self.published = registry is not None
        """Whether anybody can see the numbers."""
        if registry is not None:
            _register(
                registry,
                self._incidents,
                self._heals,
                self._seconds,
                self._trials,
                self._consultations,
                self._requests,
                self._tokens,
                self._cost,
                self._request_seconds,
                self._dropped,
                self._internal,
                self._store_errors,
                self._spool_facts,
            )
        hold_for_forks(self)
        self._begin()

    @_harmless
    def _begin(self) -> None:
        """Put what can be known beforehand to zero, so that the first of each is an increase."""
        for reason in DROP_REASONS:
            _labelled(self._dropped, self._service, reason)
        for operation in STORE_OPERATIONS:
            _labelled(self._store_errors, self._service, operation)

    @_harmless
    def incident(self, incident: Incident) -> None:
        """Count a captured failure."""
        error_type = _one_of(self._error_types, incident.error_type, _MOST_ERROR_TYPES)
        _labelled(self._incidents, self._service, self._boundary(incident.module), error_type).inc()

    @_harmless
    def healing(self, incident: Incident, resolution: Resolution) -> None:
        """Count how a failure ended."""
        tier, outcome = resolution.tier.value, resolution.status.value
        _labelled(self._heals, self._service, self._boundary(incident.module), tier, outcome).inc()
        trace = {"trace_id": incident.trace_id} if incident.trace_id else None
        _labelled(self._seconds, self._service, tier, outcome).observe(resolution.elapsed_ms / 1e3, exemplar=trace)

    @_harmless
    def repaired(self, boundary: str, count: int = 1) -> None:
        """Count calls that an installed repair healed before any exception left the function."""
        _labelled(
            self._heals, self._service, self._boundary(boundary), Tier.KNOWN_FIX.value, IncidentStatus.HEALED.value
        ).inc(count)

    @_harmless
    def trial_decision(self, fix: Fix, decision: Decision) -> None:
        """Count what a trial has decided about a fix."""
        _labelled(self._trials, self._service, self._boundary(fix.scope.module), decision.value).inc()

    @_harmless
    def consulted(self, one: Consultation) -> None:
        """Count a diagnosis by Claude, and its requests."""
        _labelled(self._consultations, self._service, self._boundary(one.boundary), one.state).inc()
        if one.state == "store_away":
            _labelled(self._store_errors, self._service, "claude").inc()
        for asked in one.asked:
            _labelled(self._requests, self._service, one.model, asked.failed or "answered").inc()
            if asked.seconds:
                _labelled(self._request_seconds, self._service, one.model).observe(asked.seconds)
            if asked.usage is not None:
                for kind, tokens in asked.usage:
                    _labelled(self._tokens, self._service, one.model, kind.removesuffix("_tokens")).inc(tokens)
            if asked.cost_usd is not None:
                _labelled(self._cost, self._service, one.model).inc(float(asked.cost_usd))

    @_harmless
    def dropped(self, reason: str, number: int = 1) -> None:
        """Count facts, or signals, that were dropped."""
        _labelled(self._dropped, self._service, reason).inc(number)

    def passed_over(self) -> None:
        """Count a failure of a storm as dropped, from the next `publish` on: a storm has no time to wait for locks."""
        self._passed_over += 1  # one step, since there is no call in it

    def publish(self) -> None:
        """Add what was counted without a lock."""
        number, self._passed_over = self._passed_over, 0  # likewise
        if number:
            self.dropped("storm", number)

    @_harmless
    def internal_error(self, where: str) -> None:
        """Count an error of our own."""
        _labelled(self._internal, self._service, where).inc()

    @_harmless
    def store_error(self, operation: str) -> None:
        """Count an attempt on the store that failed; one of `STORE_OPERATIONS`."""
        _labelled(self._store_errors, self._service, operation).inc()

    @_harmless
    def waiting(self, facts: int) -> None:
        """Say how many facts wait for the store."""
        _labelled(self._spool_facts, self._service).set(facts)

    def _boundary(self, name: str) -> str:
        return _one_of(self._boundaries, name, _MOST_BOUNDARIES)

    def _say(self, error: Exception) -> None:
        if not self._said:
            self._said = True
            logger.warning("a number of healspan's was not counted, nor will others be for this reason: %s", error)

    # Around a fork

    def before_fork(self) -> None:
        """Keep threads from counting."""
        self._held = self._lock.acquire(timeout=FORK_WAIT_SECONDS)

    def after_fork(self, *, child: bool) -> None:
        """Let them count again; in the child there are none but this one."""
        held, self._held = self._held, False
        if child:
            self._lock, self._passed_over = OwnLock(), 0
        elif held:
            self._lock.release()


def _one_of(known: set[str], value: str, most: int) -> str:
    """Return a label's value, or that of all that come when there are too many."""
    if value not in known:
        if len(known) >= most:
            return "other"
        known.add(value)
    return value


def _labelled(metric: _Metric, *values: str) -> _Metric:
    """Return the series of some values; half a character in one of them would leave the whole service unread."""
    return metric.labels(*(one if one.isascii() else one.encode(errors="replace").decode() for one in values))


def _register(registry: CollectorRegistry, *metrics: Counter | Gauge | Histogram) -> None:
    for number, metric in enumerate(metrics):
        try:
            registry.register(metric)
        except ValueError:
            for done in metrics[:number]:
                registry.unregister(done)
            raise


_host: Metrics | None = None


def host_metrics(service: str) -> Metrics:
    """Return this process's metrics on the client's default registry; they outlive any one runtime.

    A registry takes each name once, so a changed service name keeps the first metrics. One that does not take ours is
    no reason not to heal: then nothing is counted, and the log says why.
    """
    global _host
    if _host is None:
        try:
            # Looked up now: an application may have put a registry of its own there.
            _host = Metrics(prometheus_client.REGISTRY, service)
        except Exception as error:
            if is_interrupt(error):
                raise
            logger.warning("the metrics of healspan are not published, since the registry refuses them: %s", error)
            _host = Metrics(None, service)
    return _host
