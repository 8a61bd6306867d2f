"""The engine: takes one failing call up the tiers and proves what it does.

`Engine.heal` is a generator: it yields the calls it wants made and is sent their results, so that the same
code serves synchronous and asynchronous boundaries (see `driver`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any, Protocol

from healspan.remediation.adoption import Adoption
from healspan.remediation.attempt import Attempt, Invocation
from healspan.remediation.boundary import FailedCall
from healspan.remediation.diagnosis import Diagnoser
from healspan.remediation.errors import FixError, RepairDeclined, StepInapplicable
from healspan.remediation.fix import Fix, FixState, Match, RiskLevel, StateChange
from healspan.remediation.flight import Flights
from healspan.remediation.ids import uuid7
from healspan.remediation.incident import Decision, IncidentStatus, Resolution, Severity, Tier
from healspan.remediation.outcome import Application, ApplicationMode, Judgement, Verdict
from healspan.remediation.policy import GATES, Preset, Request, first_refusal
from healspan.remediation.probation import Probation
from healspan.remediation.record import Record
from healspan.remediation.repair import Repairs
from healspan.remediation.run import Applied, Heal
from healspan.remediation.selection import HARM, SELECTION, Arm, Choice, Selection
from healspan.remediation.signing import KeyRing
from healspan.remediation.step import FramePath, RepairStep, in_words
from healspan.remediation.store import Candidate, FixIndex, context_text

__all__ = ["Engine", "Healing", "Journal"]

logger = logging.getLogger("healspan.engine")

_TURNED_DOWN = frozenset({FixState.SUSPENDED, FixState.RETIRED})


class Journal(Protocol):
    """Where facts become durable; False means that they were dropped and counted."""

    def append_many(self, facts: Iterable[tuple[str, Record]]) -> bool:
        """Write facts, all or none, before returning."""


@dataclass(frozen=True, slots=True)
class Healing:
    """How a failing call ended."""

    resolution: Resolution
    value: Any = None

    @property
    def healed(self) -> bool:
        """Whether `value` stands for the call's result."""
        return self.resolution.status in {IncidentStatus.HEALED, IncidentStatus.DEGRADED}


@dataclass(slots=True)
class _Progress:
    """What is known so far of one failing call on its way up the tiers."""

    decisions: list[Decision] = field(default_factory=list)
    tried: set[str] = field(default_factory=set)
    """Fixes decided upon already, by id."""
    tier: Tier = Tier.KNOWN_FIX
    diagnosed: bool = False
    choice: Choice | None = None
    """How the fix that is being tried was chosen; None where there was nothing to choose from."""
    rivals: tuple[str, ...] = ()
    """Then: all that could have been."""
    facts: list[tuple[str, Record]] = field(default_factory=list)
    """What is to be written when the call has ended: one commit, before the application gets its value."""

    def decide(self, fix: Fix, gate: str, reason: str, *, applied: bool = False) -> None:
        what = ", then ".join(in_words(step) for step in fix.steps)
        self.decisions.append(Decision(fix_id=fix.fix_id, what=what, applied=applied, gate=gate, reason=reason))
        self.tried.add(fix.fix_id)


@dataclass(frozen=True, slots=True)
class _Success:
    fix: Fix
    value: Any
    degraded: bool
    path: FramePath | None
    """The new way to a repaired expression that this success has shown, if any."""


