"""A fix that is declined, fails or is stale leaves no trace: the exception is the one the bare function raises.

Type, arguments, message, the text of the traceback, cause and context, notes of its own; and the call takes no longer,
by its order of magnitude, than one that no fix is known for. What is taken off before comparing: the boundary's own
two frames, and the one documented note that names the incident.
"""

from __future__ import annotations

import asyncio
import inspect
import statistics
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
from tests.observe import uninstall_for_good, wait_until

import healspan.instrumentation.site as site_module
from healspan.instrumentation import error_boundary
from healspan.remediation.boundary import Strategy
from healspan.remediation.runtime import Runtime, runtime

OURS = Path(site_module.__file__).parents[3]
NOTE = "healspan: incident "
SLOWER = 40
"""How many times the plain way a call may take: a diagnosis makes some calls; a wait would be thousands of times."""
ROUNDS = 4


# What fails. The functions stand at the top of the module, as a repair has to find them.


def amount(text):  # type: ignore[no-untyped-def]
    return float(text)


def amount_not_repeatable(text):  # type: ignore[no-untyped-def]
    return float(text)


def amount_unknown(text):  # type: ignore[no-untyped-def]
    return float(text)


def amount_replaced(text):  # type: ignore[no-untyped-def]
    return float(text)


def field_of_field(record):  # type: ignore[no-untyped-def]
    return record["user_name"]["first"]


def with_strategy(text):  # type: ignore[no-untyped-def]
    return {}[text]


def with_wrong_strategy(text):  # type: ignore[no-untyped-def]
    return {}[text]


def with_stale_strategy(text):  # type: ignore[no-untyped-def]
    return {}[text]


def chained(text):  # type: ignore[no-untyped-def]
    try:
        return float(text)
    except ValueError as error:
        raise KeyError(text, "no amount") from error


def silenced(text):  # type: ignore[no-untyped-def]
    try:
        return float(text)
    except ValueError:
        raise LookupError(text) from None


def noted(text):  # type: ignore[no-untyped-def]
    error = OSError(5, "its own", text)
    error.add_note("a note of the application")
    raise error


def grouped(text):  # type: ignore[no-untyped-def]
    raise ExceptionGroup("two", [ValueError(text), ExceptionGroup("inner", [KeyError(text)])])


def deep(text, depth=6):  # type: ignore[no-untyped-def]
    return float(text) if not depth else deep(text, depth - 1)


def with_locals(text):  # type: ignore[no-untyped-def]
    rows = [text]
    return [float(row) for row in rows]


async def awaited(text):  # type: ignore[no-untyped-def]
    await asyncio.sleep(0)
    return float(text)


def broken(text: str) -> float:
    raise SystemError("the strategy is broken, too")


def negative(text: str) -> float:
    return -1.0


def once_good(text: str) -> float:
    if text == "good once":
        return 1.0
    raise SystemError("not again")


def changed(text: str) -> float:
    raise SystemError("another function by now")


def is_positive(result: Any, arguments: Mapping[str, Any]) -> bool:
    return bool(result > 0)


@dataclass(frozen=True)
class Situation:
    """A boundary whose fix does not help."""

    name: str
    function: Any
    argument: Any = "no number"
    declared: Callable[[Any], Any] = lambda function: function
    """Declares the boundary."""
    teach: Any = None
    """A failing call that is healed first, so that a fix is known."""
    installed: bool = False
    """Whether the fix is a repair that gets installed."""
    spoil: Callable[[Any], None] = lambda bounded: None
    """Makes the fix stale."""


def declare(name: str, **declaration: Any) -> Callable[[Any], Any]:
    return error_boundary(f"traceless {name}", **declaration)


def declare_with(strategy: Callable[..., Any], name: str, **declaration: Any) -> Callable[[Any], Any]:
    def apply(function: Any) -> Any:
        bounded = declare(name, **declaration)(function)
        bounded.strategy("other")(strategy)
        return bounded

    return apply


def replace_strategy(bounded: Any) -> None:
    bounded.boundary.strategies["other"] = Strategy("other", changed)


def replace_code(bounded: Any) -> None:
    live = runtime()
    uninstall_for_good(live)
    function = bounded.__wrapped__
    function.__code__ = function.__code__.replace(co_consts=(*function.__code__.co_consts, "something else's"))
    live.serving.serve(live.index.snapshot)


SITUATIONS = (
    Situation("nothing is known", amount_unknown, declared=declare("unknown", retry_safe=True)),
    Situation("it must not be called again", amount_not_repeatable, declared=declare("not_repeatable")),
    Situation(
        "the installed repair declines",
        amount,
        declared=declare("installed", retry_safe=True),
        teach="$1,234",
        installed=True,
    ),
    Situation(
        "the code is not what the repair was made for",
        amount_replaced,
        "$5",
        declared=declare("replaced", retry_safe=True),
        teach="$1,234",
        installed=True,
        spoil=replace_code,
    ),
    Situation(
        "what follows the repaired expression fails",
        field_of_field,
        {"userName": {}},
        declared=declare("field", retry_safe=True),
    ),
    Situation("the strategy raises", with_strategy, declared=declare_with(broken, "strategy")),
    Situation(
        "the strategy's value breaks the contract",
        with_wrong_strategy,
        declared=declare_with(negative, "wrong", checks=[is_positive]),
    ),
    Situation(
        "the strategy is another function by now",
        with_stale_strategy,
        declared=declare_with(once_good, "stale"),
        teach="good once",
        spoil=replace_strategy,
    ),
    *(
        Situation(function.__name__, function, declared=declare(function.__name__, retry_safe=True))
        for function in (chained, silenced, noted, grouped, deep, with_locals, awaited)
    ),
)


