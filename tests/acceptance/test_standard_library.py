"""A few hundred functions that nobody wrote for healspan: with a boundary each, their own tests still pass.

The standard library's modules bring their tests along; they look at results, exceptions, coroutines, managers.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from tests.bounded import only_compiled

MODULES = "textwrap shlex contextlib fractions configparser string asyncio.queues asyncio.locks asyncio.taskgroups"
TESTS = (
    "test_textwrap test_shlex test_contextlib test_contextlib_async test_fractions test_configparser test_string "
    "test_asyncio.test_queues test_asyncio.test_locks test_asyncio.test_taskgroups"
)

SCRIPT = f"""
import collections, importlib, inspect, io, types, unittest
from healspan.instrumentation import error_boundary

forms = collections.Counter()
_SPECIAL = {{"__new__", "__init_subclass__", "__class_getitem__", "__set_name__", "__del__"}}

def bounded(function, name, declared):
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        declared = {{}}
    made = error_boundary(f"{{name}} {{forms.total()}}", **declared)(function)
    forms[made.boundary.form] += 1
    return made

def instrument(module, declared):
    for name, value in list(vars(module).items()):
        if isinstance(value, types.FunctionType) and value.__module__ == module.__name__:
            setattr(module, name, bounded(value, name, declared))
        elif isinstance(value, type) and value.__module__ == module.__name__:
            for attribute, method in list(vars(value).items()):
                if isinstance(method, types.FunctionType) and attribute not in _SPECIAL:
                    setattr(value, attribute, bounded(method, attribute, declared))

def main(declared):
    for name in {MODULES!r}.split():
        instrument(importlib.import_module(name), declared)
    tests = unittest.defaultTestLoader.loadTestsFromNames([f"test.{{name}}" for name in {TESTS!r}.split()])
    result = unittest.TextTestRunner(stream=io.StringIO()).run(tests)
    for test, trace in result.failures + result.errors:
        print(test, trace)
    print(result.testsRun > 700, len(result.failures) + len(result.errors), forms["compiled"], sep=", ")
"""


@pytest.mark.slow
@pytest.mark.skipif(find_spec("test.test_textwrap") is None, reason="this Python comes without its tests")
@pytest.mark.parametrize("declared", ["{}", "{'output': object}"], ids=["plain", "verified"])
@pytest.mark.parametrize("compiled", [pytest.param(True, marks=only_compiled), False], ids=["compiled", "wrapper"])
def test_its_own_tests_pass(tmp_path: Path, declared: str, compiled: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"{SCRIPT}\nmain({declared})"],
        env={
            **os.environ,
            "HEALSPAN_COMPILED_BOUNDARIES": str(int(compiled)),
            # What the tests provoke is no incident; the boundaries only call, count and sample.
            "HEALSPAN_DISABLED": "1",
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=280,
        check=True,
    )
    ran, wrong, inside = done.stdout.strip().splitlines()[-1].split(", ")
    assert (ran, wrong) == ("True", "0"), done.stdout
    assert (int(inside) > 200) if compiled else (inside == "0")
