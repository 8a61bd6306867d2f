"""Healing a call that failed: once through the engine, for synchronous and asynchronous callers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import NamedTuple

from healspan.instrumentation.background import BeingHealed
from healspan.instrumentation.failure import Failure
from healspan.instrumentation.site import Args, Kwargs, Site, being_healed
from healspan.instrumentation.starting import start_apart
from healspan.instrumentation.storm import raised_at
from healspan.instrumentation.telemetry import healing_span, tell_healing_span, tell_of
from healspan.remediation.driver import drive, drive_async
from healspan.remediation.engine import Healing
from healspan.remediation.own_errors import internal_error
from healspan.remediation.repair import FiredRepair, Swallowed, resting_fixes, take_fired
from healspan.remediation.runtime import runtime, starts_now

__all__ = ["Refused", "heal", "heal_async"]


class Refused(NamedTuple):
    """What installed repairs have led a call to, where its contract does not let that through."""

    uses: Sequence[FiredRepair]
    result: object
    original: Swallowed
    """What they had kept from leaving."""


def heal(
    site: Site,
    error: BaseException,
    call: Callable[[], tuple[Args, Kwargs]],
    frame: FrameType,
    snapshot: tuple[Args, Kwargs] | None = None,
    refused: Refused | None = None,
) -> Healing | None:
    """Return what stands for the call's result; None if the exception goes on, as it was.

    Args:
        site: of the boundary.
        error: what left the function, or its broken contract.
        call: returns the arguments of the call; most failures of a storm do without.
        frame: the boundary's.
        snapshot: copy of the arguments from before the call.
        refused: what repairs have led to, where the exception is the one that they had kept from leaving.
    """
    failure = _failure(site, error, call, frame, snapshot, refused)
    if failure is None:
        return None
    healing: Healing | None = None
    with _attempting(site, frame, failure), healing_span(failure.incident):
        healing = drive(runtime().engine.heal(failure))
        tell_healing_span(healing)
    return _ended(site, failure, healing, snapshot or call())


async def heal_async(
    site: Site,
    error: BaseException,
    call: Callable[[], tuple[Args, Kwargs]],
    frame: FrameType,
    snapshot: tuple[Args, Kwargs] | None = None,
    refused: Refused | None = None,
) -> Healing | None:
    """Likewise for a call of a coroutine function; its arguments are those of `heal`."""
    # A call that is cancelled or closed is not healed, and must not wait: closing a coroutine refuses it.
    if isinstance(error, Exception) and starts_now():
        await start_apart()
    failure = _failure(site, error, call, frame, snapshot, refused)
    if failure is None:
        return None
    failure.asynchronous = True
    healing: Healing | None = None
    with _attempting(site, frame, failure), healing_span(failure.incident):
        healing = await drive_async(runtime().engine.heal(failure))
        tell_healing_span(healing)
    return _ended(site, failure, healing, snapshot or call())


def _failure(
    site: Site,
    error: BaseException,
    call: Callable[[], tuple[Args, Kwargs]],
    frame: FrameType,
    snapshot: tuple[Args, Kwargs] | None,
    refused: Refused | None,
) -> Failure | None:
    uses = take_fired(frame) if refused is None else refused.uses
    if not isinstance(error, Exception):
        return None
    if uses:
        site.settle(uses, *call(), result=None if refused is None else (refused.result,))
    healed = being_healed.get()
    if healed and any(one.name == site.boundary.name and not one.over for one in healed):
        return None
    if site.passes_over(error):
        return None
    failure = site.failure(error, *call(), frame, snapshot)
    if failure is not None and refused is not None:
        with internal_error("verify"):
            reason = failure.verify(refused.result).reason
            failure.refuted = {use.fix_id: reason for use in uses}
    return failure


@contextlib.contextmanager
def _attempting(site: Site, frame: FrameType, failure: Failure) -> Iterator[None]:
    attempts = BeingHealed(site.boundary.name)
    token = being_healed.set((*(one for one in being_healed.get() if not one.over), attempts))
    resting = resting_fixes.set(frozenset(failure.refuted)) if failure.refuted else None
    try:
        with internal_error("heal"):
            yield
    finally:
        attempts.over = True
        take_fired(frame)  # what a call made again has left, where nobody asked for it
        with contextlib.suppress(ValueError):  # closed from another context: the values end with that one
            being_healed.reset(token)
            if resting is not None:
                resting_fixes.reset(resting)


def _ended(site: Site, failure: Failure, healing: Healing | None, call: tuple[Args, Kwargs]) -> Healing | None:
    """Say how it ended; None if the original exception goes on."""
    with internal_error("end"):
        failure.end(runtime(), healing)
        healed = healing is not None and healing.healed
        serial = None if healed else runtime().index.snapshot.serial
        site.storm.ended(raised_at(failure.error), failure.incident.pattern, serial)
    tell_of(failure.incident, healing)
    if healing is not None and healing.healed:
        return healing
    if site.boundary.mode == "background":
        site.background.look(failure, *call)
    return None
