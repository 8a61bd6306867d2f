"""A fix earns its place, and loses it by itself: real boundaries, real processes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from textwrap import dedent
from typing import cast

import pytest
from tests.observe import drained, facts, wait_until
from tests.service import checked_amount

from healspan.instrumentation import error_boundary, pipeline
from healspan.instrumentation.errors import ContractViolation
from healspan.remediation import review
from healspan.remediation.boundary import FailedCall
from healspan.remediation.engine import _Progress
from healspan.remediation.errors import SignatureRefused, StateConflict
from healspan.remediation.fix import Fix, FixState, Match, RiskLevel, StateChange
from healspan.remediation.ids import uuid7
from healspan.remediation.outcome import Application, ApplicationMode, Judgement, Verdict
from healspan.remediation.probation import Probation
from healspan.remediation.record import Record
from healspan.remediation.runtime import Runtime, runtime, shut_down
from healspan.remediation.selection import Selection
from healspan.remediation.settings import load_settings
from healspan.remediation.signing import Reviewer, enrol
from healspan.remediation.step import StrategyStep
from healspan.remediation.store import FixIndex
from healspan.remediation.store.analysis import choice_facts
from healspan.remediation.store.ingest import add_facts
from healspan.remediation.store.repository import Store
from healspan.remediation.store.rows import Inserts
from healspan.remediation.trial import Decision

ROOT = Path(__file__).parents[2]
TRIAL, ACTIVE, SUSPENDED = FixState.TRIAL, FixState.ACTIVE, FixState.SUSPENDED


class Service:
    """A boundary that fails, and an alternative whose quality the test decides."""

    def __init__(self, name: str) -> None:
        self.good = True
        self.called: list[str] = []

        @error_boundary(name, checks=[lambda result, arguments: result > 0])
        def primary(x: int) -> int:
            raise LookupError("no primary way")

        @primary.strategy("other")
        def other(x: int) -> int:
            self.called.append("other")
            return x if self.good else -x

        self.call: Callable[[int], int] = primary
        self.boundary = primary


@pytest.fixture
def reviewer(tmp_path: Path, data_dir: Path) -> Reviewer:
    human = Reviewer.open(tmp_path / "reviewer.pem", name="ann", create=True)
    enrol(load_settings().keys_dir, human)
    return human


def only_fix(live: Runtime) -> tuple[Fix, StateChange]:
    """The one fix that this process knows of, with its latest change."""
    drained(live)
    with Store.open(live.settings) as store:
        [view] = store.fixes.list()
    change = live.index.latest(view.fix.fix_id)
    assert change is not None
    return view.fix, change


def state_in_store(live: Runtime, fix: Fix) -> FixState | None:
    drained(live)
    with Store.open(live.settings) as store:
        view = store.fixes.get(fix.fix_id)
    assert view is not None
    return view.state


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

    @error_boundary("later")
    def later() -> None:
        raise RuntimeError("what the value led to")

    with pipeline("p", key="0", context={}):
        pass  # a run that never reached 'later'

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
        with pytest.raises(ContractViolation):
            checked_amount("$-5")
    live.flush()
    wait_until(lambda: not live.repairs.installed(), "the repair to be taken out")
    assert live.repairs.verify_uninstalled() == []
    with pytest.raises(ValueError, match="could not convert"):
        checked_amount("$1,234")
    assert only_fix(live)[1].state is SUSPENDED


# What a machine may not


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
    probation = Probation(
        index=live.index,
        keys=live.keys,
        preset="suggest",
        now=lambda: datetime.now(UTC),
        on_decision=lambda fix, decision: None,
    )
    for _ in range(30):
        probation.judged(*verdict(fix, success=True))
    assert probation.ruled([fix.fix_id]) == []
    assert live.index.latest(fix.fix_id) == change


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
    probation = Probation(
        index=index,
        keys=live.keys,
        preset="guarded",
        now=lambda: datetime.now(UTC),
        on_decision=lambda fix, decision: None,
    )
    for _ in range(30):
        probation.judged(*verdict(medium, success=True))
    assert probation.ruled([medium.fix_id]) == []


# A fleet


def verdict(fix: Fix, *, success: bool) -> tuple[Application, Judgement]:
    now = datetime.now(UTC)
    application = Application(
        application_id=uuid7(),
        fix_id=fix.fix_id,
        error_id=uuid7(),
        run_id=uuid7(),
        boundary=fix.scope.module,
        pipeline=None,
        timestamp=now,
        tier="1",
        mode=ApplicationMode.TRIAL,
        steps=("strategy",),
        resolved=success,
        valid_output=success,
        added_latency_ms=1.0,
        propensity=1.0,
    )
    judgement = Judgement(
        application_id=application.application_id,
        fix_id=fix.fix_id,
        timestamp=now,
        verdict=Verdict(resolved=success, no_regression=True if success else None, valid_output=success),
        reason="said so by the test",
    )
    return application, judgement


class Process:
    """One of several processes: its index, its probation, and facts that it has not brought to the store yet."""

    def __init__(self, live: Runtime, store: Store) -> None:
        self.store = store
        self.index = FixIndex(live.settings, trust=live.keys.trust)
        self.decided: list[Decision] = []
        self.probation = Probation(
            index=self.index,
            keys=live.keys,
            preset="guarded",
            now=lambda: datetime.now(UTC),
            on_decision=lambda fix, decision: self.decided.append(decision),
        )
        self.facts: list[Record] = []
        self.index.refresh()

    def verdict(self, fix: Fix, *, success: bool) -> None:
        application, judgement = verdict(fix, success=success)
        self.probation.judged(application, judgement)
        self.facts += [application, judgement, *(one for _, one in self.probation.ruled([fix.fix_id]))]

    def bring(self) -> None:
        with self.store.database.writing() as connection:
            now = datetime.now(UTC)
            add_facts(connection, Inserts(connection.dialect), [(one, None) for one in self.facts], now=now)

    def state(self, fix: Fix) -> FixState | None:
        change = self.index.latest(fix.fix_id)
        return None if change is None else change.state


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
    killed = subprocess.run([sys.executable, str(script), "2", when], env=dict(os.environ), timeout=60)
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


# Choosing


def with_a_rival(live: Runtime, service: Service) -> tuple[Fix, Fix]:
    """Give the boundary a second alternative, and this process a second fix of the same pattern."""

    @service.boundary.strategy("rival")
    def rival(x: int) -> int:
        service.called.append("rival")
        return x

    service.call(1)
    fix, change = only_fix(live)
    steps, hashes = (StrategyStep(strategy="rival"),), dict(fix.source_hash)
    from healspan.remediation.repair import function_hash

    target, digest = function_hash(rival)
    other = Fix.from_draft(
        fix.model_copy(update={"steps": steps, "source_hash": hashes | {target: digest}}), created_at=fix.created_at
    )
    signed = live.keys.sign_fix(other)
    proposed = live.keys.sign_change(
        change.model_copy(update={"fix_id": other.fix_id, "sequence": 1, "state": FixState.PROPOSED, "previous": None})
    )
    serving = live.keys.sign_change(change.model_copy(update={"fix_id": other.fix_id}))
    live.spool.append_many([("fix", signed), ("state_change", proposed), ("state_change", serving)])
    assert live.index.add(signed, proposed)
    assert live.index.add(signed, serving)
    return fix, signed


def test_the_choice_among_rivals_is_logged_with_its_propensity(live: Runtime) -> None:
    service = Service("chooses")
    live.engine._chance = Random(3)
    live.engine._selection = Selection(explore=0.5)
    first, rival = with_a_rival(live, service)
    for _ in range(40):
        service.call(1)
    drained(live)
    with Store.open(live.settings) as store:
        logged = [one.application for one in store.outcomes.list(limit=40)]
    assert {one.fix_id for one in logged} == {first.fix_id, rival.fix_id}, "both were tried"
    for one in logged:
        assert set(one.candidates) == {first.fix_id, rival.fix_id}
        assert one.policy_version == "lcb-thompson:1"
        assert 0.01 <= one.propensity < 1.0
    with Store.open(live.settings) as store, store.database.reading() as connection:
        choices = list(choice_facts(connection))
    assert len(choices) == 40
    assert {one.boundary for one in choices} == {"chooses"}
    assert all(one.chosen in one.candidates for one in choices)


def test_a_fix_without_rivals_is_logged_as_certain(live: Runtime) -> None:
    service = Service("certain")
    for _ in range(3):
        service.call(1)
    drained(live)
    with Store.open(live.settings) as store:
        logged = [one.application for one in store.outcomes.list()]
    assert [(one.propensity, one.candidates, one.policy_version) for one in logged] == [(1.0, (), None)] * 3


def test_when_the_chosen_fix_fails_its_rival_heals_the_same_call(live: Runtime) -> None:
    service = Service("second try")
    first, _ = with_a_rival(live, service)
    service.good = False
    assert [service.call(1) for _ in range(8)] == [1] * 8
    drained(live)
    with Store.open(live.settings) as store:
        logged = [one.application for one in store.outcomes.list()][::-1]
    failed = next(number for number, one in enumerate(logged) if not one.resolved)
    after = logged[failed + 1]
    assert (logged[failed].fix_id, logged[failed].error_id) == (first.fix_id, after.error_id)
    assert (after.resolved, after.propensity, after.candidates) == (True, 1.0, ()), "nothing was left to choose from"
    assert sum(not one.resolved for one in logged) < 3, "what has failed is left before it has to be suspended"


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
            with pytest.raises(ContractViolation):
                checked_amount("$-5")
        live.flush()
        wait_until(lambda: says("None 0"), "the other process to have its original code again")
    finally:
        other.kill()
        other.wait(30)


def test_chance_has_no_say_in_the_order_a_human_gave(live: Runtime, reviewer: Reviewer) -> None:
    service = Service("ordered")
    live.engine._selection = Selection(explore=1.0)
    first, _ = with_a_rival(live, service)
    ids = {}
    with Store.open(live.settings) as store:
        for confidence, strategy in ((0.9, "other"), (0.8, "rival")):
            scope = first.scope.model_copy(update={"match": Match.BOUNDARY})
            steps = (StrategyStep(strategy=strategy),)
            wide = Fix.from_draft(
                first.model_copy(update={"scope": scope, "steps": steps, "confidence": confidence, "source_hash": {}}),
                created_at=first.created_at,
            )
            change = live.keys.sign_change(
                StateChange(
                    fix_id=wide.fix_id,
                    sequence=1,
                    state=FixState.PROPOSED,
                    policy="guarded",
                    actor="human:ann",
                    reason="imported",
                    at=datetime.now(UTC),
                ),
            )
            store.fixes.add(live.keys.sign_fix(wide), change)
            review.approve(store.database, wide.fix_id, reviewer, live.settings.keys_dir, reason="in this order")
            ids[wide.fix_id] = strategy
    live.index.refresh()
    incident = facts(live)[-1].incident
    groups = live.index.groups(incident.pattern, incident.module, incident.context_keys)
    left = list(groups[-1])
    assert [ids[one.fix.fix_id] for one in left] == ["other", "rival"]
    progress = _Progress()
    for _ in range(20):
        chosen = live.engine._choose(cast("FailedCall", None), progress, left)
        assert ids[chosen.fix.fix_id] == "other"
    assert progress.choice is None
