"""Boundaries in either of their forms, in modules written for one test; a service with adapters; the store alone."""

from __future__ import annotations

import importlib
import itertools
import linecache
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from tests.bounded import COMPILES
from tests.gateways import Process

from healspan.remediation.runtime import Runtime, runtime
from healspan.remediation.sandbox import adaptation
from healspan.remediation.settings import Settings, load_settings
from healspan.remediation.signing import Reviewer, enrol
from healspan.remediation.store.repository import Store

_numbers = itertools.count()
HEAD = "from healspan.instrumentation import error_boundary\n"


@pytest.fixture(params=["compiled", "wrapper"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Either form; the setting is read where a module is imported."""
    if request.param == "compiled" and not COMPILES:
        pytest.skip("from Python 3.12 on every boundary stands in a wrapper")
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


@pytest.fixture
def ann(tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Reviewer:
    """A human who approves adapters; these have ample time."""
    # The machine is shared: only the tests of a limit may meet it.
    monkeypatch.setenv("HEALSPAN_SANDBOX_SECONDS", "20")
    monkeypatch.setattr(adaptation, "_START", 60.0)
    return Reviewer.open(tmp_path / "ann.pem", name="ann", create=True)


@pytest.fixture
def service(ann: Reviewer) -> Runtime:
    """The runtime of this process, in which what she approves serves."""
    return runtime()


@pytest.fixture
def settings(data_dir: Path) -> Settings:
    """What the environment of this test says."""
    return load_settings()


@pytest.fixture
def reviewer(tmp_path: Path, settings: Settings) -> Reviewer:
    """A human whose signature counts here."""
    human = Reviewer.open(tmp_path / "reviewer.pem", name="ann", create=True)
    enrol(settings.keys_dir, human)
    return human


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    """The store of this test's data directory."""
    with Store.open(settings) as store:
        yield store


@pytest.fixture
def processes() -> Iterator[list[Process]]:
    """Processes with a gateway before Claude; those that are put in here are closed at the end."""
    made: list[Process] = []
    yield made
    for one in made:
        one.gateway.close()