class Engine:
    """Takes failing calls up the tiers.

    Args:
        journal: makes facts durable.
        index: the fixes that serve in this process.
        keys: sign what the engine finds.
        repairs: installs repairs into live functions.
        diagnosers: asked in order in tier 2.
        probation: told of every verdict on a fix.
        preset: the policy.
        adoptions_per_day: new fixes that one boundary may put into trial by itself.
        selection: chooses among fixes that fit a failure equally closely.
        chance: whence it draws.
        now: the wall clock, in UTC.
        clock: a monotonic clock in seconds.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        index: FixIndex,
        keys: KeyRing,
        repairs: Repairs,
        diagnosers: Sequence[Diagnoser],
        probation: Probation,
        preset: Preset = "guarded",
        adoptions_per_day: int,
        selection: Selection = SELECTION,
        chance: Random | None = None,
        flight_wait: float = 2.0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._journal = journal
        self._index = index
        self._adoption = Adoption(index=index, keys=keys, preset=preset, per_day=adoptions_per_day, now=now)
        self._repairs = repairs
        self._diagnosers = tuple(diagnosers)
        self._probation = probation
        self._selection = selection
        self._chance = chance or Random()  # noqa: S311 - it explores, it keeps no secret
        self._preset = preset
        self._flights = Flights()
        self._flight_wait = flight_wait
        self._now = now
        self._clock = clock

    def heal(self, call: FailedCall) -> Generator[Invocation, Any, Healing]:
        """Take one failing call, whose incident is durable, up the tiers."""
        progress = _Progress()
        success = yield from self._known_fix(call, progress)
        if success is None:
            progress.tier = Tier.DIAGNOSIS
            success = yield from self._diagnosis(call, progress)
        if success is None:
            progress.tier = Tier.HUMAN
            status = IncidentStatus.ESCALATED
        else:
            status = IncidentStatus.DEGRADED if success.degraded else IncidentStatus.HEALED
        return self._end(call, progress, status, success)

    # Tier 1

    def _known_fix(self, call: FailedCall, progress: _Progress) -> Generator[Invocation, Any, _Success | None]:
        incident = call.incident
        if self._index.disabled:
            return None
        for group in self._index.groups(incident.pattern, incident.module, incident.context_keys):
            left = self._eligible(call, progress, group)
            while left:
                candidate = self._choose(call, progress, left)
                left.remove(candidate)
                success = yield from self._try(call, progress, candidate.fix, candidate.change)
                if success is not None:
                    if success.path is not None and success.path not in candidate.change.paths:
                        progress.facts += self._adoption.extend(candidate, success.path)
                    return success
        return None

    def _eligible(self, call: FailedCall, progress: _Progress, group: Sequence[Candidate]) -> list[Candidate]:
        """Return what may be tried; of rivals only those that every gate lets, so that none is drawn in vain."""
        left = [candidate for candidate in group if candidate.fix.fix_id not in progress.tried]
        if len(left) < 2:
            return left
        eligible = []
        for candidate in left:
            refusal = first_refusal(Request(candidate.fix, candidate.change, call, self._preset, self._now()))
            if refusal is None:
                eligible.append(candidate)
            else:
                progress.decide(candidate.fix, refusal.gate, refusal.reason)
        return eligible

    def _choose(self, call: FailedCall, progress: _Progress, left: Sequence[Candidate]) -> Candidate:
        progress.choice, progress.rivals = None, ()
        if len(left) == 1 or left[0].fix.scope.match is Match.BOUNDARY:
            # Fixes for a whole boundary are alternatives that a human has put in an order; chance has no say in it.
            return left[0]
        incident, now = call.incident, self._now()
        context = context_text(incident.context_keys)
        arms = [self._arm(candidate, context, now, -place) for place, candidate in enumerate(left)]
        # Nothing is tried out on a failure that somebody must look at tonight.
        explore = incident.severity is not Severity.CRITICAL
        choice = self._selection.choose(arms, self._chance, explore=explore)
        progress.choice, progress.rivals = choice, tuple(arm.fix_id for arm in arms)
        return next(candidate for candidate in left if candidate.fix.fix_id == choice.fix_id)

    def _arm(self, candidate: Candidate, context: str, now: datetime, preference: float) -> Arm:
        fix, evidence = candidate.fix, self._index.verdicts.evidence(candidate.fix.fix_id)
        return Arm(
            fix_id=fix.fix_id,
            posterior=evidence.posterior(now, context),
            harm=HARM[fix.risk_level],
            latency_ms=evidence.latency_ms,
            explorable=fix.risk_level is RiskLevel.LOW,
            preference=preference,
        )

    # Tier 2

    def _diagnosis(self, call: FailedCall, progress: _Progress) -> Generator[Invocation, Any, _Success | None]:
        if self._index.disabled:
            return None
        pattern = call.incident.pattern.exact
        flight, leader = self._flights.join(pattern)
        if not leader:
            yield call.pause(flight.landed, self._flight_wait)
            if flight.found:
                progress.tier = Tier.KNOWN_FIX
                return (yield from self._known_fix(call, progress))
            return None
        found = False
        try:
            # Another flight may have landed between this call's tier 1 and its joining.
            success = yield from self._known_fix(call, progress)
            if success is not None:
                found = True
                progress.tier = Tier.KNOWN_FIX
                return success
            progress.diagnosed = True
            for diagnoser in self._diagnosers:
                success = yield from self._prove(call, progress, diagnoser)
                if success is not None:
                    found = True
                    return success
            return None
        finally:
            self._flights.land(pattern, flight, found=found)

    def _prove(
        self,
        call: FailedCall,
        progress: _Progress,
        diagnoser: Diagnoser,
    ) -> Generator[Invocation, Any, _Success | None]:
        turned_down: set[tuple[object, ...]] = set()
        for draft in diagnoser.candidates(call):
            fix = Fix.from_draft(draft, created_at=self._now())
            if fix.fix_id in progress.tried:
                continue
            known = self._index.latest(fix.fix_id)
            lapsed = known is not None and known.state is FixState.TRIAL and _expired(known, self._now())
            if known is not None and known.state in _TURNED_DOWN:
                turned_down |= _places(fix)
            elif known is None and turned_down & _places(fix):
                progress.decide(fix, "state", "a stricter fix of the same expression was rejected or suspended")
                continue
            if known is not None and not lapsed:
                progress.decide(fix, "state", f"its state is {known.state}")
                continue
            refusal = first_refusal(Request(fix, None, call, self._preset, self._now()))
            if refusal is not None:
                if refusal.gate == "policy" and (yield from self._worth_a_look(call, fix)):
                    # This incident has shown the way that an approval would cover.
                    progress.facts += self._adoption.propose(fix, (call.path,) if _places(fix) else ())
                progress.decide(fix, refusal.gate, refusal.reason)
                continue
            success = yield from self._try(call, progress, fix, None)
            if success is not None:
                progress.facts += self._adoption.adopt(fix, known, success.path)
                return success
        return None

    def _worth_a_look(self, call: FailedCall, fix: Fix) -> Generator[Invocation, Any, bool]:
        """Tell whether a fix that only a human may let act would have helped here; its result is thrown away.

        The policy `suggest` runs nothing for it, and neither does a call that must not be made again.
        """
        unapproved = (one for one in GATES if one[0] != "policy")
        if self._preset == "suggest":
            return True
        if first_refusal(Request(fix, None, call, self._preset, self._now()), tuple(unapproved)) is not None:
            return False
        try:
            value = yield from Attempt(fix, call, self._repairs).run()
        except Exception:
            # Whatever it raised, it would not have helped.
            return False
        return call.verify(value).valid is not False

    # One candidate

    def _try(
        self,
        call: FailedCall,
        progress: _Progress,
        fix: Fix,
        change: StateChange | None,
    ) -> Generator[Invocation, Any, _Success | None]:
        refusal = first_refusal(Request(fix, change, call, self._preset, self._now()))
        if refusal is not None:
            progress.decide(fix, refusal.gate, refusal.reason)
            return None
        started = self._clock()
        attempt = Attempt(fix, call, self._repairs)
        try:
            value = yield from attempt.run()
        except (StepInapplicable, RepairDeclined, FixError) as inapplicable:
            progress.decide(fix, "apply", str(inapplicable))
            return None
        except Exception as error:
            progress.decide(fix, "apply", f"it raised {type(error).__qualname__}", applied=True)
            self._failed(call, progress, fix, change, self._clock() - started, valid=None)
            return None
        contract = call.verify(value)
        if contract.valid is False:
            progress.decide(fix, "contract", contract.reason, applied=True)
            self._failed(call, progress, fix, change, self._clock() - started, valid=False)
            return None
        progress.decide(fix, "verified", contract.reason, applied=True)
        application = self._application(
            call,
            fix,
            change,
            progress,
            self._clock() - started,
            resolved=True,
            valid=contract.valid,
            degraded=attempt.degraded,
        )
        progress.facts.append(("application", application))
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
            ),
        )
        return _Success(fix, value, attempt.degraded, attempt.new_path)

    def _failed(
        self,
        call: FailedCall,
        progress: _Progress,
        fix: Fix,
        change: StateChange | None,
        seconds: float,
        *,
        valid: bool | None,
    ) -> None:
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
        progress: _Progress,
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
            policy_version=None if choice is None else self._selection.version,
            trace_id=incident.trace_id,
        )

    # How it ended

    def _end(
        self,
        call: FailedCall,
        progress: _Progress,
        status: IncidentStatus,
        success: _Success | None,
    ) -> Healing:
        incident = call.incident
        resolution = Resolution(
            error_id=incident.error_id,
            timestamp=self._now(),
            status=status,
            tier=progress.tier,
            fix_id=success.fix.fix_id if success else None,
            decisions=tuple(progress.decisions),
            elapsed_ms=(self._clock() - call.started) * 1e3,
            diagnosed=progress.diagnosed,
        )
        self._journal.append_many([*progress.facts, ("resolution", resolution)])
        call.run.heals.append(
            Heal(
                boundary=incident.module,
                outcome=status,
                tier=progress.tier,
                fix_id=resolution.fix_id,
                steps=tuple(step.kind for step in success.fix.steps) if success else (),
                error_type=incident.error_type,
                error_id=incident.error_id,
                elapsed_ms=resolution.elapsed_ms,
                diagnosed=progress.diagnosed,
                reason="; ".join(d.reason for d in progress.decisions if d.gate != "verified"),
            ),
        )
        return Healing(resolution, success.value if success else None)


def _places(fix: Fix) -> set[tuple[object, ...]]:
    """Return what the repairs of a fix act on, and with which repairer, whatever loss they accept."""
    return {
        (step.module, step.qualname, step.line, step.column, step.end_line, step.end_column, step.repairer)
        for step in fix.steps
        if isinstance(step, RepairStep)
    }


def _expired(change: StateChange, now: datetime) -> bool:
    return change.expires is not None and change.expires <= now
