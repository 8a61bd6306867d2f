"""Fixtures of the tests of the command line: a store that a real service has filled, and a way to run a command."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests import shop
from tests.command import Ran, Run
from tests.observe import ended
from tests.world import World

from healspan.analytics import run_job
from healspan.remediation.cli import main
from healspan.remediation.fix import Fix, FixState
from healspan.remediation.settings import load_settings
from healspan.remediation.store.repository import Store


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*arguments: str) -> Ran:
        capsys.readouterr()
        code = main(arguments)
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return command


@pytest.fixture
def filled(data_dir: Path) -> Path:
    """A store in which one call was healed and three, of two patterns, escalated."""
    assert shop.price("$12") == 12.0
    for words in ("only EUR 12", "only USD 13"):
        with pytest.raises(LookupError):
            shop.price(words)
    with pytest.raises(KeyError):
        shop.invoice({"name": "ann"})
    ended()
    return data_dir


@pytest.fixture
def store(filled: Path) -> Iterator[Store]:
    with Store.open(load_settings()) as opened:
        yield opened


@pytest.fixture
def on_this_machine() -> Iterator[None]:
    """A console that nobody else reaches."""
    from streamlit import config

    before = config.get_option("server.address")
    config.set_option("server.address", "127.0.0.1")
    yield
    config.set_option("server.address", before)


@pytest.fixture
def hiding(world: World) -> Fix:
    """A fix that hides a fault."""
    fix = world.fix("revenue", state=FixState.TRIAL, ago=timedelta(days=2))
    for hour in range(24):
        world.calls("revenue", 100, ago=timedelta(hours=hour))
        world.application(fix, count=20, ago=timedelta(hours=hour))
    run_job(world.store)
    return fix
