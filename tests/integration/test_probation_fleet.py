"""Many threads, many processes: what each has seen of a fix adds up, and one decision comes of it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.earning import Process, Service, only_fix
from tests.observe import wait_until
from tests.service import checked_amount

from healspan.remediation.fix import Fix, FixState
from healspan.remediation.runtime import Runtime
from healspan.remediation.store.repository import Store
from healspan.remediation.trial import Decision

ROOT = Path(__file__).parents[2]
TRIAL, ACTIVE, SUSPENDED = FixState.TRIAL, FixState.ACTIVE, FixState.SUSPENDED


@pytest.fixture
def trial(live: Runtime) -> Fix:
    """A fix in trial that the store knows of."""
    service = Service("fleet")
    service.call(1)
    return only_fix(live)[0]


def test_failures_of_several_processes_add_up_and_are_never_counted_twice(live: Runtime, trial: Fix) -> None:
    with Store.open(live.settings) as store:
        one, two = Process(live, store), Process(live, store)
        for _ in range(2):
            one.verdict(trial, success=False)
        one.bring()
        for process in (one, two, one, two):
            process.index.refresh()
            assert process.index.verdicts.evidence(trial.fix_id).counted() == (0, 2)
        one.bring()  # once more, as after a kill before the spool was emptied
        one.index.refresh()
        assert one.index.verdicts.evidence(trial.fix_id).counted() == (0, 2)
        assert one.index.verdicts.pending() == ()
        assert (one.state(trial), two.state(trial)) == (TRIAL, TRIAL)
        two.verdict(trial, success=False)
        assert two.state(trial) is SUSPENDED
        two.bring()
        one.index.refresh()
        assert one.state(trial) is SUSPENDED


def test_of_two_processes_that_decide_differently_giving_up_wins(live: Runtime, trial: Fix) -> None:
    with Store.open(live.settings) as store:
        good, bad = Process(live, store), Process(live, store)
        for _ in range(18):
            good.verdict(trial, success=True)
        for _ in range(3):
            bad.verdict(trial, success=False)
        assert (good.decided, bad.decided) == ([Decision.ACTIVATE], [Decision.SUSPEND])
        good.bring()
        bad.index.refresh()
        assert bad.state(trial) is SUSPENDED, "not even for a moment does it serve again here"
        bad.bring()
        for process in (good, bad):
            process.index.refresh()
            assert process.state(trial) is SUSPENDED
        view = store.fixes.get(trial.fix_id)
        assert view is not None
        assert [change.state for change in view.changes][-2:] == [ACTIVE, SUSPENDED]


def test_the_other_way_round_too(live: Runtime, trial: Fix) -> None:
    with Store.open(live.settings) as store:
        good, bad = Process(live, store), Process(live, store)
        for _ in range(18):
            good.verdict(trial, success=True)
        for _ in range(3):
            bad.verdict(trial, success=False)
        bad.bring()
        good.bring()
        for process in (good, bad):
            process.index.refresh()
            assert process.state(trial) is SUSPENDED
        assert [entry.subject for entry in store.controls.audits(action="lost race")] == [trial.fix_id]


def test_two_that_decide_the_same_leave_one_change_and_one_entry(live: Runtime, trial: Fix) -> None:
    with Store.open(live.settings) as store:
        one, two = Process(live, store), Process(live, store)
        for process in (one, two):
            for _ in range(3):
                process.verdict(trial, success=False)
        for process in (one, two):
            process.bring()
        view = store.fixes.get(trial.fix_id)
        assert view is not None
        assert [change.state for change in view.changes].count(SUSPENDED) == 1
        assert len(store.controls.audits(action="suspend")) == 1


# Many at once


def test_threads_that_fail_at_once_end_a_trial_once(live: Runtime) -> None:
    service = Service("crowded")
    service.call(1)
    service.good = False
    start = threading.Barrier(16)

    def fail() -> None:
        start.wait()
        for _ in range(4):
            with contextlib.suppress(LookupError):
                service.call(1)

    threads = [threading.Thread(target=fail) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    fix, change = only_fix(live)
    assert change.state is SUSPENDED
    with Store.open(live.settings) as store:
        view = store.fixes.get(fix.fix_id)
        assert view is not None
        assert [one.state for one in view.changes].count(SUSPENDED) == 1
        assert len(store.controls.audits(action="suspend")) == 1
        bad = [one for one in store.outcomes.list(limit=1_000) if one.reward == 0]
    assert 3 <= len(bad) <= 16 + 2, "each thread was at most once past the gate when the third verdict came"


OTHER = """
import sys, time
from healspan.instrumentation import pipeline
from healspan.remediation.boundary import boundaries
from healspan.remediation.runtime import runtime
from tests.service import checked_amount
boundaries()["checked_amount"].retry_safe = False
runtime()
while True:
    try:
        value = checked_amount("$1,234")
    except ValueError:
        value = None
    print(value, len(runtime().repairs.verify_uninstalled()), flush=True)
    time.sleep(0.02)
"""


def test_a_repair_that_fails_here_is_taken_out_of_other_processes_too(live: Runtime, tmp_path: Path) -> None:
    log = tmp_path / "other.log"
    with log.open("w") as out:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        other = subprocess.Popen([sys.executable, "-c", OTHER], stdout=out, cwd=ROOT, env=environment)

    def says(line: str) -> bool:
        return (log.read_text().splitlines() or [""])[-1] == line

    try:
        assert checked_amount("$1,234") == 1234.0
        wait_until(lambda: says("1234.0 1"), "the other process to use the repair")
        wait_until(live.repairs.installed, "the repair to be installed here")
        for _ in range(3):
            with pytest.raises(ValueError, match="could not convert"):
                checked_amount("$-5")
        live.flush()
        wait_until(lambda: says("None 0"), "the other process to have its original code again")
    finally:
        other.kill()
        other.wait(90)
