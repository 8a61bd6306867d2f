"""Attacks against the rewriting of functions: each is refused or healed right, and nothing else ever changes.

Every attack is a module of its own (`tests.rewriting`). A twin of the module, which healspan never sees, says what is
right.
"""

from __future__ import annotations

import importlib.util
import linecache
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pytest
from tests.observe import uninstall_for_good
from tests.rewriting import ATTACKS, BAD, Attack, replaces_float, swaps_a_constant

from healspan.instrumentation import error_boundary
from healspan.remediation.runtime import Runtime

HOPELESS = "no number at all"
NAME = "attacked_module"


def load(text: str | bytes, file: Path, name: str) -> ModuleType:
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def names() -> Iterator[None]:
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith(NAME):
            del sys.modules[name]
    linecache.clearcache()


def ending(function: Callable[[str], Any], argument: str) -> tuple[str, Any]:
    try:
        value = function(argument)
    except Exception as error:
        return type(error).__name__, (type(error).__module__, str(error))
    return "returned", value


@pytest.mark.usefixtures("names")
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_an_attack_is_refused_or_healed_right(attack: Attack, live: Runtime, tmp_path: Path) -> None:
    twin = load(attack.text, tmp_path / "twin.py", f"{NAME}_twin")
    file = tmp_path / f"{NAME}.py"
    module = load(attack.text, file, NAME)
    original: FunctionType = module.attacked
    attack.prepare(module, file)
    if attack.prepare in (swaps_a_constant, replaces_float):
        attack.prepare(twin, tmp_path / "twin.py")
    code = original.__code__
    function = error_boundary("rewriting", retry_safe=True)(original)

    def check() -> None:
        for text in attack.good:
            assert ending(function, text) == ending(twin.attacked, text)
        assert ending(function, HOPELESS) == ending(twin.attacked, HOPELESS)
        how = ending(function, BAD)
        healed = ("returned", attack.right) if not attack.refused else None
        assert how in (ending(twin.attacked, BAD), healed)

    assert ending(twin.attacked, BAD)[0] != "returned" or attack.prepare is replaces_float, "no attack"
    check()
    live.index.refresh()  # installs what may be installed
    check()
    uninstall_for_good(live)
    assert original.__code__ is code
    assert live.repairs.verify_uninstalled() == []
    for text in attack.good:
        assert ending(function, text) == ending(twin.attacked, text)
