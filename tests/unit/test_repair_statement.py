"""A statement that is guarded whole: where it is, and that nothing but the repair tells it from the original."""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from repair_application import Application, failure, frames, heal

from healspan.remediation.repair import Repairs
from healspan.remediation.repair import guard as guard_module
from healspan.remediation.repair.find import nested_codes
from healspan.remediation.repairers import Loss, Repaired


def is_whole(function: Any) -> bool:
    """Whether a statement of a function is guarded whole; else an expression must be."""
    return {"caught", "value"} <= {*function.__code__.co_names}


def body(*lines: str) -> str:
    return "unit = 1\n\ndef run(text):\n" + "".join(f"    {line}\n" for line in lines)


WHOLE = {
    "returned": body("return float(text)"),
    "assigned": body("number = float(text)", "return number"),
    "assigned to its operand": body("text = float(text)", "return text"),
    "annotated": body("number: float = float(text)", "return number"),
    "two targets": body("one = two = float(text)", "return one + two - one"),
    "an item": body("found = {}", "found['x'] = float(text)", "return found['x']"),
    "the beginning": body("number = float(text) * unit + 0", "return number"),
    "a method's object": body("return float(text).real"),
    "the first of several": body("number, other = float(text), 2", "return number"),
    "with a comment": body("return float(text)  # of the currency"),
    "in a loop": body("for _ in range(3):", "    number = float(text)", "return number"),
    "left by the application": body(
        "for number in range(3):", "    number = float(text)", "    if number:", "        break", "else:", "    1 / 0",
        "return number",
    ),
    "in while": body("number = 0", "while not number:", "    number = float(text)", "return number"),
    "in with": "import threading\nlock = threading.Lock()\n" + body("with lock:", "    return float(text)"),
    "in a handler": body("try:", "    [][1]", "except IndexError:", "    return float(text)"),
    "in try": body("try:", "    number = float(text)", "finally:", "    done = 1", "return number * done"),
    "around a try": body("number = float(text)", "try:", "    return number", "except ValueError:", "    return 7"),
    "a method": "class Reader:\n    def read(self, text):\n        return float(text)\n\nrun = Reader().read\n",
}  # fmt: skip

HELPED = {
    "something before": body("return unit * float(text)"),
    "an argument": body("return abs(float(text))"),
    "added": body("total = 0", "total += float(text)", "return total"),
    "an operand with effects": body("text = [text]", "return float(text.pop())"),
    "a shared variable": body("def later(): return text", "return float(text)"),
    "a condition": body("if float(text):", "    return 5.0"),
    "two": body("return float(text) + 0 * float(text)"),
    "several lines": body("return float(", "    text", ")"),
    "not alone on its line": body("number = 1; return float(text)"),
    "a lambda beside it": body("return float(text), (lambda: 1)"),
    "a comprehension": body("return [float(each) for each in (text,)][0]"),
    "a function inside": body("def inner(text):", "    return float(text)", "return inner(text)"),
    "a generator": body("return list(made(text))[0]")
    + "\ndef made(text):\n    number = float(text)\n    yield number\n",
    "returned below finally": body("try:", "    return float(text)", "finally:", "    done = 1"),
    "deep": body(
        *(" " * 4 * depth + "for _ in '1':" for depth in range(9)), " " * 36 + "number = float(text)", "return number"
    ),
}  # fmt: skip


def events(function: Callable[..., Any], *args: Any) -> list[tuple[str, str, int | None]]:
    """What a debugger or a coverage tool is told of a call."""
    found: list[tuple[str, str, int | None]] = []

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if frame.f_globals["__name__"].startswith("repaired_app_"):
            found.append((event, frame.f_code.co_qualname, frame.f_lineno))
            return trace
        return None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function(*args)
    except Exception:
        pass
    finally:
        sys.settrace(before)
    return found


def told(error: BaseException) -> list[str]:
    """Return the text of a traceback, as far as it is the application's."""
    text = "".join(traceback.format_exception(error))
    return [each for each in text.split("  File ") if "repaired_app_" in each or "Error" in each]


