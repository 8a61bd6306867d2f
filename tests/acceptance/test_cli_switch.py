"""`healspan uninstall` and `healspan enable`: every process obeys, and what does not answer is not taken as proof."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import shop
from tests.command import Run

from healspan.remediation.runtime import shut_down
from healspan.remediation.store.spools import owner_name, spool_views

SERVICE = """
import sys
from tests.service import amount
from healspan.remediation.runtime import runtime
amount("$1,234.50")
import time
deadline = time.monotonic() + 20
while not runtime().repairs.installed() and time.monotonic() < deadline:
    time.sleep(0.01)
print("installed", len(runtime().repairs.installed()), flush=True)
if sys.stdin.readline() == "be deaf\\n":
    runtime().index.stop(20)
    print("deaf", flush=True)
    sys.stdin.readline()
print("left", runtime().repairs.verify_uninstalled(), runtime().disabled, flush=True)
"""


@pytest.fixture
def service(data_dir: Path) -> Iterator[subprocess.Popen[str]]:
    """A process in which a repair is installed; it waits for a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVICE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "installed 1\n"
    yield process
    process.kill()
    process.communicate()


class TestUninstall:
    def test_a_spool_is_known_by_its_process_whatever_the_host_is_called(self, tmp_path: Path) -> None:
        (tmp_path / "web_1.example-4711-1700000000.db").touch()
        [view] = spool_views(tmp_path)
        assert view.owner == owner_name("web-1.example:4711")

    def test_a_running_service_gives_up_its_repairs_and_says_so(self, run: Run, service: subprocess.Popen[str]) -> None:
        assert run("uninstall", "--check", "--wait", "0").code == 1
        ran = run("uninstall", "--wait", "20", "--json")
        assert ran.code == 0, ran.out
        [answer] = ran.json["answers"]
        assert answer["instance"].endswith(f":{service.pid}")
        assert answer["not_original"] == []
        assert run("uninstall", "--check").code == 0
        assert service.communicate("\n")[0] == "left [] True\n"

    def test_it_is_not_proven_while_a_process_does_not_answer(self, run: Run, service: subprocess.Popen[str]) -> None:
        assert service.stdin is not None
        assert service.stdout is not None
        service.stdin.write("be deaf\n")
        service.stdin.flush()
        assert service.stdout.readline() == "deaf\n"
        ran = run("uninstall", "--wait", "0.3")
        assert ran.code == 1
        assert re.search(rf":{service.pid} +no answer yet", ran.out), ran.err or ran.out

    def test_enable_lets_them_heal_again(self, run: Run, filled: Path) -> None:
        run("uninstall")
        with pytest.raises(ValueError, match="could not convert"):
            shop.price("$9")
        shut_down()
        assert "'healspan enable' turns it on" in run("doctor").out
        assert run("enable").code == 0
        assert shop.price("$9") == 9.0
