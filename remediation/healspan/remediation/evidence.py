"""Evidence: what verdicts have said of one fix, folded into a record of bounded size.

The same fold runs in the store, which folds the verdicts of the whole fleet, and in a process, which puts its own
on top that the store does not show yet. The sum of the sequential test does not depend on their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Self, assert_never

from pydantic import Field

from healspan.remediation.fix import FixState, Match, SignedRecord, StateChange
from healspan.remediation.outcome import Application, ApplicationMode, Verdict
from healspan.remediation.posterior import PRIOR, Beta, shrunk
from healspan.remediation.record import Record
from healspan.remediation.sequential import TEST, SequentialTest, burst_weight
from healspan.remediation.step import StepKind

__all__ = [
    "DISCOUNT",
    "GRAIN",
    "HALF_LIFE",
    "Burst",
    "Evidence",
    "Faded",
    "Outcome",
    "Result",
    "outcome_of",
    "result_of",
]

HALF_LIFE = timedelta(days=30)
"""After so long an outcome counts half."""

DISCOUNT = 0.98
"""What an outcome is worth after the next one in its context: the world moves with use as well as with time."""

MOST_CONTEXTS = 64
"""Contexts told apart; beyond it the one that weighs least is forgotten."""

MOST_BURSTS = 256
"""Bursts kept open; of the oldest beyond it only the sum stays."""

_HOUR = 3_600
_NEWEST = 0.1
"""How much the newest call moves the usual latency."""
GRAIN = timedelta(minutes=1)
"""Installed repairs are counted per minute, so what they did is known to the minute."""


class Result(StrEnum):
    """What a fix did for a call."""

    SUCCESS = "success"
    FAILURE = "failure"
    """It gave a value that was wrong, or did harm."""
    NO_HELP = "no help"
    """It gave no value: nothing was gained, and nothing could be damaged."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one judged application, or several equal ones, says of a fix."""

    result: Result
    context: str
    """As `context_text` writes it."""
    at: datetime
    """When the fix was applied."""
    count: int = 1
    tallied: bool = False
    """Counted by an installed repair: no failing call of its own stands behind each."""
    regression: bool = False
    """Something new went wrong afterwards."""
    latency_ms: float = 0.0
    """What the fix added to the call."""


def result_of(verdict: Verdict, steps: Sequence[StepKind], match: Match) -> Result | None:
    """Return what a fix did for a call; None if that is unknown, or not for a test to say.

    A reward is 0 whatever the reason. A test that may suspend a fix has to look closer:

    - Where the alternative itself raised, it said that it is not for this input, as a good one does, and the call
      failed as it would have. On real documents that is the usual end of a strategy that is right about others.
    - Where the run went wrong only beyond the point that it reached because of the fix, it would have failed earlier
      without it. The cascade has not healed, so nobody is rewarded; but nothing broke that had worked.
    - A fix for a whole boundary claims no pattern: a human has written it to be asked about every failure, and the
      contract to say which ones it is for. A value that the contract refuses is no help there. From a fix that claims
      this very pattern it is a failure: the next wrong value may be one that the contract lets through.
    - A fix that is nothing but the declared fallback promises no more than a degraded value. Used as declared, it
      neither fails (it would be suspended after three uses, and the application would get exceptions where it asked
      for its fallback) nor succeeds (it would become active as if it healed). A fix with other steps that comes down
      to its fallback has failed at what it is there for.
    """
    if verdict.no_regression is False:
        return Result.FAILURE if verdict.harmed else Result.NO_HELP
    if verdict.valid_output is False:
        return Result.NO_HELP if match is Match.BOUNDARY else Result.FAILURE
    if verdict.resolved is False:
        return Result.NO_HELP
    if verdict.degraded:
        return None if all(step == "fallback" for step in steps) else Result.FAILURE
    return None if verdict.reward is None else Result.SUCCESS


def outcome_of(application: Application, verdict: Verdict, match: Match, context: str) -> Outcome | None:
    """Return what an application says of its fix; None where it says nothing."""
    result = result_of(verdict, application.steps, match)
    if result is None or application.mode is ApplicationMode.SHADOW:
        return None
    return Outcome(
        result=result,
        context=context,
        at=application.timestamp,
        count=application.count,
        tallied=application.error_id is None,
        regression=verdict.harmed,
        latency_ms=application.added_latency_ms,
    )


