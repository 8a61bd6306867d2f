"""The trial: what follows from the evidence on a fix that serves. Pure; `probation` makes it so.

A trial is about values: how often is what the fix gives right, when it gives something? That it gives nothing harms
nobody and is counted against its score; a fix that never helps lapses with its trial.

Two questions are asked at every verdict. A new fix: does the sequential test accept or reject it? An accepted one:
has something changed? A fix that has worked for long and then breaks must not live on its past, so failures in a
row and Page's alarm, which forget it, are looked at as well.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import NamedTuple

from pydantic import Field

from healspan.remediation.evidence import Evidence
from healspan.remediation.fix import FixState
from healspan.remediation.record import Record
from healspan.remediation.sequential import TEST, SequentialTest

__all__ = ["IN_A_ROW", "NO_HELP", "REGRESSIONS", "Decision", "Ruling", "Standing", "rule", "standing"]

REGRESSIONS = 2
"""So many during a trial end it: the value looked right, and harm came later, where no contract looks."""

IN_A_ROW = 3
"""So many failures without a success between them suspend a fix, whatever it did before."""

NO_HELP = 20
"""So many calls in a row without a value for any send an active fix back to trial, which lapses unless it helps again.

No reason to suspend it: whatever it calls may be down for an hour, and only a human could bring it back. One that helps
every fifth call comes to twenty once in eighty-seven times."""

SURPRISE = 0.05
"""A row of failures that was less likely than this sends an active fix back to trial."""

HUMAN_FACTOR = 2.0
"""A machine needs the alarm twice over to overrule what a human has approved."""


class Decision(StrEnum):
    """What becomes of a fix, named as in the audit and the metrics."""

    ACTIVATE = "activate"
    DEMOTE = "demote"
    SUSPEND = "suspend"

    @property
    def state(self) -> FixState:
        """The state that follows."""
        return {"activate": FixState.ACTIVE, "demote": FixState.TRIAL, "suspend": FixState.SUSPENDED}[self.value]


class Ruling(NamedTuple):
    """A decision with its reason."""

    decision: Decision
    reason: str


def rule(state: FixState, evidence: Evidence, *, by_human: bool, test: SequentialTest = TEST) -> Ruling | None:
    """Return what follows from the evidence; None: the fix stays as it is.

    Args:
        state: where the fix stands.
        evidence: since it has stood there.
        by_human: whether a human's signature stands under that. A machine may take such a fix out of service, and
            never changes it otherwise: its own signature covers less than a human's.
        test: the sequential test.
    """
    if state not in {FixState.TRIAL, FixState.ACTIVE}:
        return None
    if evidence.in_a_row >= IN_A_ROW:
        return Ruling(Decision.SUSPEND, f"it failed {evidence.in_a_row} times in a row")
    if state is FixState.ACTIVE:
        return _of_active(evidence, test, by_human=by_human)
    if evidence.regressions >= REGRESSIONS:
        return Ruling(Decision.SUSPEND, f"something new went wrong after it {evidence.regressions} times in its trial")
    llr, (successes, failures) = evidence.llr(test), evidence.counted()
    if llr >= test.reject_at:
        return Ruling(Decision.SUSPEND, f"its trial rejects it: {successes} successes, {failures} failures")
    if llr <= test.accept_at and not by_human:
        return Ruling(Decision.ACTIVATE, f"its trial accepts it: {successes} successes, {failures} failures")
    return None


def _of_active(evidence: Evidence, test: SequentialTest, *, by_human: bool) -> Ruling | None:
    successes, failures = evidence.counted()
    record = f"{successes} successes, {failures} failures since it became active"
    if by_human:
        if evidence.alarm >= HUMAN_FACTOR * test.reject_at:
            return Ruling(Decision.SUSPEND, f"it fails far more often than it did: {record}")
        return None
    if evidence.no_help >= NO_HELP:
        return Ruling(Decision.DEMOTE, f"it has not helped in {evidence.no_help} tries")
    if evidence.alarm >= test.reject_at:
        return Ruling(Decision.DEMOTE, f"it fails more often than it did: {record}")
    if evidence.in_a_row >= 2 and evidence.surprise < SURPRISE:
        return Ruling(
            Decision.DEMOTE,
            f"it failed {evidence.in_a_row} times in a row, which its record gave a chance of {evidence.surprise:.1%}",
        )
    return None


class Standing(Record):
    """How far a trial has come, for people."""

    successes: int = Field(ge=0)
    failures: int = Field(ge=0)
    llr: float
    """The sum of the sequential test."""
    accept_at: float
    reject_at: float
    successes_to_accept: int = Field(ge=0)
    """Straight ones, from here."""
    failures_to_reject: int = Field(ge=0)
    """Likewise."""
    regressions: int = Field(ge=0)
    in_a_row: int = Field(ge=0)
    no_help: int = Field(ge=0)
    alarm: float = Field(ge=0)
    """Page's sum; at `reject_at` an active fix goes back to trial."""

    def in_words(self, state: FixState) -> str:
        """Say what comes next, in a few words."""
        if state is FixState.ACTIVE:
            return f"accepted; alarm {self.alarm:.1f} of {self.reject_at:.1f}"
        return f"{self.successes_to_accept} good to accept, {self.failures_to_reject} bad to reject"


def standing(evidence: Evidence, test: SequentialTest = TEST) -> Standing:
    """Return how far a trial has come."""
    successes, failures = evidence.counted()
    llr = evidence.llr(test)
    row = max(IN_A_ROW - evidence.in_a_row, 0)
    return Standing(
        successes=successes,
        failures=failures,
        llr=llr,
        accept_at=test.accept_at,
        reject_at=test.reject_at,
        successes_to_accept=max(math.ceil((test.accept_at - llr) / test.success), 0),
        failures_to_reject=min(max(math.ceil((test.reject_at - llr) / test.failure), 0), row),
        regressions=evidence.regressions,
        in_a_row=evidence.in_a_row,
        no_help=evidence.no_help,
        alarm=evidence.alarm,
    )
