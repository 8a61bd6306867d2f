"""The no-regression criterion: what the rest of a run says of a fix applied in it.

A later incident, or an exception leaving the run, speaks against the fix unless its exact pattern is an old
acquaintance: seen in the last 30 days in runs of this pipeline and context in which the fix had not been
applied before it. With too few such runs nothing is known; the third unknown of one fix and pattern settles
all three as false. A failure at a boundary that no such run reached belongs to a cascade.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from healspan.remediation.outcome import Verdict
from healspan.remediation.run import Applied, Failed, Run

__all__ = ["ENOUGH_RUNS", "LAST_UNKNOWN", "History", "NoRegression", "judge_run", "no_regression", "verdict"]

ENOUGH_RUNS = 20
"""Runs without the fix that must be known before a new pattern counts against it."""

LAST_UNKNOWN = 3
"""This unknown of one (fix, pattern) makes it and those before it false."""


class History(Protocol):
    """What runs of one pipeline and context have shown in the last 30 days."""

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
) -> NoRegression:
    """Judge one application by what failed after it in its run.

    Args:
        fix_id: the fix that was applied.
        later: failures after the application, in order.
        healed_boundaries: boundaries whose later failure was healed in this run.
        history: of this pipeline and context.
    """
    unknown: list[str] = []
    for failure in later:
        if history.seen_without(fix_id, failure.pattern):
            continue
        runs = history.runs_without(fix_id)
        if runs and not history.reached_without(fix_id, failure.boundary):
            if failure.boundary in healed_boundaries:
                continue
            return NoRegression(
                False,
                f"{failure.boundary}, which no run without this fix had reached, failed and was not healed",
            )
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


def judge_run(run: Run, history: History) -> list[tuple[Applied, NoRegression]]:
    """Judge every fix that acted in a run which has closed."""
    judged: list[tuple[Applied, NoRegression]] = []
    # From the end, each different failure once: a run may have ten thousand of one kind.
    later: dict[Failed, None] = {}
    healed: set[str] = set()
    for event in reversed(run.events()):
        if isinstance(event, Failed):
            later.pop(event, None)
            later[event] = None
            continue
        judged.append((event, no_regression(event.fix_id, tuple(reversed(later)), frozenset(healed), history)))
        if event.resolved:
            healed.add(event.boundary)
    return judged[::-1]


def verdict(applied: Applied, criterion: NoRegression) -> Verdict:
    """Combine what the call itself showed with what the rest of the run showed."""
    return Verdict(
        resolved=applied.resolved,
        no_regression=criterion.value,
        valid_output=applied.valid_output,
        degraded=applied.degraded,
    )
