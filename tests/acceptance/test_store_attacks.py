"""What an attacker, or a crash, does to the kill switch, the store and the keys: nobody gains what nobody signed."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.observe import drained, wait_until

from healspan.instrumentation import error_boundary, pipeline
from healspan.remediation.fix import FixState, StateChange
from healspan.remediation.runtime import Runtime
from healspan.remediation.signing import KeyRing, Reviewer, enrol
from healspan.remediation.store.repository import Store


@error_boundary("attacked_store_total", retry_safe=True)
def total(row: Any):  # type: ignore[no-untyped-def]
    return float(row["total"])


def installed(live: Runtime, boundary: str) -> Callable[[], bool]:
    return lambda: any(one.boundary == boundary for one in live.repairs.installed())


FORKING = """
import os, time
from healspan.instrumentation import error_boundary
from healspan.remediation.runtime import runtime

@error_boundary("forked_total", retry_safe=True)
def total(row):
    return float(row["total"])

assert total({"total": "1,234"}) == 1234
repairs = runtime().repairs
while not repairs.installed():
    time.sleep(0.01)
if os.fork() == 0:
    os._exit(len(repairs.verify_uninstalled()))
_, status = os.wait()
print("child:", os.waitstatus_to_exitcode(status), "parent:", len(repairs.verify_uninstalled()))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_takes_over_none_of_its_parents_repairs(tmp_path: Path) -> None:
    # In a process of its own: other libraries' hooks around a fork do not survive the threads of other tests.
    script = tmp_path / "forking.py"
    script.write_text(FORKING)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "child: 0 parent: 1"


def edit(data_dir: Path, statement: str, *values: object) -> None:
    connection = sqlite3.connect(data_dir / "healspan.db", isolation_level=None)
    connection.execute("PRAGMA busy_timeout=5000")
    connection.execute(statement, values)
    connection.close()


@pytest.mark.parametrize(
    "damage",
    [
        "INSERT INTO run (run_id, pipeline, context, closed_at, body) VALUES ('x', 'p', '', ?, '{\"newer\": 1}')",
        "UPDATE revision SET value = value + 1 WHERE 1 OR ? = 0",
    ],
    ids=["a row of a newer version", "nothing"],
)
def test_the_kill_switch_is_obeyed_whatever_else_is_in_the_store(live: Runtime, data_dir: Path, damage: str) -> None:
    wait_until((data_dir / "healspan.db").exists, "the store")
    store = Store.open(live.settings)
    edit(data_dir, damage, datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f"))
    store.controls.set_disabled(True, actor="human:test")
    wait_until(lambda: live.disabled, "the kill switch to be obeyed")


def test_a_verdict_that_waited_for_its_run_is_given_though_the_kill_switch_was_turned(
    live: Runtime, data_dir: Path
) -> None:
    store = Store.open(live.settings)
    with pipeline("switched"):
        assert total({"total": "1,234"}) == 1234
        store.controls.set_disabled(True, actor="human:test")
        wait_until(lambda: live.disabled, "the kill switch to be obeyed")
    drained(live)
    with sqlite3.connect(data_dir / "healspan.db") as database:
        judged = "SELECT count(*) FROM application JOIN judgement USING (application_id) WHERE application.resolved"
        assert database.execute(judged).fetchone() == (1,)


def test_a_kill_switch_that_cannot_be_read_is_on(live: Runtime, data_dir: Path) -> None:
    Store.open(live.settings).controls.set_disabled(False, actor="human:test")
    edit(data_dir, "UPDATE control SET value = 'true, I think' WHERE name = 'disabled'")
    wait_until(lambda: live.disabled, "the kill switch to be obeyed")


def test_a_retired_fix_stays_retired_when_its_retirement_is_deleted(live: Runtime, data_dir: Path) -> None:
    assert total({"total": "1,234"}) == 1234
    wait_until(installed(live, "attacked_store_total"), "the repair")
    store = Store.open(live.settings)
    (fix_id,) = live.index.snapshot.candidates
    wait_until(lambda: store.fixes.latest(fix_id) is not None, "the fix to be stored")
    last = store.fixes.latest(fix_id)
    assert last is not None
    store.fixes.append_change(
        StateChange(
            fix_id=fix_id,
            sequence=last.sequence + 1,
            state=FixState.RETIRED,
            previous=last.state,
            policy="guarded",
            actor="human:test",
            reason="wrong",
            at=datetime.now(UTC),
        ),
    )
    wait_until(lambda: not live.repairs.installed(), "the retirement to be obeyed")
    edit(data_dir, "DELETE FROM state_change WHERE fix_id = ? AND sequence > ?", fix_id, last.sequence)
    edit(data_dir, "UPDATE revision SET value = value + 1")
    edit(data_dir, "UPDATE state_change SET revision = (SELECT max(value) FROM revision) WHERE fix_id = ?", fix_id)
    live.index.refresh()
    latest = live.index.latest(fix_id)
    assert latest is not None
    assert latest.state is FixState.RETIRED
    assert not live.index.snapshot.candidates


def test_a_directory_of_trusted_keys_that_anybody_can_write_to_trusts_nobody(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    enrol(keys, Reviewer.open(tmp_path / "me.pem", name="me", create=True))
    assert len(KeyRing.open(keys).trusted_ids) == 1
    for path in (keys, keys / "trusted", next((keys / "trusted").glob("*.pem"))):
        before = path.stat().st_mode
        path.chmod(before | 0o002)
        assert KeyRing.open(keys).trusted_ids == ()
        path.chmod(before)
    assert len(KeyRing.open(keys).trusted_ids) == 1
