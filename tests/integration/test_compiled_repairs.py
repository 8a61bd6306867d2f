"""Repairs below a boundary, in either of its forms: they come, act, and leave nothing behind."""

from __future__ import annotations

import asyncio
import gc
import importlib
import threading
import weakref
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from tests.bounded import HEALED, bare, only_compiled, outcome
from tests.observe import PATIENCE, facts, uninstall_for_good, wait_until

from healspan.instrumentation import error_boundary, pipeline
from healspan.remediation import serving
from healspan.remediation.boundary import withdraw
from healspan.remediation.incident import IncidentStatus
from healspan.remediation.repair import ActiveRepair
from healspan.remediation.runtime import Runtime
from healspan.remediation.store import Candidate

CALLS: dict[str, Callable[[ModuleType, str], Any]] = {
    "amount": lambda app, text: app.amount(text),
    "later": lambda app, text: app.later(text),
    "read": lambda app, text: app.Reader().read(text),
    "made": lambda app, text: app.Reader.made(text),
    "fixed": lambda app, text: app.Reader.fixed(text),
    "through": lambda app, text: app.through(text),
    "recursive": lambda app, text: app.recursive(text, 3),
    "waits": lambda app, text: asyncio.run(app.waits(text)),
}


@pytest.mark.parametrize("name", CALLS)
def test_it_heals_and_the_second_time_nothing_leaves_the_function(
    live: Runtime,
    form: str,
    module: Callable[[str], ModuleType],
    name: str,
) -> None:
    app = module(HEALED)
    call = CALLS[name]
    assert call(app, "$1,234.50") == call(app, "1234.50")
    wait_until(live.repairs.installed, "the repair to be installed")
    assert call(app, "$2,000") == call(app, "2000")
    [one] = facts(live)
    assert one.resolution.status is IncidentStatus.HEALED
    assert live.repairs.verify_uninstalled() != []
    uninstall_for_good(live)
    assert live.repairs.verify_uninstalled() == []
    assert outcome(call, app, "word") == outcome(call, app, "word")


@only_compiled
def test_a_repaired_function_keeps_its_boundary_and_gets_its_code_back(
    live: Runtime,
    module: Callable[[str], ModuleType],
) -> None:
    app = module(HEALED)
    amount, code, bare_code = app.amount, app.amount.__code__, bare(app.amount).__code__
    assert amount.boundary.form == "compiled"
    amount("$1")
    wait_until(live.repairs.installed, "the repair to be installed")
    assert amount.__code__ is not code
    assert bare(amount).__code__ is not bare_code
    amount("$2")
    wait_until(lambda: live.index.snapshot.serving, "the fix to serve")
    live.index.stop(PATIENCE)  # which would put the repair in again behind the back of this test
    assert outcome(amount, "word") == outcome(bare(amount), "word")
    assert len(facts(live)) == 2
    assert live.repairs.verify_uninstalled() == [f"{app.__name__}:amount"]
    kept = bare(amount).__code__
    bare(amount).__code__ = bare_code
    assert live.repairs.verify_uninstalled() == [f"{app.__name__}:amount"], "the function with the boundary counts too"
    bare(amount).__code__ = kept
    uninstall_for_good(live)
    assert (amount.__code__, bare(amount).__code__) == (code, bare_code)
    assert amount.__code__ is code
    assert bare(amount).__code__ is bare_code


def test_a_function_may_have_several_boundaries(live: Runtime, form: str, module: Callable[[str], ModuleType]) -> None:
    app = module("def plain(text):\n    return float(text)\n")
    one, other = (error_boundary(f"{app.__name__}{number}", retry_safe=True)(app.plain) for number in (1, 2))
    assert one.boundary.form == other.boundary.form == form
    for boundary in (one, other):
        assert boundary("$1") == 1.0
    wait_until(lambda: len(live.repairs.installed()) == 2, "the repairs to be installed")
    for boundary in (one, other):
        assert boundary("$2") == 2.0
    assert len(facts(live)) == 2
    codes = [one.__code__, other.__code__, app.plain.__code__]
    uninstall_for_good(live)
    if form == "compiled":
        assert all(now is not code for now, code in zip([one.__code__, other.__code__], codes, strict=False))
    assert app.plain.__code__ is not codes[2]
    assert app.plain("3") == one("3") == other("3") == 3.0


