"""What a service counts itself: traces of slow heals, what waits for the store, and nothing that could hurt it."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import prometheus_client
import pytest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.registry import Collector
from tests.facts import make_incident
from tests.observe import PATIENCE, drained, wait_until
from tests.ports import free_port

from healspan.remediation import metrics, shared_directory
from healspan.remediation.exposition import Exposition, siblings
from healspan.remediation.ids import uuid7
from healspan.remediation.incident import IncidentStatus, Resolution, Tier
from healspan.remediation.metrics import Metrics, host_metrics
from healspan.remediation.runtime import Runtime
from healspan.remediation.settings import load_settings
from healspan.remediation.shared_directory import SharedDirectory
from healspan.remediation.store import Drainer, Spool
from healspan.remediation.store.spools import facts_waiting

TRACE = "0af7651916cd43dd8448eb211c80319c"


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(name, {"service": "shop", **labels})


# Heals, and the traces in which they happened


@pytest.mark.parametrize("trace", [TRACE, None])
def test_a_heal_that_took_long_leads_to_its_trace(trace: str | None) -> None:
    registry = CollectorRegistry()
    incident = make_incident().model_copy(update={"trace_id": trace})
    resolution = Resolution(
        error_id=uuid7(), timestamp=datetime.now(UTC), status=IncidentStatus.HEALED, tier=Tier.DIAGNOSIS, elapsed_ms=700
    )
    Metrics(registry, "shop").healing(incident, resolution)
    lines = [line for line in generate_latest(registry).decode().splitlines() if "duration_seconds_bucket" in line]
    told = [line for line in lines if f'# {{trace_id="{TRACE}"}} 0.7 ' in line]
    assert [('le="1.0"' in line) for line in told] == ([] if trace is None else [True])


# What waits


@pytest.mark.sqlite
def test_what_waits_is_counted_in_living_spools_and_dead_ones(tmp_path: Path) -> None:
    settings = load_settings()
    assert facts_waiting(settings.spool_dir) == 0
    dead, living = Spool(settings), Spool(settings)
    dead.append_many(("incident", make_incident(str(number))) for number in range(3))
    dead.close()
    living.append_many(("incident", make_incident(str(number))) for number in range(4))
    assert facts_waiting(settings.spool_dir) == 7
    living.delete(living.read(limit=3))
    assert facts_waiting(settings.spool_dir) == 4
    (settings.spool_dir / "broken-1-2.db").write_bytes(b"no database" * 100)
    assert facts_waiting(settings.spool_dir) == 4
    living.close()


LOOKING = """
import sys
from pathlib import Path
from healspan.remediation.store.spools import facts_waiting

directory = Path(sys.argv[1])
looks = 0
while not (directory / "end").exists():
    facts_waiting(directory)
    looks += 1
    if looks == 1:
        print("begun", flush=True)
