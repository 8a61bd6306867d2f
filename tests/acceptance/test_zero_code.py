"""A service that knows nothing of healspan, started by ``opentelemetry-instrument``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from healspan.remediation.incident import IncidentStatus
from healspan.remediation.settings import load_settings
from healspan.remediation.store import drain_all
from healspan.remediation.store.repository import Store

SERVICE = """
import sys
from opentelemetry import trace

tracer = trace.get_tracer("shop")

def read(text):
    return float(text)

def handle(text):
    with tracer.start_as_current_span("GET /price"):
        with tracer.start_as_current_span("read"):
            return read(text)

for text in sys.argv[1:]:
    try:
        print(handle(text))
    except ValueError:
        print("failed")
"""


def serve(tmp_path: Path, *texts: str, **environment: str) -> subprocess.CompletedProcess[str]:
    service = tmp_path / "shop.py"
    service.write_text(SERVICE)
    command = [
        str(Path(sys.executable).with_name("opentelemetry-instrument")),
        *("--traces_exporter", "none", "--logs_exporter", "none", "--metrics_exporter", "none"),
        *("--service_name", "shop"),
        *(sys.executable, str(service), *texts),
    ]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, env={**os.environ, **environment}
    )


def incidents() -> list[tuple[str, str, str | None, IncidentStatus]]:
    settings = load_settings()
    drain_all(settings)
    with Store.open(settings) as store:
        views = store.incidents.list(limit=100)
    return [
        (
            view.incident.module,
            view.incident.resource["service.name"],
            view.incident.span_name,
            view.resolution.status if view.resolution is not None else IncidentStatus.OPEN,
        )
        for view in views
    ]


def test_its_failures_are_incidents_with_their_spans(tmp_path: Path) -> None:
    ran = serve(tmp_path, "1", "x", "2", "y")
    assert (ran.returncode, ran.stdout.split()) == (0, ["1.0", "failed", "2.0", "failed"]), ran.stderr
    assert incidents() == [("shop.read", "shop", "read", IncidentStatus.OBSERVED)] * 2


def test_it_can_be_left_out_by_its_name(tmp_path: Path) -> None:
    ran = serve(tmp_path, "x", OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="healspan")
    assert (ran.returncode, ran.stdout.split()) == (0, ["failed"])
    assert not load_settings().data_dir.exists()


def test_a_service_that_does_not_fail_leaves_nothing_behind(tmp_path: Path) -> None:
    ran = serve(tmp_path, "1")
    assert (ran.returncode, ran.stdout.split(), ran.stderr) == (0, ["1.0"], "")
    assert not load_settings().data_dir.exists()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("DATA_DIR", "/dev/null/healspan", ["set HEALSPAN_DATA_DIR to"]),
        ("POLICY", "none-there-is", ["HEALSPAN_POLICY"]),
        # What the store is for is said as well: fixes that come from it, facts that go to it.
        ("DATABASE_URL", "nosuch://x", ["HEALSPAN_DATABASE_URL", "HEALSPAN_DATABASE_URL"]),
        ("DISABLED", "1", []),
    ],
)
def test_whatever_is_wrong_with_healspan_the_service_goes_on(
    tmp_path: Path,
    name: str,
    value: str,
    words: list[str],
) -> None:
    ran = serve(tmp_path, "x", "1", "y", **{f"HEALSPAN_{name}": value})
    assert (ran.returncode, ran.stdout.split()) == (0, ["failed", "1.0", "failed"])
    told = [line for line in ran.stderr.splitlines() if "healspan" in line.lower()]
    assert len(told) == len(words), ran.stderr
    assert all(word in line for word, line in zip(words, told, strict=True))
