"""The gateway: decides whether Claude may be asked, before every request, and writes down what it cost.

In this order: is the server well (circuit breaker), has the kind of failure been diagnosed in vain a moment ago
(cooldown), is there room in this process, does another call diagnose it (a leased row, so across processes), is there
money left. What cannot be known, because the store is away, is a no. It knows no SDK and no prices.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self
from uuid import UUID

from healspan.remediation.claude.ask import UNCHARGED, FailureKind, Usage
from healspan.remediation.claude.breaker import OF_THE_SERVER, Breaker, BreakerView
from healspan.remediation.claude.budget import Cost, Limits, charge, end_of_day, reservation, why_over
from healspan.remediation.claude.refusal import (
    Refusal,
    RefusalState,
    breaker_open,
    busy,
    cooldown,
    diagnosing,
    lost,
    store_away,
)
from healspan.remediation.errors import StoreError
from healspan.remediation.ids import uuid7
from healspan.remediation.settings import Settings
from healspan.remediation.store.ledger import Ended, Ledger, Lost, Over, Resting, Taken
from healspan.remediation.store.views import Amount, BreakerReport

__all__ = ["Admission", "Ended", "Gateway", "Limits", "Refusal", "RefusalState"]

logger = logging.getLogger("healspan.claude")

_OUTAGES = OF_THE_SERVER - {"bad_request"}
"""Say nothing about the failure that was to be diagnosed: it rests no longer than the server does."""

_ON_ITS_WAY = timedelta(seconds=5)
"""A fix that has healed a call here serves in every other process by then; until then none of them pays for another."""

_MOST_RESTS = 10_000
_TELL_SECONDS = 5.0
"""Refusals are written no more often than this, together."""


@dataclass(frozen=True)
class _Rest:
    until: float
    """Of the monotonic clock."""
    refusal: Refusal


class Gateway:
    """Stands between the diagnoses of one process and Claude; safe to share between threads.

    Waits are bounded by the patience of the ledger. A child of a fork makes its own.

    Args:
        ledger: what all processes decide together.
        limits: budgets and the rest.
        cost: what a model's usage costs in US dollars; None where its price is not known.
        instance: this process, as people are told of it.
        clock: seconds that never go backwards.
        now: the wall clock, in UTC.
    """

    def __init__(
        self,
        ledger: Ledger,
        limits: Limits,
        *,
        cost: Cost,
        instance: str = "",
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.limits = limits
        self._halved = limits.halved()
        self._ledger = ledger
        self._cost = cost
        self._instance = instance
        self._clock = clock
        self._now = now
        self._lock = threading.RLock()
        self._breaker = Breaker(
            failures=limits.breaker_failures,
            rest=limits.breaker_seconds,
            patience=limits.lease.total_seconds(),
        )
        self._rests: OrderedDict[str, _Rest] = OrderedDict()
        self._under_way: dict[Admission, float] = {}
        """When its lease ends: one that was never left must not take a place for ever."""
        self._told = clock()

    @classmethod
    def open(cls, settings: Settings, *, cost: Cost) -> Gateway:
        """Return the gateway of this process, with what the settings say."""
        instance = settings.resource["service.instance.id"]
        return cls(Ledger.open(settings), Limits.of(settings), cost=cost, instance=instance)

    def enter(self, pattern: str, boundary: str) -> Admission | Refusal:
        """Ask for leave to diagnose a kind of failure, once at a time in all processes.

        Args:
            pattern: its exact hash.
            boundary: where it failed.

        Returns:
            An admission, to be used as a context manager; or why there is none, which has been counted.
        """
        admission = Admission(self, pattern, boundary)
        refusal = self._find_room(admission)
        if refusal is None:
            try:
                refusal = self._take_lease(admission)
            except BaseException:
                self._give_back(admission)
                raise
            if refusal is not None:
                self._give_back(admission)
        if refusal is None:
            return admission
        self._count(refusal, admission)
        return refusal

    def breaker(self) -> BreakerView:
        """Say where the circuit breaker of this process stands."""
        with self._lock:
            return self._breaker.view(self._clock())

    def close(self) -> None:
        """Write down what was not yet, within a bound."""
        self._ledger.close()

    # Entering

    def _find_room(self, admission: Admission) -> Refusal | None:
        with self._lock:
            moment = self._clock()
            if not self._breaker.admits(admission, moment):
                return self._breaker_open(moment)
            refusal = self._why_no_room(admission.pattern, moment)
            if refusal is None:
                self._under_way[admission] = moment + self.limits.lease.total_seconds()
            else:
                self._breaker.leave(admission)
            return refusal

    def _why_no_room(self, pattern: str, moment: float) -> Refusal | None:
        rest = self._rests.get(pattern)
        if rest is not None and moment < rest.until:
            return rest.refusal
        for other in [one for one, ends in self._under_way.items() if ends <= moment]:
            del self._under_way[other]
        if any(other.pattern == pattern for other in self._under_way):
            return diagnosing(None)
        # One that has ended still holds its pattern until the store knows, and takes nobody's place.
        working = sum(other.ended is None for other in self._under_way)
        if working >= self.limits.concurrent:
            return busy(working)
        return None

    def _take_lease(self, admission: Admission) -> Refusal | None:
        now = self._now()
        limits = self.limits
        try:
            found = self._ledger.enter(
                admission.pattern, admission.holder, now=now, lease=limits.lease, cooldown=limits.cooldown
            )
        except StoreError as error:
            return store_away(error)
        if isinstance(found, Taken):
            return diagnosing(found.until)
        if isinstance(found, Resting):
            return self._let_rest(admission.pattern, found, now).refusal
        return None

    def _give_back(self, admission: Admission) -> None:
        with self._lock:
            self._under_way.pop(admission, None)
            self._breaker.leave(admission)

    # Asking

    def _reserve(self, admission: Admission, need: Amount, model: str, *, is_final: bool = True) -> UUID | Refusal:
        """Reserve; what is not final needs no more than half of a day's budgets, and is not counted if refused."""
        with self._lock:
            moment = self._clock()
            if not self._breaker.admits(admission, moment):
                return self._breaker_open(moment)
            self._under_way[admission] = moment + self.limits.lease.total_seconds()
        now = self._now()

        def judge(pattern: Amount, day: Amount) -> str | None:
            limits = self.limits if is_final else self._halved
            return why_over(limits, need, pattern=pattern, day=day, now=now)

        try:
            found = self._ledger.reserve(
                admission.pattern,
                admission.boundary,
                admission.holder,
                model,
                need,
                judge,
                now=now,
                lease=self.limits.lease,
                is_final=is_final,
            )
        except StoreError as error:
            return store_away(error)
        if isinstance(found, Lost):
            self._give_back(admission)
            return lost()
        if isinstance(found, Over):
            return Refusal(state="budget", reason=found.reason)
        return found

    def _settle(
        self,
        admission: Admission,
        request: _Request | None,
        usage: Usage | None,
        failed: FailureKind | None,
        retry_after: float | None,
        seconds: float,
    ) -> None:
        with self._lock:
            moment = self._clock()
            before = self._breaker.view(moment)
            self._breaker.tell(admission, moment, failed, retry_after)
            after = self._breaker.view(moment)
        if request is not None:
            spent = Amount() if failed in UNCHARGED else None
            if usage is not None:
                spent = charge(usage, request.model, self._cost)
            with contextlib.suppress(StoreError):  # then what was reserved counts, until it can be written
                self._ledger.settle(request.request_id, spent, failed, seconds)
        if after.state != "closed":
            self._tell_of(after)
        elif before.state != "closed":
            self._tell_of(None)

    def _leave(self, admission: Admission) -> None:
        now = self._now()
        state, rests = self._outcome(admission, now)
        try:
            with self._lock:
                if state == "healed":
                    self._rests.pop(admission.pattern, None)
            if state is not None and state != "healed":
                self._let_rest(admission.pattern, Resting(now + rests, state), now)
            elif admission.refused is not None:
                self._keep(admission.pattern, _Rest(self._clock() + rests.total_seconds(), admission.refused))
            with contextlib.suppress(StoreError):  # then the lease ends by itself
                self._ledger.leave(
                    admission.pattern, admission.boundary, admission.holder, state, now=now, rests_until=now + rests
                )
        finally:
            self._give_back(admission)

    def _outcome(self, admission: Admission, now: datetime) -> tuple[Ended | None, timedelta]:
        """Return how a diagnosis ended, if it asked anything, and how long its pattern rests."""
        rests, none = self.limits.cooldown, timedelta()
        if not admission.asked and admission.refused is not None:
            # Nothing was tried. Only a budget says that it would be in vain to come again soon.
            return None, min(rests, end_of_day(now) - now) if admission.refused.state == "budget" else none
        state = admission.ended or ("failed" if admission.asked else None)
        if state is None:
            return state, none
        if state == "healed":
            return state, _ON_ITS_WAY
        if admission.failed in _OUTAGES:
            return state, min(rests, timedelta(seconds=self.limits.breaker_seconds))
        return state, rests

    # Telling

    def _let_rest(self, pattern: str, resting: Resting, now: datetime) -> _Rest:
        ahead = (resting.until - now).total_seconds()
        rest = _Rest(self._clock() + ahead, cooldown(resting.state, resting.until))
        self._keep(pattern, rest)
        return rest

    def _keep(self, pattern: str, rest: _Rest) -> None:
        with self._lock:
            self._rests[pattern] = rest
            self._rests.move_to_end(pattern)
            if len(self._rests) > _MOST_RESTS:
                self._rests.popitem(last=False)

    def _breaker_open(self, moment: float) -> Refusal:
        view = self._breaker.view(moment)
        return breaker_open(view, self._now() + timedelta(seconds=view.seconds))

    def _tell_of(self, view: BreakerView | None) -> None:
        now = self._now()
        report = None
        if view is not None and view.last is not None:
            until = now + timedelta(seconds=view.seconds)
            report = BreakerReport(instance=self._instance, until=until, failures=view.failures, last=view.last)
            logger.warning("Claude is not asked: %s", breaker_open(view, until).reason)
        with contextlib.suppress(StoreError):  # it is for people to see, and decides nothing
            self._ledger.report_breaker(self._instance, report, now=now)

    def _count(self, refusal: Refusal, admission: Admission) -> None:
        with self._lock:
            moment = self._clock()
            write = refusal.state != "store_away" and moment - self._told >= _TELL_SECONDS
            if write:
                self._told = moment
        with contextlib.suppress(StoreError):  # then it goes with the next thing that is written
            self._ledger.count(
                refusal.state, admission.pattern, admission.boundary, refusal.reason, now=self._now(), write=write
            )


