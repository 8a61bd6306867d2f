"""Probation: what verdicts do to the fixes that serve, in the process that gives them.

Every verdict is added to what is known of its fix, and the rules of the trial are asked. What follows, a suspension,
a demotion, an activation, is a signed change of state: it counts here at once, and it is written in the same commit
as the verdict that led to it, so that no kill can come between them. The other processes learn of it through the
store; of several that decide at once one wins there, and giving a fix up never loses.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from datetime import datetime
from uuid import UUID, uuid5

from healspan.remediation.adoption import Facts, sign_as_machine
from healspan.remediation.errors import SignatureRefused
from healspan.remediation.evidence import Outcome, Result, outcome_of, result_of
from healspan.remediation.fix import Fix, StateChange
from healspan.remediation.outcome import Application, Judgement
from healspan.remediation.policy import Preset
from healspan.remediation.run import Applied
from healspan.remediation.signing import KeyRing
from healspan.remediation.store import AuditEntry, Candidate, FixIndex, context_text
from healspan.remediation.trial import Decision, Ruling, rule, standing

__all__ = ["Probation"]

logger = logging.getLogger("healspan.probation")

_NAMESPACE = UUID("c0a5b4de-6a3c-5d64-9a1e-3d0e7d2f5a10")
"""Of the ids of audit entries: processes that decide the same write one entry."""


class Probation:
    """Watches the fixes that serve in this process.

    Args:
        index: the fixes, and what verdicts have said of them.
        keys: this machine's key.
        preset: the policy in force.
        now: the wall clock, in UTC.
        on_decision: told of every decision, for the metrics.
    """

    def __init__(
        self,
        *,
        index: FixIndex,
        keys: KeyRing,
        preset: Preset,
        now: Callable[[], datetime],
        on_decision: Callable[[Fix, Decision], None],
    ) -> None:
        self._index = index
        self._keys = keys
        self._preset = preset
        self._now = now
        self._on_decision = on_decision
        self._deciding = threading.RLock()

    def judged(self, application: Application, judgement: Judgement) -> None:
        """Add what a verdict says of the fix that was applied."""
        candidate = self._index.snapshot.candidates.get(application.fix_id)
        if candidate is not None:
            context = context_text(application.context_keys)
            outcome = outcome_of(application, judgement.verdict, candidate.fix.scope.match, context)
            self._note(judgement, outcome)

    def closed(self, applied: Applied, judgement: Judgement) -> None:
        """Likewise at the end of a run, where all that is left of the application is what the run remembers."""
        candidate = self._index.snapshot.candidates.get(applied.fix_id)
        if candidate is None or applied.at is None:
            return
        fix, verdict = candidate.fix, judgement.verdict
        result = result_of(verdict, tuple(step.kind for step in fix.steps), fix.scope.match)
        if result is not None:
            outcome = Outcome(
                result=result,
                context=context_text(dict(applied.context_keys)),
                at=applied.at,
                regression=verdict.harmed,
                latency_ms=applied.elapsed_ms,
            )
            self._note(judgement, outcome)

    def _note(self, judgement: Judgement, outcome: Outcome | None) -> None:
        if outcome is not None:
            # Unknowns that this verdict settles were of the same fix and the same new pattern.
            outcomes = [outcome] + [_settled(outcome)] * len(judgement.overrules)
            self._index.verdicts.note(judgement.fix_id, judgement.application_id, outcomes)

    def ruled(self, fix_ids: Iterable[str]) -> Facts:
        """Decide about fixes whose evidence has grown; return what is to be made durable together with it."""
        facts: Facts = []
        for fix_id in fix_ids:
            # Deciding needs the latest state, and of two verdicts at once only one may end a trial.
            with self._deciding:
                candidate = self._index.snapshot.candidates.get(fix_id)
                if candidate is not None:
                    facts += self._decided(candidate)
        return facts

    def _decided(self, candidate: Candidate) -> Facts:
        fix, before = candidate.fix, candidate.change
        evidence = self._index.verdicts.evidence(fix.fix_id)
        ruling = rule(before.state, evidence, by_human=before.by_human)
        if ruling is None:
            return []
        if ruling.decision is not Decision.SUSPEND and self._preset == "suggest":
            return []
        if ruling.decision is Decision.ACTIVATE and self._index.verdicts.doubt(fix.fix_id) is not None:
            # 'healspan doctor' says so: what nobody here has signed may only speak against a fix.
            return []
        change = self._change(before, ruling)
        if ruling.decision is not Decision.SUSPEND:
            try:
                self._keys.trust(fix, change)
            except SignatureRefused:
                # Not for a machine to say; a human finds the record beside the fix.
                return []
        self._index.add(fix, change)
        self._on_decision(fix, ruling.decision)
        level = logging.INFO if ruling.decision is Decision.ACTIVATE else logging.WARNING
        logger.log(level, "fix %s of %s: %s, since %s", fix.fix_id[:12], fix.scope.module, change.state, ruling.reason)
        entry = AuditEntry(
            audit_id=uuid5(_NAMESPACE, f"{change.fix_id}/{change.sequence}/{change.state}"),
            at=change.at,
            actor=change.actor,
            action=ruling.decision.value,
            subject=fix.fix_id,
            detail={
                "sequence": change.sequence,
                "state": change.state,
                "previous": change.previous,
                "reason": change.reason,
                **standing(evidence).model_dump(mode="json"),
            },
        )
        return [("state_change", change), ("audit", entry)]

    def _change(self, before: StateChange, ruling: Ruling) -> StateChange:
        return sign_as_machine(
            self._keys,
            StateChange(
                fix_id=before.fix_id,
                sequence=before.sequence + 1,
                state=ruling.decision.state,
                previous=before.state,
                policy=self._preset,
                actor="engine",
                reason=ruling.reason,
                at=self._now(),
                paths=before.paths,
            ),
        )


def _settled(outcome: Outcome) -> Outcome:
    return Outcome(
        result=Result.FAILURE, context=outcome.context, at=outcome.at, tallied=outcome.tallied, regression=True
    )