@pytest.mark.parametrize("text", WHOLE.values(), ids=WHOLE)
def test_a_statement_that_allows_it_is_guarded_whole(app: Application, repairs: Repairs, text: str) -> None:
    original, module = app.module(text), app.module(text)
    run, plain = app.boundary("boundary", module.run), app.boundary("plain", original.run)
    heal(repairs, app, run, "$1")
    assert is_whole(module.run)
    assert run("$5") == 5.0
    assert run("5") == plain("5") == 5.0
    assert events(run, "5") == events(plain, "5")
    assert events(run, "x y")[-1] == events(plain, "x y")[-1]
    assert [each for each in events(run, "x y") if each[0] == "line"] == [
        each for each in events(plain, "x y") if each[0] == "line"
    ]
    assert [each for each in events(run, "$5") if each[0] == "line"] == [
        each for each in events(run, "5") if each[0] == "line"
    ]
    name, other = module.__name__, original.__name__
    ours, theirs = told(failure(run, "no number")), told(failure(plain, "no number"))
    assert [each.replace(name, other) for each in ours] == theirs
    # Nothing may act here: no boundary.
    assert events(module.run, "x y") == events(original.run, "x y")
    code = module.run.__code__
    assert code.co_varnames == original.run.__code__.co_varnames
    assert {line for _, _, line in code.co_lines() if line} == {
        line for _, _, line in original.run.__code__.co_lines() if line
    }


@pytest.mark.parametrize("text", HELPED.values(), ids=HELPED)
def test_any_other_keeps_the_helper_form(app: Application, repairs: Repairs, text: str) -> None:
    module = app.module(text)
    run = app.boundary("boundary", module.run)
    if text == HELPED["two"]:
        heal(repairs, app, run, "$1", fix_id="first")
    heal(repairs, app, run, "$1")
    codes = [
        found
        for function in (module.run, getattr(module, "made", module.run))
        for found in nested_codes(function.__code__)
    ]
    assert sum("call_1" in each.co_names for each in codes) > 0
    assert not any("caught" in each.co_names for each in codes)
    assert str(run("$5")).strip("()").startswith("5.0")


FORMS = {
    "a key": ("return record[0]", {1: "x"}, 1, "x"),
    "a part": ("found = record[0:]\n    return found", 3, slice(1), None),
    "an operator": ("return 1 + record", "$4", 4, 5),
    "a sign": ("return -record", "$4", 4, -4),
    "containment": ("return 'b' in record, 1", 3, "abc", (True, 1)),
    "its absence": ("return 'b' not in record, 1", 3, "abc", (False, 1)),
    "an attribute": ("return record.realm", 3, "real", 3),
    "keywords": ("return int(record, base=16)", "$f", "f", 15),
}
"""What stands there, what fails, the repaired operand, and what it makes of it."""


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_an_expression_can_be_guarded_whole(
    app: Application, repairs: Repairs, scripted: Any, form: str
) -> None:
    line, bad, operand, right = FORMS[form]
    scripted(Repaired(operand, Loss.NONE))
    module = app.module(f"def run(record):\n    {line}\n")
    run = app.boundary("boundary", module.run)
    heal(repairs, app, run, bad)
    assert is_whole(module.run)
    if right is None:
        assert type(failure(run, bad)) is TypeError, "no operand makes a number a text"
        assert [each.succeeded for each in app.taken] == [False]
    else:
        assert run(bad) == right
        assert [each.succeeded for each in app.taken] == [True]


def test_what_a_repair_calls_sees_no_exception_being_handled(app: Application, repairs: Repairs, scripted: Any) -> None:
    module = app.module(
        "import sys\nseen = []\n\ndef parse(text):\n    seen.append(sys.exception())\n    return float(text)\n\n"
        "def run(text):\n    number = parse(text)\n    return number\n"
    )
    handled: list[BaseException | None] = []

    def answer(_: object) -> Repaired:
        handled.append(sys.exception())
        return Repaired("1", Loss.NONE)

    scripted(answer)
    run = app.boundary("boundary", module.run)
    heal(repairs, app, run, "$1", frame=0)
    assert is_whole(module.run)
    module.seen.clear()
    assert run("$1") == 1.0
    assert module.seen == [None, None]
    assert handled == [None]


def test_effects_happen_once(app: Application, repairs: Repairs) -> None:
    module = app.module(
        "done = []\n\ndef note(value):\n    done.append(value)\n    return value\n\n"
        "def run(text):\n    found = {}\n    found[note('key')] = float(text) * note(2)\n    return found\n"
    )
    run = app.boundary("boundary", module.run)
    heal(repairs, app, run, "$1")
    assert is_whole(module.run)
    module.done.clear()
    assert run("$3") == {"key": 6.0}
    assert module.done == [2, "key"]
    module.done.clear()
    failure(run, "no number")
    assert module.done == []


