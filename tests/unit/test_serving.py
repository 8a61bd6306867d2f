"""What of the fixes that serve is put into functions, and below which boundaries it may act."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest
from tests.facts import make_change, make_fix, make_repair

from healspan.remediation.fix import Fix, FixDraft, FixState
from healspan.remediation.repair import ActiveRepair, Repairs
from healspan.remediation.serving import Serving
from healspan.remediation.signing import KeyRing, Reviewer
from healspan.remediation.store import Candidate, Snapshot

NOW = datetime(2026, 11, 27, tzinfo=UTC)


class Asked:
    """Repairs that are only asked for."""

    def __init__(self) -> None:
        self.repairs: list[ActiveRepair] = []

    def install_exactly(self, repairs: list[ActiveRepair]) -> list[object]:
        self.repairs = repairs
        return []


def served(tmp_path: Path, *, by_human: bool, **parameters: object) -> list[ActiveRepair]:
    draft = make_fix().model_dump(include=set(FixDraft.model_fields)) | {"steps": (make_repair(**parameters),)}
    fix = Fix.from_draft(FixDraft.model_validate(draft), created_at=NOW)
    paths = ((("app", "read", "return float(text)"),),)
    change = make_change(fix, 1, FixState.ACTIVE, None).model_copy(update={"paths": paths})
    human = Reviewer.open(tmp_path / "ann.pem", name="ann", create=True)
    signed = human.sign_change(change) if by_human else KeyRing.open(tmp_path / "keys").sign_change(change)
    asked = Asked()
    Serving(cast("Repairs", asked)).serve(Snapshot(candidates={fix.fix_id: Candidate(fix, signed)}))
    return asked.repairs


@pytest.mark.parametrize(("parameters", "currency"), [({}, "USD"), ({"currency": "EUR"}, "EUR")])
def test_a_machines_repair_acts_only_where_its_currency_is_reckoned_in(
    tmp_path: Path, parameters: dict[str, object], currency: str
) -> None:
    [repair] = served(tmp_path, by_human=False, **parameters)
    assert repair.currency == currency


@pytest.mark.parametrize("parameters", [{}, {"currency": "any"}, {"percent": "points"}])
def test_what_a_human_has_approved_acts_whatever_is_reckoned_in(tmp_path: Path, parameters: dict[str, object]) -> None:
    [repair] = served(tmp_path, by_human=True, **parameters)
    assert repair.currency is None


@pytest.mark.parametrize("percent", ["ratio", "points"])
def test_no_machine_has_a_percent_sign_read(tmp_path: Path, percent: str) -> None:
    assert served(tmp_path, by_human=False, percent=percent) == []
