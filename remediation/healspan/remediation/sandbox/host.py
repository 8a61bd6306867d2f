"""What an adapter may ask of its host: the original call, the boundary's alternatives, the catalogue.

Nothing else has a name there. Every question is counted, its arguments are checked as a stranger's would be, and an
exception of the application's is told to the adapter by the nearest type that the sandbox knows.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Generator, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, get_type_hints

from pydantic import ValidationError

from healspan.remediation.boundary import FailedCall, Invocation
from healspan.remediation.conventions import declared
from healspan.remediation.errors import AdapterFailed, HealspanError
from healspan.remediation.repairers import ABSENT, Failure, repairer
from healspan.remediation.sandbox.crossing import error_facts, plain, same
from healspan.remediation.sandbox.notation import Opaque, Unplain, decode, encode
from healspan.remediation.sandbox.rebuilding import rebuild
from healspan.remediation.step import AdapterStep

__all__ = ["Host"]

_KNOWN_ERRORS: frozenset[type[BaseException]] = frozenset(
    {
        Exception,
        ArithmeticError,
        AssertionError,
        AttributeError,
        FileNotFoundError,
        ImportError,
        IndexError,
        KeyError,
        LookupError,
        MemoryError,
        NameError,
        NotImplementedError,
        OSError,
        OverflowError,
        PermissionError,
        RecursionError,
        RuntimeError,
        TimeoutError,
        TypeError,
        UnicodeDecodeError,
        UnicodeEncodeError,
        ValueError,
        ZeroDivisionError,
    },
)

_OPERATIONS: Mapping[str, Callable[[Any], Any]] = {
    "float": float,
    "int": int,
    "decimal": Decimal,
    "date": date.fromisoformat,
    "datetime": datetime.fromisoformat,
    "json": json.loads,
}
"""What an adapter may have the catalogue read for: ``repair("number", "float", "$1,234")`` returns ``"1234"``."""


class Host:
    """Answers the questions of one adapter on one failing call.

    Args:
        step: says which names it may use.
        call: the failing call.
        arguments: what crossed of the call's arguments, by name.
        most: questions that are answered.
        clock: a monotonic clock in seconds.
    """

    def __init__(
        self,
        step: AdapterStep,
        call: FailedCall,
        arguments: Mapping[str, Any],
        most: int,
        clock: Callable[[], float],
    ) -> None:
        self._step = step
        self._call = call
        self._arguments = arguments
        self._left = most
        self._most = most
        self._clock = clock
        self.outside = 0.0
        """Seconds that the application's own functions have taken so far."""
        self._kept: list[object] = []
        self._results: list[tuple[Any, object]] = []

    @property
    def names(self) -> list[str]:
        """The functions that are handed over beside `call`."""
        given = {"strategy": self._step.strategies, "repair": self._step.repairers}
        return [name for name, allowed in given.items() if allowed]

    def answer(self, name: str, args: Any, keywords: Any) -> Generator[Invocation, Any, dict[str, Any]]:
        """Answer one question: a message for the worker.

        Raises:
            AdapterFailed: it asked too often, or for what it was not given.
        """
        self._left -= 1
        if self._left < 0:
            raise AdapterFailed(f"it made more than {self._most:,} host calls")
        allowed = name in self.names or (name == "call" and self._step.calls)
        if not allowed:
            # A name that does not stand in the text was made of something, perhaps of what the adapter was given.
            told = repr(name[:40]) if name in self._step.text else "something"
            raise AdapterFailed(f"it asked for {told}, which its step does not allow")
        try:
            positional, named = self.restored(decode(args)), self.restored(decode(keywords))
            value = yield from self._asked(name, positional, named)
        except AdapterFailed:
            raise
        except (HealspanError, Unplain) as refusal:
            return {"raise": "ValueError", "message": str(refusal)[:500]}
        except Exception as error:  # the application's: the adapter may know what to do about it
            facts = error_facts(error)
            kind = next((one for one in type(error).__mro__ if one in _KNOWN_ERRORS), Exception)
            return {"raise": kind.__name__, "message": facts["message"][:500]}
        return {"return": self._handed_over(value)}

    def _asked(self, name: str, args: list[Any], named: dict[str, Any]) -> Generator[Invocation, Any, Any]:
        match name:
            case "call":
                if args:
                    raise TypeError("call takes the arguments that change, by name: call(text=...)")
                changed = self._changed(named)
                # What is given again as it was is left to the boundary, which may hold a snapshot of it.
                again = functools.partial(self._call.again_with, changed) if changed else self._call.again
                return (yield from self._called(again))
            case "strategy":
                [wanted] = args
                if wanted not in self._step.strategies:
                    raise AdapterFailed("it asked for a strategy that its step does not allow")
                strategy = self._call.boundary.strategies[wanted]
                bound = strategy.bind(named)
                return (yield from self._called(functools.partial(self._call.alternative, strategy.function, bound)))
            case _:
                return self._repaired(*args, **named)

    def _called(self, invocation: Invocation) -> Generator[Invocation, Any, Any]:
        started = self._clock()
        try:
            return (yield invocation)
        finally:
            self.outside += self._clock() - started

    def _changed(self, named: dict[str, Any]) -> dict[str, Any]:
        given = self._call.arguments
        unknown = [name for name in named if name not in given]
        if unknown:
            raise TypeError(f"the call has no argument {unknown[0][:40]!r}; it has {', '.join(given)}")
        hints = _hints(self._call.boundary.function)
        changed: dict[str, Any] = {}
        for name, value in named.items():
            if name in self._arguments and same(value, self._arguments[name]):
                continue
            built = rebuild(value, hints.get(name))
            changed[name] = rebuild(built, type(given[name])) if built is value else built
        return changed

    def _repaired(
        self,
        name: str,
        operation: str,
        operand: object,
        key: object = None,
        accept: str = "none",
    ) -> object:
        """Return the operand that a repairer would use instead; what needs no repair is returned as it is."""
        if name not in self._step.repairers:
            raise AdapterFailed("it asked for a repairer that its step does not allow")
        chosen = repairer(name)
        try:
            given = {"accept": accept, **declared(name, self._call.boundary)}
            parameters = chosen.parameters.model_validate(given)
        except ValidationError:
            raise ValueError(f"repairer {name!r} does not accept {accept!r:.40}") from None
        try:
            if operation == "key" and isinstance(operand, dict):
                operand[key]
                return key
            if operation == "decode" and isinstance(operand, bytes):
                operand.decode()
                return operand
            _OPERATIONS[operation](operand)
            return operand
        except Exception as error:  # what it is there to repair
            if operation not in (*_OPERATIONS, "key", "decode"):
                raise ValueError(f"there is no operation {operation!r:.40}") from None
            failure = _failure(operation, operand, key, error, parameters)
            repaired = chosen.repair(failure)
        # A text asks for an operand; one that belongs to another owner would be of no use to it.
        if repaired is None or repaired.owner is not ABSENT:
            raise ValueError(f"repairer {name!r} declines")
        return repaired.value

    def restored(self, value: Any) -> Any:
        """Put the host's own objects in the place of what stood for them."""
        if isinstance(value, Opaque):
            return self._kept[value.number]
        if isinstance(value, dict):
            return {key: self.restored(one) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(map(self.restored, value))
        return value

    def _handed_over(self, value: object) -> Any:
        """Return a host's value as it may cross; what cannot is kept here, and a number crosses."""
        try:
            copied = plain(value)
            written = encode(copied)
        except Unplain:
            self._kept.append(value)
            return encode(Opaque(len(self._kept) - 1))
        self._results.append((copied, value))
        del self._results[:-8]
        return written

    def original(self, value: Any) -> tuple[object] | None:
        """Return the host's own value that a result is an unchanged copy of; None if it is of none."""
        if isinstance(value, Opaque):
            return (self._kept[value.number],)
        return next(((mine,) for copied, mine in reversed(self._results) if same(copied, value)), None)

    def seen(self) -> list[Any]:
        """Return what crossed inwards as answers."""
        return [copied for copied, _ in self._results]


@functools.lru_cache(maxsize=256)
def _hints(function: Callable[..., Any] | None) -> Mapping[str, Any]:
    try:
        return get_type_hints(function)
    except Exception:  # annotations that cannot be resolved here say nothing
        return {}


def _failure(operation: str, operand: object, key: object, error: Exception, parameters: Any) -> Failure:
    if operation == "key":
        return Failure("subscript", operand, key, error, parameters)
    if operation == "decode" and isinstance(operand, bytes):
        return Failure("call", operand.decode, ABSENT, error, parameters)
    return Failure("call", _OPERATIONS[operation], operand, error, parameters)
