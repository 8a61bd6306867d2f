"""A fix earns its place, and loses it by itself: real boundaries, a real kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from textwrap import dedent

import pytest
from tests.earning import Service, only_fix, verdict
from tests.observe import drained, facts, wait_until
from tests.service import checked_amount

from healspan.instrumentation import error_boundary, pipeline
from healspan.remediation import review
from healspan.remediation.errors import SignatureRefused, StateConflict
from healspan.remediation.fix import Fix, FixState, RiskLevel
from healspan.remediation.ids import uuid7
from healspan.remediation.outcome import ApplicationMode, Judgement, Verdict
from healspan.remediation.policy import Preset
from healspan.remediation.probation import Probation
from healspan.remediation.run import Applied
from healspan.remediation.runtime import Runtime, runtime, shut_down
from healspan.remediation.signing import Reviewer
from healspan.remediation.store import FixIndex
from healspan.remediation.store.repository import Store

TRIAL, ACTIVE, SUSPENDED = FixState.TRIAL, FixState.ACTIVE, FixState.SUSPENDED


def state_in_store(live: Runtime, fix: Fix) -> FixState | None:
    drained(live)
    with Store.open(live.settings) as store:
        view = store.fixes.get(fix.fix_id)
    assert view is not None
    return view.state


def probation(index: FixIndex, live: Runtime, *, preset: Preset = "guarded") -> Probation:
    """One that only the test asks."""
    return Probation(
        index=index,
        keys=live.keys,
        preset=preset,
        now=lambda: datetime.now(UTC),
        on_decision=lambda fix, decision: None,
    )


# By itself


def test_a_fix_that_begins_to_break_the_contract_is_suspended_after_three_failures(live: Runtime) -> None:
    service = Service("breaks")
    assert [service.call(n) for n in range(1, 4)] == [1, 2, 3]
    service.good = False
    for _ in range(3):
        with pytest.raises(LookupError):
            service.call(5)
    fix, change = only_fix(live)
    assert (change.state, change.actor) == (SUSPENDED, "engine")
    assert "3 times in a row" in change.reason
    assert state_in_store(live, fix) is SUSPENDED

    tries = len(service.called)
    with pytest.raises(LookupError):
        service.call(5)
    assert len(service.called) == tries, "what is suspended is not tried"
    last = facts(live)[-1].resolution
    assert [(one.gate, one.applied) for one in last.decisions] == [("state", False)]
    with Store.open(live.settings) as store:
        [entry] = store.controls.audits(action="suspend")
    assert (entry.subject, entry.detail["failures"]) == (fix.fix_id, 3)


def test_eighteen_successes_after_it_was_found_make_a_fix_active(live: Runtime) -> None:
    service = Service("earns")
    service.call(1)  # found, and kept for that: this one does not count
    for _ in range(17):
        service.call(1)
    _, change = only_fix(live)
    assert change.state is TRIAL
    service.call(1)
    fix, change = only_fix(live)
    assert (change.state, change.expires) == (ACTIVE, None)
    assert state_in_store(live, fix) is ACTIVE
    service.call(1)
    drained(live)
    with Store.open(live.settings) as store:
        latest = store.outcomes.list(limit=1)[0].application
    assert latest.mode is ApplicationMode.ACTIVE


def test_an_active_fix_is_demoted_on_alarm_and_goes_on_serving(live: Runtime) -> None:
    service = Service("falters")
    for _ in range(40):
        service.call(1)
    assert only_fix(live)[1].state is ACTIVE
    service.good = False
    for _ in range(2):
        with pytest.raises(LookupError):
            service.call(1)
    service.good = True
    assert only_fix(live)[1].state is TRIAL
    assert service.call(1) == 1


def test_two_regressions_suspend_although_every_value_looked_right(live: Runtime) -> None:
    service = Service("harmful")

    harmed = False

    @error_boundary("later")
    def later() -> None:
        if harmed:
            raise RuntimeError("what the value led to")

    for _ in range(20):
        with pipeline("p", key="0", context={}):
            later()
    harmed = True

    def run(key: int) -> None:
        with pipeline("p", key=str(key), context={}):
            service.call(1)
            later()

    for key in range(1, 4):
        with pytest.raises(RuntimeError):
            run(key)
        if only_fix(live)[1].state is SUSPENDED:
            break
    _, change = only_fix(live)
    assert (change.state, key) == (SUSPENDED, 2)
    assert "went wrong after it 2 times" in change.reason


def test_a_declared_fallback_is_neither_suspended_nor_activated_by_use(live: Runtime) -> None:
    @error_boundary("falls", fallback=7)
    def falls(x: int) -> int:
        raise LookupError

    assert [falls(1) for _ in range(25)] == [7] * 25
    assert only_fix(live)[1].state is TRIAL


def test_an_installed_repair_that_breaks_the_contract_is_taken_out_of_the_function(live: Runtime) -> None:
    assert checked_amount("$1,234") == 1234.0
    wait_until(live.repairs.installed, "the repair to be installed")
    for _ in range(5):
        with pytest.raises(ValueError, match="could not convert"):
            checked_amount("$-5")
    live.flush()
    wait_until(lambda: not live.repairs.installed(), "the repair to be taken out")
    assert live.repairs.verify_uninstalled() == []
    with pytest.raises(ValueError, match="could not convert"):
        checked_amount("$1,234")
    assert only_fix(live)[1].state is SUSPENDED


# What a machine may not


def test_what_goes_wrong_only_where_no_run_comes_without_the_fix_suspends_nothing(live: Runtime) -> None:
    service = Service("leads further")

    @error_boundary("further")
    def further() -> None:
        raise RuntimeError("always")

    with pipeline("q", key="0", context={}):
        pass  # a run that never reached 'further'

    def run(key: int) -> None:
        with pipeline("q", key=str(key), context={}):
            service.call(1)
            further()

    for key in range(1, 6):
        with pytest.raises(RuntimeError):
            run(key)
    assert only_fix(live)[1].state is TRIAL


def test_only_a_human_brings_a_suspended_fix_back(live: Runtime, reviewer: Reviewer) -> None:
    service = Service("returns")
    service.call(1)
    service.good = False
    for _ in range(3):
        with pytest.raises(LookupError):
            service.call(1)
    service.good = True
    fix, suspended = only_fix(live)
    again = live.keys.sign_change(
        suspended.model_copy(update={"sequence": suspended.sequence + 1, "state": TRIAL, "previous": SUSPENDED}),
    )
    assert not live.index.add(fix, again)
    with Store.open(live.settings) as store:
        with pytest.raises(StateConflict, match="only a human"):
            store.fixes.append_change(again)
        with pytest.raises(LookupError):
            service.call(1)
        review.approve(store.database, fix.fix_id, reviewer, live.settings.keys_dir, reason="the cause is gone")
    wait_until(lambda: live.index.snapshot.candidates, "the approval to arrive")
    assert service.call(1) == 1


def test_what_a_human_approved_is_suspended_and_never_rewritten(live: Runtime, reviewer: Reviewer) -> None:
    service = Service("approved")
    service.call(1)
    fix, _ = only_fix(live)
    with Store.open(live.settings) as store:
        approval = review.approve(store.database, fix.fix_id, reviewer, live.settings.keys_dir, reason="read it")
    wait_until(lambda: live.index.latest(fix.fix_id) == approval, "the approval to arrive")
    for _ in range(30):
        service.call(1)
    service.good = False
    for number in range(3):
        assert only_fix(live)[1] == approval, number
        with pytest.raises(LookupError):
            service.call(1)
    assert only_fix(live)[1].state is SUSPENDED


def test_under_suggest_no_trial_raises_anything(live: Runtime) -> None:
    service = Service("suggested")
    service.call(1)
    fix, change = only_fix(live)
    watching = probation(live.index, live, preset="suggest")
    for _ in range(30):
        watching.judged(*verdict(fix, success=True))
    assert watching.ruled([fix.fix_id]) == []
    assert live.index.latest(fix.fix_id) == change


def test_under_suggest_a_fix_that_fails_is_given_up_all_the_same(live: Runtime) -> None:
    service = Service("suggested and bad")
    service.call(1)
    fix, _ = only_fix(live)
    watching = probation(live.index, live, preset="suggest")
    for _ in range(3):
        watching.judged(*verdict(fix, success=False))
    assert [kind for kind, _ in watching.ruled([fix.fix_id])] == ["state_change", "audit"]
    latest = live.index.latest(fix.fix_id)
    assert latest is not None
    assert (latest.state, latest.policy) == (SUSPENDED, "suggest")


def test_unknowns_that_a_verdict_settles_are_harm_each(live: Runtime) -> None:
    service = Service("settles")
    service.call(1)
    fix, _ = only_fix(live)
    watching = probation(live.index, live)
    application, judgement = verdict(fix, success=False)
    harm = Verdict(resolved=True, no_regression=False, valid_output=True)
    watching.judged(application, judgement.model_copy(update={"verdict": harm, "overrules": (uuid7(), uuid7())}))
    known = live.index.verdicts.evidence(fix.fix_id)
    assert (known.counted(), known.regressions) == ((0, 3), 3)


def test_the_end_of_a_run_says_nothing_of_a_fix_that_does_not_serve_or_of_what_has_no_time(live: Runtime) -> None:
    service = Service("closes")
    service.call(1)
    fix, _ = only_fix(live)
    watching = probation(live.index, live)
    _, judgement = verdict(fix, success=False)
    acted = Applied(fix.fix_id, "closes", resolved=False, valid_output=False, at=datetime.now(UTC))
    watching.closed(replace(acted, fix_id="gone"), judgement)
    watching.closed(replace(acted, at=None), judgement)
    assert live.index.verdicts.evidence(fix.fix_id).counted() == (0, 0)
    watching.closed(acted, judgement)
    assert live.index.verdicts.evidence(fix.fix_id).counted() == (0, 1)


def test_a_machine_key_never_raises_what_is_not_of_low_risk(live: Runtime, reviewer: Reviewer) -> None:
    service = Service("medium")
    service.call(1)
    fix, change = only_fix(live)
    medium = Fix.from_draft(fix.model_copy(update={"risk_level": RiskLevel.MEDIUM}), created_at=fix.created_at)
    signed = live.keys.sign_fix(medium)
    for state, previous in ((TRIAL, FixState.PROPOSED), (ACTIVE, TRIAL)):
        raised = live.keys.sign_change(
            change.model_copy(update={"fix_id": medium.fix_id, "state": state, "previous": previous}),
        )
        with pytest.raises(SignatureRefused, match="low risk only"):
            live.keys.trust(signed, raised)
    # Even if it served by some mistake, its trial would accept nothing.
    index = FixIndex(live.settings, trust=lambda fix, change: None)
    index.add(signed, change.model_copy(update={"fix_id": medium.fix_id}))
    watching = probation(index, live)
    for _ in range(30):
        watching.judged(*verdict(medium, success=True))
    assert watching.ruled([medium.fix_id]) == []


# Kill -9

WORKER = """
import os, signal, sys
from healspan.instrumentation import error_boundary
from healspan.remediation.runtime import runtime

