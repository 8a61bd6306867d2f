"""Review: who may let a fix serve, what is signed, and what happens to two who decide at once."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from tests import shop
from tests.world import World

from healspan.remediation.drafts import read_draft
from healspan.remediation.errors import ConfigurationError, InvalidFix, SignatureRefused, StateConflict
from healspan.remediation.fix import Fix, FixState, RiskLevel
from healspan.remediation.importing import ImportOutcome, ImportResult, import_drafts
from healspan.remediation.incident import Decision, IncidentStatus
from healspan.remediation.review import approve, reject, suspend
from healspan.remediation.reviewers import make_reviewer, open_reviewer
from healspan.remediation.signing import KeyRing, Reviewer, enrol
from healspan.remediation.step import RetryStep, Step, StrategyStep
from healspan.remediation.waiting import review_queue


@pytest.fixture
def ann(world: World) -> Reviewer:
    return make_reviewer(world.settings, name="ann").reviewer


def states(world: World, fix: Fix) -> list[FixState]:
    view = world.store.fixes.get(fix.fix_id)
    assert view is not None
    return [change.state for change in view.changes]


def alter(world: World, fix: Fix, old: str, new: str) -> None:
    with world.store.database.writing() as connection:
        done = connection.execute(
            text("UPDATE fix SET body = replace(body, :old, :new) WHERE fix_id = :fix"),
            {"old": old, "new": new, "fix": fix.fix_id},
        )
        assert done.rowcount == 1


class TestApprove:
    def test_a_proposed_fix_serves_with_the_human_s_signature(self, world: World, ann: Reviewer) -> None:
        fix = world.fix(risk=RiskLevel.MEDIUM)
        change = approve(world.store.database, fix.fix_id, ann, world.settings.keys_dir, reason="read it")
        assert (change.state, change.previous, change.actor) == (FixState.ACTIVE, FixState.PROPOSED, "human:ann")
        view = world.store.fixes.get(fix.fix_id)
        assert view is not None
        KeyRing.open(world.settings.keys_dir).trust(view.fix, view.changes[-1])
        [entry] = world.store.controls.audits(subject=fix.fix_id)
        assert (entry.action, entry.actor, entry.detail["reason"]) == ("approve", "human:ann", "read it")

    def test_it_cannot_be_approved_twice(self, world: World, ann: Reviewer) -> None:
        fix = world.fix()
        approve(world.store.database, fix.fix_id, ann, world.settings.keys_dir, reason="")
        with pytest.raises(StateConflict, match="active already, approved by human:ann"):
            approve(world.store.database, fix.fix_id, ann, world.settings.keys_dir, reason="")
        assert states(world, fix) == [FixState.PROPOSED, FixState.ACTIVE]

    def test_of_two_who_approve_at_once_one_is_told(self, world: World, ann: Reviewer) -> None:
        fix = world.fix()
        told: list[StateConflict] = []
        ready = threading.Barrier(2)

        def decide() -> None:
            ready.wait()
            try:
                approve(world.store.database, fix.fix_id, ann, world.settings.keys_dir, reason="", seen=1)
            except StateConflict as conflict:
                told.append(conflict)

        threads = [threading.Thread(target=decide) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(told) == 1
        assert states(world, fix) == [FixState.PROPOSED, FixState.ACTIVE]

    def test_what_changed_while_somebody_looked_is_told(self, world: World, ann: Reviewer) -> None:
        fix = world.fix(state=FixState.TRIAL)
        suspend(world.store.database, fix.fix_id, ann, reason="it broke")
        with pytest.raises(StateConflict, match="changed while you were looking"):
            approve(world.store.database, fix.fix_id, ann, world.settings.keys_dir, reason="", seen=2)

    @pytest.mark.parametrize("old", ["'prose'", '"confidence":0.6', '"low"'])
    def test_an_altered_fix_cannot_be_approved(self, world: World, ann: Reviewer, old: str) -> None:
        fix = world.fix()
        alter(world, fix, old, {"'prose'": "'other'", '"confidence":0.6': '"confidence":1.0', '"low"': '"high"'}[old])
        with pytest.raises(SignatureRefused, match="altered"):
            approve(world.store.database, fix.fix_id, ann, world.settings.keys_dir, reason="")
        assert states(world, fix) == [FixState.PROPOSED]

    def test_an_alteration_that_the_address_does_not_show_is_seen_by_the_signature(
        self,
        world: World,
        ann: Reviewer,
    ) -> None:
        fix = world.fix()
        alter(world, fix, '"expires_at":null', '"expires_at":"2099-01-01T00:00:00Z"')
        with pytest.raises(SignatureRefused, match="altered"):
            approve(world.store.database, fix.fix_id, ann, world.settings.keys_dir, reason="")

    def test_a_reviewer_whom_nobody_trusts_approves_nothing(self, world: World, ann: Reviewer, tmp_path: Path) -> None:
        fix = world.fix()
        eve = Reviewer.open(tmp_path / "eve.pem", name="eve", create=True)
        with pytest.raises(SignatureRefused, match="not trusted here"):
            approve(world.store.database, fix.fix_id, eve, world.settings.keys_dir, reason="")
        assert states(world, fix) == [FixState.PROPOSED]

    def test_a_host_without_this_machine_s_key_believes_the_approval(
        self,
        world: World,
        ann: Reviewer,
        tmp_path: Path,
    ) -> None:
        fix = world.fix()
        approve(world.store.database, fix.fix_id, ann, world.settings.keys_dir, reason="")
        enrol(tmp_path / "elsewhere", ann)
        view = world.store.fixes.get(fix.fix_id)
        assert view is not None
        KeyRing.open(tmp_path / "elsewhere").trust(view.fix, view.changes[-1])

    def test_an_approval_may_expire_and_be_given_again(self, world: World, ann: Reviewer) -> None:
        fix = world.fix()
        keys = world.settings.keys_dir
        soon = world.now + timedelta(days=1)
        approve(world.store.database, fix.fix_id, ann, keys, reason="", expires=soon, now=world.now)
        with pytest.raises(StateConflict):
            approve(world.store.database, fix.fix_id, ann, keys, reason="", now=world.now)
        again = approve(world.store.database, fix.fix_id, ann, keys, reason="", now=world.now + timedelta(days=2))
        assert again.sequence == 3

    def test_the_ways_that_incidents_have_shown_are_kept(self, world: World, ann: Reviewer) -> None:
        fix = world.fix(state=FixState.TRIAL)
        view = world.store.fixes.get(fix.fix_id)
        assert view is not None
        ways = ((("app", "read", "x = f()"),),)
        wider = view.changes[-1].model_copy(
            update={"sequence": 3, "previous": FixState.TRIAL, "paths": ways, "signature": None},
        )
        world.write(world.keys.sign_change(wider))
        assert approve(world.store.database, fix.fix_id, ann, world.settings.keys_dir, reason="").paths == ways

    def test_an_unknown_fix_is_told(self, world: World, ann: Reviewer) -> None:
        with pytest.raises(ConfigurationError, match="there is no fix"):
            approve(world.store.database, "0" * 64, ann, world.settings.keys_dir, reason="")


class TestReject:
    def test_a_rejected_fix_is_retired_for_good(self, world: World, ann: Reviewer) -> None:
        fix = world.fix()
        assert reject(world.store.database, fix.fix_id, ann, reason="wrong").state is FixState.RETIRED
        with pytest.raises(StateConflict, match="retired already, by human:ann"):
            reject(world.store.database, fix.fix_id, ann, reason="wrong")
        with pytest.raises(StateConflict, match="cannot become active"):
            approve(world.store.database, fix.fix_id, ann, world.settings.keys_dir, reason="")

    def test_an_altered_fix_can_be_rejected(self, world: World, ann: Reviewer) -> None:
        fix = world.fix()
        alter(world, fix, "'prose'", "'other'")
        assert reject(world.store.database, fix.fix_id, ann, reason="altered").state is FixState.RETIRED

    def test_a_suspended_fix_can_be_brought_back(self, world: World, ann: Reviewer) -> None:
        fix = world.fix(state=FixState.ACTIVE)
        suspend(world.store.database, fix.fix_id, ann, reason="let me see")
        change = approve(world.store.database, fix.fix_id, ann, world.settings.keys_dir, reason="fine")
        assert change.previous is FixState.SUSPENDED


def draft(**changed: Any) -> dict[str, Any]:
    return {
        "version": 1,
        "decision": "approve",
        "pattern": "price::several_words",
        "scope": {"module": "price", "match": "boundary"},
        "diagnosis": "Offers say more than the price.",
        "fix_type": "strategy",
        "fix_instruction": "Take the last word behind a currency.",
        "affected_module": "tests.shop",
        "confidence": 0.9,
        "risk_level": "low",
        "risk_assessment": "Calls a registered alternative.",
        "steps": [{"kind": "strategy", "strategy": "last_word", "arguments": {"currencies": ["EUR", "USD"]}}],
        "origin": "human:ann",
        **changed,
    }


def scope(*types: str) -> dict[str, object]:
    return {"module": "price", "match": "boundary", "error_types": [*types]}


def repair(error_type: str) -> dict[str, object]:
    place = {"line": 1, "end_line": 1, "column": 0, "end_column": 1}
    return {
        "kind": "repair",
        "module": "tests.shop",
        "qualname": "price",
        "source_hash": "",
        "expression": "float(text)",
        "error_type": error_type,
        "repairer": "number",
        **place,
    }


def write(directory: Path, **payloads: object) -> Path:
    directory.mkdir(exist_ok=True)
    for name, payload in payloads.items():
        content = payload if isinstance(payload, str) else json.dumps(payload)
        (directory / f"{name}.json").write_text(content)
    return directory


def bring(world: World, ann: Reviewer, directory: Path, **options: Any) -> list[ImportResult]:
    return import_drafts([directory], world.store.database, ann, world.settings.keys_dir, **options)


class TestImport:
    def test_a_draft_is_signed_and_serves(self, world: World, ann: Reviewer, tmp_path: Path) -> None:
        [result] = bring(world, ann, write(tmp_path / "d", good=draft()))
        assert result.outcome is ImportOutcome.ACTIVE
        view = world.store.fixes.get(result.fix_id or "")
        assert view is not None
        assert [change.state for change in view.changes] == [FixState.PROPOSED, FixState.ACTIVE]
        assert list(view.fix.source_hash) == ["tests.shop:last_word"]
        for change in view.changes:
            KeyRing.open(world.settings.keys_dir).trust(view.fix, change)

    def test_an_imported_fix_heals(self, world: World, ann: Reviewer, tmp_path: Path) -> None:
        with pytest.raises(LookupError):
            shop.price("only USD 12")
        from healspan.remediation.runtime import shut_down

        shut_down()
        bring(world, ann, write(tmp_path / "d", good=draft()))
        assert shop.price("only USD 12") == 12.0

    def test_importing_again_changes_nothing(self, world: World, ann: Reviewer, tmp_path: Path) -> None:
        directory = write(tmp_path / "d", good=draft())
        [first] = bring(world, ann, directory)
        [second] = bring(world, ann, directory, now=world.now + timedelta(days=1))
        assert (second.outcome, second.fix_id) == (ImportOutcome.UNCHANGED, first.fix_id)
        assert len(world.store.controls.audits(subject=first.fix_id)) == 2

    def test_a_refused_adapter_is_told_once_and_in_its_own_words(self, tmp_path: Path) -> None:
        broken = draft(steps=[{"kind": "adapter", "text": "def heal(call, arguments, error)\n    return 1\n"}])
        with pytest.raises(InvalidFix) as refused:
            read_draft(write(tmp_path / "d", bad=broken) / "bad.json")
        assert str(refused.value) == (
            "is no draft of a fix: steps.0.adapter.text: adapter, line 1: expected ':'; correct it"
        )

    def test_further_mistakes_are_counted(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidFix, match=r"confidence: .* \(and 1 more\); correct it$"):
            read_draft(write(tmp_path / "d", bad=draft(confidence=2, risk_level="none")) / "bad.json")

    @pytest.mark.parametrize(
        ("payload", "said"),
        [
            ("{", "is not JSON"),
            ("[]", "no JSON object"),
            (draft(confidence=2), "confidence"),
            (draft(diagnosis="\ud800"), "half of a character"),
            (draft(colour="red"), "colour"),
            (draft(steps=[{"kind": "adapter", "code": "x"}]), "steps.0"),
            (draft(steps=[]), "steps"),
            (draft(version=2), "version"),
            (draft(scope={"module": "nowhere", "match": "boundary"}), "'nowhere' is not declared in this process"),
            (draft(steps=[{"kind": "strategy", "strategy": "magic"}]), "registers no strategy 'magic'; it has last_w"),
            (draft(steps=[{"kind": "strategy", "strategy": "last_word", "arguments": {"x": 1}}]), "no keyword-only"),
            (
                draft(steps=[{"kind": "strategy", "strategy": "last_word", "arguments": {"currencies": 1}}]),
                "currencies",
            ),
            (draft(steps=[{"kind": "fallback"}]), "declares no fallback"),
            (draft(source_hash={"tests.shop:last_word": "0" * 64}), "changed since the draft was written"),
            (draft(decision="yes"), "write 'approve' or 'propose'"),
            (draft(decision=["approve"]), "write 'approve' or 'propose'"),
            (draft(scope=scope("ValueError")), "did you mean 'builtins.ValueError'?"),
            (draft(scope=scope("tests.shop.Nothing")), "no exception of a module that is imported here"),
            (draft(scope=scope("builtins.int")), "no exception of a module"),
            (draft(scope=scope("builtins.KeyError"), steps=[repair("builtins.ValueError")]), "it would never act"),
            (draft(steps=[repair("KeyError")]), "did you mean 'builtins.KeyError'?"),
        ],
    )
    def test_a_bad_file_is_told_and_the_others_are_imported(
        self,
        world: World,
        ann: Reviewer,
        tmp_path: Path,
        payload: object,
        said: str,
    ) -> None:
        bad, good = bring(world, ann, write(tmp_path / "d", a_bad=payload, b_good=draft()))
        assert bad.outcome is ImportOutcome.FAILED
        assert said in bad.message
        assert good.outcome is ImportOutcome.ACTIVE

    def test_a_file_that_is_not_there_is_told(self, world: World, ann: Reviewer, tmp_path: Path) -> None:
        [result] = bring(world, ann, tmp_path / "none.json")
        assert (result.outcome, "cannot be read" in result.message) == (ImportOutcome.FAILED, True)

    def test_an_empty_directory_is_told(self, world: World, ann: Reviewer, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match="holds no"):
            bring(world, ann, write(tmp_path / "d"))

    @pytest.mark.parametrize("decision", [None, "propose"])
    def test_what_nobody_approved_waits(self, world: World, ann: Reviewer, tmp_path: Path, decision: object) -> None:
        [result] = bring(world, ann, write(tmp_path / "d", good=draft(decision=decision)))
        assert result.outcome is ImportOutcome.PROPOSED
        assert "review approve" in result.message
        [again] = bring(world, ann, write(tmp_path / "d", good=draft(decision=decision)))
        assert again.outcome is ImportOutcome.UNCHANGED
        [decided] = bring(world, ann, write(tmp_path / "d", good=draft()))
        assert (decided.outcome, decided.fix_id) == (ImportOutcome.ACTIVE, result.fix_id)

    def test_under_suggest_it_is_proposed_only(self, world: World, ann: Reviewer, tmp_path: Path) -> None:
        directory = write(tmp_path / "d", good=draft())
        [result] = bring(world, ann, directory, preset="suggest")
        assert result.outcome is ImportOutcome.PROPOSED
        [again] = bring(world, ann, directory, preset="suggest")
        assert again.outcome is ImportOutcome.UNCHANGED
        [later] = bring(world, ann, directory, preset="guarded")
        assert later.outcome is ImportOutcome.ACTIVE

    def test_high_risk_waits_for_an_approval_by_name(self, world: World, ann: Reviewer, tmp_path: Path) -> None:
        [result] = bring(world, ann, write(tmp_path / "d", good=draft(risk_level="high")))
        assert result.outcome is ImportOutcome.PROPOSED
        assert "review approve" in result.message

    def test_what_somebody_rejected_stays_rejected(self, world: World, ann: Reviewer, tmp_path: Path) -> None:
        directory = write(tmp_path / "d", good=draft())
        [result] = bring(world, ann, directory)
        reject(world.store.database, result.fix_id or "", ann, reason="no")
        [again] = bring(world, ann, directory)
        assert again.outcome is ImportOutcome.UNCHANGED
        assert "retired" in again.message

    def test_nobody_whom_the_host_does_not_trust_imports(self, world: World, ann: Reviewer, tmp_path: Path) -> None:
        eve = Reviewer.open(tmp_path / "eve.pem", name="eve", create=True)
        with pytest.raises(SignatureRefused, match="not trusted"):
            bring(world, eve, write(tmp_path / "d", good=draft()))


class TestKeys:
    def test_whoever_comes_first_is_trusted(self, world: World) -> None:
        first = open_reviewer(world.settings, name="ann")
        assert (first.created, first.enrolled) == (True, True)
        again = open_reviewer(world.settings, name="ann")
        assert (again.created, again.enrolled, again.reviewer.key_id) == (False, False, first.reviewer.key_id)

    def test_nobody_else_is_trusted_by_coming_later(self, world: World, tmp_path: Path) -> None:
        make_reviewer(world.settings, name="ann")
        theirs = world.settings.model_copy(update={"reviewer_key": tmp_path / "eve.pem"})
        with pytest.raises(ConfigurationError, match="review keygen"):
            open_reviewer(theirs, name="eve")
        Reviewer.open(tmp_path / "eve.pem", name="eve", create=True)
        with pytest.raises(ConfigurationError, match="not among the 1"):
            open_reviewer(theirs, name="eve")


class TestQueue:
    def test_it_says_what_escalated_how_often_and_what_was_tried(self, world: World) -> None:
        fix = world.fix()
        tried = Decision(fix_id=fix.fix_id, applied=False, gate="policy", reason="risk is high")
        world.failure(document_type="10-K", ago=timedelta(hours=1))
        newest = world.failure(document_type="10-Q", decisions=[tried])
        world.failure("other")
        queue = review_queue(world.store)
        first = queue.escalated[0]
        assert first.summary.incidents == 2
        assert first.summary.contexts == ("document_type=10-K", "document_type=10-Q")
        assert first.latest.error_id == newest.error_id
        assert first.resolution is not None
        assert first.resolution.decisions == (tried,)
        assert [one.fix.fix_id for one in queue.proposed] == [fix.fix_id]

    def waits(self, world: World) -> bool:
        [pattern] = review_queue(world.store).escalated
        return pattern.summary.answered_by is None

    def test_a_fix_that_came_to_serve_afterwards_answers(self, world: World) -> None:
        world.failure(ago=timedelta(hours=2))
        world.fix(state=FixState.ACTIVE, ago=timedelta(hours=1))
        assert not self.waits(world)

    @pytest.mark.parametrize("later", [None, FixState.TRIAL, FixState.ACTIVE])
    def test_one_that_served_already_did_not_help_whatever_the_engine_made_of_it(
        self, world: World, later: FixState | None
    ) -> None:
        fix = world.fix(state=FixState.TRIAL, ago=timedelta(hours=2))
        world.failure(ago=timedelta(hours=1))
        if later is not None:
            world.change(fix, later)
        assert self.waits(world)

    def test_one_that_has_healed_it_since_answers_in_that_context(self, world: World) -> None:
        fix = world.fix(state=FixState.ACTIVE, ago=timedelta(hours=3))
        world.failure(ago=timedelta(hours=2))
        world.failure(document_type="10-Q", status=IncidentStatus.HEALED, fix=fix)
        assert self.waits(world)
        world.failure(status=IncidentStatus.HEALED, fix=world.fix("other"))
        assert self.waits(world), "what healed it serves no more"
        world.failure(status=IncidentStatus.HEALED, fix=fix)
        assert not self.waits(world)

    @pytest.mark.parametrize(
        ("step", "gate", "waits"),
        [
            (StrategyStep(strategy="prose"), "apply", True),
            (StrategyStep(strategy="prose"), "contract", True),
            (StrategyStep(strategy="prose"), "policy", False),
            (RetryStep(), "apply", False),
        ],
    )
    def test_one_that_was_tried_in_vain_does_not_answer_by_healing_other_values(
        self, world: World, step: Step, gate: str, waits: bool
    ) -> None:
        fix = world.fix(state=FixState.ACTIVE, ago=timedelta(hours=3), step=step)
        tried = Decision(fix_id=fix.fix_id, applied=False, gate=gate, reason="declined")
        world.failure(ago=timedelta(hours=2), decisions=[tried])
        world.failure(status=IncidentStatus.HEALED, fix=fix)
        assert self.waits(world) is waits

    def test_a_humans_approval_of_it_is_news(self, world: World, ann: Reviewer) -> None:
        fix = world.fix(state=FixState.TRIAL, ago=timedelta(hours=2))
        world.failure(ago=timedelta(hours=1))
        approve(world.store.database, fix.fix_id, ann, world.settings.keys_dir, reason="read it")
        assert not self.waits(world)

    def test_an_answer_in_one_context_is_none_in_another(self, world: World) -> None:
        world.failure(document_type="10-K", ago=timedelta(hours=3))
        world.failure(document_type="10-Q", ago=timedelta(hours=2))
        world.fix(state=FixState.ACTIVE, context_keys={"document_type": "10-Q"}, ago=timedelta(hours=1))
        assert self.waits(world)
        world.fix(state=FixState.ACTIVE, context_keys={"document_type": "10-K"})
        assert not self.waits(world)

    def test_a_fix_that_its_verdicts_suspended_waits_too(self, world: World) -> None:
        fix = world.fix(state=FixState.TRIAL)
        world.change(fix, FixState.SUSPENDED, reason="3 failures in a row")
        queue = review_queue(world.store)
        [one] = queue.suspended
        assert (one.fix.fix_id, one.change.reason) == (fix.fix_id, "3 failures in a row")
        assert not queue.is_empty

    def test_one_that_a_human_suspended_has_been_decided(self, world: World, ann: Reviewer) -> None:
        fix = world.fix(state=FixState.TRIAL)
        suspend(world.store.database, fix.fix_id, ann, reason="it broke")
        assert review_queue(world.store).is_empty

    def test_it_is_empty_when_nobody_has_to_do_anything(self, world: World) -> None:
        assert review_queue(world.store).is_empty
