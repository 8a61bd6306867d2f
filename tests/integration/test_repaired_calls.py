"""How a call ends in which an installed repair has acted: told truly, and by the application's own exception."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from tests.observe import drained, wait_until

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
    assert resolved(live) == [(True, 2)]
