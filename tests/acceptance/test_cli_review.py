"""`healspan review` and `healspan replay`: what a human decides, and what it would change."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from tests import shop
from tests.command import APP, Run, one_line, shell
from tests.facts import make_repair
from tests.unit.test_review import draft, write
from tests.world import World

from healspan.remediation.fix import FixState
from healspan.remediation.incident import Decision
from healspan.remediation.runtime import shut_down
from healspan.remediation.store.repository import Store


class TestReview:
    def test_the_queue_says_what_escalated(self, run: Run, filled: Path) -> None:
        ran = run("review", "list")
        assert "2 x LookupError::price" in ran.out
        assert "kind=offer" in ran.out
        queue = run("review", "list", "--json").json
        assert [one["summary"]["incidents"] for one in queue["escalated"]] == [2, 1]

    def test_suspended_fixes_and_answered_failures_are_shown_with_what_to_do(self, run: Run) -> None:
        world = World()
        suspended, answering = world.fix("cogs", state=FixState.TRIAL), world.fix(state=FixState.ACTIVE)
        world.change(suspended, FixState.SUSPENDED, reason="3 failures in a row")
        failure = world.failure(ago=timedelta(hours=1))
        world.close()
        ran = run("review", "list")
        assert "3 failures in a row" in ran.out
        assert "bring it back with 'healspan review approve FIX'" in ran.out
        assert re.search(rf"{str(failure.error_id)[-12:]} .*{answering.fix_id[:12]}", ran.out)
        assert "healspan replay LATEST" in ran.out
        assert "Nothing waits" not in ran.out
        assert [one["fix"]["fix_id"] for one in run("review", "list", "--json").json["suspended"]] == [suspended.fix_id]

    def test_two_proposals_that_do_the_same_in_two_ways_are_told_apart(self, run: Run) -> None:
        world = World()
        for accept in ("none", "normalised"):
            world.fix(step=make_repair(accept=accept))
        world.close()
        shown = run("review", "list").out
        assert "(none)" in shown
        assert "(normalised)" in shown

    def test_a_fix_that_hides_a_fault_is_a_ticket_until_it_is_answered(self, run: Run) -> None:
        world = World()
        fix = world.fix("revenue", state=FixState.TRIAL, ago=timedelta(days=2))
        for hour in range(24):
            world.calls("revenue", 100, ago=timedelta(hours=hour))
            world.application(fix, count=20, ago=timedelta(hours=hour))
        world.close()
        assert "hiding a fault: 1" in run("analytics", "run").out
        ran = run("review", "list")
        assert "revenue: one fix heals 20% of all calls" in ran.out
        assert "probably: architectural deficiency" in ran.out
        assert "480 of the 2,400 calls of revenue in 24 hours" in ran.out
        assert [one["fix_id"] for one in run("review", "list", "--json").json["masking"]] == [fix.fix_id]
        assert "ticket 12" not in run("fixes", "show", fix.fix_id[:12]).out
        assert "is closed" in run("review", "answer", fix.fix_id[:12], "-m", "ticket 12").out
        assert re.search(r"human:\S+ has answered on .* UTC: ticket 12", run("fixes", "show", fix.fix_id[:12]).out)
        assert "hides a fault" not in run("review", "list").out
        again = run("review", "answer", fix.fix_id[:12])
        assert (again.code, "has answered" in again.err) == (1, True)

    @pytest.mark.parametrize("command", ["fixes show", "fixes explain", "review approve"])
    def test_a_candidate_that_was_not_kept_is_explained(self, run: Run, command: str) -> None:
        candidate = "ab12" * 16
        tried = Decision(
            fix_id=candidate, what="read '-' as zero", applied=False, gate="contract", reason="0 is refused"
        )
        world = World()
        failure = world.failure(decisions=[tried])
        world.close()
        ran = run(*command.split(), candidate[:12])
        assert (ran.code, one_line(ran.err)) == (1, True)
        assert "was tried out and not kept" in ran.err
        assert "read '-' as zero; gate 'contract': 0 is refused" in ran.err
        assert f"incidents show {str(failure.error_id)[-12:]}" in ran.err
        assert "no fix, or more than one" in run(*command.split(), "cd34" * 3).err

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

    def test_where_nothing_can_be_imported_nobody_is_trusted(self, run: Run, data_dir: Path, tmp_path: Path) -> None:
        ran = run("review", "import", str(write(tmp_path / "d", a="{", b=draft(scope={"module": "nowhere"}))), *APP)
        assert ran.code == 1
        assert ran.out.count("failed") == 2
        assert not (tmp_path / "reviewer.pem").exists()
        assert not data_dir.exists()

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
        lets = f"its state is suspended: 'healspan review approve {view.fix.fix_id[:12]}' lets it act"
        assert {lets} == {one["reason"] for one in resolution["decisions"] if one["fix_id"] == view.fix.fix_id}

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