class Faded(Record):
    """Counts of one context, as of the latest outcome; older ones weigh less."""

    successes: float = Field(ge=0)
    failures: float = Field(ge=0)
    """Calls that it did not help, for whatever reason."""
    at: datetime

    def by(self, now: datetime) -> tuple[float, float]:
        """Return successes and failures as they count now."""
        age = max((now - self.at) / HALF_LIFE, 0.0)
        weight: float = 0.5**age
        return self.successes * weight, self.failures * weight

    def after(self, outcome: Outcome, weight: float) -> Faded:
        """Return the counts with one more outcome in them, worth so many independent ones."""
        latest = max(self.at, outcome.at)
        successes, failures = self.by(latest)
        kept: float = DISCOUNT**weight
        # Of several equal outcomes each one discounts those before it.
        new = (1.0 - kept) / (1.0 - DISCOUNT) * 0.5 ** ((latest - outcome.at) / HALF_LIFE)
        return Faded(
            successes=successes * kept + (new if outcome.result is Result.SUCCESS else 0.0),
            failures=failures * kept + (0.0 if outcome.result is Result.SUCCESS else new),
            at=latest,
        )


class Burst(Record):
    """What an installed repair did in one hour and context."""

    hour: int
    """Since 1970."""
    context: str
    successes: int = Field(ge=0)
    failures: int = Field(ge=0)


