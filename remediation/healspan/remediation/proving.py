"""Proving: from what a diagnoser proposes to a fix that has passed every gate and every rung, or to none.

Candidates are tried in the diagnoser's order. One that lets the call reach another failure is extended by a step for
that one before the next candidate is looked at.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Sequence
from datetime import datetime
from typing import Any

from healspan.remediation.adoption import Adoption, Facts
from healspan.remediation.attempt import Invocation
from healspan.remediation.boundary import FailedCall
from healspan.remediation.composition import Composer, Lead
from healspan.remediation.diagnosis import Diagnoser, Waiting, left_open
from healspan.remediation.fix import Fix, FixDraft, FixState, RiskLevel, StateChange
from healspan.remediation.ladder import Climbed, Ladder
from healspan.remediation.lessons import Lessons
from healspan.remediation.policy import GATES, Preset, Request, first_refusal
from healspan.remediation.progress import Progress, Success
from healspan.remediation.step import FramePath, RepairStep
from healspan.remediation.store import FixIndex
from healspan.remediation.uses import Uses
from healspan.remediation.validation import Rung, RungResult

__all__ = ["Prover"]

_TURNED_DOWN = frozenset({FixState.SUSPENDED, FixState.RETIRED})


class Prover:
    """Proves the candidates of a diagnosis.

    Args:
        index: the fixes that this process knows of.
        adoption: makes a proven fix serve, or proposes it to a human.
        ladder: what a new fix must pass.
        lessons: which fixes are left alone for a while.
        preset: the policy.
        search_seconds: how long one diagnosis may look for fixes of several steps.
        uses: writes down what came of each use.
        now: the wall clock, in UTC.
        clock: monotonic, in seconds.
    """

    def __init__(
        self,
        *,
        index: FixIndex,
        adoption: Adoption,
        ladder: Ladder,
        lessons: Lessons,
        preset: Preset,
        search_seconds: float,
        uses: Uses,
        now: Callable[[], datetime],
        clock: Callable[[], float],
    ) -> None:
        self._index = index
        self._adoption = adoption
        self._ladder = ladder
        self._lessons = lessons
        self._preset = preset
        self._search_seconds = search_seconds
        self._uses = uses
        self._now = now
        self._clock = clock

    def prove(
        self,
        call: FailedCall,
        progress: Progress,
        diagnoser: Diagnoser,
    ) -> Generator[Invocation, Any, Success | None]:
        """Try the candidates of one diagnoser; return the first that heals the call and may serve.

        A fix of this failure that has come to serve meanwhile, since another process has learned it, ends the search:
        it goes before anything that is new.
        """
        composer = Composer(call, diagnoser, until=self._clock() + self._search_seconds, clock=self._clock)
        turned_down: set[tuple[object, ...]] = set()
        with contextlib.closing(diagnoser.candidates(call, progress)) as candidates:
            for draft in candidates:
                if self._index.disabled:
                    # The kill switch was turned meanwhile, and some diagnosers take their time.
                    return None
                if self._has_come(call, progress):
                    return None
                if isinstance(draft, Waiting):
                    yield call.pause(draft.event, draft.seconds)
                    continue
                success = yield from self._candidate(call, progress, draft, composer.first, composer, turned_down)
                if success is not None:
                    return success
        return None

    def _candidate(
        self,
        call: FailedCall,
        progress: Progress,
        draft: FixDraft,
        lead: Lead,
        composer: Composer,
        turned_down: set[tuple[object, ...]],
    ) -> Generator[Invocation, Any, Success | None]:
        """Gate and validate one candidate; where it lets the call reach another failure, those that answer both."""
        fix = Fix.from_draft(draft, created_at=self._now())
        error: Exception | None = None
        acted: tuple[RepairStep, ...] = ()
        if fix.fix_id in progress.tried:
            error, acted = progress.raised.get(fix.fix_id, (None, ()))
        else:
            known = self._index.latest(fix.fix_id)
            if not self._may_be_tried(call, progress, fix, known, turned_down):
                return None
            asked = left_open(call, fix.steps)
            refusal = first_refusal(Request(fix, None, call, self._preset, self._now(), asked))
            if refusal is not None:
                climbed = (yield from self._show(call, progress, fix, lead)) if refusal.gate == "policy" else None
                failed = None if climbed is None else climbed.validation.failed
                reason = refusal.reason if failed is None else f"only a human may let it act, and {failed.reason}"
                progress.decide(fix, refusal.gate, reason)
            else:
                started = self._clock()
                climbed = yield from self._ladder.climb(fix, call, lead.paths)
                seconds = self._clock() - started
                failed = climbed.validation.failed
                if failed is None:
                    taken = self._uses.took(
                        call, progress, fix, None, climbed.attempt, climbed.value, climbed.contract, seconds
                    )
                    progress.facts += self._remember(fix, known, climbed.attempt.ways)
                    progress.facts.append(("validation", climbed.validation))
                    return taken
                self._not_passed(call, progress, fix, climbed, failed, seconds)
            if climbed is not None:
                error, acted = climbed.error, climbed.attempt.acted
        proposals = len(progress.proposed)
        for further, beyond in composer.beyond(fix, error, acted, lead) if error is not None else ():
            success = yield from self._candidate(call, progress, further, beyond, composer, turned_down)
            if success is not None:
                return success
            if len(progress.proposed) > proposals:
                # One answer to a question is enough for the human who has to read it.
                break
        return None

    def _remember(self, fix: Fix, known: StateChange | None, ways: Sequence[FramePath]) -> Facts:
        """Let a proven fix serve. A machine's word is good for low risk only: others act when they are proven again."""
        if fix.risk_level is RiskLevel.LOW:
            return self._adoption.adopt(fix, known, ways)
        return [] if known is not None else self._adoption.propose(fix, tuple(ways))

    def _may_be_tried(
        self,
        call: FailedCall,
        progress: Progress,
        fix: Fix,
        known: StateChange | None,
        turned_down: set[tuple[object, ...]],
    ) -> bool:
        """Whether nothing that is known of a candidate speaks against climbing with it."""
        lapsed = known is not None and known.state is FixState.TRIAL and _expired(known, self._now())
        if known is not None and known.state in _TURNED_DOWN:
            turned_down |= _places(fix)
        elif known is None and turned_down & _places(fix):
            progress.decide(fix, "state", "a stricter fix of the same expression was rejected or suspended")
            return False
        again = known is not None and known.state is FixState.PROPOSED and self._preset == "autonomous"
        if known is not None and not lapsed and not again:
            if self._has_come(call, progress):
                return False
            progress.decide(fix, "state", f"its state is {known.state}{_way_back(known.state, fix)}")
            return False
        lesson = self._lessons.about(fix.fix_id, call.incident.pattern.exact, self._now())
        if lesson is not None:
            progress.decide(fix, "lesson", lesson)
            return False
        return True

    def _has_come(self, call: FailedCall, progress: Progress) -> bool:
        """Whether a fix of this failure serves that the caller's first look at them has not seen."""
        incident = call.incident
        return not progress.later and any(
            one.fix.fix_id not in progress.tried
            for group in self._index.groups(incident.pattern, incident.module, incident.context_keys)
            for one in group
        )

    def _show(
        self,
        call: FailedCall,
        progress: Progress,
        fix: Fix,
        lead: Lead,
    ) -> Generator[Invocation, Any, Climbed | None]:
        """Propose a fix that only a human may let act, if it would have helped here; its result is thrown away.

        The policy `suggest` runs nothing for it, and neither does a call that must not be made again.
        """
        # This incident has shown the way that an approval would cover.
        paths = (call.path, *lead.paths) if _places(fix) else ()
        if self._preset == "suggest":
            progress.proposed.append(fix.fix_id)
            progress.facts += self._adoption.propose(fix, paths)
            return None
        unapproved = tuple(one for one in GATES if one[0] != "policy")
        if first_refusal(Request(fix, None, call, self._preset, self._now()), unapproved) is not None:
            return None
        climbed = yield from self._ladder.climb(fix, call, lead.paths, serves=False)
        if climbed.passed:
            progress.proposed.append(fix.fix_id)
            progress.facts += self._adoption.propose(fix, paths)
        if climbed.passed or self._lessons.learn(climbed.validation, call.incident.pattern.exact):
            progress.facts.append(("validation", climbed.validation))
        return climbed

    def _not_passed(
        self,
        call: FailedCall,
        progress: Progress,
        fix: Fix,
        climbed: Climbed,
        failed: RungResult,
        seconds: float,
    ) -> None:
        """Note which rung said no; what speaks against the fix itself is remembered, here and in the store."""
        gate = "apply" if failed.rung in {Rung.PARSE, Rung.RUN} else str(failed.rung)
        progress.decide(fix, gate, failed.reason, applied=climbed.applied)
        if climbed.applied:
            self._uses.failed(call, progress, fix, None, seconds, valid=climbed.contract.valid)
        if self._lessons.learn(climbed.validation, call.incident.pattern.exact):
            progress.facts.append(("validation", climbed.validation))


def _places(fix: Fix) -> set[tuple[object, ...]]:
    """Return what the repairs of a fix act on, and with which repairer, whatever loss they accept."""
    return {
        (step.module, step.qualname, step.line, step.column, step.end_line, step.end_column, step.repairer)
        for step in fix.steps
        if isinstance(step, RepairStep)
    }


def _way_back(state: FixState, fix: Fix) -> str:
    """Say what lets a fix act, where a human can."""
    if state not in {FixState.PROPOSED, FixState.SUSPENDED}:
        return ""
    return f": 'healspan review approve {fix.fix_id[:12]}' lets it act"


def _expired(change: StateChange, now: datetime) -> bool:
    return change.expires is not None and change.expires <= now
