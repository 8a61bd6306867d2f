"""A real Prometheus for tests: on loopback, with data of its own, bounded in time, ended by its own id."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.ports import free_port

__all__ = ["Prometheus", "binary"]

ROOT = Path(__file__).parent.parent
RULES = ROOT / "dashboards" / "prometheus"
DEMANDED = os.environ.get("HEALSPAN_TEST_PROMETHEUS") == "1"
"""Whether a test that needs one fails without it."""
START_SECONDS = 60.0
"""The machine is shared; nothing waits so long but a test that fails."""


def binary(name: str) -> str:
    """Return where a program of Prometheus is; without it skip loudly, or fail where it is demanded."""
    found = shutil.which(name)
    if found is None:
        missing = f"{name} is not on PATH: apt-get install prometheus (Debian's package brings the server and promtool)"
        if DEMANDED:
            pytest.fail(missing)
        pytest.skip(missing)
    return found


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run promtool among the rules."""
    command = [binary("promtool"), *map(str, arguments)]
    return subprocess.run(command, cwd=RULES, capture_output=True, text=True, timeout=120, check=False)


class Prometheus:
    """A server that scrapes as a file says, until it is closed.

    Args:
        config: its configuration.
        data: where it keeps what it scrapes.
    """

    def __init__(self, config: Path, data: Path) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self._log = (data.parent / "prometheus.log").open("w")
        self._process = subprocess.Popen(
            [
                binary("prometheus"),
                f"--config.file={config}",
                f"--storage.tsdb.path={data}",
                f"--web.listen-address={self.address}",
                "--enable-feature=exemplar-storage",
                "--log.level=warn",
            ],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def wait(self, condition: Callable[[], Any]) -> None:
        """Return when a condition holds."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            assert self._process.poll() is None, "Prometheus has ended: " + Path(self._log.name).read_text()
            try:
                if condition():
                    return
            except (urllib.error.URLError, ConnectionError):
                pass  # it has not begun to listen
            time.sleep(0.25)
        pytest.fail(f"not within {START_SECONDS:.0f} s; it says:\n{Path(self._log.name).read_text()}")

    def get(self, path: str, **parameters: str) -> Any:
        """Ask its HTTP API."""
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=20) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as refused:
            pytest.fail(f"{parameters}: {json.load(refused)['error']}")

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Return what an expression yields now: labels and value; without what is no number."""
        rows = [(one["metric"], float(one["value"][1])) for one in self.get("query", query=expression)["result"]]
        return [row for row in rows if not math.isnan(row[1])]

    def value(self, expression: str) -> float:
        """Return the only value of an expression; 0 of none."""
        return sum(value for _, value in self.query(expression))

    def close(self) -> None:
        """End the server; kill it if it does not end in time."""
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()