"""


@pytest.mark.sqlite
def test_looking_into_spools_that_come_and_go_costs_no_fact_and_leaves_no_file() -> None:
    settings = load_settings()
    settings.prepare()
    lost: list[str] = []
    command = [sys.executable, "-c", LOOKING, settings.spool_dir]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as looking:
        assert looking.stdout is not None
        assert looking.stdout.readline() == "begun\n"
        for _ in range(200):
            spool = Spool(settings, on_drop=lost.append)
            spool.append("incident", make_incident())
            spool.delete(spool.read())
            spool.close()
        (settings.spool_dir / "end").touch()
    assert looking.returncode == 0
    assert lost == []
    assert [one.name for one in settings.spool_dir.iterdir()] == ["end"]


def test_a_process_says_how_much_waits_and_that_nothing_is_left(live: Runtime) -> None:
    def waiting() -> float | None:
        return prometheus_client.REGISTRY.get_sample_value("healspan_spool_facts", {"service": service_of(live)})

    live.drainer.stop(PATIENCE)
    live.spool.append("incident", make_incident())
    live.exposition.measure()
    assert waiting() == 1
    drained_by_another = Drainer(live.settings, live.spool)
    drained_by_another.start()
    wait_until(lambda: not live.spool.read(limit=1), "the fact to be taken")
    drained_by_another.stop(PATIENCE)
    live.exposition.measure()
    assert waiting() == 0


def service_of(live: Runtime) -> str:
    """The label: metrics outlive a runtime, and keep the first."""
    [sample] = next(one for one in prometheus_client.REGISTRY.collect() if one.name == "healspan_spool_facts").samples
    assert live.metrics.published
    return str(sample.labels["service"])


def test_what_waits_is_looked_at_every_few_seconds_and_at_the_end() -> None:
    now, looks = [0.0], []
    looking = Exposition(load_settings(), waiting=lambda facts: looks.append((now[0], facts)), clock=lambda: now[0])
    for now[0] in (0.0, 1.0, 4.9, 5.0, 6.0, 10.0):
        looking.keep_up()
    now[0] = 11.0
    looking.close()
    assert looks == [(0.0, 0), (5.0, 0), (10.0, 0), (11.0, 0)]


def test_attempts_on_a_store_that_is_away_are_counted_from_zero() -> None:
    registry = CollectorRegistry()
    counted = Metrics(registry, "shop")
    for operation in metrics.STORE_OPERATIONS:
        assert value(registry, "healspan_store_errors_total", operation=operation) == 0
    counted.store_error("drain")
    assert value(registry, "healspan_store_errors_total", operation="drain") == 1


@pytest.mark.sqlite
def test_a_drainer_and_an_index_tell_of_a_store_that_is_away(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEALSPAN_DATABASE_URL", f"sqlite:///{data_dir}")  # a directory is no database
    data_dir.mkdir(mode=0o700)
    errors: list[str] = []
    monkeypatch.setattr(Metrics, "store_error", lambda _, operation: errors.append(operation))
    live = Runtime(load_settings())
    live.start()
    try:
        live.spool.append("incident", make_incident())
        wait_until(lambda: {"drain", "refresh"} <= set(errors), "both to tell")
    finally:
        live.stop()


# What is wrong with the registry, or with the directory of a prefork server


@pytest.fixture
def no_metrics_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_host", None)


def test_a_name_that_the_application_has_taken_costs_the_numbers_and_nothing_else(
    no_metrics_yet: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    registry = CollectorRegistry()
    monkeypatch.setattr(prometheus_client, "REGISTRY", registry)
    Counter("healspan_dropped_total", "The application's own.", registry=registry)
    counted = host_metrics("shop")
    assert host_metrics("another") is counted
    counted.dropped("full")
    counted.incident(make_incident())
    assert [family.name for family in registry.collect()] == ["healspan_dropped"]  # none of ours is half there
    assert registry.get_sample_value("healspan_dropped_total") == 0
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "registry refuses" in caplog.text


def test_the_registry_that_is_there_when_counting_begins_is_used(
    no_metrics_yet: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = CollectorRegistry()
    monkeypatch.setattr(prometheus_client, "REGISTRY", registry)
    host_metrics("shop").dropped("full")
    assert value(registry, "healspan_dropped_total", reason="full") == 1


def test_a_registry_that_is_none_costs_the_numbers_and_nothing_else(
    no_metrics_yet: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(prometheus_client, "REGISTRY", SimpleNamespace())
    host_metrics("shop").dropped("full")
    assert "registry refuses" in caplog.text


HOST = """
import logging, os, sys
logging.basicConfig(format="%(name)s: %(message)s", level=logging.WARNING)
from healspan.instrumentation import error_boundary
from healspan.remediation.runtime import runtime, shut_down

@error_boundary("price", retry_safe=True)
def price(text):
    return float(text)

