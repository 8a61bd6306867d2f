"""Repairs of a small application, which leave nothing behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from repair_application import Application, Scripted, application

from healspan.remediation.repair import Repairs
from healspan.remediation.repair import repairs as repairs_module


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Application]:
    """The application; what is imported from it is forgotten afterwards."""
    with application(tmp_path) as made:
        yield made


@pytest.fixture
def repairs() -> Iterator[Repairs]:
    """The repairs of this test; in the end every function has its own code again."""
    made = Repairs()
    yield made
    made.uninstall_all()
    assert made.verify_uninstalled() == []


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Scripted]:
    """Put a repairer that gives what it is told to in the place of every other."""

    def use(answer: Any) -> Scripted:
        made = Scripted(answer)
        monkeypatch.setattr(repairs_module, "repairer", lambda name: made)
        return made

    return use
