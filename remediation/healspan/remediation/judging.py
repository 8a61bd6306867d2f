"""The verdicts of a run that has closed: on each fix that acted in it, and on the plans it went the way of.

The fixes of a cascade share one fate. Its reward is the least of theirs, and none of them gets more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from healspan.remediation.cascade import Chain, LeavesTheRun, chains, depends, leaves_the_run, may_depend
from healspan.remediation.given import same_input
from healspan.remediation.plan import DEEPEST, Plan, PlanOutcome
from healspan.remediation.regression import History, NoRegression, no_regression, verdict
from healspan.remediation.run import Applied, Failed, Run, unhealed

__all__ = ["JudgedPlan", "judge_plans", "judge_run"]


@dataclass(frozen=True, slots=True)
class JudgedPlan:
    """A plan with its outcome in one run."""

    plan: Plan
    outcome: PlanOutcome


def judge_run(
    run: Run,
    history: History,
    leaves: LeavesTheRun = leaves_the_run,
) -> list[tuple[Applied, NoRegression]]:
    """Judge every fix that acted in a run which has closed; the fixes of a cascade share one fate."""
    events = run.events()
    failed_for_good = {failure.boundary for _, failure in unhealed(events)}
    behind = {
        (member.fix_id, member.boundary): frozenset(
            name for name in tuple(run.boundaries) if depends(run, member, name, history, leaves)
        )
        for member in run.members()
    }
    perhaps = {
        (member.fix_id, member.boundary): frozenset(
            name for name in tuple(run.boundaries) if may_depend(run, member, name, history)
        )
        for member in run.members()
    }
    failures = {one.error_id: one for one in events if isinstance(one, Failed) and one.error_id is not None}
    first_seen: dict[str, int] = {}
    first_acted: dict[str, int] = {}
    for position, event in enumerate(events):
        if isinstance(event, Failed):
            first_seen.setdefault(event.pattern, position)
        else:
            first_acted.setdefault(event.fix_id, position)
    judged: list[tuple[Applied, NoRegression]] = []
    # From the end, each different failure once: a run may have ten thousand of one kind.
    later: dict[Failed, Failed] = {}
    healed: set[str] = set()
    for event in reversed(events):
        if isinstance(event, Failed):
            same = later.pop(event, None)
            alike = same is None or same_input(same.given, event.given)
            later[event] = event if alike else replace(event, given=None)
            continue
        # What this very run showed before the fix first acted is no news either: the next row of the same document.
        news = [one for one in reversed(later.values()) if first_seen[one.pattern] > first_acted[event.fix_id]]
        criterion = no_regression(
            event.fix_id,
            news,
            frozenset(healed - failed_for_good),
            history,
            behind=behind.get((event.fix_id, event.boundary), frozenset()),
            perhaps=perhaps.get((event.fix_id, event.boundary), frozenset()),
            healed=None if event.error_id is None else failures.get(event.error_id),
        )
        judged.append((event, _unbroken(criterion, run)))
        if event.resolved:
            healed.add(event.boundary)
    return _counted_once(_as_one(judged[::-1], chains(run, history, leaves)))


def _unbroken(criterion: NoRegression, run: Run) -> NoRegression:
    if run.broken is None:
        return criterion
    return NoRegression(False, f"the run broke an invariant of its pipeline: {run.broken}")


def _as_one(judged: list[tuple[Applied, NoRegression]], found: Sequence[Chain]) -> list[tuple[Applied, NoRegression]]:
    """Let the fixes of a chain share its reward: none gets credit where another failed, or is not known to be good."""
    for chain in found:
        reward, reason = _reward(judged, chain)
        if reward == 1:
            continue
        places = {(one.fix_id, one.boundary) for one in chain.members}
        judged = [
            (applied, NoRegression(None if reward is None else False, f"its cascade: {reason}", beyond=reward == 0))
            if (applied.fix_id, applied.boundary) in places and _gets_more(applied, criterion, reward)
            else (applied, criterion)
            for applied, criterion in judged
        ]
    return judged


def _gets_more(applied: Applied, criterion: NoRegression, reward: int | None) -> bool:
    own = verdict(applied, criterion).reward
    return own == 1 or (own is None and reward == 0)


def _reward(judged: Sequence[tuple[Applied, NoRegression]], chain: Chain) -> tuple[int | None, str]:
    """Return the reward of a chain, which is the least of its members', with the reason."""
    if chain.depth > DEEPEST:
        return 0, f"{chain.depth} fixes deep, {DEEPEST} are allowed"
    places = {(one.fix_id, one.boundary) for one in chain.members}
    unknown = ""
    for applied, criterion in judged:
        if (applied.fix_id, applied.boundary) not in places:
            continue
        reward = verdict(applied, criterion).reward
        if reward == 1:
            continue
        reason = criterion.reason
        if criterion.value is True:
            what = "returned a degraded value" if applied.degraded else "has no contract that its value keeps"
            reason = f"{applied.boundary} {what}"
        if reward == 0:
            return 0, reason
        unknown = unknown or reason
    return (None, unknown) if unknown else (1, "every member healed, and nothing new went wrong afterwards")


def _counted_once(judged: list[tuple[Applied, NoRegression]]) -> list[tuple[Applied, NoRegression]]:
    """Let a run name each unknown of a fix once, so that three rows of one document are not three unknowns."""
    told: set[tuple[str, str]] = set()
    found: list[tuple[Applied, NoRegression]] = []
    for applied, criterion in judged:
        fresh = tuple(one for one in criterion.unknown_patterns if (applied.fix_id, one) not in told)
        told.update((applied.fix_id, one) for one in fresh)
        if fresh != criterion.unknown_patterns:
            criterion = replace(criterion, unknown_patterns=fresh, overrules=())
        found.append((applied, criterion))
    return found


def judge_plans(
    run: Run,
    judged: Sequence[tuple[Applied, NoRegression]],
    history: History,
    *,
    at: datetime,
    leaves: LeavesTheRun = leaves_the_run,
) -> list[JudgedPlan]:
    """Give every plan that a closed run went the way of its one outcome.

    A plan that was known, and of which this run healed only the beginning, has failed in it.

    Args:
        run: it has closed.
        judged: what `judge_run` said of it.
        history: of this pipeline and context.
        at: when it closed.
        leaves: whether a failure would have left the run.
    """
    if run.pipeline is None:
        return []
    found: dict[str, JudgedPlan] = {}
    for chain in chains(run, history, leaves):
        plan = Plan.of(run.pipeline, run.context_keys, chain.links(), found_at=at)
        reward, reason = _reward(judged, chain)
        found[plan.plan_id] = JudgedPlan(plan, PlanOutcome.of(plan, run.run_id, reward, reason, at=at))
    acted = {(member.boundary, member.fix_id) for member in run.members()}
    failed = {failure.boundary for _, failure in unhealed(run.events())}
    begun = []
    for plan in history.plans() if acted and failed else ():
        healed = [(link.boundary, link.fix_id) in acted for link in plan.links]
        done = healed.index(False) if False in healed else len(healed)
        if plan.plan_id not in found and 0 < done < len(healed) and plan.links[done].boundary in failed:
            begun.append((done, plan))
    for done, plan in begun:
        # A shorter plan is a part of the longer one; it has not been tried for itself.
        if done == max(furthest for furthest, _ in begun):
            found = {key: one for key, one in found.items() if one.plan.links != plan.links[:done]}
            reason = f"{plan.links[done].boundary} failed and was not healed"
            found[plan.plan_id] = JudgedPlan(plan, PlanOutcome.of(plan, run.run_id, 0, reason, at=at))
    return list(found.values())
