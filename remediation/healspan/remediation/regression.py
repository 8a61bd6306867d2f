"""The no-regression criterion: what the rest of a run says of a fix applied in it.

A later incident, or an exception leaving the run, speaks against the fix unless its exact pattern is an old
acquaintance: seen in the last 30 days in runs of this pipeline and context in which the fix had not been
applied before it. With too few such runs nothing is known; the third unknown of one fix and pattern settles
all three as false. A failure at a boundary that was reached only because the fix had acted belongs to a cascade:
its fixes are judged as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol
from uuid import UUID

from healspan.remediation.cascade import Chain, LeavesTheRun, chains, depends, leaves_the_run
from healspan.remediation.outcome import Verdict
from healspan.remediation.plan import DEEPEST, Plan, PlanOutcome
from healspan.remediation.run import Applied, Evidence, Failed, Run, same_input, unhealed

__all__ = [
    "ENOUGH_RUNS",
    "LAST_UNKNOWN",
    "History",
    "JudgedPlan",
    "NoRegression",
    "judge_plans",
    "judge_run",
    "no_regression",
    "verdict",
]

ENOUGH_RUNS = 20
"""Runs without the fix that must be known before a new pattern counts against it."""

LAST_UNKNOWN = 3
"""This unknown of one (fix, pattern) makes it and those before it false."""


class History(Evidence, Protocol):
    """What runs of one pipeline and context have shown in the last 30 days."""

    def plans(self) -> tuple[Plan, ...]:
        """Return the plans that are known."""

    def runs_without(self, fix_id: str) -> int:
        """Return the number of closed runs in which the fix was not applied."""

    def seen_without(self, fix_id: str, pattern: str) -> bool:
        """Tell whether the exact pattern occurred in a run before, or without, the fix being applied."""

    def reached_without(self, fix_id: str, boundary: str) -> bool:
        """Tell whether a run reached the boundary before, or without, the fix being applied."""

    def unknowns(self, fix_id: str, pattern: str) -> tuple[UUID, ...]:
        """Return the applications whose verdict this pattern has left unknown so far."""


@dataclass(frozen=True, slots=True)
class NoRegression:
    """The criterion with its reason."""

    value: bool | None
    reason: str
    unknown_patterns: tuple[str, ...] = ()
    overrules: tuple[UUID, ...] = ()


def no_regression(
    fix_id: str,
    later: Sequence[Failed],
    healed_boundaries: frozenset[str],
    history: History,
    *,
    behind: frozenset[str] = frozenset(),
    healed: Failed | None = None,
) -> NoRegression:
    """Judge one application by what failed after it in its run.

    Args:
        fix_id: the fix that was applied.
        later: failures after the application, in order.
        healed_boundaries: boundaries whose later failures were all healed in this run.
        history: of this pipeline and context.
        behind: boundaries that this run reached only because the fix had acted.
        healed: the failure that the fix healed.
    """
    unknown: list[str] = []
    for failure in later:
        if history.seen_without(fix_id, failure.pattern):
            continue
        runs = history.runs_without(fix_id)
        if failure.boundary in behind or (runs and not history.reached_without(fix_id, failure.boundary)):
            if failure.boundary in healed_boundaries:
                continue
            return NoRegression(
                False,
                f"{failure.boundary}, which the run reached only because of this fix, failed and was not healed",
            )
        if healed is not None and _side_by_side(healed, failure):
            continue
        if runs >= ENOUGH_RUNS:
            return NoRegression(
                False,
                f"{failure.boundary} failed afterwards with a pattern that {runs} runs without this fix never showed",
            )
        earlier = history.unknowns(fix_id, failure.pattern)
        if len(set(earlier)) >= LAST_UNKNOWN - 1:
            return NoRegression(
                False,
                f"{failure.boundary} failed afterwards with the same new pattern for the third time",
                overrules=tuple(dict.fromkeys(earlier)),
            )
        unknown.append(failure.pattern)
    if unknown:
        return NoRegression(
            None,
            f"{len(unknown)} later failure(s) with a new pattern, and fewer than {ENOUGH_RUNS} runs without this "
            "fix to compare with",
            unknown_patterns=tuple(dict.fromkeys(unknown)),
        )
    return NoRegression(True, "nothing new went wrong in the rest of the run")


def _side_by_side(healed: Failed, failure: Failed) -> bool:
    """Tell whether a call was given exactly what the healed call was given, and nothing in it can change.

    What the fix returned has then not come to the other call. Two questions about one page mostly fail for the same
    reason, one after the other and never apart, so that no number of runs could tell this from a regression.
    """
    return healed.steady and failure.steady and healed.given != () and same_input(healed.given, failure.given)


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
            name for name in run.boundaries if depends(run, member, name, history, leaves)
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
            (applied, NoRegression(None if reward is None else False, f"its cascade: {reason}"))
            if (applied.fix_id, applied.boundary) in places and criterion.value is True and _own(applied) != 0
            else (applied, criterion)
            for applied, criterion in judged
        ]
    return judged


def _own(applied: Applied) -> int | None:
    return verdict(applied, NoRegression(True, "")).reward


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
            criterion = NoRegression(criterion.value, criterion.reason, unknown_patterns=fresh)
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
            reason = f"{plan.links[done].boundary} failed and was not healed"
            found[plan.plan_id] = JudgedPlan(plan, PlanOutcome.of(plan, run.run_id, 0, reason, at=at))
    return list(found.values())


def verdict(applied: Applied, criterion: NoRegression) -> Verdict:
    """Combine what the call itself showed with what the rest of the run showed."""
    return Verdict(
        resolved=applied.resolved,
        no_regression=criterion.value,
        valid_output=applied.valid_output,
        degraded=applied.degraded,
    )
