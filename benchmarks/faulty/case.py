"""A case of the fault-injection benchmark: a faulty call, its truth, and the register of faults."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from faulty.material import Material
from faulty.server import Server

__all__ = ["FAULTS", "Case", "Fault", "Kind", "World", "fault", "plain"]

Kind = Literal["healable", "compound", "lasting", "convention", "control"]
"""``compound``: two faults at once, healable; ``lasting``: nothing but the original failure is right; ``convention``:
likewise, but there is a convention of reading it, which does not hold for this service, and no check can tell."""


@dataclass(frozen=True)
class World:
    """What a fault is made from."""

    material: Material
    server: Server
    chance: random.Random


@dataclass(frozen=True)
class Case:
    """One faulty call."""

    function: str
    """Its name in `faulty.service.declare`."""
    argument: Callable[[], Any]
    """Makes the argument afresh for each call."""
    truth: Any
    """What the call must return, from before the fault."""


@dataclass(frozen=True)
class Fault:
    """One kind of fault."""

    name: str
    kind: Kind
    make: Callable[[World], Case]
    slow: bool = False
    """Each case takes seconds, since somebody asks to wait: fewer of them."""


FAULTS: list[Fault] = []


def fault(kind: Kind, *, slow: bool = False) -> Callable[[Callable[[World], Case]], Callable[[World], Case]]:
    """Register a fault under the name of its function."""

    def add(make: Callable[[World], Case]) -> Callable[[World], Case]:
        FAULTS.append(Fault(make.__name__, kind, make, slow))
        return make

    return add


def plain(function: str, argument: Any, truth: Any) -> Case:
    """Make a case whose argument is plain data; each call gets a copy."""
    text = argument if isinstance(argument, str | bytes | tuple) else None
    packed = json.dumps(argument) if text is None else ""
    return Case(function, (lambda: text) if text is not None else (lambda: json.loads(packed)), truth)
