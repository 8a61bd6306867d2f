"""Debuggers, coverage, `inspect` and pickle see a repaired function as they see the original."""

from __future__ import annotations

import inspect
import linecache
import pickle
import sys
from collections.abc import Callable
from dataclasses import replace
from types import FrameType
from typing import Any

from repair_application import Application, failure, frames, heal, repair_for

from healspan.remediation.repair import Repairs, path_entry

TEXT = '''
def price(record, *, unit: float = 1.0) -> float:
    """Return the price."""
    kept = [
        float(each)
        for each in record["unitPrice"]
    ]
    if (
        kept[0]
        < unit
    ):
        kept = kept[1:]
    scale = (
        record
        .get(
            "scale",
        )
    )
    def scaled(number):
        return (
            number
            * scale
        )
    return sum(map(scaled, kept))

class Record:
    def __init__(self, price):
        self.price = price
    def __reduce__(self):
        return Record, (float(self.price),)
'''

GOOD = {"unitPrice": ["0", "1", "2"], "scale": 2}


def repaired(app: Application, repairs: Repairs) -> Any:
    """Return a module whose function carries repairs of several forms."""
    module = app.module(TEXT)
    price = app.boundary("boundary", module.price)
    heal(repairs, app, price, {"unit_price": ["1"], "scale": 2}, fix_id="key", repairer="renamed_key")
    heal(repairs, app, price, {"unitPrice": ["$1"]}, fix_id="number")
    heal(repairs, app, price, {"unitPrice": ["1"], "scale": None}, fix_id="operator")
    heal(repairs, app, price, {"unitPrice": [], "scale": None}, fix_id="item")
    assert price({"unit_price": ["$1"], "scale": 2}) == 2.0
    return module


def events(function: Callable[..., Any], *args: Any) -> list[tuple[str, str, int]]:
    """Return what a tracer sees in the function's own file."""
    found: list[tuple[str, str, int]] = []

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code.co_filename != inspect.getsourcefile(function):
            return None
        found.append((event, frame.f_code.co_qualname, frame.f_lineno))
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function(*args)
    except Exception as error:
        found.append((type(error).__name__, "", 0))
    finally:
        sys.settrace(before)
    return found


INPUTS = [GOOD, {}, {"unitPrice": ["x"]}, {"unitPrice": []}, {"unitPrice": ["1"], "scale": None}, None]


def test_a_tracer_sees_the_same_events_on_the_same_lines(app: Application, repairs: Repairs) -> None:
    original = app.module(TEXT)
    module = repaired(app, repairs)
    for each in INPUTS:
        assert events(module.price, each) == events(original.price, each)


def test_the_lines_that_can_be_covered_are_the_same(app: Application, repairs: Repairs) -> None:
    original = app.module(TEXT)
    module = repaired(app, repairs)

    def lines(function: Any) -> set[int | None]:
        codes = [function.__code__]
        for code in codes:
            codes += [each for each in code.co_consts if inspect.iscode(each)]
        return {line for code in codes for _, _, line in code.co_lines()}

    assert lines(module.price) == lines(original.price)


def test_inspect_reads_the_function_s_own_text_and_signature(app: Application, repairs: Repairs) -> None:
    original = app.module(TEXT)
    module = repaired(app, repairs)
    readers: list[Callable[[Any], object]] = [
        inspect.getsource,
        inspect.signature,
        inspect.getdoc,
        inspect.getfullargspec,
    ]
    for read in readers:
        assert read(module.price) == read(original.price)
    assert inspect.getsourcefile(module.price) == module.__file__
    assert inspect.getsource(module.price.__code__) == inspect.getsource(original.price)


def test_a_debugger_sees_the_line_and_the_application_s_own_names(app: Application, repairs: Repairs) -> None:
    original = app.module(TEXT)
    module = repaired(app, repairs)

    def seen(function: Callable[..., Any]) -> list[object]:
        error = failure(function, {"unitPrice": ["1"], "scale": None})
        return [(each.tb_frame.f_code.co_name, each.tb_lineno, set(each.tb_frame.f_locals)) for each in frames(error)]

    assert seen(module.price) == seen(original.price)
    assert len(seen(module.price)) == 3


def test_a_debugger_can_jump_and_step_in_a_repaired_function(app: Application, repairs: Repairs) -> None:
    module = app.module("def read(text):\n    text = float(text)\n    text = text + 1\n    return text\n")
    heal(repairs, app, app.boundary("boundary", module.read), "$1")

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code.co_name != "read":
            return None
        if event == "line" and frame.f_lineno == 3:
            frame.f_lineno = 4
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        assert module.read("1") == 1.0
    finally:
        sys.settrace(before)


def test_repaired_functions_and_their_objects_are_pickled_as_before(app: Application, repairs: Repairs) -> None:
    module = app.module(TEXT)
    before = pickle.dumps((module.price, module.Record(3)))
    heal(repairs, app, app.boundary("boundary", lambda: pickle.dumps(module.Record("$3"))))
    assert pickle.dumps((module.price, module.Record(3))) == before
    price, record = pickle.loads(before)
    assert (price, record.price) == (module.price, 3.0)


def test_a_cached_property_is_healed_though_functools_holds_a_lock_around_it(
    app: Application, repairs: Repairs
) -> None:
    module = app.module(
        "import functools\nclass Cell:\n    text = '$3'\n    @functools.cached_property\n"
        "    def value(self):\n        return float(self.text)\n\ndef run():\n    return Cell().value\n"
    )
    run = app.boundary("boundary", module.run)
    error = failure(run)
    whole = tuple(
        path_entry(
            each.tb_frame.f_globals["__name__"],
            each.tb_frame.f_code.co_qualname,
            linecache.getline(each.tb_frame.f_code.co_filename, each.tb_lineno),
        )
        for each in frames(error)[2:]
    )
    assert "functools" in {entry[0] for entry in whole}
    [report] = repairs.install([replace(repair_for(error, app), paths=frozenset({whole}))])
    assert report.status == "installed", report.reason
    assert run() == 3.0


_opened: list[tuple[str, Any]] | None = None


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _opened is not None and event in ("open", "os.mkdir", "os.rename", "os.remove"):
        _opened.append((event, arguments))


def test_nothing_is_written_when_a_repair_goes_in_or_out(app: Application, repairs: Repairs) -> None:
    global _opened
    module = app.module(TEXT)
    price = app.boundary("boundary", module.price)
    sys.addaudithook(_audit)
    _opened = []
    try:
        heal(repairs, app, price, {"unitPrice": ["$1"]})
        repairs.uninstall_all()
    finally:
        opened, _opened = _opened, None
    assert [each for each in opened if each[0] != "open" or set("wax+") & set(str(each[1][1]))] == []
