"""The example of a prefork service, really run: its workers are told of together, and learn from each other."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import yaml
from tests import graphs
from tests.ports import free_port
from tests.prefork import (
    BIN,
    EXAMPLES,
    Samples,
    Server,
    eventually,
    gunicorn,
    listens,
    published,
    total,
    uvicorn,
)
from tests.prometheus import RULES, Prometheus

from healspan.remediation.fix import FixState
from healspan.remediation.settings import load_settings
from healspan.remediation.store.repository import Store

pytestmark = pytest.mark.slow

PRELOAD = pytest.mark.parametrize("options", [(), ("--preload",)], ids=["loaded by each", "loaded before the fork"])


def directory_of_all(tmp_path: Path) -> str:
    made = tmp_path / "multiproc"
    made.mkdir()
    return str(made)


def escalated(found: Samples) -> float:
    return total(found, "healspan_heals_total", boundary="stock", outcome="escalated")


def healed(found: Samples, **by: str) -> float:
    return total(found, "healspan_heals_total", boundary="price", outcome="healed", **by)


def settled(server: Server, prices: int, stocks: int) -> None:
    """Wait for what installed repairs did, which is told once a second, and look that nothing is counted twice."""
    eventually(lambda: healed(found := server.metrics()) >= prices and escalated(found) >= stocks, "all to be counted")
    found = server.metrics()
    assert (healed(found), escalated(found)) == (prices, stocks)
    assert total(found, "healspan_incidents_total", boundary="stock", error_type="builtins.KeyError") == stocks
    assert total(found, "healspan_heal_duration_seconds_count", outcome="escalated") == stocks


@PRELOAD
def test_what_the_workers_did_adds_up_and_never_falls(tmp_path: Path, options: tuple[str, ...]) -> None:
    with gunicorn(
        tmp_path,
        "prefork_app:app",
        *options,
        PROMETHEUS_MULTIPROC_DIR=directory_of_all(tmp_path),
        HEALSPAN_SAME_FAILURES_PER_SECOND="1000000",
    ) as server:
        assert server.send("/price/$1,234", 30) == [200] * 30
        assert server.send("/stock/gone", 12) == [500] * 12
        assert server.send("/price/12", 5) == [200] * 5
        settled(server, 30, 12)

        before, (killed, *_) = server.metrics(), server.workers
        os.kill(killed, signal.SIGKILL)
        eventually(lambda: len(server.workers) == 3 and killed not in server.workers, "another worker")
        after = server.metrics()
        fallen = {series for series, value in before.items() if after.get(series, -1) < value}
        assert {name for name, _ in fallen} <= {"healspan_spool_facts"}, "a gauge may fall"

        assert server.send("/price/$1,234", 20) == [200] * 20
        assert server.send("/stock/gone", 8) == [500] * 8
        settled(server, 50, 20)
        waits = [value for (name, _), value in server.metrics().items() if name == "healspan_spool_facts"]
        assert len(waits) == 1  # for the whole data directory, whoever looked
        eventually(lambda: total(server.metrics(), "healspan_spool_facts") == 0, "everything to be stored")


def test_recycled_workers_take_nothing_with_them(tmp_path: Path) -> None:
    with gunicorn(
        tmp_path,
        "prefork_app:app",
        "--max-requests=5",
        PROMETHEUS_MULTIPROC_DIR=directory_of_all(tmp_path),
        HEALSPAN_SAME_FAILURES_PER_SECOND="1000000",
    ) as server:
        first, sent = set(server.workers), 0
        while first & set(server.workers):
            assert server.send("/price/$7", 3) == [200] * 3
            assert server.send("/stock/gone", 3) == [500] * 3
            sent += 3
            assert sent < 300
        settled(server, sent, sent)


def serving() -> int:
    """How many fixes serve, by the store."""
    with Store.open(load_settings()) as store:
        return store.fixes.count_by_state()[FixState.TRIAL]


@PRELOAD
def test_a_fix_that_one_worker_has_learned_serves_in_the_others(tmp_path: Path, options: tuple[str, ...]) -> None:
    with gunicorn(tmp_path, "prefork_app:app", *options, PROMETHEUS_MULTIPROC_DIR=directory_of_all(tmp_path)) as server:
        learner, *others = server.workers
        with server.only(learner):
            assert server.get("/price/$5") == 200
        assert healed(server.metrics(), tier="2") == 1
        # It is in the store before the one that knows it is stopped.
        eventually(lambda: serving() == 1, "the fix to be stored")
        for number, other in enumerate(others, start=1):
            with server.only(other):
                assert server.get("/price/$6") == 200
                eventually(lambda: healed(server.metrics(), tier="1") == number, "a known fix to heal")  # noqa: B023
        assert healed(server.metrics(), tier="2") == 1


AT_WORK = """
from prefork_app import app, price

