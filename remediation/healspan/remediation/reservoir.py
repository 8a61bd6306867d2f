"""The reservoir: a bounded, fair choice of one boundary's good calls, kept in this process.

A good call returned by itself, keeping its contract, with no repair acting. It is kept as independent copies, so
that neither the application nor a replay can change it. What cannot be copied is skipped, and the reason is kept
for whoever asks why nothing is there.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import io
import os
import random
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID
from weakref import WeakSet

from healspan.remediation.errors import NotPlain
from healspan.remediation.learned import Learned, learn
from healspan.remediation.plain import digest_of, encode

__all__ = ["GoodCall", "Reservoir", "used_up"]

ROOM = 32
"""Good calls kept of one boundary."""

_MOST_BYTES = 1024 * 1024
_MOST_PARTS = 5_000
_PATIENCE = 3
"""Samples in a row that could not be kept, after which fewer are tried: each costs a good call its time."""
_TRY_EVERY = 50

Call = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass(frozen=True, slots=True, eq=False)
class GoodCall:
    """A call that is known to be good, as copies of its own."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    result: Any
    sample_id: UUID | None = None
    """Where it is in the store; None for one that only this process has."""

    def arguments(self) -> Call:
        """Return copies of the arguments, which whoever is called may change."""
        return copy.deepcopy((self.args, self.kwargs))

    def gives(self, result: object) -> bool:
        """Whether a result is the one that is known to be good."""
        return _same(self.result, result)


