"""What is kept of solved failures, and which of their fixes are proposed for a failure like them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import pytest
from tests.facts import make_change, make_fix, make_incident
from tests.world import World

from healspan.remediation.boundary import FailedCall
from healspan.remediation.errors import StoreUnavailable
from healspan.remediation.fix import FixDraft, FixState, Match
from healspan.remediation.incident import Frame, Incident
from healspan.remediation.progress import Progress
from healspan.remediation.similar import Similar, obstacle
from healspan.remediation.solved import Solved
from healspan.remediation.step import FallbackStep, RepairStep, RetryStep, Step, StrategyStep
from healspan.remediation.store import Candidate
from healspan.remediation.store.incidents import Incidents

REPAIR = RepairStep(
    module="app",
    qualname="find",
    source_hash="0" * 64,
    expression="float(x)",
    line=1,
    end_line=1,
    column=0,
    end_column=8,
    error_type="builtins.ValueError",
    repairer="number",
)


def incident(name: str, *, line: str = "raise Missing(name)", caller: str = "first") -> Incident:
    frames = tuple(
        Frame(module="app", function=function, file="app.py", line=1, source_line=source)
        for function, source in ((caller, "find(rows)"), ("find", line))
    )
    return make_incident("no such row", name=name).model_copy(update={"frames": frames})


def candidate(
    name: str = "solved", *, state: FixState = FixState.ACTIVE, steps: tuple[Step, ...] = (), **scope: Any
) -> Candidate:
    fix = make_fix(name)
    update: dict[str, Any] = {"scope": fix.scope.model_copy(update=scope)}
    if steps:
        update["steps"] = steps
    fix = fix.model_copy(update=update)
    return Candidate(fix, make_change(fix, 3, state, FixState.PROPOSED))


class Here:
    """What serves in this process, and a clock that goes when it is told to."""

    def __init__(self, *serving: Candidate) -> None:
        self.world = World()
        self.now = 0.0
        self.asked: list[int] = []
        self.solved = Solved(self.world.settings, serving=lambda: self.serving, clock=lambda: self.now)
        self.serve(*serving)

    def serve(self, *candidates: Candidate) -> None:
        self.serving = {one.fix.fix_id: one for one in candidates}

    def caught_up(self) -> int:
        self.solved.catch_up()
        return len(self.solved)

    def proposed(self, failure: Incident) -> list[FixDraft]:
        call = cast("FailedCall", SimpleNamespace(incident=failure))
        return [draft for draft in Similar(self.solved).candidates(call, Progress()) if isinstance(draft, FixDraft)]


@pytest.fixture
def here() -> Here:
    """A process where one fix is active, whose failure is known."""
    made = Here(candidate())
    made.world.write(incident("solved"))
    assert made.caught_up() == 1
    return made


LIKE_IT = incident("new", caller="second")


def test_what_solved_a_failure_is_proposed_for_one_like_it_as_a_fix_of_its_own(here: Here) -> None:
    [draft] = here.proposed(LIKE_IT)
    [model] = [one.fix for one in here.serving.values()]
    assert draft.steps == model.steps
    assert draft.scope == model.scope.model_copy(
        update={"exact": LIKE_IT.pattern.exact, "loose": LIKE_IT.pattern.loose}
    )
    assert draft.pattern == LIKE_IT.pattern.error_pattern
    assert draft.origin == f"similar:{model.fix_id[:12]}"
    assert here.proposed(incident("new", caller="second")) == [draft]


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (incident("new", line="return rows[name]"), "not surely enough alike"),
        (LIKE_IT.model_copy(update={"error_type": "builtins.KeyError"}), "not surely enough alike"),
        (LIKE_IT.model_copy(update={"module": "elsewhere"}), "another boundary"),
        (incident("solved"), "the very pattern"),
    ],
    ids=["not alike enough", "of another type", "of another boundary", "the very pattern of the fix"],
)
def test_nothing_is_proposed_for_a_failure_that_is(here: Here, other: Incident, reason: str) -> None:
    assert here.proposed(other) == []
    [alike] = here.solved.like(other)
    assert reason in (obstacle(alike.candidate.fix, FixState.ACTIVE, alike.hit, other) or "")


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (candidate(state=FixState.TRIAL), "only an active fix"),
        (candidate(steps=(REPAIR,)), "bound to its own expression"),
        (candidate(steps=(FallbackStep(),)), "is a fallback"),
        (candidate(steps=(StrategyStep(strategy="other"), FallbackStep())), "is a fallback"),
        (candidate(match=Match.BOUNDARY), "whole boundary"),
        (candidate(context_keys={"document_type": "10-Q"}), "another context"),
    ],
    ids=[
        "in trial",
        "bound to an expression",
        "a fallback",
        "in part a fallback",
        "for a boundary",
        "of another context",
    ],
)
def test_no_model_is_a_fix_that_is(model: Candidate, reason: str) -> None:
    here = Here(model)
    here.world.write(incident("solved"))
    assert here.caught_up() == 1
    assert here.proposed(LIKE_IT) == []
    [alike] = here.solved.like(LIKE_IT)
    assert reason in (obstacle(model.fix, model.change.state, alike.hit, LIKE_IT) or "")


def test_a_model_may_have_several_steps_and_be_for_this_context() -> None:
    here = Here(candidate(steps=(RetryStep(), StrategyStep(strategy="other")), context_keys={"document_type": "10-K"}))
    here.world.write(incident("solved"))
    assert here.caught_up() == 1
    assert [len(draft.steps) for draft in here.proposed(LIKE_IT)] == [2]


def test_what_no_longer_serves_is_forgotten(here: Here) -> None:
    here.serve()
    assert here.solved.like(LIKE_IT) == ()
    assert here.caught_up() == 0


def test_one_failure_is_compared_once_whoever_asks_and_again_when_what_serves_is_new(here: Here) -> None:
    with mock.patch.object(here.solved._index, "search", wraps=here.solved._index.search) as search:
        found = here.solved.like(LIKE_IT, 10)
        assert here.solved.like(LIKE_IT, 3) == found
        assert search.call_count == 1
        assert here.solved.like(LIKE_IT, 11) == found
        assert here.solved.like(LIKE_IT.model_copy(), 3) == found
        assert search.call_count == 3
        here.serve(candidate(state=FixState.TRIAL))
        assert [alike.candidate.change.state for alike in here.solved.like(LIKE_IT, 3)] == [FixState.TRIAL]


def test_of_several_incidents_the_latest_counts() -> None:
    here = Here(candidate())
    here.world.write(incident("solved", line="return old(rows)"))
    here.world.write(incident("solved"))
    assert here.caught_up() == 1
    assert here.solved.like(LIKE_IT)[0].hit.signs.same_line


def test_an_incident_that_is_still_on_its_way_is_looked_for_again_less_and_less_often() -> None:
    here = Here(candidate())
    assert here.caught_up() == 0
    here.world.write(incident("solved"))
    assert here.caught_up() == 0
    here.now += 1.0
    assert here.caught_up() == 1


def test_a_store_that_is_away_is_asked_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Here(candidate())
    here.world.write(incident("solved"))

    def away(*_: object) -> None:
        raise StoreUnavailable("it is away")

    with monkeypatch.context() as patched:
        patched.setattr(Incidents, "latest_of", away)
        assert here.caught_up() == 0
    here.now += 1.0
    assert here.caught_up() == 1


def test_nothing_is_asked_while_nothing_changes(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(Incidents, "latest_of")
    here.now += 10_000.0
    assert here.caught_up() == 1