class Evidence(SignedRecord):
    """What is known of one fix.

    What belongs to the test counts from the change that gave the fix its present standing. The success that made
    somebody keep the fix came before it and does not count; if that very use turns out to have done harm, it does.
    In the store it is signed by whoever folded it; what nobody here vouches for may only speak against the fix.
    """

    fix_id: str
    began: int = Field(default=0, ge=0)
    """Sequence of that change of state; 0 before any."""
    since: datetime | None = None
    successes: int = Field(default=0, ge=0)
    """Each with a failing call of its own; likewise the failures."""
    failures: int = Field(default=0, ge=0)
    bursts: tuple[Burst, ...] = ()
    """Newest last."""
    closed: float = 0.0
    """Sum of the bursts that are kept no longer."""
    regressions: int = Field(default=0, ge=0)
    in_a_row: int = Field(default=0, ge=0)
    """Failures since the last success."""
    no_help: int = Field(default=0, ge=0)
    """Calls in a row that it gave no value for, since it last gave one."""
    surprise: float = Field(default=1.0, ge=0, le=1)
    """How likely so many failures in a row were, by what was known before them."""
    alarm: float = Field(default=0.0, ge=0)
    """Page's sum: as that of the test, but it never falls below zero, so a change for the worse shows at once."""
    contexts: dict[str, Faded] = Field(default_factory=dict)
    latency_ms: float = Field(default=0.0, ge=0)
    """What the fix adds to a call, the latest calls weighing most."""

    # Reading

    def llr(self, test: SequentialTest = TEST) -> float:
        """Return the sum of the sequential test."""
        bursts = sum(test.burst(one.successes, one.failures) for one in self.bursts)
        return test.llr(self.successes, self.failures) + bursts + self.closed

    def counted(self) -> tuple[int, int]:
        """Return all successes and failures since the present standing began."""
        return (
            self.successes + sum(one.successes for one in self.bursts),
            self.failures + sum(one.failures for one in self.bursts),
        )

    def posterior(self, now: datetime, context: str | None = None) -> Beta:
        """Return what is believed of the success rate: of the fix, or of the fix in one context.

        A context inherits from the others of the same fix, without its own outcomes.
        """
        faded = {name: one.by(now) for name, one in self.contexts.items()}
        own = (0.0, 0.0) if context is None else faded.pop(context, (0.0, 0.0))
        fix = shrunk(sum(s for s, _ in faded.values()), sum(f for _, f in faded.values()), PRIOR)
        return fix if context is None else shrunk(*own, fix)

    # Folding

    def begin(self, change: StateChange) -> Self:
        """Return the evidence at the beginning of a new standing; the test starts afresh.

        A demotion is no fresh start for a row of failures: it goes on, and the next one may end it.
        """
        if change.sequence <= self.began or change.state is change.previous:
            return self
        fresh: dict[str, Any] = {
            "began": change.sequence,
            "since": change.at,
            "successes": 0,
            "failures": 0,
            "bursts": (),
            "closed": 0.0,
            "regressions": 0,
            "alarm": 0.0,
        }
        if not (change.state is FixState.TRIAL and change.previous is FixState.ACTIVE):
            fresh |= {"in_a_row": 0, "no_help": 0, "surprise": 1.0}
        return self.model_copy(update=fresh)

    def after(self, outcome: Outcome, test: SequentialTest = TEST) -> Self:
        """Return the evidence with one more outcome in it."""
        grain = timedelta() if outcome.result is Result.SUCCESS and not outcome.tallied else GRAIN
        if self.since is None or outcome.at < self.since - grain:
            # It speaks of the fix, and not in the test.
            return self.model_copy(update=self._faded_after(outcome, float(outcome.count)))
        if outcome.tallied and outcome.result is not Result.NO_HELP:
            step, update = self._burst_after(outcome, test)
        else:
            step, update = self._single_after(outcome, test)
        update |= self._row_after(outcome)
        update["alarm"] = max(0.0, self.alarm + step)
        if outcome.regression:
            update["regressions"] = self.regressions + outcome.count
        return self.model_copy(update=update)

    def _row_after(self, outcome: Outcome) -> dict[str, Any]:
        match outcome.result:
            case Result.SUCCESS:
                return {"in_a_row": 0, "no_help": 0, "surprise": 1.0}
            case Result.NO_HELP:
                return {"no_help": self.no_help + outcome.count}
            case Result.FAILURE:
                failing = 1.0 - self.posterior(outcome.at).mean
                return {
                    "in_a_row": self.in_a_row + outcome.count,
                    "no_help": 0,
                    "surprise": self.surprise * failing**outcome.count,
                }
            case _:
                assert_never(outcome.result)

    def _single_after(self, outcome: Outcome, test: SequentialTest) -> tuple[float, dict[str, Any]]:
        """Return by how much the test's sum moves, and what changes."""
        faded = self._faded_after(outcome, float(outcome.count))
        match outcome.result:
            case Result.SUCCESS:
                return outcome.count * test.success, {"successes": self.successes + outcome.count, **faded}
            case Result.FAILURE:
                return outcome.count * test.failure, {"failures": self.failures + outcome.count, **faded}
            case Result.NO_HELP:
                return 0.0, faded
            case _:
                assert_never(outcome.result)

    def _burst_after(self, outcome: Outcome, test: SequentialTest) -> tuple[float, dict[str, Any]]:
        """Likewise."""
        key = (int(outcome.at.timestamp()) // _HOUR, outcome.context)
        cells = {(one.hour, one.context): one for one in self.bursts}
        before = cells.get(key) or Burst(hour=key[0], context=key[1], successes=0, failures=0)
        good = outcome.result is Result.SUCCESS
        after = Burst(
            hour=before.hour,
            context=before.context,
            successes=before.successes + (outcome.count if good else 0),
            failures=before.failures + (0 if good else outcome.count),
        )
        cells[key] = after
        bursts = [cells[name] for name in sorted(cells)]
        closing = bursts[:-MOST_BURSTS]
        number = before.successes + before.failures
        return test.burst(after.successes, after.failures) - test.burst(before.successes, before.failures), {
            "bursts": tuple(bursts[-MOST_BURSTS:]),
            "closed": self.closed + sum(test.burst(one.successes, one.failures) for one in closing),
            **self._faded_after(outcome, burst_weight(number + outcome.count) - burst_weight(number)),
        }

    def _faded_after(self, outcome: Outcome, weight: float) -> dict[str, Any]:
        contexts = dict(self.contexts)
        before = contexts.get(outcome.context) or Faded(successes=0.0, failures=0.0, at=outcome.at)
        contexts[outcome.context] = before.after(outcome, weight)
        if len(contexts) > MOST_CONTEXTS:
            others = (name for name in contexts if name != outcome.context)
            del contexts[min(others, key=lambda name: (sum(contexts[name].by(outcome.at)), name))]
        usual = self.latency_ms if self.contexts else outcome.latency_ms
        return {"contexts": contexts, "latency_ms": usual + _NEWEST * (outcome.latency_ms - usual)}
