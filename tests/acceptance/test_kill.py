"""SIGKILL at random moments: nothing that was acknowledged is lost or doubled, and everything opens clean."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from healspan.remediation.settings import load_settings
from healspan.remediation.store import drain_all

KILLS = int(os.environ.get("HEALSPAN_TEST_KILLS", "12"))
DEMO_KILLS = int(os.environ.get("HEALSPAN_TEST_DEMO_KILLS", "3"))
ROOT = Path(__file__).parents[2]

DEMO = f"""
import csv, sys
sys.path.insert(0, {str(ROOT / "examples")!r})
from filings.demo import DATA
from filings.statements import open_filing
from filings.valuation import value

files = [row["file"] for row in csv.DictReader((DATA / "index.csv").open())]
while True:
    for file in files:
        answers = value(open_filing(DATA / file, key=file))
        # Everything of this filing is acknowledged only now.
        for heal in answers.heals.values():
            print(heal.outcome, heal.error_id, flush=True)
"""

WORKER = """
import sys
from healspan.instrumentation import error_boundary, pipeline

@error_boundary("first")
def first(n):
    raise LookupError("no first way")

@first.strategy("second")
def second(n):
    return n

@error_boundary("hopeless")
def hopeless(n):
    raise RuntimeError("no way at all")

n = 0
while True:
    n += 1
    with pipeline("work", key=str(n), context={"kind": "test"}) as run:
        first(n)
        try:
            hopeless(n)
        except RuntimeError:
            pass
    # Everything of this run is acknowledged only now.
    for heal in run.heals:
        print(heal.outcome, heal.error_id, flush=True)
"""


def run_and_kill(script: Path, after: float) -> list[tuple[str, str]]:
    """Start the worker, kill it some time after its first acknowledgements, return what it acknowledged."""
    environment = {**os.environ, "HEALSPAN_IN_APP": "filings"}
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    # Of one run both, so that however slow the machine is they are enough for the test to mean something.
    first = process.stdout.readline() + process.stdout.readline()
    time.sleep(after)
    process.kill()
    rest = process.stdout.read()
    process.wait(90)
    lines = (first + rest).splitlines()
    # The last line may have been cut by the kill.
    complete = lines if (first + rest).endswith("\n") else lines[:-1]
    return [(line.split()[0], line.split()[1]) for line in complete]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("worker", "kills", "longest"),
    [pytest.param(WORKER, KILLS, 0.3, id="bare"), pytest.param(DEMO, DEMO_KILLS, 3.0, id="demo")],
)
def test_nothing_acknowledged_is_lost_or_doubled(
    tmp_path: Path,
    data_dir: Path,
    worker: str,
    kills: int,
    longest: float,
) -> None:
    script = tmp_path / "worker.py"
    script.write_text(worker)
    chance = random.Random(20261122)
    acknowledged: list[tuple[str, str]] = []
    for _ in range(kills):
        acknowledged += run_and_kill(script, chance.uniform(0.0, longest))
    assert len(acknowledged) >= 2 * kills, "the worker acknowledged too little for the test to mean anything"
    drain_all(load_settings())

    database = sqlite3.connect(data_dir / "healspan.db")
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    incidents = Counter(row[0] for row in database.execute("SELECT error_id FROM incident"))
    resolutions = dict(database.execute("SELECT error_id, status FROM resolution"))
    applications = dict(database.execute("SELECT error_id, application_id FROM application WHERE resolved"))
    judged = Counter(row[0] for row in database.execute("SELECT application_id FROM judgement"))
    doubled = database.execute(
        # Installed repairs are tallied: their rows stand for calls that no exception left.
        "SELECT error_id FROM application WHERE resolved AND error_id IS NOT NULL "
        "GROUP BY error_id HAVING count(*) > 1",
    ).fetchall()
    assert doubled == []
    assert set(incidents.values()) == {1}
    assert set(judged.values()) == {1}
    for outcome, error_id in acknowledged:
        assert incidents[error_id] == 1
        assert resolutions[error_id] == outcome
        if outcome == "healed":
            assert judged[applications[error_id]] == 1
    left = [path.name for path in (data_dir / "spool").glob("*.db")]
    assert left == [], "spools of dead processes were not drained"
