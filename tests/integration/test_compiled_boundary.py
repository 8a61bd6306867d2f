"""A boundary inside its function and one in a wrapper: to the application, the same as the bare function."""

from __future__ import annotations

import asyncio
import gc
import importlib
import inspect
import itertools
import linecache
import pdb
import pickle
import sys
import threading
import traceback
import weakref
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pytest
from tests.observe import facts, wait_until

from healspan.instrumentation import error_boundary, pipeline
from healspan.remediation.incident import IncidentStatus
from healspan.remediation.runtime import Runtime

_numbers = itertools.count()
HEAD = "from healspan.instrumentation import error_boundary\n"


@pytest.fixture(params=["compiled", "wrapper"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Either form; the setting is read where a module is imported."""
    monkeypatch.setenv("HEALSPAN_COMPILED_BOUNDARIES", "1" if request.param == "compiled" else "0")
    return str(request.param)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Write and import a module; ``@boundary`` in its text is a boundary of a name of its own."""
    monkeypatch.syspath_prepend(tmp_path)
    made: list[str] = []

    def make(text: str) -> ModuleType:
        name = f"compiled_app_{next(_numbers)}"
        text = HEAD + text.replace("@boundary(", f"@error_boundary('{name}' + ")
        (tmp_path / f"{name}.py").write_text(text)
        importlib.invalidate_caches()
        made.append(name)
        return importlib.import_module(name)

    yield make
    for name in made:
        sys.modules.pop(name, None)
    linecache.clearcache()


def bare(function: Any) -> FunctionType:
    found: FunctionType = inspect.unwrap(function)
    return found


def outcome(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The value, or the text of the traceback below this frame."""
    try:
        return function(*args, **kwargs)
    except BaseException as error:
        assert error.__traceback__ is not None
        notes = getattr(error, "__notes__", [])
        notes[:] = [note for note in notes if "healspan" not in note]
        below = error.__traceback__.tb_next
        return "".join(traceback.format_exception(type(error), error, below))


FAILING = """
import contextlib

def helper(text):
    return float(text)

@boundary('direct')
def direct(text):
    return float(text)

@boundary('deep')
def deep(text):
    doubled = [helper(each) * 2 for each in (text, text)]
    return sum(doubled)

@boundary('raises')
def raises(text):
    raise ValueError(
        "no "
        + text)

@boundary('chained')
def chained(text):
    try:
        return {}[text]
    except KeyError as error:
        raise RuntimeError("chained") from error

@boundary('context')
def context(text):
    try:
        return {}[text]
    except KeyError:
        return helper(text)

@boundary('finally')
def in_finally(text):
    try:
        return 1
    finally:
        helper(text)

@boundary('with')
def in_with(text):
    with contextlib.suppress(KeyError), open(__file__) as file:
        if file.readline():
            return helper(text)

@boundary('loop')
def loop(text):
    for number in range(3):
        while number:
            number = [helper(text)]
    else:
        return None

@boundary('inner')
def inner(text):
    def within():
        return helper(text)
    return (lambda: within())()

@boundary('match')
def matched(text):
    match text.split():
        case [one]:
            return float(one) + (
                2 - len(one))
        case _:
            return None

@boundary('group')
def group(text):
    raise ExceptionGroup("several", [ValueError(text), KeyError(text)])

@boundary('starred')
def starred(text, *rest, key=3, **more):
    return helper(text), rest, key, more

@boundary('assertion')
def assertion(text):
    assert text == "never", f"it is {text}"

@boundary('stop')
def stop(text):
    return next(iter(()))

@boundary('leaves')
def leaves(text):
    raise SystemExit(text)

@boundary('interrupted')
def interrupted(text):
    raise KeyboardInterrupt
"""

NAMES = [
    "direct", "deep", "raises", "chained", "context", "in_finally", "in_with", "loop", "inner", "matched", "group",
    "starred", "assertion", "stop", "leaves", "interrupted",
]  # fmt: skip


def test_a_traceback_is_the_text_that_the_bare_function_gives(
    live: Runtime,
    form: str,
    module: Callable[[str], ModuleType],
) -> None:
    app = module(FAILING)
    for name in NAMES:
        function = getattr(app, name)
        assert function.boundary.form == form, function.boundary.form_reason
        for _ in range(2):
            assert outcome(function, "bad") == outcome(bare(function), "bad"), name
        with pipeline("p"):
            assert outcome(function, "bad") == outcome(bare(function), "bad"), name
