"""What somebody writes who can write to the store and has no key: it makes no fix active, and the doctor says so."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from sqlalchemy import update
from tests.earning import Service, only_fix, verdict
from tests.kept import kept
from tests.observe import drained

from healspan.remediation.boundary import boundaries
from healspan.remediation.cli.checks import run_checks
from healspan.remediation.evidence import Evidence
from healspan.remediation.fix import Fix, FixState
from healspan.remediation.golden import GoldenSample
from healspan.remediation.ids import uuid7
from healspan.remediation.plain import digest_of, encode
from healspan.remediation.plan import Link, Plan, PlanOutcome
from healspan.remediation.record import Record
from healspan.remediation.runtime import Runtime
from healspan.remediation.store.changes import next_revision
from healspan.remediation.store.facts import encode as encoded
from healspan.remediation.store.repository import Store
from healspan.remediation.store.rows import Inserts, row_of
from healspan.remediation.store.tables import FixEvidenceRow, table_of
from healspan.remediation.validation import Outcome, Rung, RungResult, Validation

_EVIDENCE = table_of(FixEvidenceRow)


@pytest.fixture
def service(live: Runtime) -> Service:
    """A service whose one fix is on trial."""
    service = Service("forged")
    assert service.call(3) == 3
    return service


@pytest.fixture
def store(live: Runtime) -> Iterator[Store]:
    with Store.open(live.settings) as store:
        yield store


def claimed(fix: Fix) -> Evidence:
    """Far more than the trial asks for."""
    return Evidence(fix_id=fix.fix_id, began=2, since=datetime.now(UTC), successes=500)


def put(store: Store, evidence: Evidence, *, fix_id: str | None = None) -> None:
    """Write evidence past all that folds and signs it."""
    with store.database.writing() as connection:
        values = {"revision": next_revision(connection), "body": encoded(evidence)}
        where = _EVIDENCE.c.fix_id == (fix_id or evidence.fix_id)
        assert connection.execute(update(_EVIDENCE).where(where).values(**values)).rowcount == 1


def insert(store: Store, *records: Record) -> None:
    """Insert facts past all that folds and signs."""
    with store.database.writing() as connection:
        next_revision(connection)
        for record in records:
            table, values = row_of(record)
            Inserts(connection.dialect).add(connection, table, [values])


def after_a_success(live: Runtime, service: Service) -> FixState:
    """Where the fix stands once this process has looked at the store, and has a verdict of its own."""
    live.index.refresh()
    assert service.call(4) == 4
    return only_fix(live)[1].state


def said(live: Runtime) -> dict[str, str]:
    return {one.name: one.status for one in run_checks(live.settings, {}, {}) if one.status in {"warning", "problem"}}


def test_what_this_host_has_signed_is_believed(live: Runtime, service: Service, store: Store) -> None:
    fix, _ = only_fix(live)
    put(store, live.keys.sign_record(claimed(fix)))
    assert after_a_success(live, service) is FixState.ACTIVE
    assert "fix evidence" not in said(live)


@pytest.mark.parametrize("how", ["unsigned", "altered", "of another host"])
def test_evidence_that_nobody_here_signed_makes_no_fix_active(
    live: Runtime, service: Service, store: Store, how: str
) -> None:
    fix, _ = only_fix(live)
    [stored] = store.fixes.evidence([fix.fix_id]).values()
    assert stored.signature is not None
    forged = claimed(fix)
    if how == "altered":
        forged = forged.model_copy(update={"signature": stored.signature})
    elif how == "of another host":
        signature = stored.signature.model_copy(update={"key_id": "machine:0123456789abcdef"})
        forged = forged.model_copy(update={"signature": signature})
    put(store, forged)
    # Another host of a fleet may well have folded it: that is no news.
    assert said(live).get("fix evidence") == {"unsigned": "warning", "altered": "problem"}.get(how)
    assert after_a_success(live, service) is FixState.TRIAL
    assert live.index.verdicts.vouched(fix.fix_id).counted() == (0, 0), "nor does it win against its rivals"
    assert after_a_success(live, service) is FixState.TRIAL, "nor by what is folded onto it"


def test_nor_does_that_of_another_fix(live: Runtime, service: Service, store: Store) -> None:
    fix, _ = only_fix(live)
    other = claimed(fix).model_copy(update={"fix_id": "0" * 64})
    put(store, live.keys.sign_record(other), fix_id=fix.fix_id)
    assert after_a_success(live, service) is FixState.TRIAL


def test_it_still_speaks_against_a_fix(live: Runtime, service: Service, store: Store) -> None:
    fix, _ = only_fix(live)
    put(store, claimed(fix).model_copy(update={"successes": 0, "failures": 500}))
    assert after_a_success(live, service) is FixState.SUSPENDED


def test_verdicts_that_no_spool_has_brought_are_folded_by_nobody(live: Runtime, service: Service, store: Store) -> None:
    fix, _ = only_fix(live)
    before = store.fixes.evidence([fix.fix_id])
    insert(store, *(record for _ in range(300) for record in verdict(fix, success=True)))
    live.index.refresh()
    assert after_a_success(live, service) is FixState.TRIAL
    counted = store.fixes.evidence([fix.fix_id])[fix.fix_id].counted()
    assert counted[0] <= before[fix.fix_id].counted()[0] + 1


def test_a_row_altered_before_its_verdict_came_counts_once(live: Runtime, service: Service, store: Store) -> None:
    fix, _ = only_fix(live)
    application, judgement = verdict(fix, success=True)
    insert(store, application.model_copy(update={"count": 500}))
    other, of_another = verdict(fix, success=True)
    insert(store, other)
    live.spool.append("judgement", judgement)
    live.spool.append("judgement", of_another.model_copy(update={"fix_id": "0" * 64}))
    drained(live)
    assert store.fixes.evidence([fix.fix_id])[fix.fix_id].counted() == (1, 0)


def test_the_success_of_a_plan_lets_no_two_fixes_act_that_contend(live: Runtime, store: Store) -> None:
    links = [Link(boundary="one", fix_id="a" * 64), Link(boundary="two", fix_id="b" * 64)]
    plan = Plan.of("filings", {}, links, found_at=datetime.now(UTC))
    pairs = tuple((link.boundary, link.fix_id) for link in links)

    def success() -> PlanOutcome:
        return PlanOutcome.of(plan, uuid4(), 1, "said so", at=datetime.now(UTC))

    insert(store, plan, success())
    live.index.refresh()
    assert not live.history.view("filings", {}).verified(pairs)
    assert said(live)["outcomes of plans"] == "warning"
    insert(store, live.keys.sign_record(success()).model_copy(update={"reason": "altered"}))
    live.index.refresh()
    assert not live.history.view("filings", {}).verified(pairs)
    insert(store, live.keys.sign_record(success()))
    live.index.refresh()
    assert live.history.view("filings", {}).verified(pairs)


def test_a_validation_moves_nothing(live: Runtime, service: Service, store: Store) -> None:
    fix, change = only_fix(live)
    assert "validations" not in said(live)
    rung = RungResult(rung=Rung.TRIAL, outcome=Outcome.PASSED, reason="it serves", elapsed_ms=0.0)
    forged = Validation(
        validation_id=uuid7(),
        fix_id=fix.fix_id,
        error_id=uuid7(),
        boundary="forged",
        at=datetime.now(UTC),
        rungs=(rung,),
    )
    insert(store, forged)
    assert said(live)["validations"] == "warning"
    assert after_a_success(live, service) is change.state


def test_a_golden_sample_is_not_replayed(live: Runtime, store: Store) -> None:
    result = encode(7.0)
    forged = GoldenSample(
        sample_id=uuid7(),
        boundary="kept",
        at=datetime.now(UTC),
        arguments={"text": encode("7")},
        result=result,
        digest=digest_of(result),
    )
    insert(store, forged)
    reservoir = boundaries()["kept"].golden
    assert kept.boundary.golden is reservoir
    assert reservoir is not None
    live.exchange.look(boundaries()["kept"], reservoir)
    assert all(one.sample_id != forged.sample_id for one in reservoir.calls())
    assert said(live)["golden samples"] == "warning"
