"""What dashboards/ says agrees with what is published, with itself, and with the pages that it names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from tests import graphs
from tests.world import World

from healspan.remediation.cli import main
from healspan.remediation.exporter import StoreCollector
from healspan.remediation.metrics import Metrics
from healspan.remediation.store.views import Amount

QUERIES = [*graphs.rule_queries(), *graphs.panel_queries()]
BOARDS = graphs.boards()
PAGE = (graphs.ROOT / "docs" / "dashboards.md").read_text()
FOREIGN = {"up", "job", "instance", "unit", "le"}
"""Labels that Prometheus or a rule adds."""


def published(world: World) -> tuple[set[str], set[str]]:
    """The names of metrics of a service, and of the exporter."""
    registry = CollectorRegistry()
    Metrics(registry, "filings")
    world.failure()
    fleet = StoreCollector(world.store, budget=Amount(tokens=1, micro_usd=1)).collect()

    def named(families: Any) -> set[str]:
        return {f"{one.name}_total" if one.type == "counter" else one.name for one in families}

    return named(registry.collect()), named(fleet)


def test_what_is_declared_is_what_is_published(world):
    service, fleet = published(world)
    assert service | fleet == graphs.DECLARED.keys()


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.where)
def test_every_series_and_label_that_is_asked_for_exists(query):
    recorded = graphs.recorded()
    assert query.metrics <= graphs.PUBLISHED | recorded.keys()
    for name, label in query.labels:
        assert label in labels_of(name), f"{name} has no label {label}"
    known = {label for name in query.metrics for label in labels_of(name)}
    assert query.grouped <= known | FOREIGN


def labels_of(name: str) -> set[str]:
    """The labels of a series; a recorded one names its own before the colon."""
    if ":" in name:
        level = name.partition(":")[0]
        return set() if level == "fleet" else set(level.split("_"))
    metric = name if name in graphs.DECLARED else re.sub(r"_(bucket|count|sum|gcount|gsum)$", "", name)
    return {*graphs.DECLARED[metric].labels, *({"le"} if name.endswith("_bucket") else ())}


@pytest.mark.parametrize(("name", "expression"), graphs.recorded().items())
def test_a_recording_rule_is_named_after_what_is_left_and_what_was_done(name, expression):
    level, metric, operation = name.split(":")
    assert metric.startswith("healspan_")
    assert operation
    if level != "fleet":
        assert f"by ({', '.join(level.split('_'))})" in expression


def test_every_recorded_series_is_asked_for():
    asked = {name for query in QUERIES for name in query.metrics}
    assert graphs.recorded().keys() <= asked


def test_the_services_lose_exactly_what_the_exporter_publishes_too(world):
    service, fleet = published(world)
    _, job = graphs.loaded(graphs.PROMETHEUS / "prometheus.yml")["scrape_configs"]
    (rule,) = job["metric_relabel_configs"]
    series = {
        one
        for name in service
        for one in ((f"{name}_bucket", f"{name}_count", f"{name}_sum") if name in graphs.HISTOGRAMS else (name,))
    }
    dropped = {one for one in series if re.fullmatch(rule["regex"], one)}
    both = {one for one in series if re.sub(r"_(bucket|count|sum)$", "", one) in fleet}
    assert rule["action"] == "drop"
    assert dropped == both


def test_dashboards_have_fixed_uids_and_panels_their_own_ids():
    assert {name: board["uid"] for name, board in BOARDS.items()} == {
        "boundary": "healspan-boundary",
        "diagnosis": "healspan-diagnosis",
        "fleet": "healspan-fleet",
    }
    for board in BOARDS.values():
        ids = [panel["id"] for panel in board["panels"]]
        assert len(ids) == len(set(ids))
        assert len(ids) <= 12  # no wall of panels


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_panels_take_the_chosen_source_say_what_they_show_and_do_not_overlap(board):
    variables = {one["name"]: one for one in board["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        assert {one["datasource"]["uid"] for one in (panel, *panel["targets"])} == {"${datasource}"}
        assert panel["title"]
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert max(x for x, _ in cells) < 24
        assert not taken & cells
        taken |= cells


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_variables_and_links_lead_somewhere(board):
    text = str(board)
    variables = {one["name"] for one in board["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", text)) - {"__all", "__rate_interval", "__range", "__value", "__url_time_range"}
    assert used <= variables
    for metric, label in re.findall(r"label_values\((\w+), (\w+)\)", text):
        assert label in graphs.DECLARED[metric].labels
    uids = {one["uid"] for one in BOARDS.values()}
    assert set(re.findall(r"/d/([\w-]+)", text)) <= uids
    views = {path.stem for path in (graphs.ROOT / "dashboards/healspan/dashboards/views").glob("*.py")}
    assert set(re.findall(r"\$\{console\}/(\w+)", text)) <= views


def test_a_name_in_an_address_is_written_as_addresses_are():
    named = re.findall(r"\$\{(?:__value\.raw|boundary)[^}]*\}", str(BOARDS))
    assert named
    assert {one[-len(":percentencode}") :] for one in named} == {":percentencode}"}


def test_the_numbers_of_one_boundary_lead_to_its_own_incidents_in_the_console():
    links = re.findall(r"\$\{console\}/[^']*", str(BOARDS["boundary"]["panels"]))
    others = {"${console}/review", "${console}/hotspots"}
    assert set(links) - others == {"${console}/?boundary=${boundary:percentencode}"}


@pytest.mark.parametrize(("name", "alert"), graphs.alerts().items())
def test_an_alert_says_how_bad_what_and_what_to_do(name, alert):
    assert alert["for"]
    assert alert["labels"]["severity"] in {"warning", "critical"}
    annotations = alert["annotations"]
    assert annotations.keys() == {"summary", "description", "runbook_url"}
    page = graphs.ROOT / annotations["runbook_url"]
    assert page == graphs.RUNBOOKS / f"{name}.md"
    text = page.read_text()
    assert text.startswith(f"# {name}\n")
    for heading in ("## What it means", "## What to look at", "## What to do"):
        assert heading in text
    assert f"(runbooks/{name}.md)" in PAGE


def test_every_runbook_belongs_to_an_alert():
    assert {path.stem for path in graphs.RUNBOOKS.glob("*.md")} == graphs.alerts().keys()


@pytest.mark.parametrize("name", graphs.alerts())
def test_every_alert_is_tested_to_fire_and_to_keep_silent(name):
    suites = graphs.loaded(graphs.PROMETHEUS / "alerts_test.yml")["tests"]
    expected = [
        bool(one["exp_alerts"])
        for suite in suites
        for one in suite.get("alert_rule_test", ())
        if one["alertname"] == name
    ]
    assert set(expected) == {True, False}


COMMANDS = sorted(
    {
        command
        for path in (graphs.ROOT / "docs" / "dashboards.md", *graphs.RUNBOOKS.glob("*.md"))
        for command in re.findall(
            r"(?:^    |`)(?:[A-Z_]+=\S+ )*healspan ([a-z][^`\n#]*)", path.read_text(), re.MULTILINE
        )
    }
)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_pages_exists(command, capsys):
    words = command.split()
    path = [word for number, word in enumerate(words) if number < 2 and re.fullmatch(r"[a-z]+", word)]
    assert main([*path, "--help"]) == 0
    shown = capsys.readouterr().out
    for option in (word.partition("=")[0] for word in words if word.startswith("--")):
        assert option in shown


@pytest.mark.parametrize("page", [graphs.ROOT / "docs" / "dashboards.md", *sorted(graphs.RUNBOOKS.glob("*.md"))])
def test_every_link_of_the_pages_leads_to_a_file(page):
    links = re.findall(r"\]\(([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_table_of_metrics_is_what_is_declared():
    rows = re.findall(r"^\| `(healspan_\w+)` \| (.*?) \| (.*?) \| (.*?) \|$", PAGE, re.MULTILINE)
    table = {name: tuple(re.findall(r"`(\w+)`", labels)) for name, labels, _, _ in rows}
    assert len(rows) == len(table)
    assert table == {one.name: one.labels for one in graphs.DECLARED.values()}


def test_the_table_says_who_publishes_what(world):
    service, fleet = published(world)
    rows = re.findall(r"^\| `(healspan_\w+)` \| .*? \| (.*?) \|.*\|$", PAGE, re.MULTILINE)
    words = {(True, True): "both", (True, False): "services", (False, True): "exporter"}
    assert dict(rows) == {name: words[name in service, name in fleet] for name in graphs.DECLARED}


# Docker


COMPOSE = graphs.loaded(graphs.ROOT / "dashboards" / "compose.yaml")
HERE = graphs.ROOT / "dashboards"


def test_everything_that_is_mounted_or_built_is_there():
    for service in COMPOSE["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert (HERE / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]
        if "build" in service:
            context = HERE / service["build"]["context"]
            assert (context / service["build"]["dockerfile"]).is_file()
        assert set(service.get("depends_on", ())) <= COMPOSE["services"].keys()


def test_every_port_listens_on_loopback_only():
    ports = [port for service in COMPOSE["services"].values() for port in service.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_grafana_finds_the_dashboards_where_they_are_mounted():
    volumes = dict(volume.split(":")[:2] for volume in COMPOSE["services"]["grafana"]["volumes"])
    (provider,) = graphs.loaded(graphs.GRAFANA / "provisioning/dashboards/healspan.yaml")["providers"]
    assert volumes["./grafana/dashboards"] == provider["options"]["path"]
    assert volumes["./grafana/provisioning"] == "/etc/grafana/provisioning"
    (source,) = graphs.loaded(graphs.GRAFANA / "provisioning/datasources/healspan.yaml")["datasources"]
    environment = COMPOSE["services"]["grafana"]["environment"]
    assert source["url"].removeprefix("$") in environment
    (trace,) = source["jsonData"]["exemplarTraceIdDestinations"]
    assert set(re.findall(r"(?<!\$)\$\{(\w+)\}", trace["url"])) <= environment.keys()
    assert trace["name"] == "trace_id"  # as the exporter and the services label their exemplars


def test_prometheus_in_docker_differs_by_its_targets_only():
    inside = graphs.loaded(HERE / "compose" / "prometheus.yml")
    outside = graphs.loaded(graphs.PROMETHEUS / "prometheus.yml")
    for job in (*inside["scrape_configs"], *outside["scrape_configs"]):
        (targets,) = job.pop("static_configs")
        assert all(re.fullmatch(r"[\w.]+:\d+", one) for one in targets["targets"])
    inside["rule_files"] = [Path(one).name for one in inside["rule_files"]]
    assert inside == outside


def test_the_names_in_docker_are_services_of_the_file():
    inside = graphs.loaded(HERE / "compose" / "prometheus.yml")
    hosts = {one.partition(":")[0] for job in inside["scrape_configs"] for one in job["static_configs"][0]["targets"]}
    assert hosts <= COMPOSE["services"].keys()
