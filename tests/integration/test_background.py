"""Mode `background`: the call fails as it would have, and the next one is healed."""

from __future__ import annotations

import asyncio
import threading

import pytest
from tests.consulting import WORDS, Open, Told, adapter, answer, consult
from tests.kept import behind, behind_async, behind_list
from tests.observe import PATIENCE, drained, facts, wait_until

from healspan.instrumentation import error_boundary, pipeline
from healspan.remediation.errors import ConfigurationError
from healspan.remediation.incident import IncidentStatus
from healspan.remediation.later import Later
from healspan.remediation.outcome import ApplicationMode
from healspan.remediation.runtime import Runtime
from healspan.remediation.store.repository import Store


def test_the_call_fails_and_the_next_one_is_healed(live: Runtime) -> None:
    with pytest.raises(ValueError, match="could not convert"):
        behind("$1")
    wait_until(live.repairs.installed, "the repair to be installed")
    assert behind("$2") == 2.0
    wait_until(lambda: not live.later._keys, "the diagnosis to be written down, which comes after it serves")
    [one] = facts(live)
    assert one.resolution.status is IncidentStatus.ESCALATED
    assert not one.resolution.diagnosed
    with Store.open(live.settings) as store:
        [view] = store.fixes.list()
        [validation] = store.fixes.validations(view.fix.fix_id)
        outcomes = store.outcomes.list(fix_id=view.fix.fix_id)
        [solution] = store.fixes.solutions()
    assert validation.passed
    # What nobody got is no success of the fix.
    assert outcomes[-1].application.mode is ApplicationMode.SHADOW
    assert solution.success_count <= 1


def test_a_known_fix_acts_inline_where_it_is_not_installed_yet(live: Runtime) -> None:
    @error_boundary("behind_strategy", mode="background")
    def primary(x: int) -> int:
        raise LookupError

    @primary.strategy("other")
    def other(x: int) -> int:
        return x

    with pytest.raises(LookupError):
        primary(1)
    wait_until(lambda: live.index.snapshot.serving, "the strategy to serve")
    assert primary(2) == 2


def test_a_coroutine_is_looked_into_in_its_own_loop(live: Runtime) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="could not convert"):
            await behind_async("$1")
        while not live.repairs.installed():
            await asyncio.sleep(0.01)
        assert await behind_async("$2") == 2.0

    asyncio.run(asyncio.wait_for(main(), PATIENCE))


def test_what_the_caller_does_to_its_arguments_afterwards_does_not_matter(live: Runtime) -> None:
    rows = ["$1"]
    with pytest.raises(ValueError, match="could not convert"):
        behind_list(rows)
    rows.clear()
    wait_until(live.repairs.installed, "the repair to be installed")
    assert behind_list(["$2"]) == 2.0


def test_nobody_stands_behind_who_waits_for_an_answer(live: Runtime) -> None:
    gate, gateway = threading.Event(), Open()
    kept = consult(live, Told([answer(adapter(WORDS))], wait=gate), gateway)

    @error_boundary("behind_an_answer", output=float, retry_safe=True, mode="background")
    def asked(text: str) -> float:
        return float(text)

    @error_boundary("behind_another", output=float, retry_safe=True, mode="background")
    def asked_too(text: str) -> float:
        return float(text)

    for function in (asked, asked_too):
        with pytest.raises(ValueError, match="could not convert"):
            function("one")
    wait_until(lambda: gateway.heard.count(("in",)) == 2, "two patterns to be asked about at once")
    with pytest.raises(ValueError, match="could not convert"):
        behind("$1")
    wait_until(live.repairs.installed, "a playbook to be done with")
    assert kept == []
    gate.set()
    wait_until(lambda: len(live.index.snapshot.serving) == 3, "all to serve")
    assert (asked("two"), asked_too("one"), behind("$2")) == (2.0, 1.0, 2.0)
    wait_until(lambda: len(kept) == 2, "both to be written down, which comes after they serve")
    assert [one.state for one in kept] == ["healed", "healed"]


def test_a_coroutine_asks_in_its_own_loop_once_nothing_else_was_found(live: Runtime) -> None:
    kept = consult(live, Told([answer(adapter(WORDS))]))

    @error_boundary("behind_an_answer_async", output=float, retry_safe=True, mode="background")
    async def asked(text: str) -> float:
        return float(text)

    async def main() -> None:
        with pytest.raises(ValueError, match="could not convert"):
            await asked("one")
        while not live.index.snapshot.serving:
            await asyncio.sleep(0.01)
        assert await asked("two") == 2.0
        while not kept:  # it is written down after it serves
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(main(), PATIENCE))
    assert [one.state for one in kept] == ["healed"]


def test_the_callers_run_is_left_alone(live: Runtime) -> None:
    with pipeline("p") as run:
        with pytest.raises(ValueError, match="could not convert"):
            behind("$1")
        wait_until(lambda: live.index.snapshot.serving, "the fix to serve")
        wait_until(lambda: not live.later._keys, "the diagnosis to be written down")
    assert [heal.outcome for heal in run.heals] == ["escalated"]
    drained(live)
    with Store.open(live.settings) as store:
        assert [one.application.run_id == run.run_id for one in store.outcomes.list()] == [False]


def test_nothing_helps_and_nothing_happened(live: Runtime) -> None:
    before = {*threading.enumerate()}

    @error_boundary("behind_nothing", retry_safe=True, mode="background")
    def divide(x: int) -> float:
        return 1 / x

    for _ in range(5):
        with pytest.raises(ZeroDivisionError):
            divide(0)
    assert {one.name for one in {*threading.enumerate()} - before} <= {"healspan-later"}
    wait_until(lambda: not live.later._keys, "the diagnosis to end")
    assert len(facts(live)) == 5
    assert live.repairs.installed() == ()


def test_what_cannot_be_copied_is_not_looked_into(live: Runtime, caplog: pytest.LogCaptureFixture) -> None:
    @error_boundary("behind_lock", retry_safe=True, mode="background")
    def locked(lock: object) -> float:
        return float("$1")

    with pytest.raises(ValueError, match="could not convert"):
        locked(threading.Lock())
    assert "cannot be copied" in caplog.text
    assert len(facts(live)) == 1


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'background'"):
        error_boundary("mode", mode="sometimes")  # type: ignore[arg-type]


def test_jobs_are_bounded_and_equal_ones_run_once() -> None:
    dropped: list[str] = []
    errors: list[Exception] = []
    ran: list[str] = []
    gate = threading.Event()
    later = Later(on_error=errors.append, on_drop=dropped.append)

    def wait() -> None:
        gate.wait(PATIENCE)
        raise LookupError

    assert later.put("first", wait)
    wait_until(lambda: later._computing._jobs.empty(), "the first job to start")
    assert not later.put("first", lambda: ran.append("twice"))
    for number in range(20):
        later.put(str(number), lambda: ran.append("once"))
    assert dropped == ["background"] * 4
    with later.claim("first") as mine:
        assert not mine
    with later.claim("other") as mine:
        assert mine
        assert "other" in later
    gate.set()
    wait_until(lambda: len(ran) == 16, "the others to run")
    assert [type(error) for error in errors] == [LookupError]
    assert "first" not in later
    later.stop()
    assert not later.put("late", lambda: ran.append("late"))
