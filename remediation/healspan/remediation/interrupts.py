"""Interrupts: exceptions that the host sends to its own thread or task, whatever code that happens to be running.

What healing runs was never asked for by the host: attempts, replays, checks. Without healspan the original exception
would have gone on before any of it. So whatever that code raises ends the attempt and nothing else, be it `SystemExit`.
An interrupt is the one exception: it is meant for the host, was sent once, and would be lost. Python does not say how
an exception came to be raised, so the ways in which one is sent are told apart here, one by one.
"""

from __future__ import annotations

import asyncio
import itertools
import signal
import threading
from types import FrameType

from healspan.remediation.class_names import qualified

__all__ = ["is_interrupt"]

_TRACEBACK = BaseException.__dict__["__traceback__"]  # past whatever a class or a metaclass overrides
_MRO = type.__dict__["__mro__"]
_MEMBERS = BaseExceptionGroup.__dict__["exceptions"]

_SENT_BY_SCHEDULERS = frozenset(
    {"greenlet.GreenletExit", "gevent.timeout.Timeout", "eventlet.timeout.Timeout", "trio.Cancelled"}
)
"""By these a scheduler of another kind than asyncio's ends what runs."""


def is_interrupt(error: BaseException) -> bool:
    """Whether an exception that is on its way was sent to this thread or task, rather than raised by what it ran.

    True of `KeyboardInterrupt` in the main thread, of whatever the handler of a signal raises (the timeouts of job
    queues are plain exceptions), of the cancellation that somebody has asked of the current task, of `GeneratorExit`
    (a coroutine is being closed), of what the schedulers of greenlets and of trio send, and of a group with one of
    them in it.
    """
    pending = [error]
    while pending:
        one = pending.pop()
        if issubclass(type(one), BaseExceptionGroup):
            pending += _MEMBERS.__get__(one)
        elif _was_sent(one):
            return True
    return False


def _was_sent(error: BaseException) -> bool:
    kind = type(error)  # `isinstance` would ask the exception as well
    if issubclass(kind, GeneratorExit):
        return True
    if issubclass(kind, asyncio.CancelledError):
        return _is_being_cancelled()
    if not issubclass(kind, Exception) and any(qualified(each) in _SENT_BY_SCHEDULERS for each in _MRO.__get__(kind)):
        return True
    if threading.current_thread() is not threading.main_thread():
        return False
    return issubclass(kind, KeyboardInterrupt) or _by_a_signal(error)


def _is_being_cancelled() -> bool:
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no loop runs in this thread
        return False
    return task is not None and task.cancelling() > 0


def _by_a_signal(error: BaseException) -> bool:
    """Whether it came through the handler of a signal: who else is handed a number, and the frame of its caller?"""
    trace = _TRACEBACK.__get__(error)
    while trace is not None:
        frame: FrameType = trace.tb_frame
        values = [*frame.f_locals.values()]
        for given in (values, *(each for each in values if type(each) is tuple)):
            for number, interrupted in itertools.pairwise(given):
                if type(number) is int and 0 < number < signal.NSIG and interrupted is frame.f_back is not None:
                    return True
        trace = trace.tb_next
    return False
