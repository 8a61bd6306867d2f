"""How a call ends in which an installed repair has acted: told truly, and by the application's own exception."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from tests.bounded import bare, outcome
from tests.observe import drained, facts, wait_until

from healspan.remediation.runtime import Runtime
from healspan.remediation.store.repository import Store

ENDING = """
stored = LookupError('stored')
cut = stored.with_traceback(None)

def below(error):
    raise error.with_traceback(None)

@boundary('ends', retry_safe=True)
def ends(text, how='', given=None):
    amount = float(text)
    if how == 'cut':
        try:
            raise LookupError
        except LookupError as error:
            error.__traceback__ = None
            raise
    if how == 'in finally':
        try:
            raise LookupError
        finally:
            import sys
            sys.exception().__traceback__ = None
    if how == 'below':
        below(LookupError())
    if how == 'stored':
        raise stored
    if how == 'given':
        try:
            raise given
        except LookupError as error:
            error.__traceback__ = None
            raise
    try:
        return {'a': amount}['a']
    finally:
        if how == 'returning':
            try:
                raise LookupError
            except LookupError as error:
                error.__traceback__ = None
                raise

@boundary('ends_async', retry_safe=True)
async def ends_async(text, how=''):
    amount = float(text)
    try:
        if how:
            raise LookupError
    except LookupError as error:
        error.__traceback__ = None
        raise
    return amount
"""


def installed(live: Runtime, function: Callable[[str], Any]) -> None:
    """Have the repair of a boundary installed."""
    asyncio.run(function("$5")) if asyncio.iscoroutinefunction(function) else function("$5")
    wait_until(live.repairs.installed, "the repair to be installed")


def resolved(live: Runtime) -> list[tuple[bool, int]]:
    """Whether calls ended with a value, and how many, of those in which the installed repair acted, in their order."""
    drained(live)
    with Store.open(live.settings) as store:
        outcomes = store.outcomes.list()
    told = [one.application for one in outcomes if one.application.error_id is None]
    return [(one.resolved, one.count) for one in reversed(told)]


def test_what_another_thread_is_just_writing_down_is_there_when_a_flush_returns(
    live: Runtime, form: str, module: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = module(ENDING)
    installed(live, app.ends)
    taken, go_on, append = threading.Event(), threading.Event(), live.credit._append

    def slow(facts: Any) -> bool:
        taken.set()
        assert go_on.wait(60)
        return append(facts)

    monkeypatch.setattr(live.credit, "_append", slow)
    assert app.ends("$6") == 6.0
    writing, flushing = threading.Thread(target=live.flush), threading.Thread(target=live.flush)
    writing.start()
    assert taken.wait(60)
    flushing.start()
    flushing.join(0.1)
    assert flushing.is_alive(), "it waits"
    go_on.set()
    flushing.join(60)
    writing.join(60)
    assert resolved(live) == [(True, 1)]


@pytest.mark.parametrize("how", ["cut", "in finally", "below", "stored", "returning"])
def test_a_call_that_fails_behind_a_repair_is_no_success_whatever_its_traceback(
    live: Runtime,
    form: str,
    module: Callable[[str], ModuleType],
    how: str,
) -> None:
    app = module(ENDING)
    installed(live, app.ends)
    with pytest.raises(LookupError):
        app.ends("$6", how)
    assert resolved(live) == [(False, 1)]


def test_nor_is_one_that_fails_with_what_its_caller_is_handling(
    live: Runtime,
    form: str,
    module: Callable[[str], ModuleType],
) -> None:
    app = module(ENDING)
    installed(live, app.ends)
    try:
        raise LookupError
    except LookupError as error:
        with pytest.raises(LookupError):
            app.ends("$6", "given", error)
        assert app.ends("$7") == 7.0
    assert sorted(resolved(live)) == [(False, 1), (True, 1)]


def test_nor_is_a_coroutine(live: Runtime, form: str, module: Callable[[str], ModuleType]) -> None:
    app = module(ENDING)
    installed(live, app.ends_async)
    with pytest.raises(LookupError):
        asyncio.run(app.ends_async("$6", "cut"))
    assert resolved(live) == [(False, 1)]


def test_a_call_that_returns_while_its_caller_handles_an_exception_is_a_success(
    live: Runtime,
    form: str,
    module: Callable[[str], ModuleType],
) -> None:
    app = module(ENDING)
    installed(live, app.ends)
    for error in (LookupError(), ValueError("earlier")):
        try:
            raise error
        except Exception as handled:
            handled.__traceback__ = None
            assert app.ends("$6") == 6.0
    told = resolved(live)
    # They are counted together, unless it is written down between them what there is by then.
    assert ({ended for ended, _ in told}, sum(number for _, number in told)) == ({True}, 2)


# A repair whose value breaks the contract

REFUSED = """
import asyncio
import threading
made = []

