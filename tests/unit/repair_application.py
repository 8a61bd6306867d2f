"""A small application for the tests of repairs: modules from text, boundaries, and what a failure teaches."""

from __future__ import annotations

import importlib
import itertools
import linecache
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from healspan.remediation.repair import (
    ActiveRepair,
    FiredRepair,
    Location,
    Repairs,
    RunningCalls,
    locate,
    path_entry,
    register_boundary,
    take_fired,
)
from healspan.remediation.repairers import Failure, Repaired, RepairerParameters
from healspan.remediation.step import FramePath

_numbers = itertools.count()

READ = """
def read(text):
    return float(text)
"""
"""The text of a module with one function in it."""


class Application:
    """Modules written to a directory of their own and imported from there."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.modules: list[str] = []
        self.taken: list[FiredRepair] = []
        self.calls = RunningCalls()

    def module(self, text: str, name: str | None = None) -> ModuleType:
        name = name or f"repaired_app_{next(_numbers)}"
        (self.directory / f"{name}.py").write_text(text, encoding="utf-8")
        self.modules.append(name)
        importlib.invalidate_caches()
        return importlib.import_module(name)

    def boundary(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a function as the instrumentation does: a wrapper with a code object of its own."""

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            try:
                return function(*args, **kwargs)
            finally:
                self.taken += take_fired(sys._getframe())

        wrapper.__code__ = wrapper.__code__.replace(co_name=f"boundary {name}")
        register_boundary(wrapper.__code__, name, self.calls)
        return wrapper


class Scripted:
    """A repairer that gives what it is told to give."""

    name = "scripted"
    summary = "do as told"
    library = ""
    parameters = RepairerParameters

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.seen: list[Failure] = []

    def applies(self, kind: str, error: BaseException) -> bool:
        return True

    def repair(self, failure: Failure) -> Repaired | None:
        self.seen.append(failure)
        return self.answer(failure) if callable(self.answer) else self.answer


@contextmanager
def application(directory: Path) -> Iterator[Application]:
    sys.path.insert(0, str(directory))
    made = Application(directory)
    try:
        yield made
    finally:
        sys.path.remove(str(directory))
        for name in made.modules:
            sys.modules.pop(name, None)


def failure(function: Callable[..., Any], *args: Any) -> Exception:
    """Return the exception that a call raises."""
    try:
        value = function(*args)
    except Exception as error:
        return error
    raise AssertionError(f"no exception, but {value!r}")


def frames(error: BaseException) -> list[TracebackType]:
    trace, found = error.__traceback__, []
    while trace is not None:
        found.append(trace)
        trace = trace.tb_next
    return found


def in_modules(error: BaseException, app: Application) -> list[TracebackType]:
    return [each for each in frames(error) if each.tb_frame.f_globals["__name__"] in app.modules]


def path_of(error: BaseException, app: Application, frame: int = -1) -> FramePath:
    """Return the way from the boundary to a frame of the application, by default the innermost."""
    traces = in_modules(error, app)
    return tuple(
        path_entry(
            each.tb_frame.f_globals["__name__"],
            each.tb_frame.f_code.co_qualname,
            linecache.getline(each.tb_frame.f_code.co_filename, each.tb_lineno),
        )
        for each in traces[: traces.index(traces[frame]) + 1]
    )


def location_of(error: BaseException, app: Application, frame: int = -1) -> Location:
    trace = in_modules(error, app)[frame]
    code = trace.tb_frame.f_code
    line, end_line, column, end_column = list(code.co_positions())[trace.tb_lasti // 2]
    assert line is not None
    assert end_line is not None
    assert column is not None
    assert end_column is not None
    return locate(code, trace.tb_frame.f_globals["__name__"], (line, end_line, column, end_column))


def repair_for(
    error: Exception,
    app: Application,
    *,
    fix_id: str = "fix",
    boundary: str = "boundary",
    repairer: str = "number",
    frame: int = -1,
) -> ActiveRepair:
    """Return the repair that this failure, having reached its boundary, teaches."""
    step = location_of(error, app, frame).step(
        error_type=f"{type(error).__module__}.{type(error).__qualname__}",
        repairer=repairer,
    )
    return ActiveRepair(fix_id, step, boundary, frozenset({path_of(error, app, frame)}))


def heal(repairs: Repairs, app: Application, function: Callable[..., Any], *args: Any, **about: Any) -> None:
    """Install the repair for a failing call, which must be possible."""
    [report] = repairs.install([repair_for(failure(function, *args), app, **about)])
    assert report.status == "installed", report.reason
