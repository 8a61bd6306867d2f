"""The no-regression criterion: what the rest of a run says of a fix applied in it.

A later incident, or an exception leaving the run, speaks against the fix unless its exact pattern is an old
acquaintance: seen in the last 30 days in runs of this pipeline and context in which the fix had not been
applied before it. With too few such runs nothing is known; the third unknown of one fix and pattern settles
all three as false. A failure at a boundary that was reached only because the fix had acted belongs to a cascade:
its fixes are judged as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from healspan.remediation.given import same_input
from healspan.remediation.outcome import Judgement, Verdict
from healspan.remediation.plan import Plan
from healspan.remediation.run import Applied, Evidence, Failed

__all__ = ["ENOUGH_RUNS", "LAST_UNKNOWN", "History", "NoRegression", "judgement_of", "no_regression", "verdict"]

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
    beyond: bool = False
    """False only for what happened where the run would not have come without the fix: nothing broke that had worked."""


def no_regression(
    fix_id: str,
    later: Sequence[Failed],
    healed_boundaries: frozenset[str],
    history: History,
    *,
    behind: frozenset[str] = frozenset(),
    perhaps: frozenset[str] = frozenset(),
    healed: Failed | None = None,
) -> NoRegression:
    """Judge one application by what failed after it in its run.

    Args:
        fix_id: the fix that was applied.
        later: failures after the application, in order.
        healed_boundaries: boundaries whose later failures were all healed in this run.
        history: of this pipeline and context.
        behind: boundaries that this run reached only because the fix had acted.
        perhaps: boundaries of which nobody has seen yet whether a run reaches them without the fix.
        healed: the failure that the fix healed.
    """
    unknown: list[str] = []
    open_question: str | None = None
    beyond: str | None = None
    for failure in later:
        if history.seen_without(fix_id, failure.pattern):
            continue
        runs = history.runs_without(fix_id)
        if failure.boundary in behind or (runs and not history.reached_without(fix_id, failure.boundary)):
            if failure.boundary in healed_boundaries:
                continue
            beyond = failure.boundary
            continue
        if healed is not None and _side_by_side(healed, failure):
            continue
        if runs >= ENOUGH_RUNS:
            return NoRegression(
                False,
                f"{failure.boundary} failed afterwards with a pattern that {runs} runs without this fix never showed",
            )
        if failure.boundary in perhaps and failure.boundary in healed_boundaries:
            # A chain that heals every time would otherwise be taken for a regression at its third time.
            open_question = failure.boundary
            continue
        earlier = history.unknowns(fix_id, failure.pattern)
        if len(set(earlier)) >= LAST_UNKNOWN - 1:
            return NoRegression(
                False,
                f"{failure.boundary} failed afterwards with the same new pattern for the third time",
                overrules=tuple(dict.fromkeys(earlier)),
            )
        unknown.append(failure.pattern)
    if beyond is not None:
        return NoRegression(
            False,
            f"{beyond}, which the run reached only because of this fix, failed and was not healed",
            beyond=True,
        )
    if unknown:
        return NoRegression(
            None,
            f"{len(unknown)} later failure(s) with a new pattern, and fewer than {ENOUGH_RUNS} runs without this "
            "fix to compare with",
            unknown_patterns=tuple(dict.fromkeys(unknown)),
        )
    if open_question is not None:
        return NoRegression(
            None,
            f"{open_question} failed afterwards and was healed; whether a run reaches it without this fix is not known",
        )
    return NoRegression(True, "nothing new went wrong in the rest of the run")


def _side_by_side(healed: Failed, failure: Failed) -> bool:
    """Tell whether a call was given exactly what the healed call was given, and nothing in it can change.

    What the fix returned has then not come to the other call. Two questions about one page mostly fail for the same
    reason, one after the other and never apart, so that no number of runs could tell this from a regression.
    """
    return healed.steady and failure.steady and healed.given != () and same_input(healed.given, failure.given)


def verdict(applied: Applied, criterion: NoRegression) -> Verdict:
    """Combine what the call itself showed with what the rest of the run showed."""
    return Verdict(
        resolved=applied.resolved,
        no_regression=criterion.value,
        valid_output=applied.valid_output,
        degraded=applied.degraded,
        beyond=criterion.beyond,
    )


def judgement_of(applied: Applied, criterion: NoRegression, application_id: UUID, *, at: datetime) -> Judgement:
    """Return the verdict on an application as it is kept."""
    return Judgement(
        application_id=application_id,
        fix_id=applied.fix_id,
        timestamp=at,
        verdict=verdict(applied, criterion),
        reason=criterion.reason,
        unknown_patterns=criterion.unknown_patterns,
        overrules=criterion.overrules,
    )