assert price("$9") == "9.0"  # threads, a spool and a store, before any worker is forked
"""


def test_workers_of_a_master_that_has_healed_itself(tmp_path: Path) -> None:
    (tmp_path / "at_work.py").write_text(AT_WORK)
    with gunicorn(tmp_path, "at_work:app", "--preload", PROMETHEUS_MULTIPROC_DIR=directory_of_all(tmp_path)) as server:
        assert healed(server.metrics()) == 1
        for worker in server.workers:
            with server.only(worker):
                assert [server.get("/price/$8"), server.get("/stock/gone")] == [200, 500]
        settled(server, 4, 3)


ZERO_CODE = {
    "before": [BIN / "opentelemetry-instrument", "--traces_exporter", "none", "--metrics_exporter", "none"],
    "OTEL_LOGS_EXPORTER": "none",
    "HEALSPAN_CONFIG": str(EXAMPLES / "healspan.toml"),
}


def logging_app(tmp_path: Path) -> str:
    """The example of Flask with its log: OpenTelemetry hears it, so that nobody writes it by default."""
    (tmp_path / "logging_app.py").write_text("import logging\n\nfrom flask_app import app\n\nlogging.basicConfig()\n")
    return "logging_app:app"


def test_a_service_without_a_page_of_metrics_gets_one_for_all_its_workers(tmp_path: Path) -> None:
    port = free_port()
    page = f"127.0.0.1:{port}"
    with gunicorn(
        tmp_path,
        logging_app(tmp_path),
        **ZERO_CODE,
        PROMETHEUS_MULTIPROC_DIR=directory_of_all(tmp_path),
        HEALSPAN_SERVICE_METRICS_PORT=str(port),
    ) as server:
        for number, worker in enumerate(server.workers, start=1):
            with server.only(worker):
                assert server.get("/price/$5") == 200
                if number == 1:
                    eventually(lambda: listens(port), "the first one to listen")
        eventually(lambda: healed_at(page) == 3, "all to be counted")

        os.kill(server.workers[0], signal.SIGKILL)
        assert server.send("/price/$6", 6) == [200] * 6
        eventually(lambda: healed_at(page) == 9, "those too, from another one")
        # The others have never asked for what one of them had.
        assert "not published" not in server.said


def healed_at(page: str) -> float:
    """What a page says that may just be changing hands; -1 while nobody answers."""
    try:
        return healed(published(page))
    except OSError:
        return -1


def test_workers_that_count_each_for_itself_say_so_once(tmp_path: Path) -> None:
    with gunicorn(tmp_path, logging_app(tmp_path), **ZERO_CODE) as server:
        for worker in server.workers:
            with server.only(worker):
                assert server.get("/price/$5") == 200
        eventually(lambda: "runs in 3 processes" in server.said, "the log to say so")
        assert server.said.count("set PROMETHEUS_MULTIPROC_DIR") == 1


def test_so_do_workers_of_uvicorn(tmp_path: Path) -> None:
    (tmp_path / "asgi.py").write_text(
        "import os\n"
        "from healspan.instrumentation import error_boundary\n"
        "@error_boundary('price', retry_safe=True)\n"
        "async def price(text):\n"
        "    return float(text)\n"
        "async def app(scope, receive, send):\n"
        "    if scope['type'] == 'http':\n"
        "        await price('$1,000')\n"
        "        await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n"
        "        await send({'type': 'http.response.body', 'body': str(os.getpid()).encode()})\n"
    )
    with uvicorn(tmp_path, "asgi:app") as server:
        # Which of them answers is chance, and the one with the lowest number says it.
        for _ in range(200):
            assert server.get("/") == 200
            if "runs in 2 processes" in server.said:
                break
            time.sleep(0.1)
        assert server.said.count("set PROMETHEUS_MULTIPROC_DIR") == 1, server.said


def test_a_single_worker_has_nothing_to_say(tmp_path: Path) -> None:
    port = free_port()
    with gunicorn(
        tmp_path, logging_app(tmp_path), workers=1, **ZERO_CODE, HEALSPAN_SERVICE_METRICS_PORT=str(port)
    ) as server:
        assert server.get("/price/$5") == 200
        eventually(lambda: healed_at(f"127.0.0.1:{port}") == 1, "the page of metrics")
        assert "PROMETHEUS_MULTIPROC_DIR" not in server.said


@pytest.fixture
def scraped(tmp_path: Path) -> Iterator[tuple[Server, Prometheus]]:
    """A prefork service, and a Prometheus that scrapes it as one that has no exporter."""
    with gunicorn(
        tmp_path,
        "prefork_app:app",
        PROMETHEUS_MULTIPROC_DIR=directory_of_all(tmp_path),
        HEALSPAN_SAME_FAILURES_PER_SECOND="1000000",
    ) as server:
        config = graphs.loaded(RULES / "prometheus.yml")
        config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
        config["rule_files"] = [str(RULES / name) for name in config["rule_files"]]
        [job] = [one for one in config["scrape_configs"] if one["job_name"] == "services"]
        del job["metric_relabel_configs"]
        job["static_configs"] = [{"targets": [server.address]}]
        config["scrape_configs"] = [job]
        path = tmp_path / "prometheus.yml"
        path.write_text(yaml.safe_dump(config))
        with closing(Prometheus(path, tmp_path / "data")) as prometheus:
            yield server, prometheus


def test_a_real_prometheus_sees_one_service_and_no_reset(scraped: tuple[Server, Prometheus]) -> None:
    server, prometheus = scraped
    server.send("/stock/gone", 9)
    escalations = 'sum(healspan_heals_total{service="shop", outcome="escalated"})'
    prometheus.wait(lambda: prometheus.value(escalations) == 9)
    os.kill(server.workers[0], signal.SIGKILL)
    server.send("/price/$3", 9)
    server.send("/stock/gone", 9)
    prometheus.wait(lambda: prometheus.value('sum(healspan_heals_total{outcome="healed"})') == 9)
    prometheus.wait(lambda: prometheus.value(escalations) == 18)
    assert prometheus.value("sum(resets({__name__=~'healspan_.+_total'}[5m]))") == 0
    prometheus.wait(lambda: prometheus.query("count by (job) (up == 1)") == [({"job": "services"}, 1.0)])
    # One series for three processes.
    prometheus.wait(lambda: prometheus.value("count(healspan_incidents_total{boundary='stock'})") == 1)
