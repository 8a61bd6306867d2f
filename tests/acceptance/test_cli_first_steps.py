"""What a newcomer stumbles over: a place that cannot be used, a misspelt setting, healing that is off."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.command import Run, one_line
from tests.facts import make_incident

from healspan.instrumentation import error_boundary
from healspan.remediation.cli.incidents import print_frames
from healspan.remediation.incident import Frame
from healspan.remediation.runtime import Runtime, shut_down
from healspan.remediation.settings import why_unusable

NOBODY = 65_534

Spoil = Callable[[Path], object]


def _read(text: str) -> float:
    return float(text)


def a_file(place: Path) -> None:
    place.touch()


def below_a_file(place: Path) -> None:
    place.parent.rename(place.parent.with_name("moved"))
    place.parent.touch()


def a_link_to_nothing(place: Path) -> None:
    place.symlink_to(place.with_name("nothing"))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "above").mkdir()
    place = tmp_path / "above" / "data"
    monkeypatch.setenv("HEALSPAN_DATA_DIR", str(place))
    return place


class TestUnusablePlace:
    @pytest.mark.parametrize("spoil", [a_file, below_a_file, a_link_to_nothing])
    @pytest.mark.parametrize(
        "command",
        ["incidents", "incidents --json", "fixes", "fixes --json", "fixes plans", "review list", "review list --json",
         "replay 1", "purge --yes", "uninstall --check", "enable", "demo --json"],
    )  # fmt: skip
    def test_is_told_and_is_no_empty_store(self, run: Run, place: Path, spoil: Spoil, command: str) -> None:
        spoil(place)
        ran = run(*command.split())
        assert (ran.code, ran.out) == (1, "")
        assert one_line(ran.err)
        assert str(place) in ran.err
        assert "set HEALSPAN_DATA_DIR" in ran.err

    @pytest.mark.parametrize("spoil", [a_file, below_a_file, a_link_to_nothing])
    def test_is_a_problem_for_doctor(self, run: Run, place: Path, spoil: Spoil) -> None:
        spoil(place)
        ran = run("doctor", "--json")
        assert ran.code == 1
        found = [one for one in ran.json["checks"] if one["name"] == "data directory"]
        assert [one["status"] for one in found] == ["problem"]
        assert "set HEALSPAN_DATA_DIR" in found[0]["detail"]

    def test_a_store_elsewhere_is_looked_at_there(self, run: Run, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HEALSPAN_DATABASE_URL", f"sqlite:///{place.parent}/other.db")
        assert f"No store yet at {place.parent}/other.db" in run("incidents").out
        monkeypatch.setenv("HEALSPAN_DATABASE_URL", f"sqlite:///{Path(__file__)}/other.db")
        ran = run("incidents")
        assert (ran.code, one_line(ran.err)) == (1, True)
        assert "HEALSPAN_DATABASE_URL" in ran.err

    @pytest.mark.parametrize("spoil", [a_file, below_a_file, lambda key: key.mkdir()])
    def test_a_reviewers_key_that_cannot_be_made_is_told(
        self, run: Run, place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, spoil: Spoil
    ) -> None:
        (tmp_path / "keys").mkdir()
        key = tmp_path / "keys" / "mine.pem"
        spoil(key)
        monkeypatch.setenv("HEALSPAN_REVIEWER_KEY", str(key))
        ran = run("review", "keygen")
        assert (ran.code, one_line(ran.err)) == (1, True)
        assert "set HEALSPAN_REVIEWER_KEY" in ran.err

    def test_one_that_is_not_there_yet_is_empty_and_says_where(self, run: Run, place: Path) -> None:
        ran = run("incidents")
        assert ran.code == 0
        assert f"No store yet at {place}" in ran.out
        assert [*place.parent.iterdir()] == [], "looking leaves nothing"

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody without rights")
    def test_rights_are_told(self, tmp_path: Path) -> None:
        mine = tmp_path / "mine"
        mine.mkdir(mode=0o700)
        told = multiprocessing.get_context("fork").SimpleQueue()
        process = multiprocessing.get_context("fork").Process(target=_told_nobody, args=(mine, told))
        process.start()
        process.join()
        assert "cannot be" in told.get()


def _told_nobody(mine: Path, told: multiprocessing.SimpleQueue[str]) -> None:
    os.setresuid(NOBODY, NOBODY, NOBODY)
    told.put(why_unusable(mine) or "it can be used")


class TestArguments:
    @pytest.mark.parametrize(
        "command",
        ["metrics --port 99999", "metrics --port -1", "console --port 99999", "up --console-port 99999",
         "up --metrics-port -1", "up --every 99999999999999999999h", "analytics schedule --every 8000h",
         "purge --before -5d --yes", "review approve abc --expires-days 99999999999", "incidents --limit -1",
         "incidents show \udcff"],
    )  # fmt: skip
    def test_what_cannot_be_meant_is_told_in_one_line(self, run: Run, command: str) -> None:
        ran = run(*command.split())
        assert (ran.code, ran.out) == (2, "")
        assert one_line(ran.err)
        assert "foresaw" not in ran.err

    @pytest.mark.parametrize(
        ("app", "said"),
        [
            ("orders.py", "give the name of its module, such as --app orders"),
            ("./shop/orders.py", "--app shop.orders"),
            ("orders", "ends the process when it is imported"),
            ("", "cannot be imported"),
        ],
    )
    def test_an_application_that_is_none_is_told(
        self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, app: str, said: str
    ) -> None:
        (tmp_path / "orders.py").write_text("import sys\nsys.exit(3)\n")
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(str(tmp_path))
        ran = run("doctor", "--app", app)
        assert (ran.code, one_line(ran.err)) == (1, True)
        assert said in ran.err

    def test_nothing_to_erase_is_a_count_for_programs(self, run: Run) -> None:
        assert run("purge", "--yes", "--json").json["incidents"] == 0

    @pytest.mark.parametrize(
        "command", ["incidents", "incidents --json", "fixes catalogue", "doctor", "--help", "scrub"]
    )
    @pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
    def test_closed_streams_are_as_good_as_null(self, command: str, closed: str) -> None:
        line = f"exec {sys.executable} -m healspan.remediation.cli {command} {closed}"
        ran = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False, input="")
        assert (ran.returncode, ran.stderr) == (0, "")


class TestObserved:
    def test_what_nobody_tried_to_heal_is_told_so(self, run: Run) -> None:
        watched = error_boundary("watched_number", mode="observe")(lambda text: float(text))
        with pytest.raises(ValueError, match="one"):
            watched("one")
        shut_down()
        error_id = run("incidents", "--json").json[0]["incident"]["error_id"]
        listed = run("incidents").out
        assert "observed" in listed
        assert "0.0" not in listed
        shown = run("incidents", "show", error_id).out
        assert "observed: nothing was tried" in shown
        assert "docs/instrumenting.md" in shown
        assert "a human's turn" not in shown
        assert "no fix was a candidate" not in shown

    def test_it_says_what_to_write_to_have_it_healed(self, run: Run) -> None:
        with pytest.raises(ValueError, match="one"):
            error_boundary("watched_function", mode="observe")(_read)("one")
        shut_down()
        error_id = run("incidents", "--json").json[0]["incident"]["error_id"]
        assert f'[boundaries."{__name__}:_read"]' in run("incidents", "show", error_id).out

    def test_many_frames_of_libraries_are_folded(self, capsys: pytest.CaptureFixture[str]) -> None:
        def frame(line: int, *, in_app: bool) -> Frame:
            return Frame(module="m", function="f", file="f.py", line=line, source_line="", in_app=in_app)

        library = [frame(number, in_app=False) for number in range(10, 17)]
        print_frames([*library, frame(1, in_app=True), *library[:4]])
        shown = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
        assert shown == ["f.py:10", "...", "f.py:16", "f.py:1", "f.py:10", "f.py:11", "f.py:12", "f.py:13"]


class TestList:
    def test_what_arrives_late_stands_where_it_belongs_and_services_are_told_apart(
        self, run: Run, live: Runtime
    ) -> None:
        early, late = (
            make_incident().model_copy(
                update={"timestamp": datetime(2026, 1, 1, hour, tzinfo=UTC), "resource": {"service.name": service}}
            )
            for hour, service in ((1, "shop"), (2, "desk"))
        )
        live.spool.append_many((("incident", late), ("incident", early)))
        shut_down()
        listed = [one["incident"]["error_id"] for one in run("incidents", "--json").json]
        assert listed == [str(late.error_id), str(early.error_id)]
        assert ["desk" in line for line in run("incidents").out.splitlines() if "boom" in line] == [True, False]

    def test_one_service_needs_no_column(self, run: Run, live: Runtime) -> None:
        live.spool.append_many(
            [("incident", make_incident().model_copy(update={"resource": {"service.name": "desk"}}))]
        )
        shut_down()
        assert "desk" not in run("incidents").out


class TestDoctor:
    """It never says that nothing is wrong where nothing is healed."""

    def checks(self, run: Run, *arguments: str, code: int) -> dict[str, list[str]]:
        """What it finds, by status; the sentence at the end says the same."""
        ran = run("doctor", *arguments, "--json")
        assert ran.code == code
        found: dict[str, list[str]] = {}
        for one in ran.json["checks"]:
            found.setdefault(one["status"], []).append(one["detail"])
        assert ran.json["problems"] == len(found.get("problem", []))
        assert ran.json["warnings"] == len(found.get("warning", []))
        told = run("doctor", *arguments)
        assert told.code == code
        assert "Nothing is wrong" not in told.out
        return found

    @pytest.mark.parametrize("wrong", ["HEALSPAN_DATA_DRI", "healspan_data_dri"])
    def test_a_slip_of_the_pen_is_a_problem(self, run: Run, monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
        monkeypatch.setenv(wrong, "/somewhere")
        (detail,) = self.checks(run, code=1)["problem"]
        assert f"{wrong} is no setting; did you mean HEALSPAN_DATA_DIR?" in detail

    def test_a_name_like_no_setting_is_a_warning(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HEALSPAN_FAVOURITE_COLOUR", "red")
        (detail,) = self.checks(run, code=0)["warning"]
        assert "did you mean" not in detail

    def test_the_kill_switch_of_the_environment(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HEALSPAN_DISABLED", "1")
        (detail,) = self.checks(run, code=1)["problem"]
        assert "unset it" in detail

    def test_the_stored_kill_switch(self, run: Run) -> None:
        run("uninstall", "--wait", "0")
        (detail,) = self.checks(run, code=1)["problem"]
        assert "healspan enable" in detail

    def test_a_policy_that_applies_nothing(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HEALSPAN_POLICY", "suggest")
        (detail,) = self.checks(run, code=0)["warning"]
        assert "HEALSPAN_POLICY=guarded" in detail

    def test_a_file_of_boundaries_that_cannot_be_used_beside_all_else(
        self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = tmp_path / "slip.toml"
        file.write_text('[boundaries."a:b"]\nretrysafe = true\n')
        monkeypatch.setenv("HEALSPAN_CONFIG", str(file))
        found = self.checks(run, "--app", "tests.shop", code=1)
        (detail,) = found["problem"]
        assert "did you mean 'retry_safe'?" in detail
        assert any("compiled into its function" in one or "in a wrapper" in one for one in found["ok"])

    def test_a_boundary_that_only_observes(self, run: Run) -> None:
        error_boundary("watched", mode="observe")(_told_nobody)
        ran = run("doctor", "--app", "tests.shop", "--json")
        assert any("watched has mode 'observe'" in one["detail"] for one in ran.json["checks"])
