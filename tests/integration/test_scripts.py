"""A program that is run, ``__main__`` to itself, and whoever imports it as a module: one boundary, one set of fixes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.command import shell
from tests.observe import left_behind

from healspan.remediation.fix import FixDraft
from healspan.remediation.store.views import IncidentView

SERVICE = """
from healspan.instrumentation import error_boundary

class Unreadable(Exception):
    pass

@error_boundary("net_sales", retry_safe=True)
def net_sales(row: dict[str, str]) -> float:
    return float(row["net_sales"])

@error_boundary("refusing", retry_safe=True)
def refusing(row: dict[str, str]) -> float:
    raise Unreadable("no table")

def main() -> None:
    assert net_sales({"netSales": "1.5"}) == 1.5
    try:
        refusing({})
    except Unreadable:
        pass

if __name__ == "__main__":
    main()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "app"
    (folder / "package").mkdir(parents=True)
    (folder / "package" / "__init__.py").touch()
    (folder / "service.py").write_text(SERVICE)
    (folder / "package" / "service.py").write_text(SERVICE)
    return folder


def python(folder: Path, *arguments: str, **environment: str) -> None:
    command = [sys.executable, *arguments]
    subprocess.run(command, cwd=folder, env={**os.environ, **environment}, check=True, timeout=60)


def incidents() -> list[IncidentView]:
    """What was captured, oldest first."""
    return [*reversed(left_behind())]


@pytest.mark.parametrize(
    ("run", "imported"),
    [(["service.py"], "service"), (["-m", "package.service"], "package.service")],
)
def test_what_a_program_learns_is_known_to_those_who_import_it(folder: Path, run: list[str], imported: str) -> None:
    python(folder, *run)
    python(folder, "-c", f"import {imported} as service; service.main()")
    first, second = (one for one in incidents() if one.incident.module == "net_sales")
    assert first.incident.target == second.incident.target == f"{imported}:net_sales"
    assert first.incident.pattern.exact == second.incident.pattern.exact
    assert [one.resolution and one.resolution.tier.value for one in (first, second)] == ["2", "1"]
    refused = {one.incident.error_type for one in incidents() if one.incident.module == "refusing"}
    assert refused == {f"{imported}.Unreadable"}


def test_and_the_other_way_round_and_in_what_it_spawns(folder: Path) -> None:
    python(folder, "-c", "import service; service.main()")
    spawns = SERVICE.replace(
        "    main()\n",
        "    import multiprocessing\n"
        "    child = multiprocessing.get_context('spawn').Process(target=main)\n"
        "    child.start(); child.join(); assert child.exitcode == 0\n",
    )
    (folder / "service.py").write_text(spawns)
    python(folder, "service.py")
    found = [one for one in incidents() if one.incident.module == "net_sales"]
    assert [one.resolution and one.resolution.tier.value for one in found] == ["2", "1"]


def test_what_was_approved_under_the_old_name_goes_on_while_the_source_is_the_same() -> None:
    old = FixDraft.model_construct(source_hash={"__main__:prose": "aa"})
    assert old.made_for("service:prose", "aa")
    assert not old.made_for("service:prose", "bb")
    assert not old.made_for("service:other", "aa")
    assert not FixDraft.model_construct(source_hash={"a:prose": "aa"}).made_for("b:prose", "aa")


def test_a_program_does_not_get_the_name_of_what_runs_it(folder: Path) -> None:
    (folder / "service.py").write_text(SERVICE.replace("net_sales({", "refusing({"))
    with pytest.raises(subprocess.CalledProcessError):
        python(folder, "-m", "cProfile", "-o", os.devnull, "service.py")
    assert {one.incident.target for one in incidents()} == {"__main__:refusing"}


def test_doctor_finds_its_fixes_fresh(folder: Path) -> None:
    python(folder, "service.py")
    ran = shell("doctor", "--app", "service", PYTHONPATH=str(folder))
    assert ran.returncode == 0, ran.stdout
    assert "stale" not in ran.stdout


def test_nobody_can_import_what_stands_elsewhere_and_doctor_says_so(folder: Path) -> None:
    python(folder, "service.py", PYTHONSAFEPATH="1")
    assert {one.incident.target for one in incidents()} == {"__main__:net_sales", "__main__:refusing"}
    ran = shell("doctor", "--app", "service", PYTHONPATH=str(folder))
    assert ran.returncode == 0, ran.stdout
    assert "made in a program that nobody can import" in ran.stdout
