"""A real Prometheus scrapes the exporter and a service after a storm; every rule and panel has something to show."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from tests import graphs, prometheus
from tests.bad_night import BadNight
from tests.prometheus import RULES, Prometheus, binary, promtool
from tests.world import World

from healspan.remediation.claude.budget import Limits
from healspan.remediation.exporter import StoreCollector
from healspan.remediation.metrics_server import MetricsServer

pytestmark = pytest.mark.slow

SILENT = {
    "HealspanStoreAway": "the exporter answers; `test_an_exporter_that_is_gone_is_noticed` ends it",
    "HealspanHotspotRising": "compares with a day ago, when there was no Prometheus; alerts_test.yml has that day",
}
"""What rightly returns nothing after a storm, and why."""


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "rules.yml", "alerts.yml"),
        ("test", "rules", "alerts_test.yml"),
    ],
    ids=" ".join,
)
def test_promtool_has_nothing_to_say_against_it(arguments):
    ran = promtool(*arguments)
    assert ran.returncode == 0, ran.stdout + ran.stderr


class Site(NamedTuple):
    """Everything at work."""

    prometheus: Prometheus
    exporter: MetricsServer
    storm: BadNight


def configured(directory: Path, exporter: str, service: str) -> Path:
    """Write the configuration as it ships, with other addresses, and without its patience."""
    config = graphs.loaded(RULES / "prometheus.yml")
    config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(RULES / name) for name in config["rule_files"]]
    for job, url in zip(config["scrape_configs"], (exporter, service), strict=True):
        job["static_configs"] = [{"targets": [url.removeprefix("http://").removesuffix("/metrics")]}]
    path = directory / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture
def site(world: World, tmp_path: Path) -> Iterator[Site]:
    binary("prometheus")
    storm = BadNight(world)
    budget = Limits.of(world.settings).day
    exporter = MetricsServer(StoreCollector(world.store, budget=budget), host="127.0.0.1", port=0)
    service = MetricsServer(storm.registry, host="127.0.0.1", port=0)
    prometheus = Prometheus(configured(tmp_path, exporter.url, service.url), tmp_path / "data")
    try:
        # The calm before: counters are seen as they are, so that the storm is an increase.
        prometheus.wait(lambda: prometheus.query("healspan_incidents_total and on () healspan_dropped_total > 0"))
        storm.blow(4)
        prometheus.wait(lambda: prometheus.value("sum(healspan_incidents_total)") == storm.incidents)
        seen = prometheus.value("max(timestamp(healspan_incidents_total))")
        # The service's last word is in as well by then, and every rule has been evaluated after it.
        rule = "service_boundary:healspan_heals:increase1h"
        prometheus.wait(lambda: prometheus.value(f"min(timestamp({rule}))") > seen + 2)
        yield Site(prometheus, exporter, storm)
    finally:
        prometheus.close()
        service.close()
        exporter.close()


def test_every_rule_alert_and_panel_has_something_to_show_after_a_storm(site):
    prometheus = site.prometheus
    queries = [*graphs.rule_queries(), *graphs.panel_queries()]

    def inactive() -> set[str]:
        rules = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
        assert {rule["health"] for rule in rules} == {"ok"}
        states = {rule["name"]: rule.get("state") for rule in rules}
        return {name for name in graphs.alerts() if states[name] == "inactive"}

    # A scrape that a busy machine has no time for leaves a gap of a second.
    prometheus.wait(lambda: {one.where for one in queries if not prometheus.query(one.filled())} == SILENT.keys())
    prometheus.wait(lambda: inactive() == SILENT.keys())
    prometheus.wait(lambda: prometheus.query("count(up == 1)") == [({}, 2.0)])
    # What the exporter and the service both publish is taken once.
    assert prometheus.query('count by (job) ({__name__="healspan_incidents_total"})') == [({"job": "healspan"}, 2.0)]
    assert {by["job"] for by, _ in prometheus.query("healspan_dropped_total")} == {"services"}


def test_the_table_of_boundaries_has_no_row_but_those_that_fail_most(site, world):
    names = [f"boundary {number}" for number in range(20)]
    for seen in (1, 2):
        for name in names:
            world.failure(name)
        query = f'count(healspan_incidents_total{{boundary=~"boundary .*"}} == {seen})'
        site.prometheus.wait(lambda query=query: site.prometheus.value(query) == len(names))
    (panel,) = (one for one in graphs.boards()["fleet"]["panels"] if one["type"] == "table")
    failing, escalated = (graphs.Query("table", target["expr"]).filled() for target in panel["targets"])
    site.prometheus.wait(lambda: len(site.prometheus.query(failing)) == 15)
    shown = {by["boundary"] for by, _ in site.prometheus.query(failing)}
    assert {by["boundary"] for by, _ in site.prometheus.query(escalated)} <= shown


def test_a_healed_call_leads_to_its_trace(site):
    query = next(
        target["expr"]
        for panel in graphs.boards()["boundary"]["panels"]
        for target in panel["targets"]
        if target.get("exemplar")
    )
    now = time.time()
    asked = graphs.Query("boundary", query).filled()
    found = site.prometheus.get("query_exemplars", query=asked, start=str(now - 600), end=str(now))
    traces = {exemplar["labels"]["trace_id"] for series in found for exemplar in series["exemplars"]}
    assert traces
    assert traces <= set(site.storm.traces)


def test_an_exporter_that_is_gone_is_noticed(site):
    site.exporter.close()
    prometheus = site.prometheus
    prometheus.wait(lambda: prometheus.query('ALERTS{alertname="HealspanStoreAway", alertstate="pending"}'))


def test_without_prometheus_the_test_skips_or_fails_as_it_is_told(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(prometheus, "DEMANDED", False)
    with pytest.raises(pytest.skip.Exception, match="apt-get install prometheus"):
        binary("promtool")
    monkeypatch.setattr(prometheus, "DEMANDED", True)
    with pytest.raises(pytest.fail.Exception, match="apt-get install prometheus"):
        binary("promtool")