@dataclass(frozen=True)
class _Request:
    request_id: UUID
    model: str


@dataclass(eq=False)
class Admission:
    """Leave to diagnose one kind of failure. Use as a context manager: leaving gives everything back.

    Made by `Gateway.enter`. One thread at a time may use it.
    """

    _gateway: Gateway
    pattern: str
    boundary: str
    holder: str = field(default_factory=lambda: str(uuid7()))
    asked: bool = False
    """Whether any request was allowed."""
    failed: FailureKind | None = None
    """How the last request failed."""
    refused: Refusal | None = None
    """Why the last request was not allowed, if it was not."""
    ended: Ended | None = None
    _request: _Request | None = None
    _left: bool = False

    def reserve(
        self, input_tokens: int, most_output_tokens: int, model: str, count: Callable[[], int] | None = None
    ) -> Refusal | None:
        """Reserve what a request may cost, right before it is made; or say why it must not be made.

        Args:
            input_tokens: of its prompt, or an upper bound.
            most_output_tokens: that the answer may have.
            model: that is asked.
            count: says how many tokens the prompt has, where `input_tokens` is a bound that may be far too high. It is
                asked when the bound is more than one request may have, or would leave less than half of a budget.

        Raises:
            AskFailed: by `count`; nothing was reserved.
        """
        if self._left:
            raise RuntimeError("this admission was left; enter the gateway again")
        gateway = self._gateway
        need = reservation(input_tokens, most_output_tokens, model, gateway._cost)
        found = gateway._reserve(self, need, model, is_final=count is None)
        if count is not None and isinstance(found, Refusal) and found.state == "budget":
            need = reservation(count(), most_output_tokens, model, gateway._cost)
            found = gateway._reserve(self, need, model)
        if isinstance(found, Refusal):
            self.refused = found
            if found.state != "budget":  # that one is counted in the transaction that decides it
                gateway._count(found, self)
            return found
        self.refused = None
        self._request, self.asked = _Request(found, model), True
        return None

    def settle(
        self, usage: Usage | None, failed: FailureKind | None, retry_after: float | None, seconds: float
    ) -> None:
        """Tell what came of the request; one that is never settled stays as expensive as it could have been.

        Without a request that was reserved (its tokens could not even be counted) only the breaker is told. It may
        come after the admission was left.

        Args:
            usage: what it was charged for; None where nobody knows, so that what was reserved counts, unless the
                server has declined the request.
            failed: why there is no answer; None if there is one.
            retry_after: seconds that the server asks to wait.
            seconds: that it took.
        """
        request, self._request = self._request, None
        self.failed = failed
        self._gateway._settle(self, request, usage, failed, retry_after, seconds)

    def end(self, state: Ended) -> None:
        """Say how the diagnosis ended; takes effect when it is left.

        Whatever has not healed rests for the cooldown: also a proposal, or every failure until a human looks at it
        would cost another one; and what has asked, but ended in silence, counts as failed.
        """
        self.ended = state

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._left:
            self._left = True
            self._gateway._leave(self)
