"""Contracts and copied arguments: the same in both forms of a boundary."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from tests.bounded import held_by, outcome
from tests.observe import facts

from healspan.instrumentation import ContractViolation
from healspan.remediation.incident import IncidentStatus
from healspan.remediation.runtime import Runtime

CONTRACTS = """
import asyncio

def positive(result, arguments):
    return result is not None and result >= arguments["least"]

@boundary('guarded', checks=[positive], context=lambda *a, **k: {})
def guarded(x, least=0):
    try:
        if x == 7:
            return None
        return x
    except Exception:
        return 1000
    finally:
        str(x)

@guarded.strategy('absolute')
def absolute(x, least=0):
    return abs(x) if x < -1 else x

@boundary('loose', checks=[positive])
def loose(x, least=0):
    for number in (x,):
        try:
            return x
        finally:
            if number < 0:
                break

@boundary('none', output=int)
def none(x):
    if x:
        return x

@boundary('watched', checks=[positive], mode='observe')
def watched(x, least=0):
    return x

@boundary('waits', checks=[positive])
async def waits(x, least=0):
    await asyncio.sleep(0)
    return x

@waits.strategy('absolute')
async def absolute_later(x, least=0):
    return abs(x)

@boundary('popped', retry_safe='snapshot')
def popped(rows):
    return float(rows.pop())
"""


def violated(app: ModuleType, name: str, *args: Any) -> str:
    with pytest.raises(ContractViolation) as caught:
        getattr(app, name)(*args)
    frames = traceback.extract_tb(caught.value.__traceback__)[1:]
    assert all("instrumentation" not in frame.filename for frame in frames)
    return str(caught.value)


def test_a_broken_contract_is_a_failure_that_no_handler_of_the_body_takes(
    live: Runtime,
    form: str,
    module: Callable[[str], ModuleType],
) -> None:
    app = module(CONTRACTS)
    for name in ("guarded", "loose", "none", "watched", "waits", "popped"):
        assert getattr(app, name).boundary.form == form, getattr(app, name).boundary.form_reason
    assert app.guarded(3) == 3
    assert app.guarded(-2) == 2, "the strategy's"
    assert "check positive" in violated(app, "guarded", -1)
    assert app.guarded(7) == 7, "likewise"
    assert app.guarded(-1, least=-1) == -1
    assert app.loose(1) == 1
    assert "check positive" in violated(app, "loose", -1), "the loop is left, and None returned"
    assert app.none(3) == 3
    assert "valid integer" in violated(app, "none", 0)
    assert app.watched(-1) == -1
    assert asyncio.run(app.waits(2)) == 2
    assert asyncio.run(app.waits(-2)) == 2
    found = [(one.incident.module.removeprefix(app.__name__), one.resolution.status) for one in facts(live)]
    assert found == [
        ("guarded", IncidentStatus.HEALED),
        ("guarded", IncidentStatus.ESCALATED),
        ("guarded", IncidentStatus.HEALED),
        ("loose", IncidentStatus.ESCALATED),
        ("none", IncidentStatus.ESCALATED),
        ("watched", IncidentStatus.OBSERVED),
        ("waits", IncidentStatus.HEALED),
    ]


def test_the_pattern_of_a_broken_contract_is_the_same_in_both_forms(
    live: Runtime,
    module: Callable[[str], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    patterns = []
    for setting in "01":
        monkeypatch.setenv("HEALSPAN_COMPILED_BOUNDARIES", setting)
        app = module(CONTRACTS)
        violated(app, "none", 0)
        incident = facts(live)[-1].incident
        trace = incident.stack_trace.replace(app.__name__, "app")
        patterns.append((incident.frames, trace, [part.why for part in incident.pattern.parts]))
    assert patterns[0] == patterns[1]


def test_arguments_are_copied_before_the_call(live: Runtime, form: str, module: Callable[[str], ModuleType]) -> None:
    app = module(CONTRACTS)
    assert app.popped(["1", "$2"]) == 2.0
    hook = held_by(app.popped, "BoundaryHook")
    assert app.popped(["3"]) == 3.0
    outcome(app.popped, [])
    assert not hook._snapshots
    assert not hook._kept
    assert not hook._values
