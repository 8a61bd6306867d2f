"""Calls of one boundary that are under way, and what there is to tell of some of them when they end.

A boundary reads ``calls.leaving.look`` at the end of each call, for nothing. Where there is nothing to tell, that
reads an empty slot; otherwise the same attribute is a property that tells it. So the end of a call needs no
branch, which is cheaper, and which would give the function's implicit ``return`` a line of its own.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakSet

from healspan.remediation.currency import DEFAULT
from healspan.remediation.repairers import Loss
from healspan.remediation.step import RepairStep

if TYPE_CHECKING:
    from healspan.remediation.repair.swallowed import Swallowed

__all__ = ["FiredRepair", "RunningCalls", "untaken"]

_MOST_UNTAKEN = 1_000


class FiredRepair(NamedTuple):
    """One use of a repair inside a call that is still running."""

    fix_id: str
    step: RepairStep
    loss: Loss
    elapsed_ns: int
    """Time the repair added: repairer and repeated operation, in nanoseconds."""
    succeeded: bool
    """Whether the operation gave a result; otherwise the original exception went on."""
    frame: FrameType
    """The boundary's frame; held, so that its id is nobody else's."""
    original: Swallowed | None = None
    """What would have left the call; kept with the first use in it, and only where the result is verified."""


class _Nothing:
    """There is nothing to tell."""

    __slots__ = ("look",)

    def __init__(self) -> None:
        self.look = None


class _Something:
    """Some call has something to tell; perhaps this one."""

    __slots__ = ("_tell",)

    def __init__(self, tell: Callable[[FrameType], None]) -> None:
        self._tell = tell

    @property
    def look(self) -> None:
        """Tell it."""
        self._tell(_frame(1))


class RunningCalls:
    """What is to be told of the running calls of one boundary, by their frames.

    There are no locks in here: what must be one step is one call of a dictionary's, or a few instructions without
    any call between them, where the interpreter does not turn to another thread.

    Args:
        tell: called with its frame when a call ends while there is something to tell, of it or of another one;
            must not raise.
        verified: whether a contract is held against what calls return.
        currency: code of the one that the boundary reckons in.
        observed: whether the boundary only captures: no repair acts below it, whatever it has learned in another mode.
    """

    def __init__(
        self,
        tell: Callable[[FrameType], None] | None = None,
        *,
        verified: bool = False,
        currency: str = DEFAULT,
        observed: bool = False,
    ) -> None:
        self.currency = currency
        self.observed = observed
        self._verified = verified
        self.nothing = _Nothing()
        self._something = self.nothing if tell is None else _Something(tell)
        self.leaving: _Nothing | _Something = self.nothing
        """Its ``look`` is read at the end of each call; `nothing` where there is nothing to tell of any."""
        self._uses: dict[int, list[FiredRepair]] = {}
        self._samples: dict[int, tuple[int, float]] = {}
        _all.add(self)

    @property
    def quiet(self) -> bool:
        """Whether there is nothing to tell of any call."""
        return self.leaving is self.nothing

    def keeps_original(self, frame: FrameType) -> bool:
        """Whether to keep what the next repair in a call swallows: a broken contract would bring it back."""
        return self._verified and id(frame) not in self._uses

    def fired(self, use: FiredRepair) -> None:
        """Note that a repair has acted in a call."""
        self._uses.setdefault(id(use.frame), []).append(use)
        self.leaving = self._something
        if len(self._uses) > _MOST_UNTAKEN:
            # A boundary that never takes is a defect; it must not become a leak.
            _drop_oldest(self._uses)

    def sampled(self, frame: FrameType, weight: int, started: float) -> None:
        """Note that a call is sampled.

        Args:
            frame: of the call.
            weight: how many calls it stands for.
            started: `time.perf_counter` at its beginning, in seconds.
        """
        self._samples[id(frame)] = weight, started
        self.leaving = self._something

    def uses(self, frame: FrameType) -> list[FiredRepair]:
        """Return the repairs that have acted in a call so far; they are still to be taken."""
        return [*self._uses.get(id(frame), ())]

    def take(self, frame: FrameType) -> list[FiredRepair]:
        """Return, once, the repairs that acted in a call."""
        if not self._uses:
            return []
        uses = self._uses.pop(id(frame), [])
        if not self._uses and not self._samples:
            self.leaving = self.nothing
        return uses

    def forget_sample(self, frame: FrameType) -> None:
        """Forget that a call is sampled."""
        self._samples.pop(id(frame), None)
        if not self._samples and not self._uses:
            self.leaving = self.nothing

    def take_all(self, frame: FrameType) -> tuple[tuple[int, float] | None, list[FiredRepair] | None]:
        """Return, once, weight and start of a call if it is sampled, and the repairs that acted in it."""
        key = id(frame)
        sample = self._samples.pop(key, None)
        if not self._samples and not self._uses:
            self.leaving = self.nothing
            return sample, None
        if len(self._samples) > _MOST_UNTAKEN:
            # A call that is interrupted at its first step never takes its note.
            _drop_oldest(self._samples)
        return sample, self.take(frame)

    def untaken(self) -> int:
        """Return of how many calls a repair has acted in that has not been taken."""
        return len(self._uses)

    def forget(self) -> None:
        """Forget all calls: their threads did not come along into a child process."""
        self._uses.clear()
        self._samples.clear()
        self.leaving = self.nothing


_all: WeakSet[RunningCalls] = WeakSet()
_frame = sys._getframe


def untaken() -> int:
    """Return in how many calls of this process a repair has acted that the boundary has not taken yet."""
    return sum(calls.untaken() for calls in list(_all))


def _drop_oldest(notes: dict[int, Any]) -> None:
    with contextlib.suppress(RuntimeError):  # another thread changed it between the two steps
        notes.pop(next(iter(notes), 0), None)


def _after_fork_in_child() -> None:
    for calls in list(_all):
        calls.forget()


os.register_at_fork(after_in_child=_after_fork_in_child)
