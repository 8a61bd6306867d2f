"""Which of several fixes is tried on a failing call, and what is written down about it."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random
from typing import cast

from tests.earning import Service, only_fix
from tests.observe import drained, facts

from healspan.remediation import review
from healspan.remediation.boundary import FailedCall
from healspan.remediation.fix import Fix, FixState, Match, StateChange
from healspan.remediation.progress import Progress
from healspan.remediation.repair import function_hash
from healspan.remediation.runtime import Runtime
from healspan.remediation.selection import Selection
from healspan.remediation.signing import Reviewer
from healspan.remediation.step import StrategyStep
from healspan.remediation.store.analysis import choice_facts
from healspan.remediation.store.repository import Store


def with_a_rival(live: Runtime, service: Service) -> tuple[Fix, Fix]:
    """Give the boundary a second alternative, and this process a second fix of the same pattern."""

    @service.boundary.strategy("rival")
    def rival(x: int) -> int:
        service.called.append("rival")
        return x

    service.call(1)
    fix, change = only_fix(live)
    steps, hashes = (StrategyStep(strategy="rival"),), dict(fix.source_hash)
    target, digest = function_hash(rival)
    other = Fix.from_draft(
        fix.model_copy(update={"steps": steps, "source_hash": hashes | {target: digest}}), created_at=fix.created_at
    )
    signed = live.keys.sign_fix(other)
    proposed = live.keys.sign_change(
        change.model_copy(update={"fix_id": other.fix_id, "sequence": 1, "state": FixState.PROPOSED, "previous": None})
    )
    serving = live.keys.sign_change(change.model_copy(update={"fix_id": other.fix_id}))
    live.spool.append_many([("fix", signed), ("state_change", proposed), ("state_change", serving)])
    assert live.index.add(signed, proposed)
    assert live.index.add(signed, serving)
    return fix, signed


def test_the_choice_among_rivals_is_logged_with_its_propensity(live: Runtime) -> None:
    service = Service("chooses")
    live.engine._chance = Random(3)
    live.engine._selection = Selection(explore=0.5)
    first, rival = with_a_rival(live, service)
    for _ in range(40):
        service.call(1)
    drained(live)
    with Store.open(live.settings) as store:
        logged = [one.application for one in store.outcomes.list(limit=40)]
    assert {one.fix_id for one in logged} == {first.fix_id, rival.fix_id}, "both were tried"
    for one in logged:
        assert set(one.candidates) == {first.fix_id, rival.fix_id}
        assert one.policy_version == "lcb-thompson:1"
        assert 0.01 <= one.propensity < 1.0
    with Store.open(live.settings) as store, store.database.reading() as connection:
        choices = list(choice_facts(connection))
    assert len(choices) == 40
    assert {one.boundary for one in choices} == {"chooses"}
    assert all(one.chosen in one.candidates for one in choices)


def test_a_fix_without_rivals_is_logged_as_certain(live: Runtime) -> None:
    service = Service("certain")
    for _ in range(3):
        service.call(1)
    drained(live)
    with Store.open(live.settings) as store:
        logged = [one.application for one in store.outcomes.list()]
    assert [(one.propensity, one.candidates, one.policy_version) for one in logged] == [(1.0, (), None)] * 3


def test_when_the_chosen_fix_fails_its_rival_heals_the_same_call(live: Runtime) -> None:
    service = Service("second try")
    live.engine._selection = Selection(explore=0.0)
    first, _ = with_a_rival(live, service)
    service.good = False
    assert [service.call(1) for _ in range(8)] == [1] * 8
    drained(live)
    with Store.open(live.settings) as store:
        logged = [one.application for one in store.outcomes.list()][::-1]
    failed = next(number for number, one in enumerate(logged) if not one.resolved)
    after = logged[failed + 1]
    assert (logged[failed].fix_id, logged[failed].error_id) == (first.fix_id, after.error_id)
    assert (after.resolved, after.propensity, after.candidates) == (True, 1.0, ()), "nothing was left to choose from"
    assert sum(not one.resolved for one in logged) < 3, "what has failed is left before it has to be suspended"


def test_chance_has_no_say_in_the_order_a_human_gave(live: Runtime, reviewer: Reviewer) -> None:
    service = Service("ordered")
    live.engine._selection = Selection(explore=1.0)
    first, _ = with_a_rival(live, service)
    ids = {}
    with Store.open(live.settings) as store:
        for confidence, strategy in ((0.9, "other"), (0.8, "rival")):
            scope = first.scope.model_copy(update={"match": Match.BOUNDARY})
            steps = (StrategyStep(strategy=strategy),)
            wide = Fix.from_draft(
                first.model_copy(update={"scope": scope, "steps": steps, "confidence": confidence, "source_hash": {}}),
                created_at=first.created_at,
            )
            change = live.keys.sign_change(
                StateChange(
                    fix_id=wide.fix_id,
                    sequence=1,
                    state=FixState.PROPOSED,
                    policy="guarded",
                    actor="human:ann",
                    reason="imported",
                    at=datetime.now(UTC),
                ),
            )
            store.fixes.add(live.keys.sign_fix(wide), change)
            review.approve(store.database, wide.fix_id, reviewer, live.settings.keys_dir, reason="in this order")
            ids[wide.fix_id] = strategy
    live.index.refresh()
    incident = facts(live)[-1].incident
    groups = live.index.groups(incident.pattern, incident.module, incident.context_keys)
    left = list(groups[-1])
    assert [ids[one.fix.fix_id] for one in left] == ["other", "rival"]
    progress = Progress()
    for _ in range(20):
        chosen = live.engine._choose(cast("FailedCall", None), progress, left)
        assert ids[chosen.fix.fix_id] == "other"
    assert progress.choice is None