def test_a_boundary_that_is_withdrawn_while_its_repair_is_put_in_is_left_without(
    live: Runtime, module: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = module(HEALED)
    app.amount("$1")
    wait_until(live.repairs.installed, "the repair to be installed")
    snapshot = live.index.snapshot
    uninstall_for_good(live)
    found, go_on, ahead = threading.Event(), threading.Event(), serving.ahead_of_failure

    def slow(candidate: Candidate) -> list[ActiveRepair]:
        repairs = ahead(candidate)
        found.set()
        assert go_on.wait(PATIENCE)
        return repairs

    monkeypatch.setattr(serving, "ahead_of_failure", slow)
    earlier, later = (threading.Thread(target=live.serving.serve, args=(snapshot,)) for _ in range(2))
    earlier.start()
    assert found.wait(PATIENCE)
    withdraw(f"{app.__name__}amount")
    later.start()
    later.join(0.1)
    go_on.set()
    for one in (earlier, later):
        one.join(PATIENCE)
    assert live.repairs.installed() == ()


def test_code_put_there_by_another_tool_is_left_alone(live: Runtime, module: Callable[[str], ModuleType]) -> None:
    app = module(HEALED)
    app.amount("$1")
    wait_until(live.repairs.installed, "the repair to be installed")
    [active] = live.repairs.installed()
    foreign = app.amount.__code__.replace(co_name="foreign")
    app.amount.__code__ = foreign
    [report] = live.repairs.install([active])
    assert "something else replaced its code" in report.reason
    uninstall_for_good(live)
    assert app.amount.__code__ is foreign


def test_a_reloaded_module_has_boundaries_that_heal_and_the_old_ones_go(
    live: Runtime,
    form: str,
    module: Callable[[str], ModuleType],
) -> None:
    app = module(HEALED)
    old = weakref.ref(app.amount)
    app.amount("$1")
    uninstall_for_good(live)
    importlib.reload(app)
    gc.collect()
    assert old() is None
    assert app.amount.boundary.form == form
    assert app.amount("$7") == 7.0


NESTED = """
@boundary('inner')
def inner(text):
    return float(text)

@boundary('outer', retry_safe=True)
def outer(text):
    return inner(text) * 2
"""


def test_a_repair_acts_below_an_outer_boundary_through_an_inner_one(
    live: Runtime,
    form: str,
    module: Callable[[str], ModuleType],
) -> None:
    app = module(NESTED)
    assert app.outer("$2") == 4.0
    wait_until(live.repairs.installed, "the repair to be installed")
    assert app.outer("$3") == 6.0
    statuses = [one.resolution.status for one in facts(live)]
    assert statuses == [IncidentStatus.ESCALATED, IncidentStatus.HEALED]
    with pytest.raises(ValueError, match="could not convert"):
        app.inner("$4")  # only below the outer one has it been shown to be right


def test_calls_of_all_threads_are_right_while_repairs_come_and_go(
    live: Runtime,
    form: str,
    module: Callable[[str], ModuleType],
) -> None:
    app = module(HEALED)
    app.amount("$1")
    wait_until(live.repairs.installed, "the repair to be installed")
    [active] = live.repairs.installed()
    stop = threading.Event()
    wrong: list[object] = []

    def work(number: int) -> None:
        while not stop.is_set():
            result = app.amount(str(number))
            if result != number:
                wrong.append(result)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(60):
        live.repairs.install_exactly([])
        live.repairs.install_exactly([active])
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert app.amount("$9") == 9.0
    uninstall_for_good(live)


def test_a_result_that_nobody_saw_is_not_held_against_good_calls(
    live: Runtime,
    form: str,
    module: Callable[[str], ModuleType],
) -> None:
    app = module(HEALED)
    for number in range(40):
        app.amount.golden(str(number))
    app.amount("$1")
    wait_until(live.repairs.installed, "the repair to be installed")
    with pipeline("p") as run:
        assert app.amount("$2") == 2.0
    assert [heal.outcome for heal in run.heals] == [IncidentStatus.HEALED]
