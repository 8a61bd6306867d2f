"""What is stored for a failure and does not serve: what of it is proposed again, and what is only told."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from tests.facts import make_change, make_fix, make_incident

from healspan.remediation.fix import Fix, FixState
from healspan.remediation.progress import Progress
from healspan.remediation.shelved import Shelved, given_up
from healspan.remediation.store import Candidate


def candidate(number: int, state: FixState = FixState.PROPOSED, **more: Any) -> Candidate:
    fix = make_fix(context_keys={"number": f"{number}"}, expires_at=more.pop("expires_at", None))
    return Candidate(fix, make_change(fix, 1, state, None, **more))


def proposed(*resting: Candidate) -> list[str]:
    asked: list[tuple[str, str]] = []

    def find(pattern: Any, module: str) -> tuple[Candidate, ...]:
        asked.append((pattern.exact, module))
        return resting

    call: Any = SimpleNamespace(incident=make_incident())
    drafts = list(Shelved(find).candidates(call, Progress()))
    assert asked == [("v1:a", "m")]
    return [Fix.from_draft(draft, created_at=datetime.now(UTC)).fix_id for draft in drafts]  # type: ignore[arg-type]


def test_what_a_diagnosis_has_found_is_proposed_under_its_old_address() -> None:
    waiting, lapsed = candidate(1), candidate(2, FixState.TRIAL)
    assert proposed(waiting, lapsed) == [waiting.fix.fix_id, lapsed.fix.fix_id]


def test_what_a_human_decides_is_not() -> None:
    assert proposed(candidate(1, actor="human:ann"), candidate(2, expires_at=datetime.now(UTC))) == []


def test_what_somebody_said_no_to_is_told_and_not_proposed() -> None:
    no = [candidate(1, FixState.SUSPENDED), candidate(2, FixState.RETIRED)]
    assert proposed(*no) == []
    assert given_up([candidate(3), *no]) == no
