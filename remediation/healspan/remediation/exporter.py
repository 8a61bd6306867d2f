"""The exporter: one process that publishes the whole fleet's numbers, from the store, at /metrics.

Services publish what they count themselves (`metrics`); gauges, and totals over all of them, are here. Scrape
either for a counter, not both: the names are the same.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Annotated, NamedTuple, TypeVarTuple

import typer
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeHistogramMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

from healspan.remediation import metrics as names
from healspan.remediation.claude.budget import Limits, left_of
from healspan.remediation.fix import FixState
from healspan.remediation.incident import IncidentStatus, Tier
from healspan.remediation.metrics_server import MetricsServer
from healspan.remediation.settings import load_settings
from healspan.remediation.signals import stop_signal
from healspan.remediation.store.counting import BUCKETS, SECONDS
from healspan.remediation.store.distributions import Distribution
from healspan.remediation.store.exemplars import Traced
from healspan.remediation.store.facts import context_keys
from healspan.remediation.store.fleet import Fleet
from healspan.remediation.store.repository import Store
from healspan.remediation.store.totals import Totals, count_facts, durations_of, has_news
from healspan.remediation.store.views import Amount
from healspan.remediation.trial import Decision

__all__ = ["StoreCollector", "metrics"]

TOP_HOTSPOTS = 20
"""Labels cost memory in every Prometheus that scrapes; those that matter are few."""

AT_ONCE = 20_000
"""Facts counted in one transaction: whoever has something to write waits for it."""

MOST_PATTERNS = 1_000
"""Escalated patterns looked at; with more of them open, their exact number is of no use to anybody."""

_AT_ZERO: Mapping[names.Definition, tuple[tuple[str, ...], ...]] = {
    names.HEALS: (
        (Tier.KNOWN_FIX.value, IncidentStatus.HEALED.value),
        (Tier.KNOWN_FIX.value, IncidentStatus.DEGRADED.value),
        (Tier.DIAGNOSIS.value, IncidentStatus.HEALED.value),
        (Tier.DIAGNOSIS.value, IncidentStatus.DEGRADED.value),
        (Tier.HUMAN.value, IncidentStatus.ESCALATED.value),
    ),
    names.TRIALS: tuple((decision.value,) for decision in Decision),
}
"""Where a boundary that has failed starts at zero: every ending, so that a first heal is an increase, and likewise what
trials may decide there."""

_AS_COUNTED = (
    names.APPLICATIONS,
    names.VERDICT_PARTS,
    names.CONSULTATIONS,
    names.CLAUDE_REQUESTS,
    names.CLAUDE_TOKENS,
    names.CLAUDE_COST,
)
"""Counters of which nothing is known before the first."""

_Counts = Mapping[tuple[str, ...], float]
_Places = frozenset[tuple[str, str]]
"""Services with their boundaries."""
_Parts = TypeVarTuple("_Parts")


class StoreCollector(Collector):
    """Reads the metrics from the store at every scrape.

    Args:
        store: what to publish.
        budget: what Claude may cost in a day; without it nothing is said of what is left.
    """

    def __init__(self, store: Store, *, budget: Amount | None = None) -> None:
        self._store = store
        self._budget = budget
        self._totals: Totals | None = None
        self._places: _Places = frozenset()
        self._fleet = Fleet(scores=names.REWARD_SCORE_BOUNDS, seconds=names.HEAL_SECONDS_BUCKETS)
        self._found: list[Metric] = []
        """What totals and fleet come to; looked at anew when they have changed."""
        self._made = _Made()
        self._lock = threading.Lock()

    def collect(self) -> Iterable[Metric]:
        """Return every metric.

        Raises:
            StoreUnavailable, StoreCorrupt: the store cannot be read, or what has arrived not be counted.
        """
        store = self._store
        with self._lock:
            totals = self._counted()
            with store.database.reading() as connection:
                totals = Totals.read(connection, totals)
                if self._fleet.take(connection) or totals is not self._totals:
                    self._totals, self._found = totals, []
                hiding = store.masking.count_open(connection)
            if not self._found:
                self._found = [*self._counters(totals), self._durations(totals), *self._standing()]
            found = self._found
        expected = _gauge(names.HOTSPOT_EXPECTED)
        for spot in store.projections.hotspots(limit=TOP_HOTSPOTS):
            document_type = context_keys(spot.context).get("document_type", "")
            expected.add_metric((spot.boundary, document_type), spot.expected)
        masking = _gauge(names.MASKING_ALARMS)
        for boundary, number in sorted(hiding.items()):
            masking.add_metric((boundary,), number)
        return [*found, masking, expected, *self._left()]

    def _counted(self) -> Totals | None:
        """Count what has arrived, and return what is known of the totals."""
        database, totals = self._store.database, self._totals
        while self._has_news():
            with database.writing() as connection:
                counted = count_facts(connection, totals, most=AT_ONCE)
            totals = counted  # only now it has come to that
        return totals

    def _has_news(self) -> bool:
        with self._store.database.reading() as connection:
            return has_news(connection)

    def _counters(self, totals: Totals) -> Iterator[Metric]:
        incidents = totals.by_name[names.INCIDENTS.name]
        places = frozenset((service, boundary) for service, boundary, _ in incidents)
        if places != self._places:  # else it stays the same object
            self._places = places
        yield self._made(names.INCIDENTS, _counter, incidents)
        for definition in _AT_ZERO:
            yield self._made(definition, _counter_from_zero, totals.by_name[definition.name], self._places)
        for definition in _AS_COUNTED:
            yield self._made(definition, _counter, totals.by_name[definition.name])

    def _durations(self, totals: Totals) -> Metric:
        buckets, seconds = totals.by_name[BUCKETS], totals.by_name[SECONDS]
        return self._made(names.HEAL_SECONDS, _heal_seconds, buckets, seconds, self._fleet.exemplars)

    def _standing(self) -> Iterator[Metric]:
        fleet = self._fleet
        fixes = _gauge(names.FIXES)
        for state in FixState:
            fixes.add_metric((state.value,), fleet.states[state])
        yield fixes
        yield _gauge(names.ESCALATIONS_OPEN, fleet.open_escalations(MOST_PATTERNS))
        yield _gauge(names.REVIEW_BACKLOG, fleet.states[FixState.PROPOSED])
        yield self._made(names.REWARD_SCORES, _distribution, fleet.rewards)
        yield self._made(names.DURABILITY, _distribution, fleet.durabilities)

    def _left(self) -> Iterator[Metric]:
        if self._budget is None:
            return
        left = left_of(self._budget, self._store.spending.total())
        tokens, usd = _gauge(names.CLAUDE_BUDGET_TOKENS), _gauge(names.CLAUDE_BUDGET_USD)
        for name, amount in (("budget", self._budget), ("left", left)):
            tokens.add_metric((name,), amount.tokens)
            usd.add_metric((name,), (amount.micro_usd or 0) / 1e6)
        yield from (tokens, usd)


class _Family(NamedTuple):
    parts: tuple[object, ...]
    """What it was made of."""
    metric: Metric


class _Made:
    """Families as they were made last.

    What they are made of never changes: it is another object in the place of a part that says that one has to be made
    anew.
    """

    def __init__(self) -> None:
        self._known: dict[names.Definition, _Family] = {}

    def __call__(
        self, definition: names.Definition, make: Callable[[names.Definition, *_Parts], Metric], *parts: *_Parts
    ) -> Metric:
        of: tuple[object, ...] = parts
        known = self._known.get(definition)
        if known is None or any(now is not then for now, then in zip(of, known.parts, strict=True)):
            known = self._known[definition] = _Family(of, make(definition, *parts))
        return known.metric


def _counter(definition: names.Definition, values: _Counts) -> CounterMetricFamily:
    family = CounterMetricFamily(*definition[:2], labels=definition.labels)
    for by, value in sorted(values.items()):
        family.add_metric(by, value)
    return family


def _counter_from_zero(definition: names.Definition, values: _Counts, places: _Places) -> CounterMetricFamily:
    return _counter(definition, {(*place, *one): 0.0 for place in places for one in _AT_ZERO[definition]} | {**values})


def _heal_seconds(
    definition: names.Definition,
    buckets: _Counts,
    seconds: _Counts,
    exemplars: Mapping[tuple[tuple[str, ...], int], Traced],
) -> HistogramMetricFamily:
    family = HistogramMetricFamily(*definition[:2], labels=definition.labels)
    bounds = [*map(str, map(float, names.HEAL_SECONDS_BUCKETS)), "+Inf"]
    for labels, durations in sorted(durations_of(buckets, seconds).items()):
        found: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
        for place, (bound, running) in enumerate(zip(bounds, accumulate(durations.counts), strict=True)):
            traced = exemplars.get((labels, place))
            if traced is None:
                found.append((bound, running))
            else:  # only OpenMetrics has a place for it
                exemplar = Exemplar({"trace_id": traced.trace_id}, traced.seconds, traced.at)
                found.append((bound, running, exemplar))
        family.add_metric(labels, found, durations.seconds)
    return family


def _distribution(definition: names.Definition, by_boundary: Mapping[str, Distribution]) -> GaugeHistogramMetricFamily:
    family = GaugeHistogramMetricFamily(*definition[:2], labels=definition.labels)
    for boundary, counts in sorted(by_boundary.items()):
        running = [*accumulate(counts.by_bucket)]
        buckets = [*zip(map(str, names.REWARD_SCORE_BOUNDS), running, strict=True), ("+Inf", running[-1])]
        family.add_metric((boundary,), buckets, counts.sum)
    return family


def _gauge(definition: names.Definition, value: float | None = None) -> GaugeMetricFamily:
    return GaugeMetricFamily(
        definition.name,
        definition.documentation,
        value=value,
        labels=definition.labels if definition.labels else None,
    )


def metrics(
    host: Annotated[str | None, typer.Option(help="Where to listen; default: HEALSPAN_METRICS_HOST.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="Likewise; default: HEALSPAN_METRICS_PORT.")
    ] = None,
) -> None:
    """Publish the store's numbers for Prometheus at /metrics, until stopped."""
    settings = load_settings()
    with Store.open(settings) as store, stop_signal() as stop:
        server = MetricsServer(
            StoreCollector(store, budget=Limits.of(settings).day),
            host=settings.metrics_host if host is None else host,
            port=settings.metrics_port if port is None else port,
        )
        typer.echo(f"metrics    {server.url}")
        stop.wait()
        server.close()
