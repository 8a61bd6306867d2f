"""The exporter: one process that publishes the whole fleet's numbers, from the store, at /metrics.

Services publish what they count themselves (`metrics`); gauges, and totals over all of them, are here. Scrape
either for a counter, not both: the names are the same.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from socketserver import TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING, Annotated, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import typer
from prometheus_client import CollectorRegistry, make_wsgi_app
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
from healspan.remediation.errors import ConfigurationError, HealspanError
from healspan.remediation.fix import FixState
from healspan.remediation.incident import IncidentStatus, Tier
from healspan.remediation.settings import load_settings
from healspan.remediation.signals import stop_signal
from healspan.remediation.store.distributions import Distribution
from healspan.remediation.store.facts import context_keys
from healspan.remediation.store.fleet import Fleet
from healspan.remediation.store.repository import Store
from healspan.remediation.store.totals import Totals, count_facts, has_news
from healspan.remediation.store.views import Amount
from healspan.remediation.trial import Decision

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

__all__ = ["MetricsServer", "StoreCollector", "metrics"]

logger = logging.getLogger("healspan.exporter")

TOP_HOTSPOTS = 20
"""Labels cost memory in every Prometheus that scrapes; those that matter are few."""

AT_ONCE = 20_000
"""Facts counted in one transaction: whoever has something to write waits for it."""

AT_A_TIME = 8
"""Requests answered at once."""
GRACE_SECONDS = 0.5
"""For which a client is not cut off: others that come at once are to be answered too."""
ROOM_SECONDS = 1.0
"""Of waiting for one to end that was cut off; if it does not, since the store is slow, nobody else is let in."""
SILENCE_SECONDS = 30.0
"""After which a client that sends nothing, or reads nothing, is left alone."""

MOST_PATTERNS = 1_000
"""Escalated patterns looked at; with more of them open, their exact number is of no use to anybody."""

_ENDINGS = (
    (Tier.KNOWN_FIX, IncidentStatus.HEALED),
    (Tier.KNOWN_FIX, IncidentStatus.DEGRADED),
    (Tier.DIAGNOSIS, IncidentStatus.HEALED),
    (Tier.DIAGNOSIS, IncidentStatus.DEGRADED),
    (Tier.HUMAN, IncidentStatus.ESCALATED),
)


_AS_COUNTED = (
    names.APPLICATIONS,
    names.VERDICT_PARTS,
    names.CONSULTATIONS,
    names.CLAUDE_REQUESTS,
    names.CLAUDE_TOKENS,
    names.CLAUDE_COST,
)
"""Counters of which nothing is known before the first."""


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
        self._fleet = Fleet(scores=names.REWARD_SCORE_BOUNDS, seconds=names.HEAL_SECONDS_BUCKETS)
        self._found: list[Metric] = []
        """What totals and fleet come to; made anew when they have changed."""
        self._lock = threading.Lock()

    def collect(self) -> Iterable[Metric]:
        """Return every metric.

        Raises:
            StoreUnavailable, StoreCorrupt: the store cannot be read, or what has arrived not be counted.
        """
        store = self._store
        with self._lock:
            while self._has_news():
                with store.database.writing() as connection:
                    count_facts(connection, most=AT_ONCE)
            with store.database.reading() as connection:
                totals = Totals.read(connection, self._totals)
                if self._fleet.take(connection) or totals is not self._totals:
                    self._totals, self._found = totals, []
                hiding = store.masking.count_open(connection)
            if not self._found:
                self._found = [*_counters(totals), self._durations(totals), *self._standing()]
            found = self._found
        expected = _gauge(names.HOTSPOT_EXPECTED)
        for spot in store.projections.hotspots(limit=TOP_HOTSPOTS):
            document_type = context_keys(spot.context).get("document_type", "")
            expected.add_metric((spot.boundary, document_type), spot.expected)
        masking = _gauge(names.MASKING_ALARMS)
        for boundary, number in sorted(hiding.items()):
            masking.add_metric((boundary,), number)
        return [*found, masking, expected, *self._left()]

    def _has_news(self) -> bool:
        with self._store.database.reading() as connection:
            return has_news(connection)

    def _durations(self, totals: Totals) -> Metric:
        family = HistogramMetricFamily(*names.HEAL_SECONDS[:2], labels=names.HEAL_SECONDS.labels)
        bounds = [*map(str, map(float, names.HEAL_SECONDS_BUCKETS)), "+Inf"]
        for labels, durations in sorted(totals.durations.items()):
            buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
            for place, (bound, running) in enumerate(zip(bounds, accumulate(durations.counts), strict=True)):
                traced = self._fleet.exemplars.get((labels, place))
                if traced is None:
                    buckets.append((bound, running))
                else:  # only OpenMetrics has a place for it
                    exemplar = Exemplar({"trace_id": traced.trace_id}, traced.seconds, traced.at)
                    buckets.append((bound, running, exemplar))
            family.add_metric(labels, buckets, durations.seconds)
        return family

    def _standing(self) -> Iterator[Metric]:
        fleet = self._fleet
        fixes = _gauge(names.FIXES)
        for state in FixState:
            fixes.add_metric((state.value,), fleet.states[state])
        yield fixes
        yield _gauge(names.ESCALATIONS_OPEN, fleet.open_escalations(MOST_PATTERNS))
        yield _gauge(names.REVIEW_BACKLOG, fleet.states[FixState.PROPOSED])
        yield _distribution(names.REWARD_SCORES, fleet.rewards)
        yield _distribution(names.DURABILITY, fleet.durabilities)

    def _left(self) -> Iterator[Metric]:
        if self._budget is None:
            return
        left = left_of(self._budget, self._store.spending.total())
        tokens, usd = _gauge(names.CLAUDE_BUDGET_TOKENS), _gauge(names.CLAUDE_BUDGET_USD)
        for name, amount in (("budget", self._budget), ("left", left)):
            tokens.add_metric((name,), amount.tokens)
            usd.add_metric((name,), (amount.micro_usd or 0) / 1e6)
        yield from (tokens, usd)


def _counters(totals: Totals) -> Iterator[Metric]:
    incidents = totals.by_name[names.INCIDENTS.name]
    yield _counter(names.INCIDENTS, incidents)
    # A boundary that has failed starts every ending at zero, so that a first heal is an increase.
    places = {(service, boundary) for service, boundary, _ in incidents}
    endings = {(*place, tier.value, outcome.value): 0.0 for place in places for tier, outcome in _ENDINGS}
    yield _counter(names.HEALS, endings | totals.by_name[names.HEALS.name])
    # Likewise what trials may decide there.
    decisions = {(*place, decision.value): 0.0 for place in places for decision in Decision}
    yield _counter(names.TRIALS, decisions | totals.by_name[names.TRIALS.name])
    for one in _AS_COUNTED:
        yield _counter(one, totals.by_name[one.name])


def _counter(definition: names.Definition, values: Mapping[tuple[str, ...], float]) -> CounterMetricFamily:
    family = CounterMetricFamily(*definition[:2], labels=definition.labels)
    for by, value in sorted(values.items()):
        family.add_metric(by, value)
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


class _Server(ThreadingMixIn, WSGIServer):
    """Answers each request in a thread, of which there are few: it runs inside services, and a client may be slow.

    When all are taken, whoever has been at it for longest is cut off, unless that has just begun.
    """

    daemon_threads = True

    def __init__(self, *args: Any, **named: Any) -> None:
        self._free = threading.BoundedSemaphore(AT_A_TIME)
        self._lock = threading.Lock()
        self._answered: dict[int, tuple[socket.socket, float]] = {}
        super().__init__(*args, **named)

    def server_bind(self) -> None:
        """Bind, without asking for the host's full name: a name service may take half a minute over it."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, as soon as there is one."""
        if not self._free.acquire(timeout=self._grace()):
            with self._lock, contextlib.suppress(OSError, StopIteration):
                next(iter(self._answered.values()))[0].shutdown(socket.SHUT_RDWR)
            if not self._free.acquire(timeout=ROOM_SECONDS):
                self.shutdown_request(request)
                return
        with self._lock:
            self._answered[id(request)] = request, time.monotonic()
        super().process_request(request, client_address)

    def _grace(self) -> float:
        """Return for how many seconds nobody may be cut off yet."""
        with self._lock:
            since = next((since for _, since in self._answered.values()), 0.0)
        return max(0.0, since + GRACE_SECONDS - time.monotonic())

    def shutdown_request(self, request: Any) -> None:
        """End a connection, answered or not."""
        with self._lock:
            known = self._answered.pop(id(request), None)
        super().shutdown_request(request)
        if known is not None:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the base class's signature
        """Say nothing to the service's own output of a client that went away, or sent nothing for long."""
        logger.debug("a client of the metrics was not answered", exc_info=True)


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Quiet(WSGIRequestHandler):
    timeout = SILENCE_SECONDS

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing of a scrape that went well."""


class MetricsServer:
    """Serves a collector at /metrics, from a thread of its own, until it is closed.

    Args:
        collector: what to publish.
        host: where to listen.
        port: likewise; 0 takes a free one.

    Raises:
        ConfigurationError: the port is taken, or the host is not this machine's.
    """

    def __init__(self, collector: Collector, *, host: str, port: int) -> None:
        registry = CollectorRegistry()
        registry.register(collector)
        server = _Server6 if ":" in host else _Server
        try:
            self._server = make_server(host, port, _app(registry), server, _Quiet)
        except OSError as error:
            raise ConfigurationError(_cannot_listen(host, port, error)) from error
        self._thread = threading.Thread(target=self._server.serve_forever, name="healspan-metrics", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where the metrics are."""
        host, port = self._server.server_address[:2]
        shown = f"[{host!s}]" if ":" in str(host) else str(host)
        return f"http://{shown}:{port}/metrics"

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def leave_to_parent(self) -> None:
        """Close what a forked child has of it: else the port stayed taken after the parent, and nobody answered."""
        self._server.server_close()


def _cannot_listen(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is taken; stop what listens there, or choose another port"
    return f"nothing can listen on {host}:{port} ({error.strerror}); choose another host or port"


def _app(registry: CollectorRegistry) -> Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]:
    published = make_wsgi_app(registry)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        def plainly(status: str, text: str) -> Iterable[bytes]:
            start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
            return [f"{text}\n".encode()]

        if environ.get("PATH_INFO") != "/metrics":
            return plainly("404 Not Found", "The metrics are at /metrics.")
        try:
            found: Iterable[bytes] = published(environ, start_response)
        except HealspanError as error:
            logger.warning("the metrics could not be read: %s", error)
            return plainly("503 Service Unavailable", str(error))
        return found

    return app


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