def call(function: Any, argument: Any) -> Any:
    result = function(argument)
    return asyncio.run(_wait(result)) if inspect.isawaitable(result) else result


async def _wait(result: Any) -> Any:
    return await result


def failure(function: Any, argument: Any) -> Exception:
    """Return what a call raises, made while another exception is being handled."""
    try:
        try:
            raise InterruptedError("what the application was handling")
        except InterruptedError:
            value = call(function, argument)
    except Exception as error:
        return error
    raise AssertionError(f"no exception, but {value!r}")


def seen(error: BaseException) -> dict[str, Any]:
    """Return all that an application can tell of an exception, without what is ours and documented."""
    text = traceback.TracebackException.from_exception(error)
    _take_off(text)
    return {
        "type": type(error),
        "args": [repr(one) for one in error.args],
        "text": str(error),
        "traceback": "".join(text.format()),
        "cause": _short(error.__cause__),
        "context": _short(error.__context__),
        "suppressed": error.__suppress_context__,
        "attributes": sorted(set(vars(error)) - {"__notes__"}),
        "notes": [note for note in getattr(error, "__notes__", ()) if not note.startswith(NOTE)],
    }


def _short(error: BaseException | None) -> str:
    return repr(error)


def _take_off(text: traceback.TracebackException) -> None:
    kept = [
        one for one in text.stack if one.filename != "<healspan boundary>" and OURS not in Path(one.filename).parents
    ]
    text.stack = traceback.StackSummary.from_list(kept)
    notes = [note for note in text.__notes__ or () if not note.startswith(NOTE)]
    text.__notes__ = notes or None
    for other in (text.__cause__, text.__context__, *(text.exceptions or ())):
        if other is not None:
            _take_off(other)


def prepared(situation: Situation, live: Runtime) -> tuple[Any, Any]:
    """Return the bounded function with its fix in place, and the function as it was."""
    function = situation.function
    bare = FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__)
    bounded = situation.declared(function)
    if situation.teach is not None:
        call(bounded, situation.teach)
    if situation.installed:
        wait_until(live.repairs.installed, "the repair")
    situation.spoil(bounded)
    return bounded, bare


@pytest.fixture(autouse=True)
def originals() -> Any:
    codes = {one.function: one.function.__code__ for one in SITUATIONS}
    yield
    for function, code in codes.items():
        function.__code__ = code


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.name)
def test_the_exception_is_the_one_of_the_bare_function(situation: Situation, live: Runtime) -> None:
    bounded, bare = prepared(situation, live)
    expected = seen(failure(bare, situation.argument))
    for _ in range(3):  # known or not yet, installed or not yet
        error = failure(bounded, situation.argument)
        assert seen(error) == expected
        assert [note.startswith(NOTE) for note in error.__notes__].count(True) == 1
        live.index.refresh()


@pytest.mark.parametrize("setting", ["HEALSPAN_DISABLED", "HEALSPAN_POLICY"])
def test_with_the_kill_switch_or_a_policy_that_applies_nothing_it_is_the_same(
    setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(setting, "1" if setting == "HEALSPAN_DISABLED" else "suggest")
    bounded = declare("switched", retry_safe=True)(amount)
    bare = FunctionType(amount.__code__, amount.__globals__)
    expected = seen(failure(bare, "$1,234"))
    for _ in range(3):
        assert seen(failure(bounded, "$1,234")) == expected


def test_a_call_with_a_fix_that_does_not_help_takes_no_longer_than_one_without_by_its_order(live: Runtime) -> None:
    plain, *others = SITUATIONS
    reference, _ = prepared(plain, live)
    cases = {one.name: (prepared(one, live)[0], one.argument) for one in others}

    def milliseconds(function: Any, argument: Any) -> float:
        started = time.perf_counter()
        failure(function, argument)
        return (time.perf_counter() - started) * 1e3

    def ratio(function: Any, argument: Any) -> float:
        pairs = [(milliseconds(reference, plain.argument), milliseconds(function, argument)) for _ in range(15)]
        # In pairs, because what else runs on this machine comes and goes.
        return statistics.median(ours for _, ours in pairs) / statistics.median(theirs for theirs, _ in pairs)

    ratios = {name: ratio(*case) for name, case in cases.items()}
    for _ in range(ROUNDS):
        # What is slower by its order is so in every round; what was only held up is not.
        ratios |= {name: ratio(*cases[name]) for name, measured in ratios.items() if measured > SLOWER}
    print({name: round(measured, 2) for name, measured in ratios.items()})
    assert {name: measured for name, measured in ratios.items() if measured > SLOWER} == {}
