"""A fix that has earned its place is proposed for failures like its own, and proven there like any other."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from tests.observe import drained, facts, wait_until

from healspan.instrumentation import error_boundary
from healspan.remediation.fix import FixState, StateChange
from healspan.remediation.runtime import Runtime
from healspan.remediation.store.repository import Store


class MissingRow(LookupError):
    """A row is not there."""


def find(label: str) -> int:
    if label:
        raise MissingRow("no such row")
    return 0


def first(label: str) -> int:
    return find(label)


def second(label: str) -> int:
    return find(label)


def make_active(live: Runtime) -> str:
    """Let the one fix that serves here be what it becomes after its trial."""
    [candidate] = live.index.snapshot.candidates.values()
    change = candidate.change
    active = StateChange(
        fix_id=change.fix_id,
        sequence=change.sequence + 1,
        state=FixState.ACTIVE,
        previous=change.state,
        policy="guarded",
        actor="engine",
        reason="said so by the test",
        at=datetime.now(UTC),
    )
    assert live.index.add(candidate.fix, live.keys.sign_change(active))
    return change.fix_id


def origins(live: Runtime) -> list[str]:
    drained(live)
    with Store.open(live.settings) as store:
        return [view.fix.origin for view in store.fixes.list() if view.fix is not None]


@pytest.mark.parametrize("right", [True, False])
def test_it_is_tried_first_on_a_failure_like_its_own_and_the_contract_decides(live: Runtime, right: bool) -> None:
    good = {"first": True, "second": right}

    @error_boundary("rows", checks=[lambda result, arguments: result > 0])
    def rows(way: str) -> int:
        return first("net") if way == "first" else second("net")

    @rows.strategy("other")
    def other(way: str) -> int:
        return 7 if good[way] else -7

    assert rows("first") == 7
    fix_id = make_active(live)
    drained(live)
    wait_until(lambda: len(live.second_tier.solved) == 1, "the solved failure to be known")
    if right:
        assert rows("second") == 7
    else:
        with pytest.raises(MissingRow):
            rows("second")
    ended = facts(live)[-1]
    made = [origin for origin in origins(live) if origin == f"similar:{fix_id[:12]}"]
    assert len(made) == (1 if right else 0)
    assert ended.resolution.status == ("healed" if right else "escalated")
    assert ended.resolution.decisions[0].what == "strategy other"
    assert ended.resolution.decisions[0].gate == ("verified" if right else "contract")
