"""A service that knows nothing of healspan, started by ``opentelemetry-instrument``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.observe import left_behind, wait_until

from healspan.remediation.incident import IncidentStatus
from healspan.remediation.settings import load_settings

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


def command_of(tmp_path: Path, *texts: str) -> list[str]:
    service = tmp_path / "shop.py"
    service.write_text(SERVICE)
    return [
        str(Path(sys.executable).with_name("opentelemetry-instrument")),
        *("--traces_exporter", "none", "--logs_exporter", "none", "--metrics_exporter", "none"),
        *("--service_name", "shop"),
        *(sys.executable, str(service), *texts),
    ]


def serve(tmp_path: Path, *texts: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = command_of(tmp_path, *texts)
    # A busy machine may take longer than the two seconds there are, which is said.
    known = {**os.environ, "HEALSPAN_START_WAIT_MS": "60000", **environment}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=known)


def incidents() -> list[tuple[str, str, str | None, IncidentStatus]]:
    return [
        (
            view.incident.module,
            view.incident.resource["service.name"],
            view.incident.span_name,
            view.resolution.status if view.resolution is not None else IncidentStatus.OPEN,
        )
        for view in left_behind()
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


def test_switched_off_it_says_nothing_and_keeps_nothing(tmp_path: Path) -> None:
    ran = serve(tmp_path, "x", "1", "y", HEALSPAN_DISABLED="1")
    assert (ran.returncode, ran.stdout.split(), ran.stderr) == (0, ["failed", "1.0", "failed"], "")
    assert not load_settings().data_dir.exists()


CONFIGURED = """
import sys, time
from shop_prices import read
from opentelemetry import trace

print(read("$1,234"), flush=True)
if "wait" in sys.argv:
    for line in sys.stdin:
        try:
            print(read(line.strip()), flush=True)
        except ValueError:
            print("failed", flush=True)
"""


def test_boundaries_of_a_file_heal_a_service_that_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop_prices.py").write_text("def read(text):\n    return float(text)\n")
    (tmp_path / "pyproject.toml").write_text('[tool.healspan.boundaries."shop_prices:read"]\nretry_safe = true\n')
    monkeypatch.setattr("test_zero_code.SERVICE", CONFIGURED)
    ran = serve(tmp_path)
    assert (ran.returncode, ran.stdout.split()) == (0, ["1234.0"]), ran.stderr
    assert incidents() == [("shop_prices.read", "shop", None, IncidentStatus.HEALED)]
    doctor = run_command("doctor", "--app", "shop_prices", "--json")
    assert f"{tmp_path / 'pyproject.toml'} declares 1 boundary" in doctor
    assert "shop_prices.read: compiled into its function" in doctor or "in a wrapper" in doctor


def test_a_broken_file_is_said_once_and_the_service_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # A busy machine may load nothing within the two seconds there are, which is said as well.
    monkeypatch.setenv("HEALSPAN_START_WAIT_MS", "60000")
    (tmp_path / "healspan.toml").write_text('[boundaries."shop:read"]\nretrysafe = true\n')
    ran = serve(tmp_path, "x")
    assert (ran.returncode, ran.stdout.split()) == (0, ["failed"])
    [told] = [line for line in ran.stderr.splitlines() if "healspan" in line]
    assert "retrysafe" in told
    assert "did you mean 'retry_safe'?" in told
    assert "retrysafe" in run_command("doctor")


def test_on_a_hangup_the_file_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop_prices.py").write_text("def read(text):\n    return float(text)\n")
    file = tmp_path / "healspan.toml"
    file.write_text('[boundaries."shop_prices:read"]\nretry_safe = true\n')
    monkeypatch.setattr("test_zero_code.SERVICE", CONFIGURED)
    with subprocess.Popen(
        command_of(tmp_path, "wait"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as service:
        assert service.stdin is not None
        assert service.stdout is not None
        assert service.stdout.readline() == "1234.0\n"

        def answer(text: str) -> str:
            assert service.stdin is not None
            assert service.stdout is not None
            print(text, file=service.stdin, flush=True)
            return service.stdout.readline().strip()

        file.write_text("")
        service.send_signal(signal.SIGHUP)
        wait_until(lambda: answer("$1,234") == "failed", "the boundary to be taken off")
        file.write_text('[boundaries."shop_prices:read"]\nretry_safe = true\n')
        service.send_signal(signal.SIGHUP)
        wait_until(lambda: answer("$1,234") == "1234.0", "the boundary to be put on again")
        file.write_text("[broken")
        service.send_signal(signal.SIGHUP)
        assert answer("$1,234") == "1234.0"
        service.stdin.close()
        assert service.wait(60) == 0


@pytest.mark.parametrize("chosen", ["", "later.toml"])
def test_a_file_that_could_not_be_found_or_read_is_taken_at_a_hangup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if chosen:
        monkeypatch.setenv("HEALSPAN_CONFIG", chosen)
    (tmp_path / "shop_prices.py").write_text("def read(text):\n    return float(text)\n")
    (tmp_path / "healspan.toml").write_text("[broken")
    monkeypatch.setattr("test_zero_code.SERVICE", CONFIGURED.replace('"$1,234"', '"1"'))
    with subprocess.Popen(
        command_of(tmp_path, "wait"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as service:
        assert service.stdin is not None
        assert service.stdout is not None
        assert service.stdout.readline() == "1.0\n"
        (tmp_path / (chosen or "healspan.toml")).write_text('[boundaries."shop_prices:read"]\nretry_safe = true\n')
        service.send_signal(signal.SIGHUP)

        def answer() -> str:
            assert service.stdin is not None
            assert service.stdout is not None
            print("$1,234", file=service.stdin, flush=True)
            return service.stdout.readline().strip()

        wait_until(lambda: answer() == "1234.0", "the boundary to be put on")
        service.stdin.close()
        assert service.wait(60) == 0


FORKING = """
import os, sys, time
from pathlib import Path
from shop_prices import read

print(read("1"), flush=True)
Path("healspan.toml").write_text('[boundaries."shop_prices:read"]\\nretry_safe = true\\n')
if os.fork() == 0:
    until = time.monotonic() + 30
    while not hasattr(sys.modules["shop_prices"].read, "boundary") and time.monotonic() < until:
        time.sleep(0.01)
    print(sys.modules["shop_prices"].read("$1,234"), flush=True)
    sys.exit()
os.wait()
print(hasattr(sys.modules["shop_prices"].read, "boundary"))
"""


def test_a_worker_that_is_forked_later_has_the_file_as_it_is_by_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop_prices.py").write_text("def read(text):\n    return float(text)\n")
    (tmp_path / "healspan.toml").write_text('[boundaries."shop_prices:absent"]\n')
    monkeypatch.setattr("test_zero_code.SERVICE", FORKING)
    ran = serve(tmp_path)
    assert (ran.returncode, ran.stdout.split()) == (0, ["1.0", "1234.0", "False"]), ran.stderr


def run_command(*arguments: str) -> str:
    command = [sys.executable, "-m", "healspan.remediation.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False).stdout