OTHERS = """
def fail(*_):
    raise ValueError("of its own")

class Strict:
    def __setitem__(self, key, value):
        fail()

def run(text, where):
    if where == "rest":
        number = float(text) * fail()
    elif where == "target":
        Strict()["x"] = float(text)
    elif where == "unpacked":
        one, two = text[0], fail()
    elif where == "unbound":
        number = float(later)
        later = 1
    number = float(text)
    return number
"""


def test_what_else_fails_in_the_statement_goes_on(app: Application, repairs: Repairs) -> None:
    original, module = app.module(OTHERS), app.module(OTHERS)
    run, plain = app.boundary("boundary", module.run), app.boundary("plain", original.run)
    for line in ("rest", "target", ""):
        heal(repairs, app, run, "$1", line, fix_id=line)
    assert is_whole(module.run)
    for text in ("1", "$1"):
        for where in ("rest", "target", "unpacked", "unbound"):
            if text == "$1" and where == "unbound":
                continue
            ours, theirs = failure(run, text, where), failure(plain, "1", where)
            assert [each.replace(module.__name__, original.__name__) for each in told(ours)] == told(theirs)
            assert ours.__context__ is None


def test_a_failure_in_vain_keeps_its_context_and_leaves_nothing(app: Application, repairs: Repairs) -> None:
    module = app.module(
        body(
            "try:",
            "    [][1]",
            "except IndexError as error:",
            "    kept = error",
            "    number = float(text)",
            "return number",
        )
    )
    run = app.boundary("boundary", module.run)
    heal(repairs, app, run, "$1")
    assert is_whole(module.run)
    error = failure(run, "no number")
    assert type(error.__context__) is IndexError
    assert error.__context__.__context__ is None
    assert [each.tb_frame.f_code.co_name for each in frames(error)][-1] == "run"
    assert sum(each.tb_frame.f_code is module.run.__code__ for each in frames(error)) == 1
    assert guard_module._kept._errors == {}


def test_an_exception_that_was_raised_before_keeps_its_older_traceback(app: Application, repairs: Repairs) -> None:
    text = "def again(error):\n    raise error\n\ndef run(error):\n    number = again(error)\n    return number\n"
    original, module = app.module(text), app.module(text)
    run, plain = app.boundary("boundary", module.run), app.boundary("plain", original.run)
    heal(repairs, app, run, ValueError("x"), frame=0)
    ours, theirs = ValueError("x"), ValueError("x")
    for _ in range(2):
        failure(run, ours)
        failure(plain, theirs)
    assert [each.replace(module.__name__, original.__name__) for each in told(ours)] == told(theirs)


def test_an_interrupted_repair_is_let_go_of(
    app: Application, repairs: Repairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = app.module(body("number = float(text)", "return number"))
    run = app.boundary("boundary", module.run)
    heal(repairs, app, run, "$1")

    def interrupt(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_name == "value":
            sys.settrace(None)
            raise KeyboardInterrupt

    before = sys.gettrace()
    sys.settrace(interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            run("$1")
    finally:
        sys.settrace(before)
    assert len(guard_module._kept._errors) == 1
    assert run("$2") == 2.0
    assert guard_module._kept._errors == {}


def test_a_recursion_to_its_end_reads_as_before(app: Application, repairs: Repairs) -> None:
    text = body("if text == 'deep':", "    deeper = run(text)", "number = float(text)", "return number")
    original, module = app.module(text), app.module(text)
    run, plain = app.boundary("boundary", module.run), app.boundary("plain", original.run)
    heal(repairs, app, run, "$1")
    ours, theirs = failure(run, "deep"), failure(plain, "deep")
    assert type(ours) is type(theirs) is RecursionError
    assert ours.__context__ is None


def test_recursive_calls_and_threads_keep_their_own_failures(app: Application, repairs: Repairs) -> None:
    text = body(
        "number = float(text)",
        "if number > 1:",
        "    below = run(f'${number - 1}')",
        "    number += below",
        "return number",
    )
    module = app.module(text)
    run = app.boundary("boundary", module.run)
    heal(repairs, app, run, "$1")
    heal(repairs, app, run, "2")
    assert is_whole(module.run)
    found: list[float] = []
    threads = [threading.Thread(target=lambda: found.extend(run("$2") for _ in range(50))) for _ in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert found == [3.0] * 150