def positive(result, arguments):
    return result > 0

def read(text):
    return float(text)

def through(text):
    total = [read(each) for each in (text,)]
    return sum(total)

@boundary('amount', output=float, checks=[positive], retry_safe=True)
def amount(text):
    made.append(text)
    return float(text)

@boundary('far', output=float, checks=[positive], retry_safe=True)
def far(text):
    made.append(text)
    return through(text)

@boundary('handling', output=float, checks=[positive], retry_safe=True)
def handling(text):
    made.append(text)
    try:
        {}['key']
    except KeyError:
        value = float(text)
        return value

@boundary('copied', output=float, checks=[positive], retry_safe='snapshot')
def copied(text):
    made.append(text)
    return float(text)

@boundary('later', output=float, checks=[positive], retry_safe=True)
async def later(text):
    made.append(text)
    await asyncio.sleep(0)
    return float(text)

async def read_later(text):
    await asyncio.sleep(0)
    return float(text)

@boundary('far_later', output=float, checks=[positive], retry_safe=True)
async def far_later(text):
    made.append(text)
    return await read_later(text)

@boundary('behind', output=float, checks=[positive], retry_safe=True, mode='background')
def behind(text):
    made.append(text)
    return float(text)

@boundary('several', output=float, checks=[positive], retry_safe=True)
def several(text):
    made.append(text)
    first = float(text)
    return first * float(text.replace('1', '2'))

@several.strategy('absolute')
def absolute(text):
    return 7.0 if text == '(7.00)' else -1.0
"""


def once(function: Callable[..., Any], text: str) -> Any:
    """What a caller sees of a call."""
    return outcome(
        (lambda text: asyncio.run(function(text))) if asyncio.iscoroutinefunction(function) else function, text
    )


@pytest.mark.parametrize("repeats", [True, False])
@pytest.mark.parametrize("name", ["amount", "far", "handling", "copied", "later", "far_later"])
def test_the_original_exception_survives_a_repair_that_breaks_the_contract(
    live: Runtime,
    form: str,
    module: Callable[[str], ModuleType],
    name: str,
    repeats: bool,
) -> None:
    app = module(REFUSED)
    function = getattr(app, name)
    assert function.boundary.form == form
    installed(live, function)
    if not repeats:
        function.boundary.retry_safe = False
    app.made.clear()
    assert once(function, "(1.00)") == once(bare(function), "(1.00)")
    if not repeats:
        assert app.made == ["(1.00)"] * 2, "once by each"
    latest = facts(live)[-1]
    assert latest.incident.error_type == "builtins.ValueError"
    assert latest.incident.frames[-1].function.rpartition(".")[2] in {name, "read", "read_later"}
    # Where the call may be made again, a laxer reading has its turn as well.
    first, *others = [one for one in latest.resolution.decisions if one.applied]
    assert bool(others) is repeats
    assert (first.gate, first.reason) == ("contract", "check positive is not True of the result")
    assert resolved(live) == [(False, 1)], "one verdict"
    assert once(function, "$6") == 6.0


def test_its_caller_s_own_exception_is_no_part_of_it(
    live: Runtime,
    form: str,
    module: Callable[[str], ModuleType],
) -> None:
    app = module(REFUSED)
    installed(live, app.handling)

    def seen(function: Callable[..., Any]) -> list[Any]:
        try:
            raise OSError
        except OSError as handled:
            try:
                function("(1.00)")
            except ValueError as error:
                return [type(error.__context__), error.__context__ and error.__context__.__context__ is handled]
        raise AssertionError

    assert seen(app.handling) == seen(bare(app.handling)) == [KeyError, True]


def test_another_way_to_a_value_is_still_looked_for(
    live: Runtime,
    form: str,
    module: Callable[[str], ModuleType],
) -> None:
    app = module(REFUSED)
    installed(live, app.several)
    app.made.clear()
    assert app.several("(7.00)") == 49.0


def test_nor_does_it_reach_the_caller_of_one_that_is_healed_behind_its_back(
    live: Runtime,
    form: str,
    module: Callable[[str], ModuleType],
) -> None:
    app = module(REFUSED)
    once(app.behind, "$5")
    wait_until(live.repairs.installed, "the repair to be installed")
    assert once(app.behind, "(1.00)") == once(bare(app.behind), "(1.00)")
    wait_until(lambda: not live.later._keys, "the diagnosis to end")
    assert resolved(live) == [(False, 1)]
