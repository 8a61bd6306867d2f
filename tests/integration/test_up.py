"""`healspan console`, `metrics` and `up` as processes: they answer where they say, and end when they are asked to."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.observe import wait_until
from tests.ports import free_port
from tests.world import World

from healspan.dashboards.commands import up
from healspan.dashboards.server import ConsoleServer
from healspan.remediation.errors import ConfigurationError

PATIENCE = 90.0
RUN = [sys.executable, "-m", "healspan.remediation.cli"]


@contextmanager
def healspan(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A command of the installed command line, killed at the end if a test forgot to end it."""
    process = subprocess.Popen(
        [*RUN, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def urls(process: subprocess.Popen[str], *names: str) -> dict[str, str]:
    """Read lines of the form ``name  url`` until every name has come."""
    assert process.stdout is not None
    found: dict[str, str] = {}
    while not found.keys() >= set(names):
        line = process.stdout.readline()
        assert line, process.stderr.read() if process.stderr else ""
        name, _, rest = line.strip().partition(" ")
        found[name] = rest.strip()
    return found


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
        return answer.read().decode()


def listens(url: str) -> bool:
    host, port = url.removeprefix("http://").split("/")[0].split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def ended(process: subprocess.Popen[str], number: signal.Signals) -> int:
    process.send_signal(number)
    return process.wait(PATIENCE)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_up_serves_everything_and_ends_it_all_on_a_signal(number):
    world = World()
    world.fix("revenue")
    with healspan("up", f"--metrics-port={free_port()}", f"--console-port={free_port()}") as process:
        found = urls(process, "analytics", "metrics", "console")
        assert 'healspan_fixes{state="proposed"} 1.0' in get(found["metrics"])
        assert "ok" in get(found["console"] + "/_stcore/health")
        wait_until(world.store.projections.scores, "the first run of analytics", PATIENCE)
        assert ended(process, number) == 0
    assert not listens(found["metrics"])
    assert not listens(found["console"])
    world.close()


def test_up_without_the_console_starts_no_streamlit():
    with healspan("up", "--no-console", "--no-analytics", f"--metrics-port={free_port()}") as process:
        found = urls(process, "metrics")
        assert found.keys() == {"metrics"}
        assert "healspan_fixes" in get(found["metrics"])
        assert ended(process, signal.SIGTERM) == 0


def test_without_streamlit_up_says_how_to_do_without(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match="healspan up --no-console"):
        ConsoleServer(host="127.0.0.1", port=0)


@pytest.mark.parametrize(("with_console", "brings"), [(True, "console"), (False, "analytics")])
def test_without_its_packages_up_names_the_extra_that_is_enough(monkeypatch, with_console, brings):
    monkeypatch.setitem(sys.modules, "healspan.analytics.scheduler", None)
    with pytest.raises(ConfigurationError, match=rf"pip install 'healspan\[{brings}\]'"):
        up(with_console=with_console)


def test_metrics_ends_on_a_signal():
    with healspan("metrics", f"--port={free_port()}") as process:
        found = urls(process, "metrics")
        assert "healspan_fixes" in get(found["metrics"])
        assert ended(process, signal.SIGTERM) == 0
    assert not listens(found["metrics"])


def test_the_console_ends_on_a_signal():
    with healspan("console", f"--port={free_port()}") as process:
        found = urls(process, "console")
        assert ended(process, signal.SIGINT) == 0
    assert not listens(found["console"])


@pytest.mark.parametrize(
    "command",
    [("metrics", "--port"), ("console", "--port"), ("up", "--no-console", "--metrics-port"), ("up", "--console-port")],
)
def test_a_taken_port_is_said_in_one_line_and_nothing_is_left_behind(command):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        other = () if command != ("up", "--console-port") else (f"--metrics-port={free_port()}",)
        with healspan(*command[:-1], f"{command[-1]}={port}", *other) as process:
            _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert f"port {port} on 127.0.0.1 is taken" in said
    assert "Traceback" not in said
