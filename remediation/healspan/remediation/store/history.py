"""What runs have shown in the last 30 days, in memory: a verdict never asks the store.

Counts per pipeline, context and day; filled from the store by the index's thread, and at once by the runs of
this process.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

from healspan.remediation.outcome import Judgement, RunFact
from healspan.remediation.plan import Plan, PlanOutcome
from healspan.remediation.store.facts import context_text

__all__ = ["HistoryView", "RunHistory"]

WINDOW = timedelta(days=30)
MOST_GROUPS = 2_000
"""Pipelines times contexts; beyond it the group not used for longest is forgotten."""
MOST_PLANS = 200
"""Plans remembered of one pipeline and context; beyond it the one found first is forgotten."""
MOST_RUNS = 50_000
"""Ids remembered, to count a run once that comes both from this process and from the store."""

_Group = tuple[str, str]


@dataclass(slots=True)
class _Day:
    """Counts of runs of one group that closed on one day."""

    runs: int = 0
    with_fix: Counter[str] = field(default_factory=Counter)
    """Runs in which the fix was applied."""
    patterns: Counter[str] = field(default_factory=Counter)
    """Runs that showed the pattern."""
    patterns_after: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(pattern, fix): of those, runs in which every occurrence came after the fix."""
    reached: Counter[str] = field(default_factory=Counter)
    reached_after: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Likewise boundaries."""
    unfixed: Counter[str] = field(default_factory=Counter)
    """Runs in which the boundary failed and nothing healed it."""
    reached_unfixed: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(boundary, later): of those, runs that went on to reach the later boundary."""

    def add(self, fact: RunFact) -> None:
        self.runs += 1
        self.with_fix.update(set(fact.fixes))
        _count(fact.patterns, self.patterns, self.patterns_after)
        _count(fact.reached, self.reached, self.reached_after)
        for boundary, later in fact.unfixed:
            self.unfixed[boundary] += 1
            self.reached_unfixed.update((boundary, name) for name in later)


def _count(
    seen: Iterable[tuple[str, tuple[str, ...]]],
    total: Counter[str],
    after: Counter[tuple[str, str]],
) -> None:
    always: dict[str, set[str]] = {}
    for name, fixes in seen:
        always[name] = always[name] & set(fixes) if name in always else set(fixes)
    for name, fixes_before in always.items():
        total[name] += 1
        after.update((name, fix_id) for fix_id in fixes_before)