class Reservoir:
    """The good calls of one boundary.

    Args:
        signature: of the boundary's function.
        rate: the share of good calls to look at, as far as they are sampled at all; 0: only what is handed in.
        chance: a number in [0, 1).
    """

    def __init__(
        self,
        signature: inspect.Signature,
        rate: float = 0.0,
        *,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.rate = rate
        self.problem: str | None = None
        """Why a good call could not be kept, the last time one could not."""
        self.unstored: str | None = None
        """Why a good call that is kept here could not be made durable for other processes, the last time."""
        self.fresh: deque[GoodCall] = deque(maxlen=ROOM)
        """What has been kept since somebody last made it durable; appending needs no lock."""
        self._signature = signature
        self._chance = chance
        self._lock = threading.RLock()
        self._calls: list[GoodCall] = []
        self._offered = 0
        self._refused = 0
        self._learned: tuple[int, Learned | None] = (0, None)
        self._version = 0
        _reservoirs.add(self)

    def __len__(self) -> int:
        return len(self._calls)

    def wants(self, weight: int) -> bool:
        """Whether a sampled call, which stands for so many, is to be kept if it is good.

        Drawn before anything is copied: the fuller the reservoir, the fewer calls pay for a copy.
        """
        if self._refused >= _PATIENCE and self._chance() * _TRY_EVERY >= 1:
            return False
        if self._chance() >= self.rate * weight:
            return False
        self._offered += 1
        return len(self._calls) < ROOM or self._chance() * self._offered < ROOM

    def copied(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call | None:
        """Return copies of a call's arguments, before it is made; None where that cannot be done safely."""
        for value in (*args, *kwargs.values()):
            if used_up(value):
                self._refuse(f"an argument of type {type(value).__qualname__} is used up by its call")
                return None
        if not _is_small((args, kwargs)):
            self._refuse("its arguments are too large to be copied")
            return None
        try:
            return copy.deepcopy((args, dict(kwargs)))
        except Exception:
            self._refuse("its arguments cannot be copied")
            return None

    def keep(self, call: Call, result: object) -> bool:
        """Keep a good call, with arguments that were copied before it was made; False if it cannot be kept."""
        good = self._good(call, result)
        if good is None:
            return False
        self._refused = 0
        with self._lock:
            if len(self._calls) < ROOM:
                self._calls.append(good)
            else:
                self._calls[int(self._chance() * ROOM)] = good
            self._version += 1
        self.fresh.append(good)
        return True

    def fill(self, calls: Iterable[GoodCall], *, gone: frozenset[UUID] = frozenset()) -> None:
        """Take in good calls of other processes while there is room, and drop those that were erased."""
        with self._lock:
            self._calls = [one for one in self._calls if one.sample_id is None or one.sample_id not in gone]
            known = {one.sample_id for one in self._calls}
            for one in calls:
                if len(self._calls) < ROOM and one.sample_id not in known:
                    self._calls.append(one)
            self._version += 1

    def stored(self, good: GoodCall, sample_id: UUID) -> None:
        """Note under which id a good call has been made durable."""
        with self._lock:
            for place, one in enumerate(self._calls):
                if one is good:
                    self._calls[place] = GoodCall(one.args, one.kwargs, one.result, sample_id)

    def calls(self) -> tuple[GoodCall, ...]:
        """Return the good calls that are kept now."""
        with self._lock:
            return tuple(self._calls)

    def named(self, good: GoodCall) -> dict[str, Any]:
        """Return the arguments of a good call by parameter name, defaults left out."""
        return self._signature.bind(*good.args, **good.kwargs).arguments

    def call_of(self, named: Mapping[str, Any]) -> Call:
        """Return the call that has these arguments by parameter name.

        Raises:
            TypeError: the function takes other parameters now.
        """
        if unknown := named.keys() - self._signature.parameters.keys():
            raise TypeError(f"there is no parameter {', '.join(sorted(unknown))}")
        bound = inspect.BoundArguments(self._signature, dict(named))
        self._signature.bind(*bound.args, **bound.kwargs)
        return bound.args, bound.kwargs

    def learned(self) -> Learned | None:
        """Return what the results have in common; None while too few calls are kept."""
        with self._lock:
            version, calls = self._version, tuple(self._calls)
        known, learned = self._learned
        if known != version:
            learned = learn([(self.named(one), one.result) for one in calls])
            self._learned = (version, learned)
        return learned

    def _good(self, call: Call, result: object) -> GoodCall | None:
        reason = None
        kept: object = None
        if used_up(result) or inspect.isawaitable(result):
            reason = f"its result, a {type(result).__qualname__}, is used up by reading it"
        elif not _is_small(result):
            reason = "its result is too large to be copied"
        else:
            try:
                kept = copy.deepcopy(result)
            except Exception:
                reason = "its result cannot be copied"
        if reason is None and not _same(kept, result):
            reason = f"a {type(result).__qualname__} does not equal its copy, so results cannot be compared"
        if reason is not None:
            self._refuse(reason)
            return None
        return GoodCall(*call, kept)

    def _refuse(self, reason: str) -> None:
        self._refused += 1
        self.problem = reason


_reservoirs: WeakSet[Reservoir] = WeakSet()


def _after_fork() -> None:
    # Whoever held a lock did not come along.
    for one in _reservoirs:
        one._lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def used_up(value: object) -> bool:
    """Whether a value can be read only once, or belongs to the outside world."""
    return inspect.isgenerator(value) or isinstance(value, io.IOBase) or hasattr(type(value), "__next__")


def _same(one: object, other: object) -> bool:
    """Whether two results are the same: plain ones to the last type, others as their class compares them."""
    try:
        return digest_of(encode(one)) == digest_of(encode(other))
    except NotPlain:
        pass
    try:
        return type(one) is type(other) and bool(one == other)
    except Exception:
        return False


def _is_small(value: object) -> bool:
    """Whether a value, with what it holds, takes a bounded room; reads containers and attributes of instances."""
    stack: list[Any] = [value]
    seen, size = set[int](), 0
    while stack:
        one = stack.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        size += sys.getsizeof(one, 64) if type(one) in {str, bytes, bytearray, int} else 64
        if size > _MOST_BYTES or len(seen) > _MOST_PARTS:
            return False
        if type(one) is dict:
            stack += [*one.keys(), *one.values()]
        elif type(one) in {list, tuple, set, frozenset}:
            stack += list(one)
        elif not isinstance(one, type):
            with contextlib.suppress(Exception):
                held = object.__getattribute__(one, "__dict__")
                stack += list(held.values()) if type(held) is dict else []
    return True
