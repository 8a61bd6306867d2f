"""An adaptation: one use of one adapter on one failing call, as a generator of the calls it wants made.

The service's side of it runs where the boundary was called, in its context and on its event loop; only the waiting
for the sandbox is bounded by a clock, never what the application does when it is called.
"""

from __future__ import annotations

import functools
import inspect
import threading
import time
from collections.abc import Callable, Generator, Mapping
from typing import Any

from healspan.remediation.adapter import read_text
from healspan.remediation.boundary import UNSET, FailedCall, Invocation
from healspan.remediation.errors import AdapterFailed, StepInapplicable
from healspan.remediation.sandbox.crossing import error_facts, is_finite, plain, texts
from healspan.remediation.sandbox.host import Host
from healspan.remediation.sandbox.notation import Room, Unplain, decode, encode
from healspan.remediation.sandbox.pool import Pool
from healspan.remediation.sandbox.rebuilding import rebuild
from healspan.remediation.sandbox.resting import Resting
from healspan.remediation.sandbox.worker import Worker, is_installed
from healspan.remediation.step import AdapterStep

__all__ = ["Sandbox"]

NOT_INSTALLED = "sandboxed adapters are off: install them with pip install 'healspan[sandbox]'"

_GRACE = 0.5
"""Seconds beyond the adapter's own until its worker is killed from outside."""

_START = 3.0
"""Seconds that a failing call waits for a new worker at most; one that takes longer serves the next call."""

_CHECK = 30.0
"""Seconds for a type check, which a human waits for."""

_HALF_A_CHARACTER = "\N{REPLACEMENT CHARACTER}"
"""What a lone surrogate becomes in the sandbox."""

_WORDS = {
    "time": "it took longer than the sandbox allows",
    "memory": "it asked for more memory than the sandbox allows",
    "calls": "it asked the host too often",
    "crash": "the sandbox's worker died",
}
_STOPPED = frozenset(_WORDS)
"""Endings that cost the failing call time, and mostly the worker."""
_SOUND = frozenset({"raised", "value"})
"""Failures after which a worker may serve again."""


class Sandbox:
    """Applies adapters in processes of their own.

    Args:
        seconds: an adapter's own time, host calls not counted.
        memory: bytes an adapter may use.
        host_calls: questions an adapter may ask.
        workers: adapters at once in this process; 0 turns them off.
        clock: a monotonic clock in seconds.
        installed: whether the extra is there.
    """

    def __init__(
        self,
        *,
        seconds: float = 1.0,
        memory: int = 64 * 1024 * 1024,
        host_calls: int = 1_000,
        workers: int = 2,
        clock: Callable[[], float] = time.monotonic,
        installed: Callable[[], bool] = is_installed,
    ) -> None:
        self._seconds = seconds
        self._memory = memory
        self._host_calls = host_calls
        self._workers = workers
        self._clock = clock
        self._installed = installed
        self.pool = Pool(workers, memory)
        self._resting = Resting()

    @property
    def why_off(self) -> str | None:
        """Why no adapter can be applied here; None if they can."""
        if not self._workers:
            return "sandboxed adapters are off: HEALSPAN_SANDBOX_WORKERS is 0"
        return None if self._installed() else NOT_INSTALLED

    def apply(self, step: AdapterStep, call: FailedCall) -> Generator[Invocation, Any, Any]:
        """Return the value that an adapter leads to.

        Raises:
            StepInapplicable: it cannot be asked here: no sandbox, all workers busy, an argument cannot cross, or it had
                to be stopped several times in a row and rests.
            AdapterFailed: it was asked and gave no result that can be used.
        """
        read_text(step.text)
        if self.why_off is not None:
            raise StepInapplicable(self.why_off)
        arguments, written = _crossing_arguments(step, call)
        facts = error_facts(call.error)
        host = Host(step, call, arguments, self._host_calls, self._clock)
        if (left := self._resting.left(step.text, self._clock())) > 0:
            raise StepInapplicable(f"the sandbox had to stop it again and again; it is tried anew in {left:.0f} s")
        request = {
            "do": "run",
            "text": step.text,
            "arguments": written,
            "error": encode(facts),
            "names": host.names,
            **self._limits(),
        }
        worker = yield from self._worker(call)
        sound = False
        try:
            reply = yield from self._conversation(worker, request, host, call)
            sound = reply["event"] == "done" or reply["kind"] in _SOUND
        except AdapterFailed:
            self._resting.tell(step.text, self._clock(), stopped=True)
            raise
        finally:
            self.pool.give_back(worker, sound=sound)
        self._resting.tell(step.text, self._clock(), stopped=reply["event"] != "done" and reply["kind"] in _STOPPED)
        if reply["event"] != "done":
            raise AdapterFailed(_why(reply))
        try:
            return _result(decode(reply["value"]), host, call, [arguments, facts])
        except Unplain as reason:
            raise AdapterFailed(f"its result cannot be used: {reason}") from None

    def problems(self, text: str) -> str:
        """Type-check a text; an empty string if there is nothing to say.

        Raises:
            StepInapplicable: there is no sandbox here, or it broke off.
        """
        if self.why_off is not None:
            raise StepInapplicable(self.why_off)
        try:
            worker = self.pool.take()
            if not isinstance(worker, Worker):
                raise StepInapplicable("every sandbox worker is busy; try again")
        except OSError as error:
            raise StepInapplicable(f"no sandbox worker can be started ({error})") from error
        sound = False
        try:
            if not worker.ready:
                worker.exchange(None, _CHECK, asynchronous=False)()
                worker.ready = True
            reply = worker.exchange({"do": "check", "text": text, **self._limits()}, _CHECK, asynchronous=False)()
            # Whoever cannot say what is wrong has not said that nothing is.
            sound = reply["event"] == "checked"
            if not sound:
                raise AdapterFailed("the checker broke off")
            return str(reply["problems"])
        except AdapterFailed as broken:
            raise StepInapplicable(f"the text cannot be checked: {broken}") from None
        finally:
            self.pool.give_back(worker, sound=sound)

    def close(self) -> None:
        """Kill the workers."""
        self.pool.close()

    def _limits(self) -> dict[str, Any]:
        return {"seconds": self._seconds, "memory": self._memory, "calls": self._host_calls}

    def _worker(self, call: FailedCall) -> Generator[Invocation, Any, Worker]:
        """Take a worker that is ready, waiting no longer than an adapter may take for one that is free."""
        until = self._clock() + self._seconds
        while True:
            try:
                taken = self.pool.take()
            except OSError as error:
                raise StepInapplicable(f"no sandbox worker can be started ({type(error).__name__})") from error
            if isinstance(taken, Worker):
                break
            yield from self._wait(call, taken, until)
        if not taken.ready:
            try:
                yield taken.exchange(None, max(_START, self._seconds), asynchronous=call.asynchronous)
                taken.ready = True
            except AdapterFailed:
                raise StepInapplicable("the sandbox's worker is not up yet") from None
            finally:
                if not taken.ready:
                    self.pool.give_back(taken, sound=taken.alive)
        return taken

    def _wait(self, call: FailedCall, event: threading.Event, until: float) -> Generator[Invocation, Any, None]:
        left = until - self._clock()
        try:
            if left > 0:
                yield call.pause(event, left)
        finally:
            self.pool.give_up(event)
        if not event.is_set():
            raise StepInapplicable("every sandbox worker is busy; raise HEALSPAN_SANDBOX_WORKERS")

    def _conversation(
        self,
        worker: Worker,
        message: dict[str, Any],
        host: Host,
        call: FailedCall,
    ) -> Generator[Invocation, Any, dict[str, Any]]:
        left = self._seconds + _GRACE
        while True:
            started = self._clock()
            reply: dict[str, Any] = yield worker.exchange(message, max(0.001, left), asynchronous=call.asynchronous)
            left -= self._clock() - started
            if reply["event"] != "call":
                return reply
            # Reading, repairing and writing for an adapter is on its own account; what it has called is not.
            started, outside = self._clock(), host.outside
            message = yield from host.answer(str(reply["name"]), reply["args"], reply["keywords"])
            left -= (self._clock() - started) - (host.outside - outside)
            if left <= 0:
                raise AdapterFailed(_WORDS["time"])


