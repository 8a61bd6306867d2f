"""The metrics of healspan, all of them, on an explicit prometheus-client registry.

In a service only counters and a histogram live here, so that prefork servers can merge them; gauges over the
whole fleet are published by the exporter from the store.
"""

from __future__ import annotations

from typing import NamedTuple

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram

from healspan.remediation.claude.consultation import Consultation
from healspan.remediation.fix import Fix
from healspan.remediation.incident import Incident, IncidentStatus, Resolution, Tier
from healspan.remediation.trial import Decision

__all__ = [
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
    "TRIALS",
    "Definition",
    "Metrics",
    "host_metrics",
]


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

_MOST_ERROR_TYPES = 500
"""Values of the label; an application that makes classes of exceptions as it goes must not make series for ever."""


class Metrics:
    """What one process counts.

    Args:
        registry: where the metrics are registered.
        service: the ``service`` label.
    """

    def __init__(self, registry: CollectorRegistry, service: str) -> None:
        self._service = service
        self._error_types: set[str] = set()
        self._incidents = Counter(*INCIDENTS, registry=registry)
        self._heals = Counter(*HEALS, registry=registry)
        self._seconds = Histogram(*HEAL_SECONDS, buckets=HEAL_SECONDS_BUCKETS, registry=registry)
        self._trials = Counter(*TRIALS, registry=registry)
        self._consultations = Counter(*CONSULTATIONS, registry=registry)
        self._requests = Counter(*CLAUDE_REQUESTS, registry=registry)
        self._tokens = Counter(*CLAUDE_TOKENS, registry=registry)
        self._cost = Counter(*CLAUDE_COST, registry=registry)
        self._request_seconds = Histogram(*CLAUDE_SECONDS, buckets=CLAUDE_SECONDS_BUCKETS, registry=registry)
        self._dropped = Counter(*DROPPED, registry=registry)
        for reason in DROP_REASONS:
            self._dropped.labels(service, reason)  # at zero, so that the first drop is an increase
        self._internal = Counter(*INTERNAL_ERRORS, registry=registry)

    def incident(self, incident: Incident) -> None:
        """Count a captured failure."""
        error_type = incident.error_type
        if error_type not in self._error_types:
            if len(self._error_types) < _MOST_ERROR_TYPES:
                self._error_types.add(error_type)
            else:
                error_type = "other"
        self._incidents.labels(self._service, incident.module, error_type).inc()

    def healing(self, incident: Incident, resolution: Resolution) -> None:
        """Count how a failure ended."""
        tier, outcome = resolution.tier.value, resolution.status.value
        self._heals.labels(self._service, incident.module, tier, outcome).inc()
        self._seconds.labels(self._service, tier, outcome).observe(resolution.elapsed_ms / 1e3)

    def repaired(self, boundary: str, count: int = 1) -> None:
        """Count calls that an installed repair healed before any exception left the function."""
        self._heals.labels(self._service, boundary, Tier.KNOWN_FIX.value, IncidentStatus.HEALED.value).inc(count)

    def trial_decision(self, fix: Fix, decision: Decision) -> None:
        """Count what a trial has decided about a fix."""
        self._trials.labels(self._service, fix.scope.module, decision.value).inc()

    def consulted(self, one: Consultation) -> None:
        """Count a diagnosis by Claude, and its requests."""
        self._consultations.labels(self._service, one.boundary, one.state).inc()
        for asked in one.asked:
            self._requests.labels(self._service, one.model, asked.failed or "answered").inc()
            if asked.seconds:
                self._request_seconds.labels(self._service, one.model).observe(asked.seconds)
            if asked.usage is not None:
                for kind, tokens in asked.usage:
                    self._tokens.labels(self._service, one.model, kind.removesuffix("_tokens")).inc(tokens)
            if asked.cost_usd is not None:
                self._cost.labels(self._service, one.model).inc(float(asked.cost_usd))

    def dropped(self, reason: str, number: int = 1) -> None:
        """Count facts, or signals, that were dropped."""
        self._dropped.labels(self._service, reason).inc(number)

    def internal_error(self, where: str) -> None:
        """Count an error of our own."""
        self._internal.labels(self._service, where).inc()


_host: dict[str, Metrics] = {}


def host_metrics(service: str) -> Metrics:
    """Return this process's metrics on the default registry; they outlive any one runtime."""
    if service not in _host:
        if _host:
            # A registry takes each name once; a changed service name keeps the first metrics.
            return next(iter(_host.values()))
        _host[service] = Metrics(REGISTRY, service)
    return _host[service]
