"""The command line on a store that a real service has filled: what it shows, what it decides, how it fails."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import text
from tests import shop
from tests.command import APP, Run, one_line, shell
from tests.observe import wait_until
from tests.unit.test_review import draft, write

from healspan.remediation.runtime import shut_down
from healspan.remediation.store.repository import Store


class TestEmpty:
    @pytest.mark.parametrize("command", [("incidents",), ("incidents", "list"), ("fixes",), ("review", "list")])
    def test_there_is_nothing_yet_and_what_to_do(self, run: Run, data_dir: Path, command: tuple[str, ...]) -> None:
        ran = run(*command)
        assert ran.code == 0
        assert "healspan demo" in ran.out
        assert not data_dir.exists(), "looking creates nothing"

    @pytest.mark.parametrize("command", [("incidents",), ("fixes",)])
    def test_for_programs_it_is_an_empty_list(self, run: Run, command: tuple[str, ...]) -> None:
        assert run(*command, "--json").json == []

    @pytest.mark.parametrize(
        "command",
        [("incidents", "show", "1"), ("fixes", "show", "1"), ("fixes", "explain", "1"), ("replay", "1"),
         ("review", "approve", "1"), ("review", "reject", "1")],
    )  # fmt: skip
    def test_what_is_not_there_is_told_in_one_line(self, run: Run, command: tuple[str, ...]) -> None:
        ran = run(*command)
        assert ran.code == 1
        assert one_line(ran.err)
        assert "lists them" in ran.err

    def test_the_switch_is_off_and_looking_creates_nothing(self, run: Run, data_dir: Path) -> None:
        ran = run("uninstall", "--check")
        assert (ran.code, "switch is off" in ran.out) == (1, True)
        assert not data_dir.exists()

    def test_doctor_finds_nothing_wrong_and_creates_nothing(self, run: Run, data_dir: Path) -> None:
        ran = run("doctor")
        assert ran.code == 0
        assert not data_dir.exists()


class TestUsage:
    @pytest.mark.parametrize(
        "command",
        ["no-such", "incidents show", "incidents --limit x", "incidents --status x", "purge --before soon"],
    )
    def test_what_is_not_meant_so_is_told_in_one_line_with_a_hint(self, run: Run, command: str) -> None:
        ran = run(*command.split())
        assert ran.code == 2
        assert one_line(ran.err)
        assert "--help" in ran.err

    @pytest.mark.parametrize(
        "command",
        ["", "incidents", "incidents show", "fixes", "fixes explain", "review", "review import", "replay", "scrub",
         "doctor", "uninstall", "enable", "purge", "demo", "claude", "claude budget"],
    )  # fmt: skip
    def test_every_command_explains_itself(self, run: Run, command: str) -> None:
        ran = run(*command.split(), "--help")
        assert ran.code == 0
        assert len(ran.out) > 200

    @pytest.mark.parametrize("command", ["", "fixes explain", "uninstall"])
    def test_a_help_is_as_wide_as_the_terminal(self, run: Run, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COLUMNS", "80")
        told, _, _ = run(*command.split(), "--help").out.partition("╭")
        lines = [line.strip() for line in told.splitlines()]
        for line, following in pairwise(lines):
            assert not line or not following or len(f"{line} {following.split()[0]}") > 78, line

    def test_a_setting_that_cannot_be_used_is_named(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HEALSPAN_POLICY", "yolo")
        ran = run("incidents")
        assert ran.code == 1
        assert one_line(ran.err)
        assert "HEALSPAN_POLICY" in ran.err

    def test_a_store_that_is_none_is_told(self, run: Run, data_dir: Path) -> None:
        data_dir.mkdir(mode=0o700)
        (data_dir / "healspan.db").write_text("this is no database, and long enough to be looked at" * 20)
        ran = run("incidents")
        assert ran.code == 1
        assert one_line(ran.err)
        assert "damaged" in ran.err
        assert run("doctor").code == 1


class TestIncidents:
    def test_the_newest_come_first_with_how_they_ended(self, run: Run, filled: Path) -> None:
        ran = run("incidents")
        assert ran.code == 0
        assert [line.split()[3] for line in ran.out.splitlines()[2:6]] == ["invoice", "price", "price", "price"]
        assert "4 of 4" in ran.out

    def test_filters_narrow_them(self, run: Run, filled: Path) -> None:
        found = run("incidents", "list", "--status", "escalated", "--boundary", "price", "--json").json
        assert {one["incident"]["module"] for one in found} == {"price"}
        assert len(found) == 2
        assert "leave out a filter" in run("incidents", "--boundary", "none").out

    def test_one_screen_shows_everything(self, run: Run, store: Store) -> None:
        view = store.incidents.list()[1]
        text_id = str(view.incident.error_id)
        for part in (text_id, text_id[:-3], text_id[-12:]):
            ran = run("incidents", "show", part)
            assert ran.code == 0
            assert "LookupError: 3 words are no price" in ran.out
        assert "(tests.shop:price)" in ran.out
        assert "kind=offer" in ran.out
        assert '"only USD 13"' in ran.out
        assert "escalated" in ran.out
        assert "automatic=False" not in ran.out

    def test_the_failing_expression_is_marked(self, run: Run, store: Store) -> None:
        healed = store.incidents.list()[-1]
        lines = run("incidents", "show", str(healed.incident.error_id)).out.splitlines()
        at = next(number for number, line in enumerate(lines) if "return float(words[0])" in line)
        column = lines[at].index("float(words[0])")
        assert lines[at + 1] == " " * column + "^" * len("float(words[0])")

    def test_json_is_the_record(self, run: Run, store: Store) -> None:
        view = store.incidents.list()[0]
        assert run("incidents", "show", str(view.incident.error_id), "--json").json == view.model_dump(mode="json")

    def test_what_a_failing_program_said_commands_no_terminal(self, run: Run, data_dir: Path) -> None:
        with pytest.raises(LookupError):
            shop.price("a \x1b]0;owned\x07 [bold]price")
        shut_down()
        error_id = run("incidents", "--json").json[0]["incident"]["error_id"]
        ran = run("incidents", "show", error_id)
        assert "\x1b" not in ran.out
        assert "owned" in ran.out
        assert "[bold]price" in ran.out

    def test_what_a_killed_process_left_in_its_spool_is_shown(self, run: Run, data_dir: Path) -> None:
        script = (
            "import os, signal\nfrom healspan.remediation.store import Drainer\nDrainer.start = lambda self: None\n"
            "from tests import shop\n"
            "try: shop.price('a b c')\nexcept LookupError: os.kill(os.getpid(), signal.SIGKILL)"
        )
        subprocess.run([sys.executable, "-c", script], check=False, cwd=Path(__file__).parents[2])
        assert "LookupError" in run("incidents").out


class TestFixes:
    def test_each_is_listed_with_its_record(self, run: Run, filled: Path) -> None:
        [fix] = run("fixes", "--json").json
        assert (fix["state"], fix["module"], fix["fix_type"]) == ("trial", "price", "repair")
        ran = run("fixes", "--state", "trial")
        assert fix["fix_id"][:12] in ran.out
        assert "No fix is like that" in run("fixes", "--state", "retired").out

    def test_one_is_shown_with_its_states(self, run: Run, store: Store) -> None:
        [view] = store.fixes.list()
        ran = run("fixes", "show", view.fix.fix_id[:8])
        assert "found by diagnosis" in ran.out
        assert "verified once" in ran.out
        assert run("fixes", "show", view.fix.fix_id, "--json").json["fix"]["fix_id"] == view.fix.fix_id

    def test_explain_says_that_and_why_it_is_applied(self, run: Run, store: Store) -> None:
        [view] = store.fixes.list()
        ran = run("fixes", "explain", view.fix.fix_id[:8], *APP)
        assert ran.code == 0
        assert "is applied: every gate lets it" in ran.out
        assert "counts in all three hashes" in ran.out
        assert "believed, machine:" in ran.out
        assert "what it was made for is what runs" in ran.out
        assert "1 good, 0 bad" in ran.out or "0 good, 0 bad, 1 unknown" in ran.out

    def test_explain_names_the_gate_that_refuses(
        self,
        run: Run,
        store: Store,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        [view] = store.fixes.list()
        monkeypatch.setenv("HEALSPAN_POLICY", "suggest")
        found = run("fixes", "explain", view.fix.fix_id, "--json").json
        assert "gate 'policy' refuses: policy 'suggest' never applies a fix" in found["answer"]
        assert [gate["gate"] for gate in found["gates"] if not gate["lets"]] == ["policy"]

    def test_explain_for_an_incident_shows_what_was_decided_there(self, run: Run, store: Store) -> None:
        [view] = store.fixes.list()
        healed = store.incidents.list()[-1].incident
        found = run("fixes", "explain", view.fix.fix_id, "--incident", str(healed.error_id), "--json").json
        assert found["incident"] == str(healed.error_id)
        assert [one["gate"] for one in found["candidates"]][-1] == "verified"

    def test_explain_shows_an_altered_fix_as_refused(self, run: Run, store: Store) -> None:
        [view] = store.fixes.list()
        with store.database.writing() as connection:
            connection.execute(text("UPDATE fix SET body = replace(body, '0.9', '0.8')"))
        found = run("fixes", "explain", view.fix.fix_id, "--json").json
        assert "gate 'signature' refuses" in found["answer"]
        assert found["fix_signature"].startswith("refused")

    def test_the_catalogue_lists_the_repairers(self, run: Run) -> None:
        assert {one["name"] for one in run("fixes", "catalogue", "--json").json} >= {"number", "renamed_key"}
        assert "renamed_key" in run("fixes", "catalogue").out

    def test_the_playbooks_are_shown_with_what_they_leave(self, run: Run) -> None:
        shown = run("fixes", "playbooks", "--json").json
        assert [one["answers"][0] for one in shown["playbooks"] if one["name"] == "operand"] == ["repair"]
        assert "division by zero" in {one["failure"] for one in shown["left"]}
        assert "division by zero" in run("fixes", "playbooks").out

    def test_what_is_exported_can_be_imported_elsewhere(
        self,
        run: Run,
        filled: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        assert run("fixes", "export", str(tmp_path / "out")).code == 0
        monkeypatch.setenv("HEALSPAN_DATA_DIR", str(tmp_path / "elsewhere"))
        [result] = run("review", "import", str(tmp_path / "out"), *APP, "--json").json
        assert result["outcome"] == "proposed", "nobody has decided"
        [file] = (tmp_path / "out").iterdir()
        file.write_text(file.read_text().replace('"decision": null', '"decision": "approve"'))
        [result] = run("review", "import", str(tmp_path / "out"), *APP, "--json").json
        assert result["outcome"] == "active"


class TestScrub:
    def test_secrets_are_listed_and_never_shown(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        class Input:
            buffer = io.BytesIO(b"all is well\npassword=hunter2pass\n")

        monkeypatch.setattr(sys, "stdin", Input)
        ran = run("scrub", "--explain")
        assert ran.code == 0
        assert "line 2, column 10" in ran.out
        assert "hunter2pass" not in ran.out

    def test_json_is_followed_inside(self, run: Run, tmp_path: Path) -> None:
        file = tmp_path / "in.json"
        file.write_text(json.dumps({"user": {"api_key": "sk-verysecret"}}))
        [finding] = run("scrub", "--explain", str(file), "--json").json
        assert finding["path"] == "$.user.api_key"
        assert "verysecret" not in run("scrub", str(file)).out

    def test_a_file_that_is_not_there_is_told(self, run: Run) -> None:
        ran = run("scrub", "nowhere.txt")
        assert (ran.code, one_line(ran.err)) == (1, True)


class TestDoctor:
    def test_all_is_well_after_a_day_of_work(self, run: Run, filled: Path) -> None:
        ran = run("doctor", *APP, "--json")
        assert ran.code == 0, ran.out
        assert {one["status"] for one in ran.json["checks"]} <= {"ok", "note"}
        sources = {one["name"]: one["source"] for one in ran.json["settings"]}
        assert (sources["data_dir"], sources["policy"]) == ("HEALSPAN_DATA_DIR", "default")
        assert "Nothing is wrong" in run("doctor").out

    def problems(self, run: Run, *arguments: str) -> str:
        ran = run("doctor", *arguments, "--json")
        assert ran.code == 1
        return " ".join(one["detail"] for one in ran.json["checks"] if one["status"] == "problem")

    def test_a_directory_that_others_can_enter(self, run: Run, filled: Path) -> None:
        filled.chmod(0o755)
        assert "chmod 700" in self.problems(run)

    def test_a_key_that_others_can_read(self, run: Run, filled: Path) -> None:
        (filled / "keys" / "machine.key").chmod(0o644)
        assert "chmod 600" in self.problems(run)

    def test_a_fix_that_was_refused(self, run: Run, store: Store) -> None:
        with store.database.writing() as connection:
            connection.execute(text("UPDATE fix SET body = replace(body, '0.9', '0.8')"))
        assert "does not give its fix_id" in self.problems(run)

    def test_a_fix_that_a_process_could_not_read(self, run: Run, store: Store) -> None:
        with store.database.writing() as connection:
            connection.execute(text("UPDATE fix SET body = replace(body, 'repair', 'adapter')"))
        shop.price("$9")
        wait_until(store.fixes.refusals, "the refusal to be written down")
        shut_down()
        assert "not a fix this version of healspan understands" in self.problems(run)

    def test_a_fix_whose_source_changed(self, run: Run, store: Store, tmp_path: Path) -> None:
        run("review", "import", str(write(tmp_path / "d", good=draft())), *APP)
        strategies = shop.price.boundary.strategies
        kept = strategies["last_word"]
        strategies["last_word"] = type(kept)(kept.name, shop.is_positive, kept.automatic)
        try:
            assert "changed since the fix was made" in self.problems(run, *APP)
        finally:
            strategies["last_word"] = kept

    def test_a_damaged_spool(self, run: Run, filled: Path) -> None:
        (filled / "spool" / "host-1-2.db").write_text("no database" * 100)
        assert "cannot be read" in self.problems(run)

    def test_a_setting_that_is_none(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HEALSPAN_POLICI", "suggest")
        assert "HEALSPAN_POLICI is no setting" in run("doctor").out


class TestPurge:
    def test_a_subject_is_erased(self, run: Run, store: Store) -> None:
        ran = run("purge", "--subject", "USD 13", "--yes", "--json")
        assert ran.code == 0
        assert ran.json["incidents"] == 1
        assert store.incidents.count() == 3
        assert ran.json["fixes_left"] == []

    def test_a_fix_that_contains_the_subject_stays_and_is_named(self, run: Run, store: Store) -> None:
        [view] = store.fixes.list()
        ran = run("purge", "--subject", view.fix.fix_instruction, "--yes")
        assert f"these contain it as well: {view.fix.fix_id[:12]}" in ran.out
        assert len(store.fixes.list()) == 1

    def test_what_is_older_is_erased(self, run: Run, store: Store) -> None:
        assert run("purge", "--yes", "--json").json["incidents"] == 0
        assert run("purge", "--before", "2999-01-01", "--yes", "--json").json["incidents"] == 4
        assert "No incident is in the store" in run("incidents").out

    def test_nothing_is_erased_without_a_yes(self, run: Run, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
        ran = run("purge", "--before", "2999-01-01")
        assert (ran.code, "--yes" in ran.err) == (1, True)
        assert store.incidents.count() == 4


class TestProcess:
    def test_the_demo_heals_and_leaves_the_own_store_alone(self, data_dir: Path) -> None:
        ran = shell("demo", "--filings", "4", "--json")
        assert ran.returncode == 0, ran.stderr
        first, second = json.loads(ran.stdout)["runs"]
        assert sum(first["healed_by_tier"].values()) > 0
        assert (second["diagnoses"], second["filings"]) == (0, 4)
        assert not (data_dir / "healspan.db").exists()
        assert (data_dir / "demo" / "healspan.db").exists()
        assert "escalated" in shell("incidents", HEALSPAN_DATA_DIR=str(data_dir / "demo")).stdout

    def test_a_reader_that_goes_away_is_no_error(self, filled: Path) -> None:
        command = [sys.executable, "-m", "healspan.remediation.cli", "incidents", "--json"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.close()
            said = process.stderr.read()
        assert (process.returncode, said) == (0, "")

    def test_a_command_does_not_load_what_it_does_not_use(self) -> None:
        script = (
            "import sys; from healspan.remediation.cli import main; main(['scrub', '--help']); "
            "heavy = {'sqlalchemy', 'sqlmodel', 'alembic', 'scipy', 'pandas', 'streamlit'}; "
            "print(sorted(heavy & sys.modules.keys()))"
        )
        ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert ran.stdout.splitlines()[-1] == "[]"
