"""What a process knows of a fix: the store's evidence with its own verdicts on top, each once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from healspan.remediation.evidence import Evidence, Outcome, Result
from healspan.remediation.fix import FixState, StateChange
from healspan.remediation.ids import uuid7
from healspan.remediation.store import verdicts as module
from healspan.remediation.store.verdicts import Verdicts

START = datetime(2026, 1, 1, tzinfo=UTC)
BAD = Outcome(Result.FAILURE, "", START + timedelta(hours=1))


def change(sequence: int, state: FixState, previous: FixState, minutes: int = 0) -> StateChange:
    return StateChange(
        fix_id="f",
        sequence=sequence,
        state=state,
        previous=previous,
        policy="",
        actor="",
        reason="",
        at=START + timedelta(minutes=minutes),
    )


TRIAL = change(2, FixState.TRIAL, FixState.PROPOSED)
STORED = Evidence(fix_id="f").begin(TRIAL)


def row(evidence: Evidence) -> tuple[str, str]:
    return evidence.fix_id, evidence.model_dump_json()


def failing(verdicts: Verdicts, *ids: UUID) -> None:
    for one in ids:
        verdicts.note("f", one, [BAD])


def test_nothing_is_known_of_an_unknown_fix() -> None:
    assert Verdicts().evidence("f") == Evidence(fix_id="f")


def test_a_verdict_counts_at_once_and_is_not_counted_again_when_the_store_shows_it() -> None:
    verdicts, one, two = Verdicts(), uuid7(), uuid7()
    verdicts.take([row(STORED)], [])
    failing(verdicts, one, one, two)
    assert verdicts.evidence("f").failures == 2
    assert verdicts.pending() == (str(one), str(two))
    verdicts.take([row(STORED.after(BAD))], [str(one)])
    assert verdicts.evidence("f").failures == 2
    verdicts.take([row(STORED.after(BAD).after(BAD))], [str(two)])
    assert verdicts.evidence("f").failures == 2
    assert verdicts.pending() == ()


def test_what_others_have_seen_adds_up() -> None:
    verdicts = Verdicts()
    verdicts.take([row(STORED)], [])
    failing(verdicts, uuid7())
    verdicts.take([row(STORED.after(BAD).after(BAD))], [])
    assert verdicts.evidence("f").failures == 3


def test_a_change_of_this_process_counts_before_the_store_shows_it_and_once() -> None:
    verdicts, one = Verdicts(), uuid7()
    verdicts.take([row(STORED)], [])
    failing(verdicts, one)
    demoted = change(3, FixState.ACTIVE, FixState.TRIAL, minutes=90)
    verdicts.begin(demoted)
    assert verdicts.evidence("f").counted() == (0, 0)
    verdicts.take([row(STORED.after(BAD))], [str(one)])
    assert (verdicts.evidence("f").began, verdicts.evidence("f").counted()) == (3, (0, 0))
    verdicts.take([row(STORED.after(BAD).begin(demoted))], [])
    assert verdicts.evidence("f").began == 3


def test_a_row_of_failures_outlives_a_demotion_whatever_the_store_shows_of_it() -> None:
    verdicts, ids = Verdicts(), [uuid7(), uuid7()]
    active = Evidence(fix_id="f").begin(change(2, FixState.ACTIVE, FixState.TRIAL))
    demotion = change(3, FixState.TRIAL, FixState.ACTIVE, minutes=90)
    verdicts.take([row(active)], [])
    failing(verdicts, *ids)
    verdicts.begin(demotion)
    assert verdicts.evidence("f").in_a_row == 2
    verdicts.take([row(active.after(BAD))], [str(ids[0])])
    assert verdicts.evidence("f").in_a_row == 2
    verdicts.take([row(active.after(BAD).after(BAD).begin(demotion))], [str(ids[1])])
    assert verdicts.evidence("f").in_a_row == 2


def test_a_store_that_was_replaced_is_believed_afresh() -> None:
    verdicts = Verdicts()
    verdicts.take([row(STORED.after(BAD))], [])
    verdicts.take([row(STORED)], [], afresh=True)
    assert verdicts.evidence("f").failures == 0
    verdicts.take([], [], afresh=True)
    assert verdicts.evidence("f") == Evidence(fix_id="f")


def test_what_a_newer_version_wrote_is_left_out() -> None:
    verdicts = Verdicts()
    verdicts.take([("f", '{"fix_id": "f", "from_the_future": 1}')], [])
    assert verdicts.evidence("f") == Evidence(fix_id="f")


def test_while_the_store_is_away_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_PENDING", 10)
    verdicts = Verdicts()
    verdicts.take([row(STORED)], [])
    failing(verdicts, *(uuid7() for _ in range(25)))
    assert len(verdicts.pending()) == 10
    assert verdicts.evidence("f").failures == 10
