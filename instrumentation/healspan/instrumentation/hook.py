"""The hook of a boundary: what `repair.enclosure`'s instructions call, with the frame they stand in for everything.

The same instructions stand inside a function, and in the wrapper of one that they cannot be put into.
"""

from __future__ import annotations

import inspect
import itertools
import sys
import time
from types import FrameType

from healspan.instrumentation.exceptions import drop_frame, traceback_of
from healspan.instrumentation.healing import heal, heal_async
from healspan.instrumentation.site import Args, Kwargs, Site
from healspan.remediation.engine import Healing
from healspan.remediation.repair import Enclosure, RunningCalls, register_hook
from healspan.remediation.run import open_runs
from healspan.remediation.runtime import report

__all__ = ["BoundaryHook", "call_arguments"]

_frame = sys._getframe
_clock = time.perf_counter
_exception = sys.exception
_NO_ARGUMENTS: tuple[Args, Kwargs] = (), {}


class BoundaryHook:
    """Implements `healspan.remediation.repair.enclosure.Hook` for one boundary without a contract.

    Args:
        site: of the boundary.
        wrapping: whether the instructions are those of a wrapper, whose frame belongs in no traceback.
    """

    def __init__(self, site: Site, *, wrapping: bool) -> None:
        self._site = site
        self._wrapping = wrapping
        self._calls = RunningCalls(self._left)
        # What a sampled call needs, at one step's reach.
        self._count, self._begin, self._take = site.counter.look, self._calls.sampled, self._calls.take_all
        self._sample, self._has_context = site.sample, site.has_context
        self._values: dict[int, object] = {}
        self.enclosure = Enclosure(site.boundary.name, self, site.counter, open_runs, self._calls)

    def look(self) -> None:
        """Sample this call."""
        self._begin(_frame(1), self._count(), _clock())

    def reach(self) -> None:
        """Note that the boundary was reached in its run."""
        self._site.reach()

    def failed(self) -> bool:
        """Heal the exception that is being handled; True if there is a value in the place of the result."""
        frame, error = _frame(1), sys.exception()
        try:
            args, kwargs = self._taken_in(frame, error)
            return error is not None and self._keep(frame, heal(self._site, error, args, kwargs, frame))
        except Exception as own:
            report("heal", own)
            return False

    async def failed_async(self) -> bool:
        """Likewise for a coroutine function."""
        frame, error = _frame(1), sys.exception()
        try:
            args, kwargs = self._taken_in(frame, error)
            return error is not None and self._keep(frame, await heal_async(self._site, error, args, kwargs, frame))
        except Exception as own:
            report("heal", own)
            return False

    def value(self) -> object:
        """Return, once, what stands for the result."""
        return self._values.pop(id(_frame(1)))

    def _taken_in(self, frame: FrameType, error: BaseException | None) -> tuple[Args, Kwargs]:
        self._calls.forget_sample(frame)  # only good calls are sampled
        if self._wrapping and error is not None:
            drop_frame(error, frame)
        return call_arguments(frame)

    def _keep(self, frame: FrameType, healing: Healing | None) -> bool:
        if healing is None:
            return False
        self._values[id(frame)] = healing.value
        return True

    def _left(self, frame: FrameType) -> None:
        """Take in a call that has returned; one that fails is left to `failed`."""
        # A sample is paid for by the 63 calls before it, so it takes the shortest way there is.
        ended = _clock()
        try:
            error = _exception()
            if error is not None and _is_leaving(error, frame):
                return
            sample, uses = self._take(frame)
            if uses:
                self._site.settle(uses, *call_arguments(frame), result=(None,))
            if sample is not None:
                args, kwargs = call_arguments(frame) if self._has_context else _NO_ARGUMENTS
                self._sample(sample[0], args, kwargs, ended - sample[1])
        except Exception as own:
            report("settle", own)


def _is_leaving(error: BaseException, frame: FrameType) -> bool:
    """Whether an exception is on its way out of a frame: another one may be handled further up all the while."""
    trace = traceback_of(error)
    return trace is not None and trace.tb_frame is frame


register_hook(BoundaryHook.failed.__code__)
register_hook(BoundaryHook.failed_async.__code__)


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
