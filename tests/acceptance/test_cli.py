"""The command line on a store that a real service has filled: what it shows, what it decides, how it fails."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from tests import report_service, shop
from tests.unit.test_review import draft, write

from healspan.remediation.cli import main
from healspan.remediation.fix import FixState
from healspan.remediation.runtime import shut_down
from healspan.remediation.settings import load_settings
from healspan.remediation.store.repository import Store
from healspan.remediation.store.spools import owner_name, spool_views

APP = ("--app", "tests.shop")


class Ran:
    """What one command gave."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ran]


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
    shut_down()
    return data_dir


@pytest.fixture
def store(filled: Path) -> Iterator[Store]:
    with Store.open(load_settings()) as opened:
        yield opened


def one_line(text: str) -> bool:
    return text.startswith("healspan: ") and text.count("\n") == 1


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
         "doctor", "uninstall", "enable", "purge", "demo"],
    )  # fmt: skip
    def test_every_command_explains_itself(self, run: Run, command: str) -> None:
        ran = run(*command.split(), "--help")
        assert ran.code == 0
        assert len(ran.out) > 200

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
        assert result["outcome"] == "active"


class TestPlans:
    @pytest.fixture
    def cascaded(self, data_dir: Path) -> None:
        page = {"unit": "millions", "cells": ["1,000", "2", "1,002"], "lines": ["a", "b", "total"]}
        report_service.report(page)
        with pytest.raises(IndexError):
            report_service.report({**page, "lines": ["a", "b", "sum"], "shares": []})
        shut_down()

    def test_there_is_none_yet(self, run: Run, filled: Path) -> None:
        assert "No plan is known yet" in run("fixes", "plans").out
        assert run("fixes", "plans", "--json").json == []

    def test_each_is_shown_with_its_record_beside_its_fixes(self, run: Run, cascaded: None) -> None:
        told = run("fixes", "plans", "--pipeline", "report").out
        for words in ("report (form=10-K)", "1. unit", "2. numbers", "3. section", "1 good, 0 bad", "lift"):
            assert words in told
        plans = run("fixes", "plans", "--json").json
        assert {tuple(link["boundary"] for link in plan["plan"]["links"]) for plan in plans} == {
            ("unit", "numbers"),
            ("unit", "numbers", "section"),
        }

    def test_a_fix_and_an_incident_say_to_which_they_belong(self, run: Run, cascaded: None) -> None:
        [fix] = run("fixes", "list", "--boundary", "section", "--json").json
        assert "1. unit" in run("fixes", "explain", fix["fix_id"]).out
        incidents = run("incidents", "list", "--boundary", "numbers", "--json").json
        shown = [run("incidents", "show", one["incident"]["error_id"]).out for one in incidents]
        assert any("part of a cascade of 2: unit" in text for text in shown)
        assert any("part of a cascade of 3: unit" in text for text in shown)

    def test_where_healing_stopped_the_review_points_at_the_design(self, run: Run, cascaded: None) -> None:
        told = run("review", "list").out
        assert "cascade deeper than 3" in told
        assert "probably: architectural deficiency" in told
        buckets = {
            one["summary"]["boundary"]: one["bucket"] for one in run("review", "list", "--json").json["escalated"]
        }
        assert buckets == {"ratio": "architectural deficiency"}


