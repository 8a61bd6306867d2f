"""Healing a call that failed: once through the engine, for synchronous and asynchronous callers."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from types import FrameType

from healspan.instrumentation.background import BeingHealed
from healspan.instrumentation.exceptions import set_traceback, traceback_of
from healspan.instrumentation.failure import Failure
from healspan.instrumentation.site import Args, Kwargs, Site, being_healed
from healspan.remediation.driver import drive, drive_async
from healspan.remediation.engine import Healing
from healspan.remediation.repair import repairs_rest, take_fired
from healspan.remediation.reservoir import used_up
from healspan.remediation.runtime import internal_error, runtime

__all__ = ["as_without_repairs", "heal", "heal_async"]


def heal(
    site: Site,
    error: BaseException,
    args: Args,
    kwargs: Kwargs,
    frame: FrameType,
    snapshot: tuple[Args, Kwargs] | None = None,
) -> Healing | None:
    """Return what stands for the call's result; None if the exception goes on, as it was.

    Args:
        site: of the boundary.
        error: what left the function, or its broken contract.
        args: positional arguments of the call.
        kwargs: its keyword arguments.
        frame: the boundary's.
        snapshot: copy of the arguments from before the call.
    """
    failure = _failure(site, error, args, kwargs, frame, snapshot)
    if failure is None:
        return None
    healing: Healing | None = None
    with _attempting(site, frame):
        healing = drive(runtime().engine.heal(failure))
    return _ended(site, failure, healing, snapshot or (args, kwargs))


async def heal_async(
    site: Site,
    error: BaseException,
    args: Args,
    kwargs: Kwargs,
    frame: FrameType,
    snapshot: tuple[Args, Kwargs] | None = None,
) -> Healing | None:
    """Likewise for a call of a coroutine function; its arguments are those of `heal`."""
    failure = _failure(site, error, args, kwargs, frame, snapshot)
    if failure is None:
        return None
    failure.asynchronous = True
    healing: Healing | None = None
    with _attempting(site, frame):
        healing = await drive_async(runtime().engine.heal(failure))
    return _ended(site, failure, healing, snapshot or (args, kwargs))


def _failure(
    site: Site,
    error: BaseException,
    args: Args,
    kwargs: Kwargs,
    frame: FrameType,
    snapshot: tuple[Args, Kwargs] | None,
) -> Failure | None:
    uses = take_fired(frame)
    if not isinstance(error, Exception):
        return None
    if uses:
        site.settle(uses, args, kwargs, result=None)
    if any(one.name == site.boundary.name and not one.over for one in being_healed.get()):
        return None
    return site.failure(error, args, kwargs, frame, snapshot)


def as_without_repairs(site: Site, args: Args, kwargs: Kwargs) -> Exception | None:
    """Return what a call raises when no installed repair acts in it, with the traceback of that.

    None if it raises nothing, or must not be made again; a coroutine function cannot be asked from here.
    """
    if not site.boundary.retry_safe or inspect.iscoroutinefunction(site.function):
        return None
    if any(used_up(value) for value in (*args, *kwargs.values())):
        return None
    attempts = BeingHealed(site.boundary.name)
    healing = being_healed.set((*being_healed.get(), attempts))
    resting = repairs_rest.set(True)
    try:
        site.function(*args, **kwargs)
    except Exception as error:
        trace = traceback_of(error)
        set_traceback(error, None if trace is None else trace.tb_next)
        return error
    finally:
        attempts.over = True
        repairs_rest.reset(resting)
        being_healed.reset(healing)
    return None


@contextlib.contextmanager
def _attempting(site: Site, frame: FrameType) -> Iterator[None]:
    attempts = BeingHealed(site.boundary.name)
    token = being_healed.set((*(one for one in being_healed.get() if not one.over), attempts))
    try:
        with internal_error("heal"):
            yield
    finally:
        attempts.over = True
        take_fired(frame)  # what a call made again has left, where nobody asked for it
        with contextlib.suppress(ValueError):  # closed from another context: the value ends with that one
            being_healed.reset(token)


def _ended(site: Site, failure: Failure, healing: Healing | None, call: tuple[Args, Kwargs]) -> Healing | None:
    """Say how it ended; None if the original exception goes on."""
    with internal_error("end"):
        failure.end(runtime(), healing)
    if healing is not None and healing.healed:
        return healing
    if site.boundary.mode == "background":
        site.background.look(failure, *call)
    return None
