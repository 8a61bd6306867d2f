"""The hook of a boundary: what `repair.enclosure`'s instructions call, with the frame they stand in for everything.

The same instructions stand inside a function, and in the wrapper of one that they cannot be put into.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import itertools
import sys
import time
from contextvars import ContextVar
from types import FrameType, TracebackType

from healspan.instrumentation.ending import ends_by_exception
from healspan.instrumentation.exceptions import drop_frame, mend_end, set_context, set_traceback, traceback_of
from healspan.instrumentation.healing import Refused, heal, heal_async
from healspan.instrumentation.site import UNSEEN, Args, Kwargs, Site, being_healed
from healspan.remediation.engine import Healing
from healspan.remediation.interrupts import is_interrupt
from healspan.remediation.own_errors import report
from healspan.remediation.repair import Enclosure, RunningCalls, register_hook
from healspan.remediation.run import current_run, kept_results, open_runs

__all__ = ["BoundaryHook", "call_arguments"]

_frame = sys._getframe
_clock = time.perf_counter
_exception = sys.exception
_NO_ARGUMENTS: tuple[Args, Kwargs] = (), {}


class _Apart:
    """A call of a boundary that is made apart, for the checks of the blocks around it; entered while it goes on."""

    __slots__ = ("_token", "kept", "name", "over")

    def __init__(self, name: str) -> None:
        self.name = name
        self.kept = kept_results.get()
        self.over = False
        """A task that was begun in the call may outlive it; its calls are outermost ones again."""

    def __enter__(self) -> None:
        self._token = _apart.set((*(one for one in _apart.get() if not one.over), self))

    def __exit__(self, *_: object) -> None:
        self.over = True
        with contextlib.suppress(ValueError):  # closed from another context: the value ends with that one
            _apart.reset(self._token)


_apart: ContextVar[tuple[_Apart, ...]] = ContextVar("healspan_apart", default=())
"""The calls under way in this context that are made apart."""


def _is_within(name: str) -> bool:
    """Whether a call of a boundary is made apart already, for the very same blocks."""
    kept = kept_results.get()
    return any(one.name == name and one.kept is kept and not one.over for one in _apart.get())


_Taken = tuple[tuple[Args, Kwargs] | None, Refused | None, TracebackType | None]
"""What was noted of a call that has failed: a copy of its arguments from before it; what repairs have led to; and the
traceback that its exception, a broken contract, has to get back if it goes on."""


class BoundaryHook:
    """Implements `healspan.remediation.repair.enclosure.Hook` for one boundary.

    Args:
        site: of the boundary.
        wrapping: whether the instructions are those of a wrapper, whose frame belongs in no traceback.
    """

    def __init__(self, site: Site, *, wrapping: bool) -> None:
        self._site = site
        self._wrapping = wrapping
        self._calls = RunningCalls(
            self._left,
            verified=site.contract.declared,
            currency=site.boundary.currency,
            observed=site.boundary.mode == "observe",
        )
        # What a sampled call needs, at one step's reach.
        self._count, self._begin, self._take = site.counter.look, self._calls.sampled, self._calls.take_all
        self._sample, self._has_context = site.sample, site.has_context
        self._golden = site.golden if site.golden.sampled else None
        self._values: dict[int, object] = {}
        """By the id of the frame, like all below: what stands for a result."""
        self._kept: dict[int, object] = {}
        """What is being returned."""
        self._refused: dict[int, Refused] = {}
        """What repairs have led to and the contract does not let through."""
        self._good: dict[int, tuple[Args, Kwargs] | None] = {}
        """Copies of the arguments of a call that is kept, should it turn out good."""
        self.interrupts: dict[int, BaseException] = {}
        """What the host has sent to a call while its exception was taken in."""
        self._snapshots: dict[int, tuple[Args, Kwargs] | None] = {}
        self.enclosure = Enclosure(
            name=site.boundary.name,
            hook=self,
            counter=site.counter,
            runs=open_runs,
            calls=self._calls,
            verified=site.contract.declared or site.copies or site.golden.sampled,
            copied=site.copies,
        )

    def look(self) -> None:
        """Count this call, and sample it."""
        weight = self._count()
        if weight:
            frame = _frame(1)
            if self._golden is not None:
                self._good[id(frame)] = self._golden.copied(weight, *call_arguments(frame))
            self._begin(frame, weight, _clock())

    def reach(self) -> bool:
        """Note that the boundary was reached in its run; True if the call is to be made by `apart`.

        Of a recursion only the outermost call is, whose result is the last: `apart` and the bare function below it
        would take a frame each of every level's.
        """
        return self._site.reach() and not self.enclosure.verified and not _is_within(self._site.boundary.name)

    def apart(self) -> object:
        """Call the bare function in the place of the body, since the run wants to know what it returns."""
        args, kwargs = call_arguments(_frame(1))
        with _Apart(self._site.boundary.name):
            result = self._site.function(*args, **kwargs)
        self._show(result)
        return result

    async def apart_async(self) -> object:
        """Likewise for a coroutine function."""
        args, kwargs = call_arguments(_frame(1))
        with _Apart(self._site.boundary.name):
            result = await self._site.function(*args, **kwargs)
        self._show(result)
        return result

    def copy(self) -> None:
        """Copy the arguments of this call."""
        frame = _frame(1)
        self._snapshots[id(frame)] = self._site.snapshot(*call_arguments(frame))

    def keep(self, value: object) -> object:
        """Keep what this call is about to return, and return it."""
        self._kept[id(_frame(1))] = value
        return value

    def verify(self) -> None:
        """Verify what was kept; raises what breaks the contract, or what a repair has kept the call from raising."""
        ended, frame, error = _clock(), _frame(1), _exception()
        # Where nothing is kept, one is leaving: whatever is returned is kept.
        if error is not None and (id(frame) not in self._kept or _is_leaving(error, frame)):
            return
        wrong: Exception | None = None
        try:
            wrong = self._returned(frame, self._kept.pop(id(frame)), ended)
        except Exception as own:
            report("contract", own)
        if wrong is not None:
            raise wrong

    def failed(self) -> bool:
        """Heal the exception that is being handled; True if there is a value in the place of the result."""
        frame, error = _frame(1), _exception()
        try:
            if error is not None and self._goes_on(frame, error):
                return False
            snapshot, refused, trace = self._taken(frame, error)
            healing: Healing | None = None
            if error is not None:
                call = functools.partial(call_arguments, frame)
                healing = heal(self._site, error, call, frame, snapshot, refused)
                if trace is not None:
                    set_traceback(error, trace)
            return self._healed(frame, healing)
        except Exception as own:
            self._failed_at_that(frame, own)
            return False

    async def failed_async(self) -> bool:
        """Likewise for a coroutine function."""
        frame, error = _frame(1), _exception()
        try:
            if error is not None and self._goes_on(frame, error):
                return False
            snapshot, refused, trace = self._taken(frame, error)
            healing: Healing | None = None
            if error is not None:
                call = functools.partial(call_arguments, frame)
                healing = await heal_async(self._site, error, call, frame, snapshot, refused)
                if trace is not None:
                    set_traceback(error, trace)
            return self._healed(frame, healing)
        except Exception as own:
            self._failed_at_that(frame, own)
            return False

    def value(self) -> object:
        """Return, once, what stands for the result."""
        return self._values.pop(id(_frame(1)))

    def pass_on(self) -> None:
        """Raise what the host has sent to this call while its exception was taken in."""
        interrupt = self.interrupts.pop(id(_frame(1)), None)
        if interrupt is not None:
            raise interrupt

    def _failed_at_that(self, frame: FrameType, own: Exception) -> None:
        if is_interrupt(own):
            self.interrupts[id(frame)] = own
        else:
            report("heal", own)

    def _goes_on(self, frame: FrameType, error: BaseException) -> bool:
        """Whether an exception goes on as nearly all of a storm do: what `_taken` and `heal` would come to, sooner.

        Left to them is whatever has to be mended or settled: it comes no way that is known, a repair has acted in this
        call, or something is being healed around it.
        """
        calls = self._calls
        quiet = calls.leaving is calls.nothing
        if self._refused or being_healed.get() or (not quiet and calls.uses(frame)):
            return False
        trace = traceback_of(error)
        if self._wrapping:
            trace = None if trace is None else trace.tb_next
        if not self._site.passes_over_again(error, trace):
            return False
        if not quiet:
            calls.forget_sample(frame)
        if self._kept or self._good or self._snapshots:
            key = id(frame)
            self._kept.pop(key, None)
            self._good.pop(key, None)
            self._snapshots.pop(key, None)
        if self._wrapping:
            set_traceback(error, trace)
        return True

    def _taken(self, frame: FrameType, error: BaseException | None) -> _Taken:
        """Forget what was noted of a call, and make its exception what it was before anything of ours touched it."""
        key = id(frame)
        self._calls.forget_sample(frame)  # only good calls are sampled
        self._kept.pop(key, None)
        self._good.pop(key, None)
        snapshot = self._snapshots.pop(key, None)
        refused = self._refused.pop(key, None)
        if error is None:
            return snapshot, refused, None
        if issubclass(type(error), RecursionError):
            mend_end(error)
        trace = traceback_of(error)
        below = trace.tb_next.tb_frame.f_code if trace is not None and trace.tb_next is not None else None
        broken = below is _VERIFY and refused is None
        if refused is not None:
            # It goes on as if no repair had kept it; nothing of how it was raised again belongs to that.
            set_traceback(error, refused.original.trace)
            set_context(error, refused.original.context)
        elif trace is not None and broken:
            # A broken contract was raised by nobody; where it goes on, it comes from the ``return``.
            trace.tb_next = None
            set_traceback(error, None)
        elif self._wrapping or below in _APART:
            drop_frame(error, frame)
        return snapshot, refused, trace if broken and not self._wrapping else None

    def _healed(self, frame: FrameType, healing: Healing | None) -> bool:
        if healing is None:
            return False
        self._values[id(frame)] = healing.value
        self._show(healing.value)
        return True

    def _returned(self, frame: FrameType, result: object, ended: float) -> Exception | None:
        """Take in a call whose result is verified; return the error that has to be raised in its place."""
        site = self._site
        sample, uses = (None, None) if self._calls.quiet else self._take(frame)
        looked_at = site.has_checks or uses or (sample is not None and site.has_context)
        args, kwargs = call_arguments(frame) if looked_at else _NO_ARGUMENTS
        violation = site.violation(result, args, kwargs) if site.contract.declared else None
        if uses and violation is not None:
            # A repair must not change what a call fails with: without it, this is what would have left.
            original = uses[0].original
            if original is not None:
                self._refused[id(frame)] = Refused(uses, result, original)
                return original.error
        if uses:
            site.settle(uses, args, kwargs, result=(result,))
        good = self._good.pop(id(frame), None) if self._good else None
        if violation is None:
            self._snapshots.pop(id(frame), None)
            if sample is not None:
                self._sample(sample[0], args, kwargs, ended - sample[1])
            if good is not None and not uses:
                site.golden.keep(good, result)
            if open_runs.any:
                self._show(result)
        elif site.boundary.mode == "observe":
            self._snapshots.pop(id(frame), None)
            heal(site, violation, functools.partial(call_arguments, frame), frame)
            self._show(result)
            return None
        return violation

    def _show(self, result: object) -> None:
        """Show a result to the checks of the pipeline, if this call is in a run that has any."""
        run = current_run.get()
        if run is not None:
            run.returned(self._site.boundary.name, result)

    def _left(self, frame: FrameType) -> None:
        """Take in a call that has returned; one that fails is left to `failed`."""
        # A sample is paid for by the 63 calls before it, so it takes the shortest way there is.
        ended = _clock()
        try:
            error = _exception()
            if error is not None and _is_leaving(error, frame):
                return
            sample, uses = self._take(frame)
            args, kwargs = call_arguments(frame) if self._has_context else _NO_ARGUMENTS
            if uses:
                self._site.settle(uses, args, kwargs, result=(UNSEEN,))
            if sample is not None:
                self._sample(sample[0], args, kwargs, ended - sample[1])
        except Exception as own:
            report("settle", own)


_VERIFY = BoundaryHook.verify.__code__
_APART = (BoundaryHook.apart.__code__, BoundaryHook.apart_async.__code__)
for _code in _APART:
    register_hook(_code)
register_hook(BoundaryHook.failed.__code__)
register_hook(BoundaryHook.failed_async.__code__)


def _is_leaving(error: BaseException, frame: FrameType) -> bool:
    """Whether an exception is on its way out of a frame: another one may be handled further up all the while."""
    trace = traceback_of(error)
    return (trace is not None and trace.tb_frame is frame) or ends_by_exception(frame)


def call_arguments(frame: FrameType) -> tuple[Args, Kwargs]:
    """Return what a function was called with, from its frame; its parameters must not have been bound again."""
    code, values = frame.f_code, frame.f_locals
    names = iter(code.co_varnames)
    args = [values[name] for name in itertools.islice(names, code.co_argcount)]
    kwargs = {name: values[name] for name in itertools.islice(names, code.co_kwonlyargcount)}
    if code.co_flags & inspect.CO_VARARGS:
        args += values[next(names)]
    if code.co_flags & inspect.CO_VARKEYWORDS:
        kwargs |= values[next(names)]
    return tuple(args), kwargs
