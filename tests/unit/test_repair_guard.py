"""What an installed repair does, and above all does not do, when its expression raises."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
import traceback
from dataclasses import replace
from typing import Any

import pytest
from repair_application import READ, Application, failure, frames, heal, repair_for

from healspan.remediation.repair import Repairs, RunningCalls, register_boundary, take_fired
from healspan.remediation.repairers import Loss, Repaired


def test_a_failing_call_gives_the_value_of_the_repaired_operand(app: Application, repairs: Repairs) -> None:
    read = app.boundary("boundary", app.module(READ).read)
    heal(repairs, app, read, "$1,234")
    assert read("$5,678") == 5678.0
    assert read("12") == 12.0


def test_a_failing_subscript_uses_the_renamed_key(app: Application, repairs: Repairs) -> None:
    module = app.module("def name(record):\n    return record['userName'].upper()\n")
    name = app.boundary("boundary", module.name)
    heal(repairs, app, name, {"user_name": "ann", "age": 3}, repairer="renamed_key")
    assert name({"user_name": "ann", "age": 3}) == "ANN"
    assert name({"userName": "bob"}) == "BOB"


def test_an_operand_with_effects_is_evaluated_once(app: Application, repairs: Repairs) -> None:
    module = app.module("def last(rows):\n    return float(rows.pop())\n")
    last = app.boundary("boundary", module.last)
    heal(repairs, app, last, ["1", "$2"])
    rows = ["1", "$2"]
    assert last(rows) == 2.0
    assert rows == ["1"]


def test_operands_are_evaluated_in_their_order_with_every_form_of_argument(app: Application, repairs: Repairs) -> None:
    module = app.module(
        """
order = []

def note(value):
    order.append(value)
    return value

class Reader:
    def read(self, *args, **kwargs):
        return float(args[0]), args[1:], kwargs

def make():
    order.append("reader")
    return Reader()

def run(text):
    return make().read(note(text), *note([1, 2]), key=note("a"), **note({"more": 3}))
"""
    )
    run = app.boundary("boundary", module.run)
    heal(repairs, app, run, "$1", frame=0)
    module.order.clear()
    assert run("7") == (7.0, (1, 2), {"key": "a", "more": 3})
    assert module.order == ["reader", "7", [1, 2], "a", {"more": 3}]


def test_an_error_the_application_handles_is_untouched_where_its_helper_is_repaired(
    app: Application, repairs: Repairs
) -> None:
    module = app.module(
        READ
        + """
def lenient(text):
    try:
        return read(text)
    except ValueError:
        return None

def both(text):
    return lenient(text), read(text)
"""
    )
    both = app.boundary("boundary", module.both)
    lenient = app.boundary("boundary", module.lenient)
    heal(repairs, app, both, "$3")
    assert both("$3") == (None, 3.0)
    assert lenient("$3") is None


def test_the_same_helper_below_another_boundary_or_none_raises(app: Application, repairs: Repairs) -> None:
    module = app.module(READ)
    heal(repairs, app, app.boundary("boundary", module.read), "$3")
    assert type(failure(module.read, "$3")) is ValueError
    assert type(failure(app.boundary("another", module.read), "$3")) is ValueError


def test_a_way_that_no_incident_has_shown_raises(app: Application, repairs: Repairs) -> None:
    module = app.module(READ + "\ndef one(text):\n    return read(text)\n\ndef two(text):\n    return read(text)\n")
    one, two = app.boundary("boundary", module.one), app.boundary("boundary", module.two)
    heal(repairs, app, one, "$3")
    assert one("$3") == 3.0
    assert type(failure(two, "$3")) is ValueError
    assert type(failure(app.boundary("boundary", module.read), "$3")) is ValueError


def test_another_function_of_the_same_name_with_the_same_line_is_another_way(
    app: Application, repairs: Repairs
) -> None:
    module = app.module(
        READ
        + """
def run(text):
    try:
        return read(text)
    except ValueError:
        return None

careful = run

def run(text):
    return read(text)
"""
    )
    run, careful = app.boundary("boundary", module.run), app.boundary("boundary", module.careful)
    heal(repairs, app, run, "$3")
    assert run("$3") == 3.0
    assert careful("$3") is None


def test_a_thread_without_the_boundary_on_its_stack_raises(app: Application, repairs: Repairs) -> None:
    module = app.module(
        READ
        + """
import threading

def spread(text):
    seen = []
    def work():
        try:
            seen.append(read(text))
        except ValueError as error:
            seen.append(error)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return seen[0]
"""
    )
    heal(repairs, app, app.boundary("boundary", module.read), "$3")
    assert type(app.boundary("boundary", module.spread)("$3")) is ValueError


def test_a_child_task_raises_and_the_boundary_s_own_coroutine_is_healed(app: Application, repairs: Repairs) -> None:
    module = app.module(
        """
import asyncio

async def read(text):
    await asyncio.sleep(0)
    return float(text)

async def outer(text, child):
    if child:
        return await asyncio.gather(read(text), return_exceptions=True)
    return await read(text)
