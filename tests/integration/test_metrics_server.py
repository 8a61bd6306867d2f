"""The server of /metrics: where it listens, whom it answers, and what it says when it cannot."""

from __future__ import annotations

import gzip
import socket
import struct
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from tests.scraping import get, serving
from tests.world import World

from healspan.remediation import metrics_server
from healspan.remediation.errors import ConfigurationError
from healspan.remediation.exporter import StoreCollector
from healspan.remediation.metrics_server import MetricsServer
from healspan.remediation.store.database import Database
from healspan.remediation.store.repository import Store


@pytest.fixture
def server(world: World) -> Iterator[MetricsServer]:
    with serving(world) as made:
        yield made


def test_a_taken_port_is_said_in_words(server):
    port = int(server.url.rsplit(":", 1)[1].partition("/")[0])
    with pytest.raises(ConfigurationError, match=f"port {port} on 127.0.0.1 is taken"):
        MetricsServer(CollectorRegistry(), host="127.0.0.1", port=port)


def test_no_name_service_is_asked_before_it_listens(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(socket, "getfqdn", lambda name="": asked.append(name) or name)
    server = MetricsServer(StoreCollector(world.store), host="127.0.0.1", port=0)
    assert "healspan_fixes" in get(server.url)
    server.close()
    assert asked == []


def test_a_foreign_host_is_said_in_words():
    with pytest.raises(ConfigurationError, match="choose another host"):
        MetricsServer(CollectorRegistry(), host="192.0.2.1", port=0)


def test_a_closed_server_leaves_its_port_free():
    server = MetricsServer(CollectorRegistry(), host="127.0.0.1", port=0)
    port = int(server.url.rsplit(":", 1)[1].partition("/")[0])
    server.close()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_store_that_cannot_be_read_is_a_503_that_says_why(tmp_path):
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"this is no database" * 100)
    server = MetricsServer(StoreCollector(Store(Database(f"sqlite:///{broken}", busy_ms=50))), host="127.0.0.1", port=0)
    try:
        with pytest.raises(urllib.error.HTTPError) as refused:
            get(server.url)
        assert refused.value.code == 503
        assert "damaged" in refused.value.read().decode()
    finally:
        server.close()


def test_another_path_says_where_the_metrics_are(server):
    with pytest.raises(urllib.error.HTTPError) as refused:
        get(server.url.replace("/metrics", "/"))
    assert refused.value.code == 404
    assert "/metrics" in refused.value.read().decode()


def test_prometheus_is_answered_in_its_format_and_packed(world: World, server: MetricsServer) -> None:
    world.failure("revenue", trace_id="a" * 32)
    asked = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5", "Accept-Encoding": "gzip"}
    for _ in range(2):
        with urllib.request.urlopen(urllib.request.Request(server.url, headers=asked), timeout=60) as answer:
            assert answer.headers["Content-Encoding"] == "gzip"
            assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
            text = gzip.decompress(answer.read()).decode()
        assert text.count("# EOF") == 1
        assert "a" * 32 in text
        assert [*openmetrics(text)]


def test_a_version_that_is_none_is_answered_plainly_and_in_silence(
    server: MetricsServer, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = urllib.request.Request(server.url, headers={"Accept": "application/openmetrics-text;version=none"})
    with urllib.request.urlopen(asked, timeout=60) as answer:
        assert answer.headers["Content-Type"].startswith(("text/plain", "application/openmetrics-text"))
        assert b"healspan_fixes" in answer.read()
    assert capfd.readouterr().err == ""


def test_metrics_are_read_and_nothing_else(server: MetricsServer) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(server.url, data=b"", timeout=60)
    assert refused.value.code == 405


@pytest.fixture
def others(server: MetricsServer) -> set[threading.Thread]:
    """The threads that were there before anybody came."""
    return {*threading.enumerate()}


@pytest.fixture
def crowd(server: MetricsServer, others: set[threading.Thread]) -> Iterator[list[socket.socket]]:
    """Clients that never end their request, more than are answered at once."""
    _, _, rest = server.url.partition("//")
    host, _, port = rest.partition("/")[0].partition(":")
    clients = [socket.create_connection((host, int(port))) for _ in range(3 * metrics_server.AT_A_TIME)]
    for one in clients:
        one.sendall(b"GET /met")
    yield clients
    for one in clients:
        one.close()


def test_clients_that_never_end_their_request_take_few_threads_and_keep_nobody_out(
    server: MetricsServer, crowd: list[socket.socket], others: set[threading.Thread]
) -> None:
    assert "healspan_fixes" in get(server.url)
    threads = [one for one in {*threading.enumerate()} - others if "process_request_thread" in one.name]
    assert len(threads) <= metrics_server.AT_A_TIME


def test_many_that_come_at_once_are_all_answered(server: MetricsServer) -> None:
    with ThreadPoolExecutor(4 * metrics_server.AT_A_TIME) as clients:
        found = [*clients.map(lambda _: get(server.url), range(4 * metrics_server.AT_A_TIME))]
    assert all("healspan_fixes" in one for one in found)


def test_a_client_that_goes_away_says_nothing_on_the_service_s_output(
    server: MetricsServer, crowd: list[socket.socket], capfd: pytest.CaptureFixture[str]
) -> None:
    for one in crowd:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.close()
    assert "healspan_fixes" in get(server.url)
    server.close()
    assert capfd.readouterr().err == ""
