"""Fixtures for every ring of tests: a data directory of their own, and a fresh runtime, or a made-up past, in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from tests import postgresql
from tests.world import World

from healspan.remediation import own_errors
from healspan.remediation.boundary import boundaries
from healspan.remediation.runtime import Runtime, runtime, shut_down

# How long an example takes says how busy the machine is.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# A landing is decided by the same examples each time; everybody else looks for new ones.
settings.register_profile("ci", settings.get_profile("patient"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "patient")

PATIENT = {
    # What is known may take long to load, and a diagnosis long to make, on a machine that others use as well.
    "HEALSPAN_START_WAIT_MS": "60000",
    "HEALSPAN_FLIGHT_WAIT_MS": "60000",
    "HEALSPAN_SEARCH_MS": "60000",
    "HEALSPAN_REPLAY_MS": "60000",
}
"""Limits of time that only their own tests may meet."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """On PostgreSQL, leave out what is about the files of SQLite."""
    if postgresql.WANTED:
        leave_out = pytest.mark.skip(reason="is about the files of SQLite")
        for item in items:
            if item.get_closest_marker("sqlite"):
                item.add_marker(leave_out)


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data directory of this test's own: nothing is read from, or left in, the user's."""
    directory = tmp_path / "healspan"
    # A worker of xdist has the width of its controller's terminal; and what tests are told is no setting.
    told = [name for name in os.environ if name.startswith("HEALSPAN_TEST_")]
    for name in ("HEALSPAN_DISABLED", "HEALSPAN_POLICY", "HEALSPAN_DATABASE_URL", "COLUMNS", *told):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HEALSPAN_DATA_DIR", str(directory))
    # Tests fail a hundred times in one place on purpose; what a storm is has tests of its own.
    monkeypatch.setenv("HEALSPAN_SAME_FAILURES_PER_SECOND", "1000000")
    for name, value in PATIENT.items():
        monkeypatch.setenv(name, value)
    # What is said once a minute has been said by no earlier test.
    monkeypatch.setattr(own_errors, "_said", {})
    if postgresql.WANTED:
        monkeypatch.setenv("HEALSPAN_DATABASE_URL", postgresql.new_database())
    monkeypatch.setenv("HEALSPAN_REVIEWER_KEY", str(tmp_path / "reviewer.pem"))
    known = set(boundaries())
    yield directory
    shut_down()
    for name in set(boundaries()) - known:
        boundaries().pop(name)


@pytest.fixture
def live(data_dir: Path) -> Runtime:
    """The runtime of this process, started in the test's data directory."""
    return runtime()


@pytest.fixture
def world(data_dir: Path) -> Iterator[World]:
    """A store in the test's data directory, and facts of a made-up past for it."""
    made = World()
    yield made
    made.close()
