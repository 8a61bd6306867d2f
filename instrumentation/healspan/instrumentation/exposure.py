"""Exposure: how often each boundary is called, in which context, and how long a good call takes.

The number of calls is exact; contexts and durations are sampled, all of the first calls and then one in 64.
"""

from __future__ import annotations

import itertools
import random
import threading
from collections import deque
from datetime import UTC, datetime

from healspan.remediation.ids import uuid7
from healspan.remediation.outcome import Exposure

__all__ = ["CallCounter", "Sample"]

_FIRST = 256
"""All of these calls are sampled: short runs want to know their contexts too."""

_EVERY = 64
"""Afterwards one call in so many is sampled."""


_MOST_SAMPLES = 16_384
"""Kept between two takes; beyond it the oldest make room."""

Sample = tuple[int, tuple[tuple[str, str], ...], float]
"""Calls it stands for, sorted context keys, seconds."""


class CallCounter:
    """Counts the calls of one boundary exactly, at the price of one C call each.

    `tick` takes the next of an endless sequence 0, 0, ..., 0, k, ..., 63, 0, 1, ..., 63, 0, ... and a zero
    means: sample this call. Taking an item is atomic under the interpreter lock; the zeros that were taken
    and one look at the present item give the exact number of items taken.
    """

    def __init__(self, boundary: str, *, offset: int | None = None) -> None:
        self._boundary = boundary
        # A random start keeps many boundaries, or many processes, from sampling the same request.
        self._offset = random.randrange(1, _EVERY) if offset is None else offset  # noqa: S311 - no secret
        self.tick = itertools.chain(
            itertools.repeat(0, _FIRST),
            range(self._offset, _EVERY),
            itertools.cycle(range(_EVERY)),
        ).__next__
        self._lock = threading.Lock()
        # Likewise the zeros that calls have noted: the next of 0, 1, 2, ... without a lock.
        self._next_zero = itertools.count().__next__
        self._zero_looks = 0
        self._looks = 0
        self._flushed = 0
        self.samples: deque[Sample] = deque(maxlen=_MOST_SAMPLES)
        """Sampled good calls since the last take; appending needs no lock."""

    def zero(self) -> int:
        """Note that a call took a zero; return how many calls its sample stands for."""
        return 1 if self._next_zero() < _FIRST else _EVERY

    def calls(self) -> int:
        """Return the number of calls so far.

        Exact once every call that took a zero has noted it; a call between the two is counted a moment later.
        """
        item = self.tick()
        with self._lock:
            self._looks += 1
            if item == 0:
                self._next_zero()
            zeros = self._next_zero() - self._zero_looks
            self._zero_looks += 1
            return self._taken(zeros, item) - self._looks

    def _taken(self, zeros: int, item: int) -> int:
        """Return how many items have been taken, given the zeros among them and the last item."""
        if zeros < _FIRST or (zeros == _FIRST and item == 0):
            return zeros
        if zeros == _FIRST:
            return _FIRST + item - self._offset + 1
        started = _FIRST + (_EVERY - self._offset)
        return started + _EVERY * (zeros - _FIRST - 1) + item + 1

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
        calls = self.calls()
        with self._lock:
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
