"""The diagnoser that asks Claude: at most three proposals for one failure, each told what came of the one before it.

Whatever blocks (the gateway, the server) happens in a thread of its own; the failing call waits for it as it waits for
anything else, without blocking a loop. A proposal is a candidate like any other: it passes the same gates.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal, Protocol, TypeVar

from opentelemetry.context import Context, get_current
from opentelemetry.trace import get_tracer

from healspan.remediation.attributes import BOUNDARY, DIAGNOSE_SPAN, DIAGNOSIS_STATE, INCIDENT_ID, PATTERN
from healspan.remediation.boundary import FailedCall
from healspan.remediation.claude.answer import Answer
from healspan.remediation.claude.ask import Asker, AskFailed, FailureKind, Prompt, Reply, Usage, bound
from healspan.remediation.claude.consultation import Asked, Consultation, ConsultationState
from healspan.remediation.claude.drafting import draft_of
from healspan.remediation.claude.prompt import Prompter
from healspan.remediation.diagnosis import Waiting
from healspan.remediation.errors import AttemptAborted, HealspanError
from healspan.remediation.fix import SERVING_STATES, FixDraft, StateChange
from healspan.remediation.ids import uuid7
from healspan.remediation.progress import Progress
from healspan.remediation.sandbox import Sandbox

__all__ = ["MOST_PROPOSALS", "ClaudeDiagnoser"]

logger = logging.getLogger("healspan.claude")
_tracer = get_tracer("healspan")

MOST_PROPOSALS = 3
"""For one failure."""

_Found = TypeVar("_Found")

_AGAIN: frozenset[FailureKind] = frozenset({"malformed", "truncated"})
"""Failures after which the same question may be answered better; the others speak of the server, or were meant."""


_NOTHING_NEW = "a fix like this was tried, proposed or turned down before, so it was not tried again"
"""The verdict where nothing was decided; without one the next proposal would be asked for in vain."""


class Refusal(Protocol):
    """Why the gateway lets nobody through."""

    @property
    def state(self) -> Literal["diagnosing", "budget", "breaker_open", "cooldown", "busy", "store_away"]:
        """What a consultation says of it."""

    @property
    def reason(self) -> str:
        """What to do, and until when."""


class Admission(AbstractContextManager["Admission"], Protocol):
    """A way through the gateway, for one diagnosis."""

    def reserve(
        self, input_tokens: int, most_output_tokens: int, model: str, count: Callable[[], int] | None = None
    ) -> Refusal | None:
        """Set aside what the next request may cost; count where a bound of its tokens is too much for the budgets."""

    def settle(
        self, usage: Usage | None, failed: FailureKind | None, retry_after: float | None, seconds: float
    ) -> None:
        """Put what it has cost in the place of that."""

    def end(self, state: Literal["proposed", "healed", "refused", "failed"]) -> None:
        """Say what came of it."""


class Gateway(Protocol):
    """Stands before the server: breaker, cooldown, single flight, budgets."""

    def enter(self, pattern: str, boundary: str) -> Admission | Refusal:
        """Let a diagnosis through, or not."""


class ClaudeDiagnoser:
    """Asks Claude for a fix.

    Args:
        asker: asks the server.
        prompter: makes the questions.
        gateway: stands before the server.
        keep: makes a consultation durable.
        cost: of a usage of a model, in USD; None where the price is not known.
        sandbox: checks the types of adapters.
        most_output: tokens that an answer may have.
        wait_seconds: how long a failing call waits for one answer.
        now: the wall clock, in UTC.
        clock: monotonic, in seconds.
    """

    name = "claude"
    composes = False
    waits = True

    def __init__(
        self,
        asker: Asker,
        prompter: Prompter,
        gateway: Gateway,
        *,
        keep: Callable[[Consultation], object],
        cost: Callable[[Usage, str], Decimal | None],
        sandbox: Sandbox | None = None,
        most_output: int,
        wait_seconds: float,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._asker = asker
        self._prompter = prompter
        self._gateway = gateway
        self._keep = keep
        self._cost = cost
        self._sandbox = sandbox
        self._most_output = most_output
        self._wait_seconds = wait_seconds
        self._now = now
        self._clock = clock
        self._leaving: set[threading.Thread] = set()
        """Those that give back what diagnoses have held."""

    def close(self, timeout: float = 1.0) -> None:
        """Wait, within a bound, until what diagnoses have held is given back."""
        until = self._clock() + timeout
        for thread in tuple(self._leaving):
            thread.join(max(until - self._clock(), 0.0))

    def candidates(self, call: FailedCall, progress: Progress) -> Generator[FixDraft | Waiting, None, None]:
        """Yield what Claude proposes, one at a time; what came of it is read from the progress of the call."""
        story = _Story(self._asker.model)
        try:
            yield from self._consulted(call, progress, story)
        except Exception as own:
            # The fault is healspan's or the server's; the failure goes on to a human like any that nobody could answer.
            story.state, story.reason = "failed", str(own) if isinstance(own, AskFailed) else "a fault of healspan's"
            if not isinstance(own, AskFailed):
                logger.warning("a diagnosis by Claude failed: %s; please report this", type(own).__qualname__)
        finally:
            self._write_down(call, story)

    def _consulted(
        self, call: FailedCall, progress: Progress, story: _Story
    ) -> Generator[FixDraft | Waiting, None, None]:
        pattern, boundary = call.incident.pattern.exact, call.boundary.name
        entered = yield from self._aside(lambda: self._gateway.enter(pattern, boundary), _left)
        if not isinstance(entered, AbstractContextManager):
            story.state, story.reason = entered.state, entered.reason
            return
        held = contextlib.ExitStack()
        admission = held.enter_context(entered)
        try:
            yield from self._proposals(call, progress, admission, story)
        finally:
            story.look(progress)
            if story.state in ("proposed", "healed", "refused", "failed"):
                # What has healed this call and waits for a human heals no other: until then it rests.
                admission.end("proposed" if story.state == "healed" and not story.serves else story.state)
            self._give_back(held)

    def _proposals(
        self,
        call: FailedCall,
        progress: Progress,
        admission: Admission,
        story: _Story,
    ) -> Generator[FixDraft | Waiting, None, None]:
        prompt = self._prompter.first(call, progress.decisions)
        for _ in range(MOST_PROPOSALS):
            story.begin(prompt, progress)
            came = yield from self._aside(functools.partial(self._in_span, story.parent, call, prompt, admission))
            if isinstance(came, Reply):
                came = came.model_copy(update={"answer": self._prompter.cleaned(came.answer)})
            story.came(came, self._prompter.stored, self._cost)
            if isinstance(came, AskFailed) and came.kind in _AGAIN:
                continue
            if not isinstance(came, Reply):
                return
            if not came.answer.steps:
                story.state, story.reason = "refused", came.answer.instruction
                return
            draft = yield from self._aside(functools.partial(self._drafted, came, call, prompt.version))
            if isinstance(draft, str):
                verdict = draft
            else:
                yield draft
                verdict = story.look(progress) or _NOTHING_NEW
                if story.state != "failed":
                    return
            story.told(self._prompter.told(verdict))
            prompt = self._prompter.again(prompt, came.answer, verdict)

    def _in_span(
        self, parent: Context, call: FailedCall, prompt: Prompt, admission: Admission
    ) -> Reply | AskFailed | Refusal:
        """Ask once, in a span below the call's; a failing server is no error of the service's and no event in it."""
        with _tracer.start_as_current_span(
            DIAGNOSE_SPAN, context=parent, record_exception=False, set_status_on_exception=False
        ) as span:
            span.set_attribute(BOUNDARY, call.boundary.name)
            span.set_attribute(INCIDENT_ID, str(call.incident.error_id))
            span.set_attribute(PATTERN, call.incident.pattern.error_pattern)
            came = self._ask(prompt, admission)
            state = "answered" if isinstance(came, Reply) else came.kind if isinstance(came, AskFailed) else came.state
            span.set_attribute(DIAGNOSIS_STATE, state)
            return came

    def _ask(self, prompt: Prompt, admission: Admission) -> Reply | AskFailed | Refusal:
        """Ask once, within the budgets; in a thread of its own."""
        started = self._clock()
        try:
            count = functools.partial(self._asker.count, prompt)
            refusal = admission.reserve(bound(prompt), self._most_output, self._asker.model, count)
        except AskFailed as failed:
            admission.settle(Usage(), failed.kind, failed.retry_after, self._clock() - started)
            failed.usage = Usage()
            return failed
        if refusal is not None:
            return refusal
        try:
            reply = self._asker.ask(prompt)
        except AskFailed as failed:
            admission.settle(failed.usage, failed.kind, failed.retry_after, self._clock() - started)
            return failed
        except BaseException:
            admission.settle(None, "server_error", None, self._clock() - started)
            raise
        admission.settle(reply.usage, None, None, reply.seconds)
        return reply

    def _drafted(self, reply: Reply, call: FailedCall, version: str) -> FixDraft | str:
        """Return the proposal as a draft, or why it can be none; the sandbox that checks it may have to start."""
        secret = self._prompter.secret_in(reply.answer.steps)
        if secret is not None:
            return f"it can be no fix here: a step holds a secret ({secret}), and fixes are stored and read by people"
        try:
            return draft_of(reply.answer, call, origin=f"{self.name}:{reply.model}:{version}", sandbox=self._sandbox)
        except HealspanError as refusal:
            return f"it can be no fix here: {refusal}"

    def _aside(
        self,
        job: Callable[[], _Found],
        late: Callable[[_Found], object] = lambda _: None,
    ) -> Generator[Waiting, None, _Found]:
        """Do something that blocks in a thread of its own; whoever made the call waits.

        Args:
            job: what blocks.
            late: what is to be done with what it gives when nobody waits for it any more.

        Raises:
            AskFailed: it took too long; the thread goes on to its own end, and settles what it costs.
        """
        ended, lock = threading.Event(), threading.Lock()
        found: list[_Found] = []
        wrong: list[BaseException] = []
        waiting = True

        def run() -> None:
            try:
                came = job()
                with lock:
                    found.append(came)
                    missed = not waiting
                if missed:
                    late(came)
            except BaseException as error:
                wrong.append(error)
            finally:
                ended.set()

        threading.Thread(target=run, name="healspan-claude", daemon=True).start()
        try:
            yield Waiting(ended, self._wait_seconds)
        finally:
            with lock:
                waiting = False
                came = found[:]
        if wrong and isinstance(wrong[0], Exception):
            raise wrong[0]
        if wrong:
            # What means to end a thread, as a processor of spans may, has ended one of ours and not the host's.
            raise AttemptAborted(f"a diagnosis raised {type(wrong[0]).__qualname__}")
        if not came:
            raise AskFailed("timeout", f"no answer within {self._wait_seconds:g} s")
        return came[0]

    def _give_back(self, held: contextlib.ExitStack) -> None:
        """Leave the gateway in a thread of its own: that writes to the store, and the caller waits for no lock of it.

        Nobody waits for it, since a generator that is being closed cannot; `close` does.
        """

        def leave() -> None:
            try:
                held.close()
            finally:
                self._leaving.discard(thread)

        thread = threading.Thread(target=leave, name="healspan-claude", daemon=True)
        self._leaving.add(thread)
        try:
            thread.start()
        except RuntimeError:  # no more threads: the lease ends by itself
            self._leaving.discard(thread)

    def _write_down(self, call: FailedCall, story: _Story) -> None:
        """Make the consultation durable; a call that was healed stays healed if that fails."""
        try:
            self._keep(self._consultation(call, story))
        except Exception as own:
            logger.warning("a diagnosis by Claude was not written down: %s; please report this", type(own).__qualname__)

    def _consultation(self, call: FailedCall, story: _Story) -> Consultation:
        return Consultation(
            consultation_id=uuid7(),
            error_id=call.incident.error_id,
            pattern=call.incident.pattern.exact,
            boundary=call.boundary.name,
            at=self._now(),
            model=self._asker.model,
            prompt_version=self._prompter.version,
            values=self._prompter.values,
            state=story.state,
            reason=story.reason,
            asked=tuple(story.asked),
        )


def _left(entered: Admission | Refusal) -> None:
    """Give back an admission that came when nobody waited for it any more."""
    if isinstance(entered, AbstractContextManager):
        with entered:
            pass


class _Story:
    """What has come of one diagnosis so far."""

    def __init__(self, model: str) -> None:
        self._model = model
        self.parent = get_current()
        """The span context of the call, which a thread of its own does not have."""
        self.state: ConsultationState = "failed"
        self.reason = "it was interrupted"
        self.serves = False
        """Whether what has healed the call heals the next one without anybody being asked."""
        self.asked: list[Asked] = []
        self._decided = self._proposed = self._written = 0

    def begin(self, prompt: Prompt, progress: Progress) -> None:
        """A question is about to be asked."""
        self.asked.append(Asked(sent=prompt.turns[-1].text))
        self._decided, self._proposed = len(progress.decisions), len(progress.proposed)
        self._written = len(progress.facts)

    def came(
        self,
        came: Reply | AskFailed | Refusal,
        stored: Callable[[Answer], Answer],
        cost: Callable[[Usage, str], Decimal | None],
    ) -> None:
        """Take in what came of the question."""
        last = self.asked[-1]
        if isinstance(came, Reply):
            self.reason = "none of its proposals held"
            paid = cost(came.usage, came.model)
            self.asked[-1] = last.model_copy(
                update={
                    "answer": stored(came.answer),
                    "usage": came.usage,
                    "cost_usd": paid,
                    "seconds": came.seconds,
                    "request_id": came.request_id,
                },
            )
        elif isinstance(came, AskFailed):
            self.state = "refused" if came.kind == "refused" else "failed"
            self.reason = str(came)
            paid = None if came.usage is None else cost(came.usage, self._model)
            told = {"failed": came.kind, "detail": came.detail, "usage": came.usage, "cost_usd": paid}
            self.asked[-1] = last.model_copy(update=told)
        else:
            self.state, self.reason = came.state, came.reason
            del self.asked[-1]

    def told(self, verdict: str) -> None:
        """Note what came of the proposal."""
        self.asked[-1] = self.asked[-1].model_copy(update={"verdict": verdict})

    def look(self, progress: Progress) -> str:
        """Read from a call's progress what came of the last proposal."""
        since = progress.decisions[self._decided :]
        self._decided = len(progress.decisions)
        verdict = "; ".join(f"{one.gate}: {one.reason}" for one in since)
        if any(one.gate == "verified" for one in since):
            self.serves = any(
                isinstance(fact, StateChange) and fact.state in SERVING_STATES
                for _, fact in progress.facts[self._written :]
            )
            self.state, verdict = "healed", "healed"
            self.reason = "" if self.serves else "it healed this call; for others a human has to approve it"
        elif len(progress.proposed) > self._proposed:
            self.state, self.reason = "proposed", "a human has to approve it: 'healspan review list'"
            verdict = "proposed to a human"
        if since and self.asked:
            self.told(verdict)
        return verdict
