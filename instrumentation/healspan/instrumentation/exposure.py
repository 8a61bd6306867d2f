"""Exposure: how often each boundary is called, in which context, and how long a good call takes.

The number of calls is exact; contexts and durations are sampled: all of the first calls, then one in 64, and of a
boundary that is called in a tight loop as few as make a sample a millisecond.
"""

from __future__ import annotations

import operator
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from healspan.remediation.ids import uuid7
from healspan.remediation.outcome import Exposure

__all__ = ["CallCounter", "Sample"]

_FIRST = 256
"""All of these calls are sampled: short runs want to know their contexts too."""

_EVERY = 64
"""Afterwards one call in so many is sampled."""

_RAREST = 2_048
"""One in so many at the least, however fast the calls come."""

_SOON, _LATE = 0.001, 0.01
"""Seconds between two samples. Where they come sooner every second one is left out from then on, down to `_RAREST`:
a sample costs as much as thirty calls. Where they come later than that, half of those left out come back."""

_ITEMS: tuple[tuple[()], ...] = ((),) * (_RAREST - 1)
_BETWEEN = {size: _ITEMS[: size - 1] for size in (_EVERY << doubled for doubled in range(6))}
"""What the calls in between take, by how many calls one sample is taken from."""


_MOST_SAMPLES = 16_384
"""Kept between two takes; beyond it the oldest make room."""

Sample = tuple[int, tuple[tuple[str, str], ...], float]
"""Calls it stands for, sorted context keys, seconds."""


class CallCounter:
    """Counts the calls of one boundary exactly, at the price of one item of an iterator each.

    A call takes an item of `ticks`, which is atomic under the interpreter lock: ``for () in counter.ticks: break``.
    When none is left it calls `look`, is counted there, and is the one to be sampled. What the iterators have given
    away, and the number of looks, make the exact number.

    Calls take no lock: the interpreter turns to another thread at calls and at jumps backwards only, so a few
    instructions without either are one step.
    """

    def __init__(
        self,
        boundary: str,
        *,
        offset: int | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._boundary = boundary
        self._clock = clock
        # A random start keeps many boundaries, or many processes, from sampling the same request.
        self._offset = random.randrange(_EVERY) if offset is None else offset  # noqa: S311 - no secret
        self.ticks: Iterator[tuple[()]] = iter(())
        self._given = 0
        """Items that the iterators before this one had."""
        self._size = 0
        """Items that this iterator had."""
        self._looks = 0
        self._every = _EVERY
        self._looked = 0.0
        """When the last call looked, in seconds of the clock."""
        self._flushed = 0
        self._flushing = threading.RLock()
        self.samples: deque[Sample] = deque(maxlen=_MOST_SAMPLES)
        """Sampled good calls since the last take; appending needs no lock."""

    def look(self) -> int:
        """Count a call that found no item; return how many calls its sample stands for, 0 if it is not sampled.

        It stands for itself and for those that came since the last one.
        """
        now, every = self._clock(), self._every
        if self._looks > _FIRST:
            gap = now - self._looked
            if gap < _SOON and every < _RAREST:
                every *= 2
            elif gap > _LATE and every > _EVERY:
                every //= 2
        while True:
            ticks = self.ticks
            for () in ticks:
                return 0  # another thread has brought a new iterator meanwhile
            if self._looks >= _FIRST:
                items = _BETWEEN[every]
            else:
                items = _ITEMS[: self._offset if self._looks == _FIRST - 1 else 0]
            size, fresh = len(items), iter(items)
            if self.ticks is ticks:
                self._given += self._size
                self._looks += 1
                weight = self._size + 1
                self._size, self.ticks = size, fresh
                self._every, self._looked = every, now
                return weight

    def calls(self) -> int:
        """Return the number of calls so far.

        A call that found no item is counted a moment later, when it looks.
        """
        while True:
            ticks = self.ticks
            left = operator.length_hint(ticks)
            if self.ticks is ticks:
                return self._given + self._size - left + self._looks

    def _samples(self) -> dict[tuple[tuple[str, str], ...], tuple[int, float]]:
        """Take the samples, as (calls they stand for, milliseconds) by context."""
        taken: dict[tuple[tuple[str, str], ...], tuple[int, float]] = {}
        for _ in range(len(self.samples)):
            weight, context, seconds = self.samples.popleft()
            calls, milliseconds = taken.get(context, (0, 0.0))
            taken[context] = (calls + weight, milliseconds + weight * seconds * 1e3)
        return taken

    def take(self, now: datetime | None = None) -> list[Exposure]:
        """Return what has come since the last take, the sampled contexts scaled to the exact number of calls."""
        with self._flushing:
            calls = self.calls()
            fresh = calls - self._flushed
            if fresh <= 0:
                return []
            self._flushed = calls
        samples = self._samples()
        hour = (now or datetime.now(UTC)).replace(minute=0, second=0, microsecond=0)
        weight = sum(count for count, _ in samples.values())
        shares = {key: (count / weight, ms / weight) for key, (count, ms) in samples.items()} or {(): (1.0, 0.0)}
        rows: list[Exposure] = []
        left = fresh
        for position, (key, (share, ms)) in enumerate(sorted(shares.items())):
            part = left if position == len(shares) - 1 else min(left, round(fresh * share))
            left -= part
            rows.append(
                Exposure(
                    exposure_id=uuid7(),
                    boundary=self._boundary,
                    context_keys=dict(key),
                    hour=hour,
                    calls=part,
                    ok_ms=ms * fresh,
                ),
            )
        return rows
