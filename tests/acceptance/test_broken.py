"""Whatever is broken around healspan, the service starts, answers and ends as without, and it is said once."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path

import pytest
from tests.broken import BROKEN, EXPECTED, OTHERS, START_WAIT_MS, STOPPING, Broken, Served, serve
from tests.command import Ran, Run, shell
from tests.postgresql import WANTED

from healspan.remediation.settings import load_settings
from healspan.remediation.store import drain_all
from healspan.remediation.store.repository import Store

pytestmark = [
    pytest.mark.slow,
    pytest.mark.sqlite,
    pytest.mark.skipif(WANTED, reason="breaks a store of its own"),
]


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Served:
    """The service where nothing is broken, for comparison."""
    folder = tmp_path_factory.mktemp("healthy")
    served = serve(folder, {"HEALSPAN_DATA_DIR": str(folder / "data")})
    assert (served.code, served.answers, served.log) == (0, EXPECTED, [])
    return served


@pytest.mark.parametrize("broken", BROKEN, ids=lambda one: one.what)
def test_the_service_goes_on_and_it_is_said_once(broken: Broken, tmp_path: Path, healthy: Served, run: Run) -> None:
    with broken.broken(tmp_path) as environment:
        served = serve(tmp_path, environment, most_bytes=broken.most_bytes)
        assert (served.code, served.answers) == (0, EXPECTED), served.log
        told = [line for line in served.log if broken.words and broken.words in line]
        assert served.log == told, served.log
        assert len(told) == bool(broken.words)

        # Prompt: a request never waits for what is broken, but the first ones for the start of healspan.
        assert served.usual <= 10 * healthy.usual + 0.05 * max(healthy.seconds)
        assert sum(served.seconds) <= 10 * sum(healthy.seconds) + 3 * START_WAIT_MS / 1_000
        # Whoever exports to a broken collector leaves late, with healspan and without.
        disabled = {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": f"healspan,{OTHERS}", "HEALSPAN_DISABLED": "1"}
        without = {**disabled, **environment}
        bare = serve(tmp_path, without).leaving if "OTEL_TRACES_EXPORTER" in environment else 0.0
        assert served.leaving <= 10 * healthy.leaving + STOPPING + 2 * bare

        doctor = said_by_doctor(broken, tmp_path, environment, run)
        assert doctor.code == (0 if broken.warning else 1)
        assert (broken.doctor or broken.words) in doctor.out + doctor.err
        assert "hunter2xyz" not in "".join(served.log) + doctor.out + doctor.err
    if broken.kept:
        assert incidents() == {"price": 6, "stock": 6, "prices.price": 6}


def said_by_doctor(broken: Broken, folder: Path, environment: dict[str, str], run: Run) -> Ran:
    """Ask doctor in the service's place: as a program of its own where it is to import what is there."""
    if broken.app or "PYTHONPATH" in environment:
        apps = [part for module in broken.app for part in ("--app", module)]
        ran = shell("doctor", "--json", *apps, cwd=folder, **environment)
        return Ran(ran.returncode, ran.stdout, ran.stderr)
    with limited(broken.most_bytes), pytest.MonkeyPatch.context() as patch, chdir(folder):
        for name, value in environment.items():
            patch.setenv(name, value)
        return run("doctor", "--json")


@contextmanager
def limited(most_bytes: int | None) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    if most_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def incidents() -> dict[str, int]:
    settings = load_settings()
    drain_all(settings)
    with Store.open(settings) as store:
        modules = [view.incident.module for view in store.incidents.list(limit=100)]
    return {module: modules.count(module) for module in modules}