"""
    )

    async def boundary(text: str, child: bool) -> Any:
        return await module.outer(text, child)

    boundary.__code__ = boundary.__code__.replace(co_name="boundary of coroutines")
    register_boundary(boundary.__code__, "boundary", app.calls)

    def run(text: str, child: bool = False) -> Any:
        return asyncio.run(boundary(text, child))

    heal(repairs, app, run, "$3")
    assert run("$3") == 3.0
    [error] = run("$3", True)
    assert type(error) is ValueError


def test_generators_and_comprehensions_are_healed(app: Application, repairs: Repairs) -> None:
    module = app.module(
        """
def each(rows):
    for row in rows:
        yield float(row)

def total(rows):
    return sum(each(rows))

def table(rows):
    return [[float(cell) for cell in row] for row in rows]
"""
    )
    total, table = app.boundary("boundary", module.total), app.boundary("boundary", module.table)
    heal(repairs, app, total, ["1", "$2"])
    heal(repairs, app, table, [["1", "$2"]], fix_id="other")
    assert total(["1", "$2", "$3"]) == 6.0
    assert table([["1"], ["$2", "(3)"]]) == [[1.0], [2.0, -3.0]]


def test_recursion_is_healed_only_as_deep_as_it_was_seen(app: Application, repairs: Repairs) -> None:
    module = app.module(
        """
def depth(tree):
    if isinstance(tree, list):
        return sum(depth(each) for each in tree)
    return float(tree)
"""
    )
    depth = app.boundary("boundary", module.depth)
    heal(repairs, app, depth, ["$1"])
    assert depth(["$1", "2"]) == 3.0
    assert type(failure(depth, [["$1"]])) is ValueError


def test_references_taken_before_the_repair_are_healed(app: Application, repairs: Repairs) -> None:
    module = app.module(READ)
    held = {"reader": module.read}
    read = app.boundary("boundary", module.read)
    through_reference = app.boundary("boundary", held["reader"])
    heal(repairs, app, read, "$3")
    assert through_reference("$3") == 3.0
    assert held["reader"] is module.read


def test_only_the_exact_type_that_was_named_is_repaired(app: Application, repairs: Repairs, scripted: Any) -> None:
    module = app.module(
        """
class Special(ValueError):
    pass

def parse(error):
    if error:
        raise error("x")
    return "parsed"

def read(error):
    return parse(error)
"""
    )
    read = app.boundary("boundary", module.read)
    scripted(Repaired(None, Loss.NONE))
    heal(repairs, app, read, ValueError, repairer="scripted", frame=0)
    assert read(ValueError) == "parsed"
    assert type(failure(read, module.Special)) is module.Special
    assert type(failure(read, TypeError)) is TypeError


def test_an_interruption_is_never_repaired_whatever_a_fix_says(
    app: Application, repairs: Repairs, scripted: Any
) -> None:
    module = app.module("def parse(error):\n    raise error('x')\n\ndef read(error):\n    return parse(error)\n")
    read = app.boundary("boundary", module.read)
    repairer = scripted(Repaired(None, Loss.NONE))
    repair = repair_for(failure(read, ValueError), app, repairer="scripted", frame=0)
    step = repair.step.model_copy(update={"error_type": "builtins.SystemExit"})
    assert repairs.install([replace(repair, step=step)])[0].status == "installed"
    with pytest.raises(SystemExit):
        read(SystemExit)
    assert repairer.seen == []


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(None, id="declines"),
        pytest.param(Repaired("0", Loss.LOSSY), id="would lose information"),
        pytest.param(Repaired("still no number", Loss.NONE), id="does not help"),
        pytest.param(lambda failure: 1 / 0, id="raises"),
    ],
)
def test_without_a_good_repair_the_original_exception_goes_on_as_if_nothing_were_there(
    app: Application, repairs: Repairs, scripted: Any, answer: Any
) -> None:
    module = app.module(
        """
kept = []

class Text(str):
    def __float__(self):
        try:
            raise LookupError("inner")
        except LookupError:
            error = ValueError("no number")
            kept.append(error)
            raise error

def read(text):
    return float(Text(text))

def run(text):
    try:
        raise KeyError("outer")
    except KeyError:
        return read(text)
"""
    )
    run = app.boundary("boundary", module.run)
    before = failure(run, "x")
    lines = [(each.tb_frame.f_code.co_qualname, each.tb_lineno) for each in frames(before)]
    text = "".join(traceback.format_exception(before))
    repairer = scripted(answer)
    [report] = repairs.install([repair_for(before, app, repairer="scripted", frame=1)])
    assert report.status == "installed", report.reason

    after = failure(run, "x")

    assert repairer.seen
    assert after is module.kept[-1] or answer == Repaired("still no number", Loss.NONE)
    assert [(each.tb_frame.f_code.co_qualname, each.tb_lineno) for each in frames(after)] == lines
    assert "".join(traceback.format_exception(after)) == text


def test_the_second_failure_does_not_replace_the_first(app: Application, repairs: Repairs, scripted: Any) -> None:
    module = app.module(READ)
    read = app.boundary("boundary", module.read)
    scripted(Repaired("still no number", Loss.NONE))
    heal(repairs, app, read, "first")
    error = failure(read, "first")
    assert str(error) == "could not convert string to float: 'first'"
    assert error.__context__ is None
    assert error.__cause__ is None
    assert [use.succeeded for use in app.taken] == [False]


def test_what_the_repaired_operation_handles_itself_has_no_foreign_context(
    app: Application, repairs: Repairs, scripted: Any
) -> None:
    module = app.module(
        """
