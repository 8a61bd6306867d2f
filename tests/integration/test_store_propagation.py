"""What one process learns, another serves: how soon, and that the kill switch reaches everybody."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.facts import make_change, make_fix, make_incident

from healspan.remediation.fix import Fix, FixState
from healspan.remediation.settings import Settings
from healspan.remediation.store import Drainer, Spool
from healspan.remediation.store.repository import Store

ROOT = Path(__file__).parents[2]

SERVER = """
import sys, time
from healspan.remediation.settings import load_settings
from healspan.remediation.store import FixIndex
seen, off = set(), False
def heard(snapshot):
    global off
    for one in snapshot.serving:
        if one.fix.fix_id not in seen:
            seen.add(one.fix.fix_id)
            print(one.fix.fix_id, flush=True)
    if snapshot.disabled != off:
        off = snapshot.disabled
        print("disabled" if off else "enabled", len(snapshot.serving), flush=True)
index = FixIndex(load_settings(), trust=lambda fix, change: None, on_change=heard)
index.start()
print("ready", flush=True)
sys.stdin.read()
index.stop()
"""


@pytest.fixture
def server(settings: Settings) -> Iterator[subprocess.Popen[str]]:
    """Another process that serves, and prints what it serves and hears."""
    Store.open(settings).close()
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    yield process
    process.communicate("")


def until_served(spool: Spool, server: subprocess.Popen[str], fix: Fix) -> float:
    """Learn a fix here; return the milliseconds until it serves there."""
    assert server.stdout is not None
    started = time.perf_counter()
    spool.append("fix", fix)
    spool.append("state_change", make_change(fix, 1, FixState.PROPOSED, None))
    spool.append("state_change", make_change(fix, 2, FixState.TRIAL, FixState.PROPOSED))
    assert server.stdout.readline() == f"{fix.fix_id}\n"
    return (time.perf_counter() - started) * 1e3


def test_a_fix_learned_here_serves_there(settings: Settings, server: subprocess.Popen[str]) -> None:
    spool = Spool(settings)
    drainer = Drainer(settings, spool)
    drainer.start()
    took = sorted(until_served(spool, server, make_fix(str(number))) for number in range(40))
    drainer.stop(timeout=60)
    spool.close()
    print(f"propagation over {len(took)} fixes: p50 {took[len(took) // 2]:.0f} ms, max {took[-1]:.0f} ms")


def test_the_kill_switch_reaches_another_process(settings: Settings, server: subprocess.Popen[str]) -> None:
    assert server.stdout is not None
    fix = make_fix()
    with Store.open(settings) as store:
        store.fixes.add(
            fix,
            make_change(fix, 1, FixState.PROPOSED, None),
            make_change(fix, 2, FixState.TRIAL, FixState.PROPOSED),
        )
        assert server.stdout.readline() == f"{fix.fix_id}\n"
        started = time.perf_counter()
        store.controls.set_disabled(True, actor="human:ana")
        assert server.stdout.readline() == "disabled 0\n"
        print(f"kill switch: {(time.perf_counter() - started) * 1e3:.0f} ms")
        store.controls.set_disabled(False, actor="human:ana")
        assert server.stdout.readline() == "enabled 1\n"


def test_a_fix_gets_through_while_incidents_pour_in(settings: Settings, server: subprocess.Popen[str]) -> None:
    spool = Spool(settings)
    drainer = Drainer(settings, spool)
    done = threading.Event()

    def pour() -> None:
        while not done.wait(0.001):
            spool.append("incident", make_incident("x" * 4_000))

    threads = [threading.Thread(target=pour) for _ in range(2)]
    for thread in threads:
        thread.start()
    took = sorted(until_served(spool, server, make_fix(str(number))) for number in range(10))
    done.set()
    for thread in threads:
        thread.join()
    drainer.stop(timeout=60)
    spool.close()
    print(f"under {spool.counts.appended} incidents: p50 {took[5]:.0f} ms, max {took[-1]:.0f} ms")


def test_incidents_are_written_and_arrive(settings: Settings) -> None:
    Store.open(settings).close()
    spool = Spool(settings)
    drainer = Drainer(settings, spool)
    drainer.start()
    incidents = [make_incident("x" * 4_000) for _ in range(4_000)]
    started = time.perf_counter()
    assert all(spool.append("incident", incident) for incident in incidents)
    durable = time.perf_counter() - started
    drainer.stop(timeout=60)
    arrived = time.perf_counter() - started
    spool.close()
    with Store.open(settings) as store:
        assert store.incidents.count() == len(incidents)
    print(f"durable {len(incidents) / durable:.0f}/s, in the store {len(incidents) / arrived:.0f}/s")
