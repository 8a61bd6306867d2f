"""The engine: takes one failing call up the tiers and proves what it does.

`Engine.heal` is a generator: it yields the calls it wants made and is sent their results, so that the same
code serves synchronous and asynchronous boundaries (see `driver`).
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Protocol

from healspan.remediation.adoption import Adoption
from healspan.remediation.attempt import Attempt, Invocation
from healspan.remediation.boundary import FailedCall
from healspan.remediation.diagnosis import Diagnoser, left_open
from healspan.remediation.errors import AdapterFailed, FixError, RepairDeclined, StepInapplicable
from healspan.remediation.fix import Fix, Match, RiskLevel, StateChange
from healspan.remediation.flight import Flights
from healspan.remediation.incident import IncidentStatus, Resolution, Severity, Tier
from healspan.remediation.ladder import Ladder
from healspan.remediation.lessons import Lessons
from healspan.remediation.policy import Preset, Refusal, Request, first_refusal
from healspan.remediation.probation import Probation
from healspan.remediation.progress import Progress, Success
from healspan.remediation.proving import Prover
from healspan.remediation.record import Record
from healspan.remediation.repair import Repairs
from healspan.remediation.run import Heal
from healspan.remediation.sandbox import Sandbox
from healspan.remediation.selection import HARM, SELECTION, Arm, Selection
from healspan.remediation.signing import KeyRing
from healspan.remediation.store import Candidate, FixIndex, context_text
from healspan.remediation.uses import Uses

__all__ = ["Engine", "Healing", "Journal", "Search"]

logger = logging.getLogger("healspan.engine")


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


@dataclass(frozen=True, slots=True)
class Search:
    """A search for a fix of a call that has failed for its caller already; each part says whether it found one."""

    compute: Generator[Invocation, Any, bool]
    """Asks those who only compute."""
    ask: Generator[Invocation, Any, bool] | None
    """Asks those who have to wait for others, once that has found nothing; None where there are none."""


class Engine:
    """Takes failing calls up the tiers.

    Args:
        journal: makes facts durable.
        index: the fixes that serve in this process.
        keys: sign what the engine finds.
        repairs: installs repairs into live functions.
        sandbox: applies adapters.
        diagnosers: asked in order in tier 2.
        probation: told of every verdict on a fix.
        preset: the policy.
        adoptions_per_day: new fixes that one boundary may put into trial by itself.
        selection: chooses among fixes that fit a failure equally closely.
        chance: whence it draws.
        flight_wait: how long a call waits for the diagnosis of an equal failure, in seconds.
        replay_seconds: how long the replay of good calls may take for one new fix.
        search_seconds: how long one diagnosis may look for fixes of several steps.
        lesson_rest: how long a fix that has changed a good call is left alone.
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
        sandbox: Sandbox,
        adoptions_per_day: int,
        selection: Selection = SELECTION,
        chance: Random | None = None,
        flight_wait: float = 2.0,
        replay_seconds: float = 0.05,
        search_seconds: float = 1.0,
        lesson_rest: timedelta = timedelta(hours=1),
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._journal = journal
        self._index = index
        self._adoption = Adoption(index=index, keys=keys, preset=preset, per_day=adoptions_per_day, now=now)
        self._repairs = repairs
        self._sandbox = sandbox
        self._diagnosers = tuple(diagnosers)
        self._selection = selection
        self._chance = chance or Random()  # noqa: S311 - it explores, it keeps no secret
        self._preset = preset
        self._flights = Flights()
        self._flight_wait = flight_wait
        self._uses = Uses(
            probation=probation,
            first=index.firsts.note,
            policy_version=selection.version,
            now=lambda: self._now(),
        )
        self._prover = Prover(
            index=index,
            adoption=self._adoption,
            ladder=Ladder(repairs, sandbox, replay_seconds=replay_seconds, clock=clock, now=now, sign=keys.sign_record),
            lessons=Lessons(lesson_rest),
            preset=preset,
            search_seconds=search_seconds,
            uses=self._uses,
            now=lambda: self._now(),
            clock=clock,
        )
        self._now = now
        self._clock = clock

    def heal(self, call: FailedCall) -> Generator[Invocation, Any, Healing]:
        """Take one failing call, whose incident is durable, up the tiers; in mode `background` only to tier 1."""
        progress = Progress()
        self._note_refuted(call, progress)
        with self._interrupted(progress):
            success = yield from self._known_fix(call, progress)
            if success is None and call.boundary.mode != "background":
                progress.tier = Tier.DIAGNOSIS
                success = yield from self._diagnosis(call, progress)
        if success is None:
            progress.tier = Tier.HUMAN
            status = IncidentStatus.ESCALATED
        else:
            status = IncidentStatus.DEGRADED if success.degraded else IncidentStatus.HEALED
        return self._end(call, progress, status, success)

    def search(self, call: FailedCall) -> Search:
        """Return a search for a fix of a call that has failed for its caller already, to serve the next one."""
        progress = Progress(tier=Tier.DIAGNOSIS, diagnosed=True, later=True)
        self._note_refuted(call, progress)
        return Search(
            compute=self._found(call, progress, waiting=False),
            ask=self._found(call, progress, waiting=True) if any(each.waits for each in self._diagnosers) else None,
        )

    def _found(self, call: FailedCall, progress: Progress, *, waiting: bool) -> Generator[Invocation, Any, bool]:
        found = self._is_answered(call)
        if not found and not self._index.disabled:
            with self._interrupted(progress):
                for diagnoser in self._diagnosers:
                    if diagnoser.waits is waiting and not found:
                        found = (yield from self._prover.prove(call, progress, diagnoser)) is not None
        self._journal.append_many(progress.take_facts())
        return found

    def _is_answered(self, call: FailedCall) -> bool:
        """Whether a fix of this failure has come to serve since it happened: then nobody has to be asked again."""
        incident = call.incident
        return any(
            one.change.at > incident.timestamp and one.fix.fix_id not in call.refuted
            for group in self._index.groups(incident.pattern, incident.module, incident.context_keys)
            for one in group
        )

    @contextlib.contextmanager
    def _interrupted(self, progress: Progress) -> Iterator[None]:
        """Keep what a call has shown of fixes so far, should it be cancelled: this process has acted on it already."""
        try:
            yield
        except BaseException:
            self._journal.append_many(progress.take_facts())
            raise

    def _note_refuted(self, call: FailedCall, progress: Progress) -> None:
        """Leave out fixes that have had their turn in this call; each has its verdict already."""
        for fix_id, reason in call.refuted.items():
            candidate = self._index.snapshot.candidates.get(fix_id)
            if candidate is not None:
                progress.decide(candidate.fix, "contract", reason, applied=True)

    # Tier 1

    def _known_fix(self, call: FailedCall, progress: Progress) -> Generator[Invocation, Any, Success | None]:
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

    def _eligible(self, call: FailedCall, progress: Progress, group: Sequence[Candidate]) -> list[Candidate]:
        """Return what may be tried; of rivals only those that every gate lets, so that none is drawn in vain."""
        left = [candidate for candidate in group if candidate.fix.fix_id not in progress.tried]
        if len(left) < 2:
            return left
        eligible = []
        for candidate in left:
            refusal = self._refusal(call, candidate.fix, candidate.change)
            if refusal is None:
                eligible.append(candidate)
            else:
                progress.decide(candidate.fix, refusal.gate, refusal.reason)
        return eligible

    def _choose(self, call: FailedCall, progress: Progress, left: Sequence[Candidate]) -> Candidate:
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
        fix, evidence = candidate.fix, self._index.verdicts.vouched(candidate.fix.fix_id)
        return Arm(
            fix_id=fix.fix_id,
            posterior=evidence.posterior(now, context),
            harm=HARM[fix.risk_level],
            latency_ms=evidence.latency_ms,
            explorable=fix.risk_level is RiskLevel.LOW,
            preference=preference,
        )

    # Tier 2

    def _diagnosis(self, call: FailedCall, progress: Progress) -> Generator[Invocation, Any, Success | None]:
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
                success = yield from self._prover.prove(call, progress, diagnoser)
                if success is not None:
                    found = True
                    return success
                # Another process may have learned meanwhile what answers this failure.
                success = yield from self._known_fix(call, progress)
                if success is not None:
                    found = True
                    progress.tier = Tier.KNOWN_FIX
                    return success
            return None
        finally:
            self._flights.land(pattern, flight, found=found)

    # One candidate

    def _refusal(self, call: FailedCall, fix: Fix, change: StateChange | None) -> Refusal | None:
        asked = None if change is not None and change.by_human else left_open(call, fix.steps)
        return first_refusal(Request(fix, change, call, self._preset, self._now(), asked))

    def _try(
        self,
        call: FailedCall,
        progress: Progress,
        fix: Fix,
        change: StateChange | None,
    ) -> Generator[Invocation, Any, Success | None]:
        refusal = self._refusal(call, fix, change)
        if refusal is not None:
            progress.decide(fix, refusal.gate, refusal.reason)
            return None
        started = self._clock()
        attempt = Attempt(fix, call, self._repairs, self._sandbox, () if change is None else change.paths)
        try:
            with attempt.in_force():
                value = yield from attempt.run()
        except (StepInapplicable, RepairDeclined, FixError) as inapplicable:
            progress.decide(fix, "apply", str(inapplicable))
            return None
        except Exception as error:
            # An adapter's failure is told in our own words; an exception's may hold what must not leave.
            told = str(error) if isinstance(error, AdapterFailed) else f"it raised {type(error).__qualname__}"
            progress.decide(fix, "apply", told, applied=True)
            progress.raised[fix.fix_id] = error, attempt.acted
            self._uses.failed(call, progress, fix, change, self._clock() - started, valid=None)
            return None
        contract = call.verify(value)
        if contract.valid is False:
            progress.decide(fix, "contract", contract.reason, applied=True)
            self._uses.failed(call, progress, fix, change, self._clock() - started, valid=False)
            return None
        return self._uses.took(call, progress, fix, change, attempt, value, contract, self._clock() - started)

    # How it ended

    def _end(
        self,
        call: FailedCall,
        progress: Progress,
        status: IncidentStatus,
        success: Success | None,
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
                reason="; ".join(dict.fromkeys(d.reason for d in progress.decisions if d.gate != "verified")),
            ),
        )
        return Healing(resolution, success.value if success else None)