def _crossing_arguments(step: AdapterStep, call: FailedCall) -> tuple[dict[str, Any], Any]:
    """Return plain copies of the arguments that a step asks for, and how they are written.

    All cross but a method's own object, unless the step says which.
    """
    given: Mapping[str, Any] = call.arguments
    wanted = step.arguments
    if wanted is None:
        wanted = tuple(name for name in given if name != _receiver(call))
    room = Room()
    crossing: dict[str, Any] = {}
    for name in wanted:
        if name not in given:
            raise StepInapplicable(f"the call has no argument {name!r}")
        try:
            crossing[name] = plain(given[name], room)
        except Unplain as reason:
            raise StepInapplicable(
                f"argument {name!r} cannot cross into the sandbox: {reason}; name the arguments that the adapter needs "
                "in the step's 'arguments'",
            ) from None
    try:
        return crossing, encode(crossing)
    except Unplain as reason:
        raise StepInapplicable(f"the arguments cannot cross into the sandbox: {reason}") from None


def _receiver(call: FailedCall) -> str | None:
    """Return the name under which a method gets its own object."""
    return None if call.boundary.function is None else _own_object(call.boundary.function)


@functools.lru_cache(maxsize=256)
def _own_object(function: Callable[..., Any]) -> str | None:
    if "." not in function.__qualname__.rpartition("<locals>.")[2]:
        return None
    first = next(iter(inspect.signature(function).parameters), None)
    return first if first in {"self", "cls"} else None


def _why(reply: dict[str, Any]) -> str:
    """Say why an adapter gave no result, in words of ours only: its own may hold what it was given."""
    kind = reply["kind"]
    if kind == "raised":
        name = str(reply.get("error", ""))
        where = f" at line {reply['line']}" if reply.get("line") else ""
        return f"it raised {name if name.isidentifier() else 'an exception'}{where}"
    if kind == "value":
        return f"its result cannot be used: {reply['reason']}"
    if kind == "refused":
        return f"{reply['reason']}, which the sandbox does not have"
    return _WORDS.get(kind, "the sandbox broke off")


def _result(value: Any, host: Host, call: FailedCall, crossed: list[Any]) -> Any:
    """Return what the boundary gets: the host's own value where the adapter handed it through, else one built anew."""
    original = host.original(value)
    if original is not None:
        return original[0]
    if any(_HALF_A_CHARACTER in one for one in texts(value)) and not any(
        _HALF_A_CHARACTER in one for one in texts([*crossed, *host.seen()])
    ):
        raise AdapterFailed("its result cannot be used: a text in it holds half a character, replaced")
    if not is_finite(value) and is_finite([*crossed, *host.seen()]):
        # Every schema takes it for a number, and no comparison of a check says no to it.
        raise AdapterFailed("its result cannot be used: a number in it is not finite, and none that it was given is so")
    value = host.restored(value)
    return value if call.output is UNSET else rebuild(value, call.output)