class TestReview:
    def test_the_queue_says_what_escalated(self, run: Run, filled: Path) -> None:
        ran = run("review", "list")
        assert "2 x LookupError::price" in ran.out
        assert "kind=offer" in ran.out
        queue = run("review", "list", "--json").json
        assert [one["summary"]["incidents"] for one in queue["escalated"]] == [2, 1]

    def test_an_imported_fix_serves_and_answers_the_pattern(self, run: Run, filled: Path, tmp_path: Path) -> None:
        ran = run("review", "import", str(write(tmp_path / "d", good=draft())), *APP)
        assert ran.code == 0
        assert "trust it from now on" in ran.err
        assert shop.price("only USD 13") == 13.0
        shut_down()
        assert "2 x LookupError" not in run("review", "list").out

    def test_a_bad_file_makes_it_fail_and_the_good_one_is_in(self, run: Run, filled: Path, tmp_path: Path) -> None:
        ran = run("review", "import", str(write(tmp_path / "d", a="{", b=draft())), *APP, "--json")
        assert ran.code == 1
        assert [one["outcome"] for one in ran.json] == ["failed", "active"]

    def test_an_application_that_cannot_be_imported_is_told(self, run: Run, tmp_path: Path) -> None:
        ran = run("review", "import", str(write(tmp_path / "d", b=draft())), "--app", "no.such.module")
        assert ran.code == 1
        assert one_line(ran.err)

    def test_approve_serves_and_twice_conflicts(self, run: Run, store: Store) -> None:
        [view] = store.fixes.list()
        ran = run("review", "approve", view.fix.fix_id[:10], "--reason", "read it")
        assert ran.code == 0
        assert "is active now (was trial)" in ran.out
        again = run("review", "approve", view.fix.fix_id[:10])
        assert again.code == 1
        assert "active already" in again.err
        [latest] = store.fixes.list()
        assert latest.changes[-1].reason == "read it"
        assert latest.changes[-1].signature is not None
        assert latest.changes[-1].signature.algorithm == "ed25519"

    def test_an_altered_fix_cannot_be_approved_but_rejected(self, run: Run, store: Store) -> None:
        [view] = store.fixes.list()
        with store.database.writing() as connection:
            connection.execute(text("UPDATE fix SET body = replace(body, '0.9', '0.8')"))
        ran = run("review", "approve", view.fix.fix_id)
        assert (ran.code, "altered" in ran.err) == (1, True)
        assert run("review", "reject", view.fix.fix_id, "-m", "altered").code == 0
        assert store.fixes.list()[0].state is FixState.RETIRED

    def test_suspend_takes_it_out_of_service(self, run: Run, store: Store) -> None:
        [view] = store.fixes.list()
        assert run("review", "suspend", view.fix.fix_id).code == 0
        with pytest.raises(ValueError, match="could not convert"):
            shop.price("$9")
        shut_down()
        resolution = run("incidents", "--json").json[0]["resolution"]
        assert resolution["status"] == "escalated"
        assert {"its state is suspended"} == {
            one["reason"] for one in resolution["decisions"] if one["fix_id"] == view.fix.fix_id
        }

    def test_keygen_makes_a_key_once(self, run: Run, tmp_path: Path) -> None:
        assert "Made the reviewer key" in run("review", "keygen").out
        assert "Found the reviewer key" in run("review", "keygen").out
        assert "PRIVATE" not in run("review", "keygen").out

    def test_without_a_key_nobody_approves_where_others_are_trusted(
        self,
        run: Run,
        store: Store,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        run("review", "keygen")
        monkeypatch.setenv("HEALSPAN_REVIEWER_KEY", str(tmp_path / "mine.pem"))
        ran = run("review", "approve", store.fixes.list()[0].fix.fix_id)
        assert ran.code == 1
        assert "review keygen" in ran.err
        assert not (tmp_path / "mine.pem").exists()


class TestReplay:
    def test_an_escalation_is_healed_by_what_was_imported_since(self, run: Run, store: Store, tmp_path: Path) -> None:
        incident = str(store.incidents.list()[1].incident.error_id)
        before = run("replay", incident, *APP, "--json")
        assert before.code == 1
        assert before.json["call"]["ended"] == "escalated"
        run("review", "import", str(write(tmp_path / "d", good=draft())), *APP)
        after = run("replay", incident, *APP, "--json")
        assert after.code == 0
        assert (after.json["call"]["ended"], after.json["call"]["value"]) == ("healed", "13.0")
        assert [one["applies"] for one in after.json["fixes"]] == [True]
        assert store.incidents.count() == 4, "a replay is no incident"
        assert "would apply" in run("replay", incident, *APP).out

    def test_it_names_the_gate_that_refuses(
        self,
        run: Run,
        store: Store,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("HEALSPAN_POLICY", "suggest")
        healed = str(store.incidents.list()[-1].incident.error_id)
        ran = run("replay", healed, *APP)
        assert ran.code == 1
        assert "policy 'suggest' never applies a fix" in ran.out

    def test_without_the_application_it_says_what_was_not_asked(self, store: Store) -> None:
        healed = str(store.incidents.list()[-1].incident.error_id)
        found = json.loads(shell("replay", healed, "--json").stdout)
        gates = {gate["gate"]: gate["lets"] for gate in found["fixes"][0]["gates"]}
        assert [gate for gate, lets in gates.items() if lets is None] == ["declared", "repetition", "source"]
        assert "--app MODULE" in found["call_not_made"]

    def test_a_call_that_cannot_be_repeated_is_not_made(self, run: Run, store: Store) -> None:
        invoice = str(store.incidents.list()[0].incident.error_id)
        found = run("replay", invoice, *APP, "--json").json
        assert found["call"] is None
        assert "not declared retry_safe" in found["call_not_made"]

    def test_arguments_that_are_not_all_there_are_not_made_up(self, run: Run, data_dir: Path) -> None:
        with pytest.raises(LookupError):
            shop.price("word " * 100)
        shut_down()
        error_id = run("incidents", "--json").json[0]["incident"]["error_id"]
        assert "which is not all of it" in run("replay", error_id, *APP).out


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


SERVICE = """
import sys
from tests.service import amount
from healspan.remediation.runtime import runtime
amount("$1,234.50")
import time
deadline = time.monotonic() + 20
while not runtime().repairs.installed() and time.monotonic() < deadline:
    time.sleep(0.01)
print("installed", len(runtime().repairs.installed()), flush=True)
if sys.stdin.readline() == "be deaf\\n":
    runtime().index.stop(20)
    print("deaf", flush=True)
    sys.stdin.readline()
print("left", runtime().repairs.verify_uninstalled(), runtime().disabled, flush=True)
"""


@pytest.fixture
def service(data_dir: Path) -> Iterator[subprocess.Popen[str]]:
    """A process in which a repair is installed; it waits for a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVICE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "installed 1\n"
    yield process
    process.kill()
    process.communicate()


class TestUninstall:
    def test_a_spool_is_known_by_its_process_whatever_the_host_is_called(self, tmp_path: Path) -> None:
        (tmp_path / "web_1.example-4711-1700000000.db").touch()
        [view] = spool_views(tmp_path)
        assert view.owner == owner_name("web-1.example:4711")

    def test_a_running_service_gives_up_its_repairs_and_says_so(self, run: Run, service: subprocess.Popen[str]) -> None:
        assert run("uninstall", "--check", "--wait", "0").code == 1
        ran = run("uninstall", "--wait", "20", "--json")
        assert ran.code == 0, ran.out
        [answer] = ran.json["answers"]
        assert answer["instance"].endswith(f":{service.pid}")
        assert answer["not_original"] == []
        assert run("uninstall", "--check").code == 0
        assert service.communicate("\n")[0] == "left [] True\n"

    def test_it_is_not_proven_while_a_process_does_not_answer(self, run: Run, service: subprocess.Popen[str]) -> None:
        assert service.stdin is not None
        assert service.stdout is not None
        service.stdin.write("be deaf\n")
        service.stdin.flush()
        assert service.stdout.readline() == "deaf\n"
        ran = run("uninstall", "--wait", "0.3")
        assert ran.code == 1
        assert re.search(rf":{service.pid} +no answer yet", ran.out), ran.err or ran.out

    def test_enable_lets_them_heal_again(self, run: Run, filled: Path) -> None:
        run("uninstall")
        with pytest.raises(ValueError, match="could not convert"):
            shop.price("$9")
        shut_down()
        assert "is on since" not in run("doctor").out
        assert "'healspan enable' turns it off" in run("doctor").out
        assert run("enable").code == 0
        assert shop.price("$9") == 9.0


class TestPurge:
    def test_a_subject_is_erased(self, run: Run, store: Store) -> None:
        ran = run("purge", "--subject", "USD", "--yes", "--json")
        assert ran.code == 0
        assert ran.json["incidents"] == 1
        assert store.incidents.count() == 3

    def test_what_is_older_is_erased(self, run: Run, store: Store) -> None:
        assert run("purge", "--yes", "--json").json["incidents"] == 0
        assert run("purge", "--before", "2999-01-01", "--yes", "--json").json["incidents"] == 4

    def test_nothing_is_erased_without_a_yes(self, run: Run, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
        ran = run("purge", "--before", "2999-01-01")
        assert (ran.code, "--yes" in ran.err) == (1, True)
        assert store.incidents.count() == 4


def shell(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "healspan.remediation.cli", *arguments]
    return subprocess.run(
        command,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )


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
