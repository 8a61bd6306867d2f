"""Keys, signatures and what the loader believes."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from healspan.remediation.errors import ConfigurationError, InvalidFix, SignatureRefused
from healspan.remediation.fix import Fix, FixDraft, FixState, Match, RiskLevel, Scope, StateChange, parse_fix
from healspan.remediation.signing import KeyRing, Reviewer, enrol
from healspan.remediation.step import StrategyStep

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def make_fix(risk: RiskLevel = RiskLevel.LOW, match: Match = Match.EXACT) -> Fix:
    draft = FixDraft(
        pattern="KeyError::revenue::lookup",
        scope=Scope(module="revenue", match=match, exact="v1:aa"),
        diagnosis="d",
        fix_type="strategy",
        fix_instruction="Use the other way.",
        affected_module="app",
        confidence=0.6,
        risk_level=risk,
        risk_assessment="r",
        steps=(StrategyStep(strategy="other"),),
        origin="playbook:strategy",
    )
    return Fix.from_draft(draft, created_at=NOW)


def make_change(fix: Fix, state: FixState = FixState.TRIAL) -> StateChange:
    return StateChange(
        fix_id=fix.fix_id,
        sequence=2,
        state=state,
        previous=FixState.PROPOSED,
        policy="guarded",
        actor="engine",
        reason="verified once",
        at=NOW,
    )


@pytest.fixture
def keys(tmp_path: Path) -> KeyRing:
    return KeyRing.open(tmp_path / "keys")


def test_the_machine_key_is_private_and_stays_the_same(tmp_path: Path) -> None:
    first = KeyRing.open(tmp_path / "keys").sign(b"x")
    assert KeyRing.open(tmp_path / "keys").sign(b"x") == first
    mode = (tmp_path / "keys" / "machine.key").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", ["machine.key", "machine-old.key", "trusted/one.pem"])
def test_what_stands_in_the_place_of_a_key_and_is_no_file_is_not_waited_for(tmp_path: Path, name: str) -> None:
    KeyRing.open(tmp_path)
    (tmp_path / "trusted").mkdir(exist_ok=True)
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    with pytest.raises(ConfigurationError, match="is no file"):
        KeyRing.open(tmp_path)


def test_a_low_risk_fix_signed_by_the_machine_is_trusted(keys: KeyRing) -> None:
    fix = keys.sign_fix(make_fix())
    keys.trust(fix, keys.sign_change(make_change(fix)))


def test_equal_drafts_are_one_fix_whoever_finds_it_when() -> None:
    later = Fix.from_draft(FixDraft(**{n: getattr(make_fix(), n) for n in FixDraft.model_fields}), created_at=NOW)
    assert later.fix_id == make_fix().fix_id


def test_an_altered_fix_is_refused(keys: KeyRing) -> None:
    fix = keys.sign_fix(make_fix())
    altered = fix.model_copy(update={"steps": (StrategyStep(strategy="evil"),)})
    with pytest.raises(SignatureRefused, match="altered"):
        keys.trust(altered, keys.sign_change(make_change(fix)))


def test_an_altered_fix_with_a_matching_address_is_refused_by_its_signature(keys: KeyRing) -> None:
    fix = keys.sign_fix(make_fix())
    evil = make_fix().model_copy(update={"steps": (StrategyStep(strategy="evil"),)})
    evil = evil.model_copy(update={"fix_id": evil.address(), "signature": fix.signature})
    with pytest.raises(SignatureRefused, match="altered"):
        keys.trust(evil, keys.sign_change(make_change(evil)))


def test_an_altered_state_is_refused(keys: KeyRing) -> None:
    fix = keys.sign_fix(make_fix())
    proposed = keys.sign_change(make_change(fix, FixState.PROPOSED))
    with pytest.raises(SignatureRefused, match="altered"):
        keys.trust(fix, proposed.model_copy(update={"state": FixState.ACTIVE}))


def test_an_unsigned_state_is_refused(keys: KeyRing) -> None:
    fix = keys.sign_fix(make_fix())
    with pytest.raises(SignatureRefused, match="no signature"):
        keys.trust(fix, make_change(fix))


def test_the_machine_key_is_not_enough_above_low_risk(keys: KeyRing) -> None:
    fix = keys.sign_fix(make_fix(RiskLevel.MEDIUM))
    with pytest.raises(SignatureRefused, match="human must approve"):
        keys.trust(fix, keys.sign_change(make_change(fix)))


def test_nor_for_a_whole_boundary(keys: KeyRing) -> None:
    fix = keys.sign_fix(make_fix(match=Match.BOUNDARY))
    with pytest.raises(SignatureRefused, match="human"):
        keys.trust(fix, keys.sign_change(make_change(fix)))


def test_a_human_approves_what_the_machine_may_not(tmp_path: Path) -> None:
    reviewer = Reviewer.open(tmp_path / "reviewer.pem", name="ann", create=True)
    assert enrol(tmp_path / "keys", reviewer)
    assert not enrol(tmp_path / "keys", reviewer)
    keys = KeyRing.open(tmp_path / "keys")
    fix = keys.sign_fix(make_fix(RiskLevel.MEDIUM))
    keys.trust(fix, reviewer.sign_change(make_change(fix, FixState.ACTIVE)))


def test_a_reviewer_enrolled_while_a_service_runs_is_trusted_there(keys: KeyRing, tmp_path: Path) -> None:
    reviewer = Reviewer.open(tmp_path / "reviewer.pem", name="ann", create=True)
    fix = keys.sign_fix(make_fix(RiskLevel.MEDIUM))
    change = reviewer.sign_change(make_change(fix, FixState.ACTIVE))
    with pytest.raises(SignatureRefused):
        keys.trust(fix, change)
    enrol(tmp_path / "keys", reviewer)
    keys.trust(fix, change)


def test_a_reviewer_nobody_enrolled_is_refused(keys: KeyRing, tmp_path: Path) -> None:
    stranger = Reviewer.open(tmp_path / "stranger.pem", name="eve", create=True)
    fix = keys.sign_fix(make_fix())
    with pytest.raises(SignatureRefused, match="not trusted here"):
        keys.trust(fix, stranger.sign_change(make_change(fix)))


def test_another_hosts_machine_key_is_refused(keys: KeyRing, tmp_path: Path) -> None:
    other = KeyRing.open(tmp_path / "other")
    fix = other.sign_fix(make_fix())
    with pytest.raises(SignatureRefused, match="not of this host"):
        keys.trust(fix, other.sign_change(make_change(fix)))


def test_a_rotated_key_still_verifies(tmp_path: Path) -> None:
    directory = tmp_path / "keys"
    old = KeyRing.open(directory)
    fix = old.sign_fix(make_fix())
    change = old.sign_change(make_change(fix))
    (directory / "machine.key").rename(directory / "machine-2025.key")
    rotated = KeyRing.open(directory)
    assert rotated.sign(b"x").key_id != old.sign(b"x").key_id
    rotated.trust(fix, change)


def test_a_missing_reviewer_key_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="healspan review keygen"):
        Reviewer.open(tmp_path / "none.pem", name="ann")


@pytest.mark.parametrize("bad", [b"", b"{}", b"[1]", b"\xff", b'{"steps": [{"kind": "rewrite_source"}]}'])
def test_bytes_that_are_no_fix_are_refused(bad: bytes) -> None:
    with pytest.raises(InvalidFix, match="upgrade healspan"):
        parse_fix(bad)


def test_an_unknown_step_or_version_is_refused() -> None:
    good = make_fix().model_dump(mode="json")
    assert parse_fix(good) == make_fix()
    with pytest.raises(InvalidFix):
        parse_fix({**good, "version": 2})
    with pytest.raises(InvalidFix):
        parse_fix({**good, "steps": [{"kind": "shell", "command": "rm"}]})
