"""The options of the instrumentor in a declarative configuration of OpenTelemetry, in a real service."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.observe import left_behind, wait_until
from tests.receiver import Receiver

SERVICE = """
import logging, threading
import prices
from opentelemetry import trace

tracer = trace.get_tracer("shop")

def failing(text):
    try:
        with tracer.start_as_current_span("request"):
            raise LookupError(text)
    except LookupError:
        print("failed", flush=True)

print(prices.read("$1,234"), flush=True)
failing("a span's")
logging.getLogger("shop").error("no exception")
thread = threading.Thread(target=prices.read, args=("nobody's",))
thread.start()
thread.join()
"""

CONFIGURATION = """
file_format: "1.0"
resource:
  attributes:
    - {name: service.name, value: shop}
propagator:
  composite:
    - tracecontext: {}
    - baggage: {}
tracer_provider:
  processors:
    - batch:
        schedule_delay: 100
        exporter:
          otlp_http: {endpoint: "ENDPOINT/v1/traces"}
logger_provider:
  processors:
    - batch:
        schedule_delay: 100
        exporter:
          otlp_http: {endpoint: "ENDPOINT/v1/logs"}
instrumentation/development:
  python:
    healspan: OPTIONS
"""


def serve(folder: Path, receiver: Receiver, options: str) -> subprocess.CompletedProcess[str]:
    (folder / "prices.py").write_text("def read(text):\n    return float(text)\n")
    (folder / "service.py").write_text(SERVICE)
    (folder / "named.toml").write_text('[boundaries."prices:read"]\nname = "price"\nretry_safe = true\n')
    endpoint = receiver.environment["OTEL_EXPORTER_OTLP_ENDPOINT"]
    text = CONFIGURATION.replace("ENDPOINT", endpoint).replace("OPTIONS", options)
    (folder / "otel.yaml").write_text(text)
    environment = {**os.environ, "OTEL_CONFIG_FILE": "otel.yaml", "HEALSPAN_START_WAIT_MS": "60000"}
    instrument = str(Path(sys.executable).with_name("opentelemetry-instrument"))
    return subprocess.run(
        [instrument, sys.executable, "service.py"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def incidents() -> list[tuple[str, str, str]]:
    return sorted(
        (one.incident.module, one.incident.error_type.removeprefix("builtins."), one.incident.resource["service.name"])
        for one in left_behind()
    )


PRICE = ("price", "ValueError", "shop")
NOBODYS = ("prices.read", "ValueError", "shop")
SPANS = ("service.failing", "LookupError", "shop")


@pytest.mark.parametrize(
    ("options", "answer", "expected"),
    [
        ("{config: named.toml, uncaught: true}", "1234.0", [PRICE, PRICE, SPANS]),
        ("{config: named.toml, uncaught: true, spans: false}", "1234.0", [PRICE, PRICE]),
        ("{config: named.toml}", "1234.0", [PRICE, PRICE, SPANS]),
    ],
)
def test_options_are_in_force(tmp_path: Path, options: str, answer: str, expected: list[tuple[str, str, str]]) -> None:
    with Receiver("http/protobuf") as receiver:
        ran = serve(tmp_path, receiver, options)
        assert (ran.returncode, ran.stdout.split()) == (0, [answer, "failed"]), ran.stderr
        assert incidents() == expected
        wait_until(lambda: any(span.name == "healspan.heal" for span in receiver.spans), "the span of healing")
        assert {span.service for span in receiver.spans} == {"shop"}


def test_without_a_boundary_an_exception_that_nobody_catches_is_taken_if_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "empty.toml").write_text("")
    with Receiver("http/protobuf") as receiver:
        serve_failing = "{config: empty.toml, uncaught: true}"
        ran = serve(tmp_path, receiver, serve_failing)
    assert ran.returncode == 1, "nothing heals the first call"
    assert incidents() == [NOBODYS]


def test_it_is_left_out_by_its_name_and_not_by_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "healspan.toml").write_text('[boundaries."prices:read"]\nretry_safe = true\n')
    with Receiver("http/protobuf") as receiver:
        # What the file does not start, opentelemetry-instrument does: the guide says so.
        assert serve(tmp_path, receiver, "{enabled: false}").stdout.split() == ["1234.0", "failed"]
        before = incidents()
        monkeypatch.setenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "healspan")
        ran = serve(tmp_path, receiver, "{enabled: false}")
    assert (ran.returncode, ran.stdout) == (1, ""), "nothing heals the first call"
    assert incidents() == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("{config: named.toml, uncought: true}", "did you mean 'uncaught'?"),
        ("{config: named.toml, spans: 'no'}", "spans='no' is neither true nor false"),
        ("{config: [named.toml]}", "config=['named.toml'] is no path"),
    ],
)
def test_what_cannot_be_meant_is_said_once_and_left_out(tmp_path: Path, options: str, words: str) -> None:
    with Receiver("http/protobuf") as receiver:
        ran = serve(tmp_path, receiver, options)
    assert len([line for line in ran.stderr.splitlines() if words in line]) == 1, ran.stderr
    assert (SPANS in incidents()) == ("named.toml," in options)