print(price("$1,234"), price("$5"))
live = runtime()
live.metrics.dropped("full")
live.metrics.dropped("busy")
shut_down()
print(sorted(os.listdir(sys.argv[1])) if os.path.isdir(sys.argv[1]) else "no directory")
"""


def host(tmp_path: Path, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a service that heals, with a directory for the numbers of all its processes."""
    program = tmp_path / "host.py"
    program.write_text(HOST)
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(directory), "HEALSPAN_START_WAIT_MS": "60000"}
    return subprocess.run(
        [sys.executable, program, directory], env=environment, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize("directory", ["missing", "a_file", "/proc/self"])
def test_a_directory_that_cannot_be_written_is_said_once_and_the_service_is_healed(
    tmp_path: Path, directory: str
) -> None:
    (tmp_path / "a_file").touch()
    ran = host(tmp_path, tmp_path / directory)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("1234.0 5.0\n")
    assert ran.stderr.count("was not counted") == 1
    assert "Traceback" not in ran.stderr


def test_a_directory_of_all_processes_holds_what_this_one_counted(tmp_path: Path) -> None:
    (tmp_path / "all").mkdir()
    ran = host(tmp_path, tmp_path / "all")
    assert ran.returncode == 0, ran.stderr
    kinds = [name.rpartition("_")[0] for name in ran.stdout.splitlines()[1].strip("[]").replace("'", "").split(", ")]
    assert kinds == ["counter", "gauge_mostrecent", "histogram"]
    assert ran.stderr == ""


def test_nothing_is_written_to_a_full_disk_under_mapped_files(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    registry = CollectorRegistry()
    counted = Metrics(registry, "shop")
    monkeypatch.setattr(counted, "_directory", SharedDirectory(tmp_path))
    counted.dropped("full")
    assert value(registry, "healspan_dropped_total", reason="full") == 1
    monkeypatch.setattr(shared_directory, "ROOM_BYTES", 1 << 62)
    counted.dropped("full")
    counted.dropped("full")
    assert value(registry, "healspan_dropped_total", reason="full") == 1
    assert caplog.text.count("is on a full disk") == 1


def test_a_child_counts_even_if_a_thread_was_counting_during_the_fork() -> None:
    counted = Metrics(CollectorRegistry(), "shop")
    counting, forking = threading.Event(), threading.Event()

    def count() -> None:
        with counted._lock:
            counting.set()
            # Long enough for a fork that does not wait to get through; one that waits cannot be seen waiting.
            forking.wait(0.2)

    thread = threading.Thread(target=count)
    thread.start()
    counting.wait()
    pid = os.fork()
    if pid == 0:
        signal.alarm(30)
        counted.dropped("full")
        os._exit(0)
    forking.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    counted.dropped("full")


# A /metrics of its own, for a service that has none


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    found = free_port()
    monkeypatch.setenv("HEALSPAN_SERVICE_METRICS_PORT", str(found))
    return found


@pytest.fixture
def exposition(port: int) -> Iterator[Exposition]:
    made = Exposition(load_settings(), clock=iter(range(0, 10_000, 20)).__next__)
    yield made
    made.close()


def answer(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as found:
        return found.read().decode()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_who_does_not_ask_gets_no_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEALSPAN_METRICS_PORT", str(free_port()))  # the exporter's, for the whole machine
    quiet = Exposition(load_settings())
    quiet.keep_up()
    assert quiet.url is None
    quiet.close()


def test_who_asks_gets_the_default_registry_on_loopback(exposition: Exposition, port: int) -> None:
    assert not listens(port)
    exposition.keep_up()
    exposition.keep_up()
    assert exposition.url == f"http://127.0.0.1:{port}/metrics"
    assert "python_info" in answer(port)
    exposition.close()
    assert not listens(port)
    exposition.keep_up()
    assert not listens(port)


def test_a_runtime_listens_by_itself(port: int, live: Runtime) -> None:
    wait_until(lambda: listens(port), "the service to listen")
    assert "healspan_store_errors_total" in answer(port)
    drained(live)


def test_a_taken_port_is_said_once_and_taken_over_when_it_is_free(
    exposition: Exposition, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        exposition.keep_up()
        exposition.keep_up()
        assert exposition.url is None
        assert caplog.text.count("are not published") == 1
        assert f"port {port} on 127.0.0.1 is taken" in caplog.text
    exposition.keep_up()
    assert exposition.url is not None


def test_a_collector_of_the_applications_that_fails_is_answered_in_words(exposition: Exposition, port: int) -> None:
    class Broken(Collector):
        def describe(self) -> Iterable[Metric]:
            return ()

        def collect(self) -> Iterable[Metric]:
            raise RuntimeError("no connection")

    broken = Broken()
    prometheus_client.REGISTRY.register(broken)
    try:
        exposition.keep_up()
        with pytest.raises(urllib.error.HTTPError) as refused:
            answer(port)
        assert refused.value.code == 503
        assert "cannot be read (RuntimeError: no connection)" in refused.value.read().decode()
    finally:
        prometheus_client.REGISTRY.unregister(broken)
    assert "python_info" in answer(port)


def test_a_foreign_host_is_said_once(
    exposition: Exposition, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exposition, "_host", "192.0.2.1")
    exposition.keep_up()
    assert caplog.text.count("choose another host") == 1


def test_a_forked_child_leaves_the_port_to_its_parent(exposition: Exposition, port: int) -> None:
    exposition.keep_up()
    ready, go = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(ready[1], b"x")
        os.read(go[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    assert "python_info" in answer(port)
    exposition.close()
    free = not listens(port)
    os.write(go[1], b"x")
    os.waitpid(pid, 0)
    assert free
    for descriptor in (*ready, *go):
        os.close(descriptor)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_processes_of_one_program_and_parent_are_siblings() -> None:
    sleepers = [subprocess.Popen(["sleep", "60"]) for _ in range(3)]
    alone = subprocess.Popen(["sleep", "61"])
    try:
        wait_until(lambda: len(siblings(sleepers[1].pid)) == 3, "all to run their program")
        assert siblings(sleepers[0].pid) == sorted(one.pid for one in sleepers)
        wait_until(lambda: siblings(alone.pid) == [], "the other one too")
        assert siblings(2**22 + 1) == []
    finally:
        for one in (*sleepers, alone):
            one.kill()
            one.wait()