good, when = int(sys.argv[1]), sys.argv[2]

@error_boundary("killed", checks=[lambda result, arguments: result > 0])
def primary(x):
    raise LookupError

@primary.strategy("other")
def other(x):
    return x

for _ in range(good):
    primary(1)
spool, append = runtime().spool, runtime().spool.append_many

def deadly(facts):
    facts = list(facts)
    deciding = any(kind == "state_change" for kind, _ in facts)
    if deciding and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    done = append(facts)
    if deciding and when == "after":
        os.kill(os.getpid(), signal.SIGKILL)
    return done

spool.append_many = deadly
while True:
    try:
        primary(-1)
    except LookupError:
        pass
"""


@pytest.mark.parametrize(("when", "failures", "state"), [("before", 2, TRIAL), ("after", 3, SUSPENDED)])
def test_a_kill_cannot_come_between_a_verdict_and_what_follows_from_it(
    tmp_path: Path, data_dir: Path, when: str, failures: int, state: FixState
) -> None:
    script = tmp_path / "worker.py"
    script.write_text(dedent(WORKER))
    killed = subprocess.run([sys.executable, str(script), "2", when], env=dict(os.environ), timeout=120)
    assert killed.returncode == -signal.SIGKILL
    live = runtime()
    wait_until(lambda: len(bad_verdicts(live)) == failures, f"{failures} bad verdicts in the store")
    with Store.open(live.settings) as store:
        [view] = store.fixes.list()
    assert view.state is state
    if state is TRIAL:
        live.index.refresh()
        assert live.index.verdicts.evidence(view.fix.fix_id).in_a_row == failures


def bad_verdicts(live: Runtime) -> list[Judgement]:
    with Store.open(live.settings) as store:
        return [one.judgement for one in store.outcomes.list() if one.judgement and one.reward == 0]


def test_what_a_trial_has_shown_survives_a_restart(live: Runtime) -> None:
    service = Service("restarts too")
    service.call(1)
    service.good = False
    for _ in range(2):
        with pytest.raises(LookupError):
            service.call(1)
    drained(live)
    shut_down()
    with pytest.raises(LookupError):
        service.call(1)
    assert only_fix(runtime())[1].state is SUSPENDED
