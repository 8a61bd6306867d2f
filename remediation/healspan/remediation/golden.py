"""Golden samples: good calls as they are stored, for other processes and for `healspan replay`.

Only a call that loses nothing by it is stored: its arguments and its result are plain values, and scrubbing would
leave them as they are. A sample is signed by the machine that took it, since who replays it makes the call: nobody
who can only write to the store may choose the arguments.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

from pydantic import JsonValue

from healspan.remediation.boundary import Boundary
from healspan.remediation.errors import HealspanError, NotPlain, SignatureRefused
from healspan.remediation.ids import uuid7
from healspan.remediation.plain import decode, digest_of, encode
from healspan.remediation.record import Record
from healspan.remediation.reservoir import ROOM, GoodCall, Reservoir
from healspan.remediation.sample import GoldenSample
from healspan.remediation.scrubbing import Scrubber
from healspan.remediation.settings import Settings
from healspan.remediation.signing import KeyRing
from healspan.remediation.store import AuditEntry

if TYPE_CHECKING:
    from healspan.remediation.store.database import Database

__all__ = ["UNSTORED", "Exchange", "golden_sample", "good_call"]

logger = logging.getLogger("healspan")

LOOK_EVERY = 300.0
"""Seconds between two looks at what other processes have stored."""

UNSTORED = "golden skipped"
"""What the audit calls a boundary whose good calls cannot be kept or stored."""

_MOST_TEXT = 64 * 1024
"""Characters of one stored sample."""


def golden_sample(
    boundary: str,
    reservoir: Reservoir,
    good: GoodCall,
    *,
    scrubber: Scrubber,
    at: datetime,
    new_id: Callable[[], UUID] = uuid7,
) -> GoldenSample:
    """Return a good call as it may be stored, not signed yet.

    Raises:
        NotPlain: it may not: something would be lost, or it holds what must not be stored.
    """
    arguments: dict[str, JsonValue] = {}
    for name, value in reservoir.named(good).items():
        arguments[name] = _storable(value, name, f"argument {name!r}", scrubber)
    result = _storable(good.result, "", "the result", scrubber)
    sample = GoldenSample(
        sample_id=new_id(), boundary=boundary, at=at, arguments=arguments, result=result, digest=digest_of(result)
    )
    if len(sample.signed_bytes()) > _MOST_TEXT:
        raise NotPlain(f"it takes more than {_MOST_TEXT // 1024} KiB")
    return sample


def _storable(value: object, name: str, what: str, scrubber: Scrubber) -> JsonValue:
    try:
        payload = encode(value)
    except NotPlain as error:
        raise NotPlain(f"{what} is no plain value: {error}") from error
    if scrubber.scrub_value(payload, name) != payload:
        raise NotPlain(f"{what} holds something that must not be stored")
    return payload


def good_call(sample: GoldenSample, reservoir: Reservoir, keys: KeyRing) -> GoodCall:
    """Return the call of a stored sample.

    Raises:
        SignatureRefused: nobody this host trusts has signed it, or it was altered.
        NotPlain: it cannot be read, or the function takes other parameters now.
    """
    keys.verify(sample.signed_bytes(), sample.signature)
    result = decode(sample.result)
    if digest_of(encode(result)) != sample.digest:
        raise NotPlain("its digest is not that of its result")
    try:
        args, kwargs = reservoir.call_of({name: decode(value) for name, value in sample.arguments.items()})
    except TypeError as error:
        raise NotPlain("the function takes other parameters now") from error
    return GoodCall(args, kwargs, result, sample.sample_id)


class Exchange:
    """Brings this process's good calls into the store, and those of others into this process's reservoirs.

    Runs in a thread of its own, never on the path of a call.

    Args:
        settings: where the store is.
        keys: sign what is stored, and say whose samples are believed.
        scrubber: what must not be stored.
        append: makes one fact durable.
        boundaries: those of this process, by name.
        on_error: called after every look at the store that failed.
        clock: monotonic, in seconds.
        now: the wall clock, in UTC.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        keys: KeyRing,
        scrubber: Scrubber,
        append: Callable[[str, Record], bool],
        boundaries: Callable[[], Mapping[str, Boundary]],
        on_error: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings = settings
        self._keys = keys
        self._scrubber = scrubber
        self._append = append
        self._boundaries = boundaries
        self._on_error = on_error
        self._clock = clock
        self._now = now
        self._looked: dict[str, float] = {}
        self._storing = threading.RLock()
        """The end of the process stores what is fresh beside the thread that does so all the time."""
        self._database: Database | None = None
        self._said: set[tuple[str, str]] = set()

    def exchange(self, *, look: bool = True) -> None:
        """Store what is fresh; look, now and then, for what others have stored."""
        for boundary in tuple(self._boundaries().values()):
            if boundary.golden is None:
                continue
            # First, since what is appended now takes a moment to reach the store, and must not count as erased.
            if look and self._clock() - self._looked.get(boundary.name, -LOOK_EVERY) >= LOOK_EVERY:
                self._looked[boundary.name] = self._clock()
                self.look(boundary, boundary.golden)
            self._store(boundary, boundary.golden)
            self._say_why(boundary, boundary.golden)

    def look(self, boundary: Boundary, reservoir: Reservoir) -> None:
        """Fill a boundary's reservoir from the store, and drop from it what was erased there."""
        from healspan.remediation.store.database import Database
        from healspan.remediation.store.goldens import Goldens

        if self._database is None:
            self._database = Database.for_host(self._settings)
        mine = {one.sample_id for one in reservoir.calls() if one.sample_id is not None}
        try:
            stored = Goldens(self._database)
            samples = stored.latest(boundary.name, limit=ROOM)
            gone = stored.erased(mine)
        except HealspanError as error:
            self._on_error()
            logger.info("golden samples of %s are not read for now: %s", boundary.name, error)
            return
        found: list[GoodCall] = []
        for sample in samples:
            try:
                if sample.boundary != boundary.name:
                    raise SignatureRefused(f"it was signed as one of boundary {sample.boundary!r}; look who moved it")
                found.append(good_call(sample, reservoir, self._keys))
            except SignatureRefused as error:
                logger.warning("golden sample %s is not replayed: %s", sample.sample_id, error)
            except NotPlain as error:
                logger.info("golden sample %s is not replayed: %s", sample.sample_id, error)
        reservoir.fill(found, gone=gone)

    def close(self) -> None:
        """Close the connections to the store."""
        if self._database is not None:
            self._database.close()

    def _say_why(self, boundary: Boundary, reservoir: Reservoir) -> None:
        """Write down, once, why good calls are not kept or not stored: nobody should believe that they are."""
        reason = reservoir.unstored or reservoir.problem
        if reason is None or (boundary.name, reason) in self._said:
            return
        self._said.add((boundary.name, reason))
        entry = AuditEntry(
            audit_id=uuid7(),
            at=self._now(),
            actor="engine",
            action=UNSTORED,
            subject=boundary.name,
            detail={"reason": reason},
        )
        self._append("audit", entry)

    def _store(self, boundary: Boundary, reservoir: Reservoir) -> None:
        with self._storing:
            for _ in range(len(reservoir.fresh)):
                good = reservoir.fresh.popleft()
                try:
                    sample = golden_sample(boundary.name, reservoir, good, scrubber=self._scrubber, at=self._now())
                except NotPlain as error:
                    reservoir.unstored = str(error)
                    continue
                if self._append("golden", self._keys.sign_record(sample)):
                    reservoir.stored(good, sample.sample_id)
