"""Several processes: what one learns serves in the others, and one switch stops them all."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.observe import wait_until
from tests.service import amount

from healspan.remediation.runtime import Runtime, runtime
from healspan.remediation.settings import load_settings
from healspan.remediation.store.repository import Store

# It may not repeat a call, so it cannot prove a repair by itself: only what others have proven helps it.
OTHER = """
import sys, time
from healspan.instrumentation import pipeline
from tests.service import amount
from healspan.remediation.boundary import boundaries
from healspan.remediation.runtime import runtime
boundaries()["amount"].retry_safe = False
runtime()
while True:
    try:
        value = amount("$1,234")
    except ValueError:
        value = None
    print(time.time(), value, len(runtime().repairs.verify_uninstalled()), flush=True)
    time.sleep(0.01)
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Callable[[], list[tuple[float, str, int]]]]:
    """Another process of the service; returns what it has said so far."""
    log = tmp_path / "other.log"
    with log.open("w") as out:
        root = Path(__file__).parents[2]
        environment = {**os.environ, "PYTHONPATH": str(root)}
        process = subprocess.Popen([sys.executable, "-c", OTHER], stdout=out, cwd=root, env=environment)

    def said() -> list[tuple[float, str, int]]:
        lines = [line.split() for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]
        return [(float(at), value, int(patched)) for at, value, patched in lines]

    try:
        wait_until(said, "the other process to start")
        yield said
    finally:
        process.kill()
        process.wait(90)


def test_a_fix_learned_here_serves_there_and_the_switch_takes_it_out_again(
    other: Callable[[], list[tuple[float, str, int]]],
    live: Runtime,
) -> None:
    assert {value for _, value, _ in other()} == {"None"}
    assert amount("$1,234") == 1234.0
    learned = time.time()
    wait_until(lambda: other()[-1][1] == "1234.0", "the other process to be healed")
    healed = next(at for at, value, _ in other() if value == "1234.0")
    print(f"learned here, served there after {(healed - learned) * 1e3:.0f} ms")

    store = Store.open(load_settings())
    thrown = time.time()
    store.controls.set_disabled(True, actor="human:test")
    wait_until(lambda: other()[-1][1:] == ("None", 0), "the other process to have its original code again")
    stopped = next(at for at, value, patched in other() if at > thrown and (value, patched) == ("None", 0))
    print(f"switched off here, original code there after {(stopped - thrown) * 1e3:.0f} ms")
    wait_until(lambda: runtime().disabled, "this process to obey as well")
    with pytest.raises(ValueError, match="could not convert"):
        amount("$1,234")

    store.controls.set_disabled(False, actor="human:test")
    wait_until(lambda: other()[-1][1] == "1234.0", "the other process to be healed again")
    store.close()
