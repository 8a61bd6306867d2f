"""Credit: what fixes are credited with in this process, and never before their call has returned and was verified.

A run that closes is judged here, with every fix that acted in it. What installed repairs did is counted, and written
down at the flush; what that means for a fix is ruled in the same commit.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from types import FrameType

from healspan.remediation.acted import heal_of, kept_from_happening
from healspan.remediation.fix import FixState
from healspan.remediation.judging import judge_plans, judge_run
from healspan.remediation.probation import Probation
from healspan.remediation.record import Record
from healspan.remediation.regression import NoRegression, judgement_of
from healspan.remediation.repair import FiredRepair
from healspan.remediation.run import Applied, Run
from healspan.remediation.scrubbing import CleanContexts
from healspan.remediation.signing import KeyRing
from healspan.remediation.store import FixIndex, RunHistory
from healspan.remediation.tally import Tallied, Tally, rows

__all__ = ["Credit"]


class Credit:
    """Gives verdicts, and writes them down with what follows from them.

    Args:
        index: the fixes that serve here.
        history: what runs before showed.
        probation: told of every verdict; rules on the fixes.
        keys: sign what plans came to.
        contexts: context keys as they may be kept.
        append: makes facts durable, all or none.
        on_repaired: told of calls that an installed repair healed, by boundary and number, for the metrics.
    """

    def __init__(
        self,
        *,
        index: FixIndex,
        history: RunHistory,
        probation: Probation,
        keys: KeyRing,
        contexts: CleanContexts,
        append: Callable[[Sequence[tuple[str, Record]]], bool],
        on_repaired: Callable[[str, int], None],
    ) -> None:
        self._index = index
        self._history = history
        self._probation = probation
        self._keys = keys
        self._contexts = contexts
        self._append = append
        self._on_repaired = on_repaired
        self._tally = Tally()
        self._unruled: set[str] = set()
        """Fixes whose installed repairs have failed since the last flush."""

    def close_run(self, run: Run) -> None:
        """Give the verdicts that waited for the end of a run, and remember what the run showed."""
        now = datetime.now(UTC)
        view = self._history.view(run.pipeline or "", run.context_keys)
        facts: list[tuple[str, Record]] = []
        judged = judge_run(run, view)
        for applied, criterion in judged:
            facts += self._judged(applied, criterion, run, now)
        facts += self._probation.ruled({one.fix_id for one, _ in judged if one.application_id is not None})
        for one in judge_plans(run, judged, view, at=now):
            facts += [("plan", one.plan), ("plan_outcome", self._keys.sign_record(one.outcome))]
            self._history.add_plan(one.plan)
            self._history.add_plan_outcome(one.outcome)
        if run.pipeline is not None:
            fact = run.fact(now)
            facts.append(("run", fact))
            self._history.add(fact)
        if facts:
            self._append(facts)

    def _judged(
        self,
        applied: Applied,
        criterion: NoRegression,
        run: Run,
        now: datetime,
    ) -> list[tuple[str, Record]]:
        if applied.application_id is not None:
            judgement = judgement_of(applied, criterion, applied.application_id, at=now)
            self._history.add_judgement(judgement)
            self._probation.closed(applied, judgement)
            return [("judgement", judgement)]
        active = self._active(applied.fix_id)
        if criterion.value is True and applied.resolved:
            tallied = Tallied(
                applied.fix_id,
                applied.boundary,
                run.pipeline,
                applied.context_keys,
                applied.valid_output,
                active,
            )
            self._tally.add(tallied, applied.elapsed_ms)
            return []
        self._on_repaired(applied.boundary, 1)
        # What is not plainly good is worth a row of its own: a later unknown may overrule it.
        application, judgement = rows(applied, criterion, run, at=now, active=active)
        self._history.add_judgement(judgement)
        self._probation.judged(application, judgement)
        # Successes beside it are still being counted: both are weighed at the next flush.
        self._unruled.add(applied.fix_id)
        return [("application", application), ("judgement", judgement)]

    def _active(self, fix_id: str) -> bool:
        change = self._index.latest(fix_id)
        return change is not None and change.state is FixState.ACTIVE

    def repaired(
        self,
        boundary: str,
        mine: Sequence[FiredRepair],
        context_keys: Mapping[str, str],
        run: Run | None,
        *,
        resolved: bool,
        valid: bool | None,
        frame: FrameType | None = None,
    ) -> None:
        """Take in a call in which installed repairs acted; judged with its run, or at once without one.

        Args:
            boundary: its name.
            mine: what acted.
            context_keys: of the call.
            run: the pipeline run it belongs to.
            resolved: whether it returned with a result that keeps its contract.
            valid: whether that keeps the contract; None without one.
            frame: of the boundary's wrapper, where the call is still going on.
        """
        context = self._contexts.of(context_keys)
        elapsed: dict[str, int] = {}
        for one in mine:
            elapsed[one.fix_id] = elapsed.get(one.fix_id, 0) + one.elapsed_ns
        own: Run | None = None
        for fix_id, nanoseconds in elapsed.items():
            if run is None and resolved:
                # Outside a pipeline the run ends with the call: nothing can come later that went wrong.
                tallied = Tallied(fix_id, boundary, None, context, valid, self._active(fix_id))
                self._tally.add(tallied, nanoseconds / 1e6)
                continue
            applied = Applied(
                fix_id=fix_id,
                boundary=boundary,
                resolved=resolved,
                valid_output=valid,
                context_keys=context,
                elapsed_ms=nanoseconds / 1e6,
                instead_of=None if run is None else kept_from_happening(run, fix_id, boundary, mine, frame),
            )
            if run is not None:
                run.applied(applied)
                run.heals.append(heal_of(applied, mine))
            else:
                own = own or Run(None, context_keys=context_keys)
                own.applied(applied)
        if own is not None:
            self.close_run(own)

    def flush(self) -> None:
        """Write down what installed repairs have done since the last flush, and rule on their fixes."""
        unruled: set[str] = set()
        with contextlib.suppress(KeyError):
            while True:
                unruled.add(self._unruled.pop())
        for application, judgement in self._tally.take():
            self._on_repaired(application.boundary, application.count)
            self._append([("application", application), ("judgement", judgement)])
            self._probation.judged(application, judgement)
            unruled.add(application.fix_id)
        decided = self._probation.ruled(sorted(unruled))
        if decided:
            self._append(decided)
