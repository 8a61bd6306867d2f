"""``.ci/run`` on machines with and without Prometheus; apt-get and make are stand-ins, the rest is real."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci" / "run"
REAL = ("bash", "env", "dirname", "mktemp", "rm", "cat", "touch", "mkdir", "chmod")

MAKE = """echo "make $* with $HEALSPAN_TEST_PROMETHEUS by $(command -v promtool)"; exit "${MAKE_ENDS:-0}"
"""
APT = """echo "$*" >> "$CALLS/apt-get"
case "$1" in
  update) touch "$CALLS/lists" ;;
  download) [ -e "$CALLS/lists" ] && [ ! -e "$CALLS/away" ] && touch prometheus_2_amd64.deb ;;
esac
"""
DPKG = """mkdir -p "$3/usr/bin"
for name in prometheus promtool; do : > "$3/usr/bin/$name"; chmod +x "$3/usr/bin/$name"; done
"""


class Machine:
    """A machine on which little more is installed than the script may ask for."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        for name in ("bin", "tmp", "calls"):
            (directory / name).mkdir()
        for name in REAL:
            found = shutil.which(name)
            assert found is not None
            (directory / "bin" / name).symlink_to(found)
        self.install("sleep", "")
        self.install("make", MAKE)
        self.install("dpkg", DPKG)
        self.install("apt-get", APT)

    def install(self, name: str, script: str) -> None:
        program = self._directory / "bin" / name
        program.write_text(f"#!{shutil.which('bash')}\n{script}")
        program.chmod(0o755)

    def remove(self, name: str) -> None:
        (self._directory / "bin" / name).unlink()

    def is_away(self) -> None:
        (self._directory / "calls" / "away").touch()

    def run(self, **environment: str) -> subprocess.CompletedProcess[str]:
        known = {
            "PATH": str(self._directory / "bin"),
            "TMPDIR": str(self._directory / "tmp"),
            "CALLS": str(self._directory / "calls"),
        }
        return subprocess.run(
            [SCRIPT], env=known | environment, capture_output=True, text=True, timeout=60, check=False
        )

    @property
    def asked(self) -> list[str]:
        """What apt-get was asked for."""
        calls = self._directory / "calls" / "apt-get"
        return calls.read_text().splitlines() if calls.exists() else []

    @property
    def left(self) -> list[str]:
        """What is left in the directory for temporary files."""
        return [left.name for left in (self._directory / "tmp").iterdir()]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_where_prometheus_is_installed_nothing_is_fetched(machine):
    machine.install("prometheus", "")
    machine.install("promtool", "")
    ran = machine.run()
    assert ran.returncode == 0
    assert ran.stdout.startswith("make test with 1 by ")
    assert machine.asked == []


def test_a_clean_machine_gets_the_package_unpacked_and_is_left_clean(machine):
    ran = machine.run()
    assert ran.returncode == 0, ran.stderr
    said = ran.stdout.splitlines()[-1]
    assert said.startswith("make test with 1 by ")
    assert said.endswith("/usr/bin/promtool")
    assert machine.asked == ["download prometheus", "update -qq", "download prometheus"]
    assert machine.left == []


def test_one_program_of_the_two_is_not_enough(machine):
    machine.install("prometheus", "")
    assert machine.run().returncode == 0
    assert machine.asked


def test_what_the_tests_say_is_what_it_says(machine):
    assert machine.run(MAKE_ENDS="3").returncode == 3
    assert machine.left == []


def test_without_the_package_it_tries_again_and_then_fails_in_words_and_tests_nothing(machine):
    machine.is_away()
    ran = machine.run()
    assert ran.returncode == 1
    assert "make" not in ran.stdout
    assert ran.stderr.splitlines()[-1].startswith("The tests need prometheus and promtool, which are neither on PATH")
    assert machine.asked.count("update -qq") == 3
    assert machine.left == []


def test_a_machine_that_is_no_debian_is_told_the_same(machine):
    machine.remove("apt-get")
    ran = machine.run()
    assert ran.returncode == 1
    assert "put both programs on PATH" in ran.stderr.splitlines()[-1]
    assert machine.left == []