kept = []

def parse(text):
    try:
        int("x")
    except ValueError as error:
        kept.append(error)
    return float(text)

def read(text):
    return parse(text)
"""
    )
    read = app.boundary("boundary", module.read)
    scripted(Repaired("3", Loss.NONE))
    heal(repairs, app, read, "$3", repairer="scripted", frame=0)
    module.kept.clear()
    assert read("$3") == 3.0
    assert [each.__context__ for each in module.kept] == [None, None]


def test_exceptions_that_are_no_failures_pass_without_a_trace_of_the_guard(app: Application, repairs: Repairs) -> None:
    module = app.module("def stop():\n    raise KeyboardInterrupt\n\ndef run(what, text):\n    return what(text)\n")
    run = app.boundary("boundary", module.run)
    heal(repairs, app, run, float, "$3")
    with pytest.raises(KeyboardInterrupt) as caught:
        run(lambda _: module.stop(), "x")
    assert [each.tb_frame.f_code.co_name for each in frames(caught.value)][2:] == ["run", "<lambda>", "stop"]


def test_an_exception_with_hostile_attributes_passes_untouched(app: Application, repairs: Repairs) -> None:
    module = app.module(
        """
class Hostile(ValueError):
    def __setattr__(self, name, value):
        raise RuntimeError("never touch this")
    def with_traceback(self, trace):
        raise RuntimeError("never touch this")
    def __str__(self):
        raise RuntimeError("never touch this")

def parse(text):
    raise Hostile(text)

def run(text):
    return parse(text)
"""
    )
    run = app.boundary("boundary", module.run)
    heal(repairs, app, run, "x", frame=0)
    assert type(failure(run, "$1")) is module.Hostile


def test_the_boundary_takes_what_fired_below_its_frame_once(app: Application, repairs: Repairs) -> None:
    module = app.module(READ)
    read = app.boundary("boundary", module.read)
    heal(repairs, app, read, "$1")
    read("12")
    assert app.taken == []
    read("$3")
    [use] = app.taken
    assert (use.fix_id, use.loss, use.succeeded) == ("fix", Loss.NONE, True)
    assert use.step.expression == "float(text)"
    assert use.elapsed_ns > 0
    assert app.calls.untaken() == 0


def test_a_boundary_that_never_takes_does_not_leak_without_bound(app: Application, repairs: Repairs) -> None:
    module = app.module(READ)

    def forgetful(text: str) -> float:
        value: float = module.read(text)
        return value

    calls = RunningCalls()
    register_boundary(forgetful.__code__, "boundary", calls)
    read = app.boundary("boundary", module.read)
    heal(repairs, app, read, "$1")
    for _ in range(1_100):
        forgetful("$1")
    assert calls.untaken() == 1_000


def test_a_probe_acts_in_its_own_context_only(app: Application, repairs: Repairs) -> None:
    module = app.module(READ)
    read = app.boundary("boundary", module.read)
    original = module.read.__code__
    taught = repair_for(failure(read, "$1"), app)
    elsewhere: list[BaseException] = []
    with repairs.probe([taught]) as probe:
        thread = threading.Thread(target=lambda: elsewhere.append(failure(read, "$1")))
        thread.start()
        thread.join()
        assert type(contextvars.Context().run(failure, read, "$1")) is ValueError
        assert not probe.fired()
        assert read("$1") == 1.0
        assert probe.fired()
    assert [type(each) for each in elsewhere] == [ValueError]
    assert app.taken == []
    assert module.read.__code__ is original
    assert type(failure(read, "$1")) is ValueError


def test_a_probe_whose_repair_did_not_help_has_not_fired(app: Application, repairs: Repairs, scripted: Any) -> None:
    module = app.module(READ)
    read = app.boundary("boundary", module.read)
    scripted(Repaired("still no number", Loss.NONE))
    taught = repair_for(failure(read, "$1"), app, repairer="scripted")
    with repairs.probe([taught]) as probe:
        failure(read, "$1")
        assert not probe.fired()


def test_frames_taken_for_one_call_are_not_given_to_another(app: Application, repairs: Repairs) -> None:
    module = app.module(READ)
    read = app.boundary("boundary", module.read)
    heal(repairs, app, read, "$1")
    assert take_fired(sys._getframe()) == []
    read("$1")
    assert take_fired(sys._getframe()) == []
