"""A cascade: one fix lets the run reach the next failure. How its chain is found, and where it must not grow.

Pure functions over the events of a run and the history of its pipeline. That a failure was reached only because
of a fix is never guessed from the order of events; it takes evidence of what happens without the fix.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import assert_never

from healspan.remediation.errors import RepairDeclined, StaleFix
from healspan.remediation.fix import Fix
from healspan.remediation.given import same_input
from healspan.remediation.plan import DEEPEST, Link
from healspan.remediation.repair import way_unhandled
from healspan.remediation.run import Applied, Evidence, Failed, Member, Run, Write
from healspan.remediation.step import (
    AdapterStep,
    FallbackStep,
    FramePath,
    ParametersStep,
    RepairStep,
    RetryStep,
    StrategyStep,
)

__all__ = ["Chain", "chains", "conflict", "depends", "leaves_the_run", "may_depend", "stopped", "writes"]

ROUNDS = 2
"""Times that the same failure of the same input is healed, with other failures in between; then it is a loop."""

LOOK_BACK = 200
"""Latest events of a run that are looked through for a circle or a conflict; a run may have ten thousand."""


LeavesTheRun = Callable[[Failed], bool]
"""Whether it is certain that a failure, had nothing healed it, would have left the run."""


@dataclass(frozen=True, slots=True)
class Chain:
    """Fixes of which each but the first acted on a boundary that was reached only because one before it had acted."""

    members: tuple[Member, ...]
    depth: int
    """Fixes on the longest way through it."""

    def links(self) -> tuple[Link, ...]:
        """Return the chain as the plan it is."""
        return tuple(Link(boundary=one.boundary, fix_id=one.fix_id) for one in self.members)


def depends(run: Run, member: Member, later: str, evidence: Evidence, leaves: LeavesTheRun) -> bool:
    """Tell whether a boundary came to run, or to go on, only because a fix had acted; False where that is not known."""
    if member.boundary == later or later not in run.boundaries:
        return False
    if run.boundaries[later] <= member.position:
        # It was called before. It depends on the fix only if that acted inside a call which failed after all.
        return (
            member.failure is not None
            and _around(run, member.failure, member.position, later)
            and leaves(member.failure)
        )
    if evidence.reached_unfixed(member.boundary, later):
        return False
    return evidence.unfixed(member.boundary) > 0 or (member.failure is not None and leaves(member.failure))


def may_depend(run: Run, member: Member, later: str, evidence: Evidence) -> bool:
    """Tell whether a boundary was first called after a fix had acted, and no run has shown what happens without it."""
    return run.boundaries.get(later, -1) > member.position and not evidence.unfixed(member.boundary)


def _around(run: Run, inner: Failed, healed_at: int, outer: str) -> bool:
    """Tell whether a boundary failed in the very call in whose midst another failure was healed."""
    return bool(inner.within) and any(
        _is_around(run, inner, healed_at, event)
        for position, event in run.recent(LOOK_BACK)
        if position > healed_at and isinstance(event, Failed) and event.boundary == outer
    )


def _is_around(run: Run, inner: Failed, healed_at: int, outer: Failed) -> bool:
    # The name of a call is used again once the call has ended; a call that began earlier is still the same one.
    return outer.call in inner.within and run.last_reached(outer.boundary) <= healed_at


def chains(run: Run, evidence: Evidence, leaves: LeavesTheRun) -> list[Chain]:
    """Return the chains of a run, in order; a fix that nothing depends on, and that depends on none, is in none."""
    members = run.members()
    group = {one: [one] for one in members}
    depth = dict.fromkeys(members, 1)
    for place, one in enumerate(members):
        for before in members[:place]:
            if not depends(run, before, one.boundary, evidence, leaves):
                continue
            depth[one] = max(depth[one], depth[before] + 1)
            if group[one] is not group[before]:
                group[before] += group[one]
                for joined in group[one]:
                    group[joined] = group[before]
    together = {id(joined): joined for joined in group.values() if len(joined) > 1}
    found = [sorted(joined, key=lambda one: one.position) for joined in together.values()]
    return [
        Chain(tuple(joined), max(depth[one] for one in joined))
        for joined in sorted(found, key=lambda joined: joined[0].position)
    ]


@functools.lru_cache(maxsize=1_000)
def _unhandled(way: FramePath, error_type: str) -> bool:
    try:
        way_unhandled(way, error_type, block="pipeline")
    except (RepairDeclined, StaleFix):
        return False
    return True


def leaves_the_run(failure: Failed) -> bool:
    """Tell whether nothing between the boundary and the end of the run may handle this failure."""
    return bool(failure.way) and _unhandled(failure.way, failure.error_type)


# Where a chain must not grow


def stopped(run: Run, pattern: str, boundary: str, leaves: LeavesTheRun = leaves_the_run) -> str | None:
    """Say why nothing may be healed any more in a run: its chain is too deep, or goes in a circle."""
    evidence, members = run.evidence, run.members()
    if evidence is None or not members:
        return None
    behind = {one.boundary for one in run.open_failures()} if len(members) >= DEEPEST else set()
    for failed in sorted(behind | {boundary}):
        way = _way_to(run, failed, evidence, leaves)
        if len(way) >= DEEPEST:
            names = " -> ".join(one.boundary for one in way)
            return f"cascade deeper than {DEEPEST}: {names} -> {failed}; somebody has to look at the design"
        if failed == boundary and any(one.failure and one.failure.pattern == pattern for one in way):
            return f"the cascade goes in a circle: {boundary} shows a failure that was healed on the way to it"
    return _circle([event for _, event in run.recent(LOOK_BACK)], pattern, boundary)


def _way_to(run: Run, boundary: str, evidence: Evidence, leaves: LeavesTheRun) -> list[Member]:
    """Return the longest chain of fixes without which the run would not have reached a boundary."""
    ways: list[list[Member]] = []
    """Ending with each member, in order."""
    for one in run.members():
        ways.append([*_longest(run, ways, one.boundary, evidence, leaves), one])
    return _longest(run, ways, boundary, evidence, leaves)


def _longest(
    run: Run,
    ways: Sequence[list[Member]],
    boundary: str,
    evidence: Evidence,
    leaves: LeavesTheRun,
) -> list[Member]:
    return max((way for way in ways if depends(run, way[-1], boundary, evidence, leaves)), key=len, default=[])


def _circle(events: Sequence[Failed | Applied], pattern: str, boundary: str) -> str | None:
    """Say so if the same failure of the same input was healed, and came again after another failure, too often."""
    mine = [(place, one) for place, one in enumerate(events) if isinstance(one, Failed) and one.boundary == boundary]
    if not mine:
        return None
    *earlier, (seen, last) = mine
    rounds = 0
    for place, one in reversed(earlier):
        if one.pattern != pattern or not same_input(one.given, last.given):
            continue
        if any(isinstance(other, Failed) and other.boundary != boundary for other in events[place:seen]):
            rounds, seen = rounds + 1, place
    if rounds < ROUNDS:
        return None
    return f"the cascade goes in a circle: {boundary} fails {rounds + 1} times in the same way on the same input"


# What a fix sets


def writes(fix: Fix, boundary: str) -> frozenset[Write]:
    """Return what a fix sets at a boundary: arguments of its call, the value of an expression, or its output."""
    found: set[Write] = set()
    for step in fix.steps:
        match step:
            case ParametersStep():
                found |= {("argument", boundary, name) for name in step.arguments}
            case StrategyStep() | AdapterStep() | FallbackStep():
                found.add(("output", boundary))
            case RepairStep():
                span = f"{step.line}:{step.column}-{step.end_line}:{step.end_column}"
                found.add(("expression", step.module, step.qualname, span))
            case RetryStep():
                pass
            case _:
                assert_never(step)
    return frozenset(found)


def conflict(run: Run, fix: Fix, failing: Failed) -> tuple[Applied, Write] | None:
    """Return an application of another fix whose value this one would set once more, and what both set.

    Two fixes contend for a value if they answer the same call on the same input, or if one of them made a value
    within the very call whose whole output the other would now replace.
    """
    mine = writes(fix, failing.boundary)
    output: Write = ("output", failing.boundary)
    events = run.recent(LOOK_BACK)
    failures = {one.error_id: one for _, one in events if isinstance(one, Failed) and one.error_id is not None}
    for position, event in reversed(events):
        if not isinstance(event, Applied) or event.error_id is None:
            continue
        before = failures.get(event.error_id)
        if before is None or event.fix_id == fix.fix_id or not event.resolved:
            continue
        if before.boundary == failing.boundary and same_input(before.given, failing.given):
            if both := mine & event.writes:
                return event, min(both)
        elif output in mine and _makes_a_value(event.writes) and _is_around(run, before, position, failing):
            return event, output
    return None


def _makes_a_value(written: Iterable[Write]) -> bool:
    """Whether a fix decided what its boundary returned; a repair reads what was there in another notation."""
    return any(kind in ("output", "argument") for kind, *_ in written)
