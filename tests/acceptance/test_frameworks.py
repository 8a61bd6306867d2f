"""The examples of docs/frameworks, each really run by ``opentelemetry-instrument``, seen by a real OTLP receiver."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.observe import left_behind, wait_until
from tests.ports import free_port
from tests.prefork import eventually
from tests.receiver import Protocol, Receiver, Seen

from healspan.remediation.incident import IncidentStatus

EXAMPLES = Path(__file__).parents[2] / "docs" / "frameworks"
BIN = Path(sys.executable).parent

CELERY = """
import celery_app
from celery.contrib.testing.worker import start_worker

with start_worker(celery_app.app, pool="solo", perform_ping_check=False):
    print(celery_app.price.delay("$1,234").get(timeout=60), flush=True)
    try:
        celery_app.stock.delay("gone").get(timeout=60)
    except KeyError:
        print("failed", flush=True)
"""


@contextmanager
def running(receiver: Receiver, *command: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Run a service until the block ends."""
    known = {
        **os.environ,
        **receiver.environment,
        "OTEL_SERVICE_NAME": "shop",
        "HEALSPAN_UNCAUGHT": "1",
        # A busy machine may take longer than the two seconds there are to load what is known.
        "HEALSPAN_START_WAIT_MS": "60000",
        "PYTHONPATH": str(EXAMPLES),
        **environment,
    }
    started = [str(BIN / "opentelemetry-instrument"), *command]
    with subprocess.Popen(started, cwd=EXAMPLES, env=known, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            try:
                process.wait(90)
            except subprocess.TimeoutExpired:
                process.kill()


def answer(port: int, path: str) -> tuple[int, str]:
    """Ask, and wait until the service has closed the connection: an interrupt amid what it still does may be lost."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(f"GET {urllib.parse.quote(path)} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n".encode())
        said = connection.makefile("rb").read().decode()
    head, _, body = said.partition("\r\n\r\n")
    return int(head.split()[1]), body


def answers(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def incidents() -> list[tuple[str, str, IncidentStatus]]:
    return sorted(
        (view.incident.module, view.incident.error_type, view.resolution.status)
        for view in left_behind()
        if view.resolution is not None
    )


EXPECTED = [
    ("price", "builtins.ValueError", IncidentStatus.HEALED),
    ("prices.read_stock", "builtins.KeyError", IncidentStatus.OBSERVED),
]


def spans(receiver: Receiver, name: str) -> list[Seen]:
    return [span for span in receiver.spans if span.name == name]


def check(receiver: Receiver, *, again: bool = False) -> None:
    """One failure, one incident; the healed call is told of in its trace, and is no error."""
    if again:
        wait_until(lambda: sorted(set(incidents())) == EXPECTED, "the incidents")
    else:
        wait_until(lambda: incidents() == EXPECTED, "the incidents")
    wait_until(lambda: spans(receiver, "healspan.heal"), "the span of healing")
    heal, *others = spans(receiver, "healspan.heal")
    # What is run again may fail again before the repair of the first time is installed.
    assert again or not others
    assert heal.service == "shop"
    assert heal.attributes["healspan.outcome"] == "healed"
    assert heal.raw.status.code == 0
    # The attempt is below the span of healing, the failing call is not.
    own = [span.raw.parent_span_id == heal.raw.span_id for span in receiver.spans if span.scope == "prices"]
    assert own[:2] == [False, True]


Web = tuple[list[str], dict[str, str]]

WEB: dict[str, Web] = {
    "fastapi": ([str(BIN / "uvicorn"), "--port", "PORT", "fastapi_app:app"], {}),
    "fastapi, its own telemetry": (
        [str(BIN / "uvicorn"), "--port", "PORT", "fastapi_app:app"],
        {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "fastapi,asgi"},
    ),
    "flask": ([str(BIN / "flask"), "--app", "flask_app", "run", "--port", "PORT"], {}),
    "django": ([sys.executable, "django_app.py", "PORT"], {"DJANGO_SETTINGS_MODULE": "django_app"}),
}


@pytest.mark.parametrize(
    ("framework", "protocol"),
    [(name, ("grpc", "http/protobuf")[place % 2]) for place, name in enumerate(WEB)],
)
def test_a_web_framework(framework: str, protocol: Protocol) -> None:
    command, environment = WEB[framework]
    port = free_port()
    with Receiver(protocol) as receiver:
        with running(receiver, *(part.replace("PORT", str(port)) for part in command), **environment):
            eventually(lambda: answers(port), "the service to listen")
            assert answer(port, "/price/$1,234") == (200, "1234.0")
            assert answer(port, "/stock/gone")[0] == 500
        check(receiver)
        [heal] = spans(receiver, "healspan.heal")
        request = next(span for span in receiver.spans if span.raw.span_id == heal.raw.parent_span_id)
        assert request.attributes["healspan.healed"] is True
        assert request.raw.status.code == 0
        assert [link.span_id for link in heal.raw.links] == [request.raw.span_id]


@pytest.mark.parametrize(
    ("command", "protocol", "again"),
    [
        ([sys.executable, "-c", CELERY], "http/protobuf", False),
        ([sys.executable, "scheduler_app.py", "$1,234", "gone"], "grpc", True),
        ([sys.executable, "batch.py", "$1,234", "gone"], "http/protobuf", False),
    ],
    ids=["celery, with its retries", "apscheduler", "a program"],
)
def test_what_is_no_web_framework(command: list[str], protocol: Protocol, again: bool) -> None:
    with Receiver(protocol) as receiver:
        with running(receiver, *command) as process:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == "1234.0"
            if again:
                eventually(lambda: len(incidents()) >= 2, "both failures")
            else:
                # What ends by itself sends its spans while it ends: an interrupt then would lose them.
                process.wait(120)
        check(receiver, again=again)


def test_a_receiver_that_is_away_breaks_nothing() -> None:
    receiver: Any = Receiver("http/protobuf")
    receiver.port = free_port()
    with running(receiver, sys.executable, "batch.py", "$1,234", "some") as process:
        assert process.stdout is not None
        assert process.stdout.read().split() == ["1234.0", "5"]
    assert process.returncode == 0
    assert [(module, status) for module, _, status in incidents()] == [("price", IncidentStatus.HEALED)]