class RunHistory:
    """Counters that every verdict of this process is judged against; safe to use from many threads.

    Args:
        window: how far back a run counts.
        now: the wall clock, in UTC.
    """

    def __init__(
        self,
        *,
        window: timedelta = WINDOW,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._window = window
        self._now = now
        self._lock = threading.RLock()
        self._groups: OrderedDict[_Group, dict[date, _Day]] = OrderedDict()
        self._known: OrderedDict[UUID, None] = OrderedDict()
        self._unknown: dict[tuple[str, str], dict[UUID, None]] = {}
        self._overruled: set[UUID] = set()
        self._plans: dict[_Group, dict[str, Plan]] = {}
        self._rewards: dict[str, Counter[int | None]] = {}
        """By plan."""
        self._counted: OrderedDict[UUID, None] = OrderedDict()
        self._today = date.min

    def add(self, fact: RunFact) -> None:
        """Count a closed run; once, however often it is added."""
        day = fact.closed_at.astimezone(UTC).date()
        with self._lock:
            if fact.run_id in self._known:
                return
            self._known[fact.run_id] = None
            if len(self._known) > MOST_RUNS:
                self._known.popitem(last=False)
            oldest = self._forget()
            if day < oldest:
                return
            group = (fact.pipeline, context_text(fact.context_keys))
            days = self._groups.setdefault(group, {})
            self._groups.move_to_end(group)
            if len(self._groups) > MOST_GROUPS:
                self._groups.popitem(last=False)
            days.setdefault(day, _Day()).add(fact)

    def add_judgement(self, judgement: Judgement) -> None:
        """Remember which new patterns left a verdict unknown, and which unknowns were settled."""
        with self._lock:
            self._overruled.update(judgement.overrules)
            for pattern in judgement.unknown_patterns:
                self._unknown.setdefault((judgement.fix_id, pattern), {})[judgement.application_id] = None

    def add_plan(self, plan: Plan) -> None:
        """Remember a plan."""
        with self._lock:
            plans = self._plans.setdefault((plan.pipeline, context_text(plan.context_keys)), {})
            plans.setdefault(plan.plan_id, plan)
            if len(plans) > MOST_PLANS:
                self._rewards.pop(plans.pop(next(iter(plans))).plan_id, None)

    def add_plan_outcome(self, outcome: PlanOutcome) -> None:
        """Count how a plan did in a run; once, however often it is added."""
        with self._lock:
            if outcome.outcome_id in self._counted:
                return
            self._counted[outcome.outcome_id] = None
            if len(self._counted) > MOST_RUNS:
                self._counted.popitem(last=False)
            self._rewards.setdefault(outcome.plan_id, Counter())[outcome.reward] += 1

    def view(self, pipeline: str, context_keys: Mapping[str, str]) -> HistoryView:
        """Return what the verdicts of one pipeline and context ask."""
        return HistoryView(self, (pipeline, context_text(context_keys)))

    def _forget(self) -> date:
        """Drop the days that have left the window, once a day; return its first. Called with the lock held."""
        today = self._now().date()
        oldest = today - self._window
        if today != self._today:
            self._today = today
            for group in list(self._groups):
                days = self._groups[group]
                for past in [one for one in days if one < oldest]:
                    del days[past]
                if not days:
                    del self._groups[group]
        return oldest

    def _days(self, group: _Group) -> list[_Day]:
        return list(self._groups.get(group, {}).values())

    def _runs_without(self, group: _Group, fix_id: str) -> int:
        with self._lock:
            return sum(day.runs - day.with_fix[fix_id] for day in self._days(group))

    def _sum(self, group: _Group, count: Callable[[_Day], int]) -> int:
        with self._lock:
            return sum(count(day) for day in self._days(group))

    def _plans_of(self, group: _Group) -> tuple[Plan, ...]:
        with self._lock:
            return tuple(self._plans.get(group, {}).values())

    def _is_verified(self, plan_id: str) -> bool:
        with self._lock:
            rewards = self._rewards.get(plan_id, Counter())
            return rewards[1] > 0 and rewards[0] == 0

    def _seen_without(self, group: _Group, fix_id: str, pattern: str) -> bool:
        with self._lock:
            return any(day.patterns[pattern] > day.patterns_after[(pattern, fix_id)] for day in self._days(group))

    def _reached_without(self, group: _Group, fix_id: str, boundary: str) -> bool:
        with self._lock:
            return any(day.reached[boundary] > day.reached_after[(boundary, fix_id)] for day in self._days(group))

    def _unknowns(self, fix_id: str, pattern: str) -> tuple[UUID, ...]:
        with self._lock:
            found = self._unknown.get((fix_id, pattern), {})
            return tuple(one for one in found if one not in self._overruled)


class HistoryView:
    """The history of one pipeline and context, as `regression.History` asks for it."""

    def __init__(self, history: RunHistory, group: _Group) -> None:
        self._history = history
        self._group = group

    def runs_without(self, fix_id: str) -> int:
        """Return the number of closed runs in which the fix was not applied."""
        return self._history._runs_without(self._group, fix_id)

    def unfixed(self, boundary: str) -> int:
        """Return the number of runs in which the boundary failed and nothing healed it."""
        return self._history._sum(self._group, lambda day: day.unfixed[boundary])

    def reached_unfixed(self, boundary: str, later: str) -> bool:
        """Tell whether one of them went on to reach another boundary."""
        return self._history._sum(self._group, lambda day: day.reached_unfixed[(boundary, later)]) > 0

    def plans(self) -> tuple[Plan, ...]:
        """Return the plans that are known."""
        return self._history._plans_of(self._group)

    def verified(self, links: tuple[tuple[str, str], ...]) -> bool:
        """Tell whether a plan of exactly these (boundary, fix) has succeeded, and never failed."""
        return any(
            tuple((link.boundary, link.fix_id) for link in plan.links) == links
            and self._history._is_verified(plan.plan_id)
            for plan in self.plans()
        )

    def seen_without(self, fix_id: str, pattern: str) -> bool:
        """Tell whether the exact pattern occurred in a run before, or without, the fix being applied."""
        return self._history._seen_without(self._group, fix_id, pattern)

    def reached_without(self, fix_id: str, boundary: str) -> bool:
        """Tell whether a run reached the boundary before, or without, the fix being applied."""
        return self._history._reached_without(self._group, fix_id, boundary)

    def unknowns(self, fix_id: str, pattern: str) -> tuple[UUID, ...]:
        """Return the applications whose verdict this pattern has left unknown so far."""
        return self._history._unknowns(fix_id, pattern)
