"""Uses: what each use of a fix on a failing call is written down as, with the verdict where it is known at once.

A fix that gave a value waits for the end of the run; one that acted in vain has failed there and then.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from opentelemetry.trace import get_current_span

from healspan.remediation.attempt import Attempt
from healspan.remediation.boundary import ContractResult, FailedCall
from healspan.remediation.cascade import writes
from healspan.remediation.fix import Fix, FixState, StateChange
from healspan.remediation.ids import uuid7
from healspan.remediation.outcome import Application, ApplicationMode, Judgement, Verdict
from healspan.remediation.probation import Probation
from healspan.remediation.progress import Progress, Success
from healspan.remediation.run import Applied

__all__ = ["Uses"]


class Uses:
    """Writes down the uses of fixes, into the progress of the call.

    Args:
        probation: told of every verdict.
        first: told of the use that made a new fix serve.
        policy_version: of the rule that chooses among rivals.
        now: the wall clock, in UTC.
    """

    def __init__(
        self,
        *,
        probation: Probation,
        first: Callable[[Application], object],
        policy_version: str,
        now: Callable[[], datetime],
    ) -> None:
        self._probation = probation
        self._first = first
        self._policy_version = policy_version
        self._now = now

    def took(
        self,
        call: FailedCall,
        progress: Progress,
        fix: Fix,
        change: StateChange | None,
        attempt: Attempt,
        value: Any,
        contract: ContractResult,
        seconds: float,
    ) -> Success:
        """Write down a fix whose value stands for the call's result; the verdict waits for the end of the run."""
        progress.decide(fix, "verified", contract.reason, applied=True)
        application = self._application(
            call,
            fix,
            change,
            progress,
            seconds,
            resolved=True,
            valid=contract.valid,
            degraded=attempt.degraded,
        )
        if progress.later:
            # Nobody got this value: it shows what the fix would have done, and counts for nothing.
            shadow = application.model_copy(update={"mode": ApplicationMode.SHADOW})
            progress.facts.append(("application", shadow))
            return Success(fix, value, attempt.degraded, attempt.new_path)
        progress.facts.append(("application", application))
        if change is None:
            self._first(application)
        call.run.applied(
            Applied(
                fix_id=fix.fix_id,
                boundary=call.incident.module,
                resolved=True,
                valid_output=contract.valid,
                degraded=attempt.degraded,
                application_id=application.application_id,
                context_keys=tuple(sorted(application.context_keys.items())),
                elapsed_ms=application.added_latency_ms,
                at=application.timestamp,
                error_id=call.incident.error_id,
                writes=writes(fix, call.incident.module),
            ),
        )
        return Success(fix, value, attempt.degraded, attempt.new_path)

    def failed(
        self,
        call: FailedCall,
        progress: Progress,
        fix: Fix,
        change: StateChange | None,
        seconds: float,
        *,
        valid: bool | None,
    ) -> None:
        """Write down a fix that acted in vain, with its verdict and what follows from it."""
        application = self._application(
            call, fix, change, progress, seconds, resolved=False, valid=valid, degraded=False
        )
        progress.facts.append(("application", application))
        judgement = Judgement(
            application_id=application.application_id,
            fix_id=fix.fix_id,
            timestamp=application.timestamp,
            verdict=Verdict(resolved=False, no_regression=None, valid_output=valid),
            reason="the call did not return with its result",
        )
        progress.facts.append(("judgement", judgement))
        self._probation.judged(application, judgement)
        progress.facts += self._probation.ruled([fix.fix_id])

    def _application(
        self,
        call: FailedCall,
        fix: Fix,
        change: StateChange | None,
        progress: Progress,
        seconds: float,
        *,
        resolved: bool,
        valid: bool | None,
        degraded: bool,
    ) -> Application:
        incident = call.incident
        active = change is not None and change.state is FixState.ACTIVE
        choice = progress.choice if change is not None else None
        return Application(
            application_id=uuid7(),
            fix_id=fix.fix_id,
            error_id=incident.error_id,
            run_id=call.run.run_id,
            boundary=incident.module,
            pipeline=call.run.pipeline,
            context_keys=incident.context_keys,
            timestamp=self._now(),
            tier=progress.tier,
            mode=ApplicationMode.ACTIVE if active else ApplicationMode.TRIAL,
            steps=tuple(step.kind for step in fix.steps),
            resolved=resolved,
            valid_output=valid,
            degraded=degraded,
            added_latency_ms=seconds * 1e3,
            # What a diagnosis proposes, and a fix without rivals, was certain to be tried.
            propensity=1.0 if choice is None else choice.propensity,
            candidates=() if choice is None else progress.rivals,
            policy_version=None if choice is None else self._policy_version,
            trace_id=incident.trace_id,
            span_id=_span_id(incident.trace_id),
        )


def _span_id(trace_id: str | None) -> str | None:
    """Return the id of the span that is open, if it is of this trace and will be exported."""
    span = get_current_span().get_span_context()
    if not span.trace_flags.sampled or format(span.trace_id, "032x") != trace_id:
        return None
    return format(span.span_id, "016x")
