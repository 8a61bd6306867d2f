"""What a boundary declares about itself, and what the engine asks of one failing call.

The engine never imports the instrumentation: the boundary hands it a `FailedCall`, and the engine's
generator asks for calls to be made. So one engine serves synchronous and asynchronous callers.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import CodeType
from typing import Any, Literal, Protocol, get_type_hints

from pydantic import JsonValue, TypeAdapter, ValidationError

from healspan.remediation.currency import DEFAULT
from healspan.remediation.errors import ConfigurationError, StepInapplicable
from healspan.remediation.incident import Incident
from healspan.remediation.reservoir import GoodCall, Reservoir
from healspan.remediation.run import Run
from healspan.remediation.step import FramePath

__all__ = [
    "UNSET",
    "Between",
    "Boundary",
    "BoundaryForm",
    "BoundaryMode",
    "ContractResult",
    "FailedCall",
    "FailingFrame",
    "Invocation",
    "OneOf",
    "Strategy",
    "Tunable",
    "boundaries",
    "forget_missing",
    "is_withdrawn",
    "note_missing",
    "register",
    "why_missing",
    "withdraw",
]

BoundaryMode = Literal["heal", "background", "observe"]

BoundaryForm = Literal["compiled", "wrapper"]
"""Where the boundary is: inside the function, or in front of it."""

UNSET: Any = object()
"""Stands for 'no fallback declared', since None may be one."""

Invocation = Callable[[], Any]
"""A call the engine wants made; may return an awaitable."""


@dataclass(frozen=True, slots=True)
class ContractResult:
    """What the contract says of a value."""

    valid: bool | None
    """None: the boundary declares no contract."""
    reason: str
    compared: bool = False
    """Whether the value was also held against what good calls of the boundary have in common."""


@dataclass(frozen=True, slots=True)
class FailingFrame:
    """The code and the exact position of one frame of a failure, innermost last."""

    code: CodeType
    module: str
    qualname: str
    position: tuple[int, int, int, int] | None
    """Line, end line, column, end column in the file; None where the interpreter does not know."""
    in_app: bool


@dataclass(frozen=True, slots=True)
class Strategy:
    """A named alternative to the boundary's function, taking the same arguments."""

    name: str
    function: Callable[..., Any]
    automatic: bool = True
    """Whether a playbook may try it; otherwise only a fix that a human approved may name it."""

    def tunables(self) -> dict[str, TypeAdapter[Any]]:
        """Return the keyword-only parameters, which a fix may set, with the types they take."""
        hints = get_type_hints(self.function)
        return {
            name: TypeAdapter(hints.get(name, Any))
            for name, parameter in inspect.signature(self.function).parameters.items()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY
        }

    def bind(self, arguments: Mapping[str, JsonValue]) -> dict[str, Any]:
        """Validate a fix's arguments against the tunables.

        Raises:
            StepInapplicable: an argument is not a tunable of this strategy, or has the wrong type.
        """
        if not arguments:
            return {}
        tunables = self.tunables()
        bound: dict[str, Any] = {}
        for name, value in arguments.items():
            if name not in tunables:
                raise StepInapplicable(f"strategy {self.name!r} has no keyword-only parameter {name!r}")
            try:
                bound[name] = tunables[name].validate_python(value)
            except ValidationError as error:
                raise StepInapplicable(
                    f"strategy {self.name!r}: {name}={value!r:.80} is no {tunables[name]!r:.80} "
                    f"({error.error_count()} errors)",
                ) from error
        return bound


@dataclass(frozen=True, slots=True)
class Between:
    """Bounds of a tunable number, both included."""

    low: float
    high: float

    def __post_init__(self) -> None:
        """Refuse bounds that hold nothing."""
        if not (isinstance(self.low, int | float) and isinstance(self.high, int | float) and self.low <= self.high):
            raise ConfigurationError(f"{self!r:.80} holds nothing; give two numbers, the lower one first")

    def holds(self, value: object) -> bool:
        """Whether a fix may set this value."""
        return isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class OneOf:
    """The values a tunable argument may have; a playbook tries the others in this order."""

    values: tuple[JsonValue, ...]

    def __post_init__(self) -> None:
        """Refuse what is no list of values."""
        if not isinstance(self.values, tuple | list):
            raise ConfigurationError(f"{self!r:.80} names no values; write OneOf((one, other))")

    def holds(self, value: object) -> bool:
        """Whether a fix may set this value."""
        return any(type(value) is type(one) and value == one for one in self.values)


Tunable = Between | OneOf


@dataclass(slots=True)
class Boundary:
    """Everything a boundary declares; one object per decorated function, strategies joining later."""

    name: str
    function: Callable[..., Any] | None
    """None for a ``with`` block, which can only be observed."""
    target: str
    """``module:qualname``."""
    retry_safe: bool | Literal["snapshot"] = False
    mode: BoundaryMode = "heal"
    has_contract: bool = False
    has_checks: bool = False
    """Whether checks look at the result; a type alone cannot tell one reading of a text from another."""
    fallback: Any = UNSET
    strategies: dict[str, Strategy] = field(default_factory=dict)
    tunable: dict[str, Tunable] = field(default_factory=dict)
    """Arguments for which a fix may choose other values."""
    currency: str = DEFAULT
    """Code of the currency that it reckons in; no machine's fix reads an amount with the sign of another one."""
    golden: Reservoir | None = None
    """Good calls; None where the boundary did not ask for any."""
    form: BoundaryForm = "wrapper"
    form_reason: str = ""
    """Why it has this form."""
    doubts: tuple[str, ...] = ()
    """What of the declaration can do nothing, in sentences; ``healspan doctor`` shows them."""
    withdrawn: bool = False
    """Whether it was taken off its function: nothing is captured, verified or healed any more."""
    why_unchecked: Callable[[], str | None] = lambda: None
    """Why the declared output is not checked, if it is not; to be asked when the application is imported whole."""

    def tuned(self, arguments: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        """Check a fix's values against what is declared tunable.

        Raises:
            StepInapplicable: an argument is not tunable, or the value is out of bounds.
        """
        for name, value in arguments.items():
            bounds = self.tunable.get(name)
            if bounds is None:
                raise StepInapplicable(f"boundary {self.name!r} does not declare {name!r} tunable")
            if not bounds.holds(value):
                raise StepInapplicable(f"{name}={value!r:.80} is outside {bounds}")
        return dict(arguments)

    @property
    def has_fallback(self) -> bool:
        """Whether a fallback value was declared."""
        return self.fallback is not UNSET


class FailedCall(Protocol):
    """One failing call, as the boundary hands it to the engine."""

    @property
    def boundary(self) -> Boundary:
        """The declaration."""

    @property
    def incident(self) -> Incident:
        """The captured failure."""

    @property
    def arguments(self) -> Mapping[str, Any]:
        """The call's arguments by parameter name, as they were before the call where the boundary keeps a snapshot."""

    @property
    def output(self) -> Any:
        """The declared type of the result; `UNSET` where none is."""

    @property
    def asynchronous(self) -> bool:
        """Whether an invocation may return an awaitable."""

    @property
    def frames(self) -> tuple[FailingFrame, ...]:
        """Frames from the boundary's function down to the failing one."""

    @property
    def path(self) -> FramePath:
        """The way from the boundary down to the failing frame."""

    @property
    def error(self) -> Exception:
        """The original exception."""

    @property
    def run(self) -> Run:
        """The pipeline run, or a run of this call's own."""

    @property
    def started(self) -> float:
        """`time.perf_counter` when the exception reached the boundary, in seconds."""

    @property
    def refuted(self) -> Mapping[str, str]:
        """Fixes whose installed repairs acted in this very call and led to a value that broke the contract; why."""

    @property
    def repeatable(self) -> str | None:
        """None if the call may be made again; otherwise why not."""

    def again(self) -> Any:
        """Make the original call again (an awaitable for a coroutine function)."""

    def replay(self, good: GoodCall) -> Any:
        """Make a call that is known to be good again, with copies of its arguments."""

    def after(self, error: Exception) -> FailedCall:
        """Return this call as it failed when it was made again with repairs in force."""

    def again_with(self, arguments: Mapping[str, Any]) -> Any:
        """Make the original call again with other values for some arguments."""

    def sleep(self, seconds: float) -> Callable[[], Any]:
        """Return an invocation that waits, without blocking a loop."""

    def alternative(self, function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
        """Call another function with the same arguments (and these keywords)."""

    def pause(self, event: threading.Event, seconds: float) -> Callable[[], Any]:
        """Return an invocation that waits for an event, no longer than some seconds, without blocking a loop."""

    def acted(self, fix_id: str) -> bool:
        """Tell whether an installed repair of this fix has acted, with a result, in a call made again."""

    def verify(self, value: object) -> ContractResult:
        """Check a value against the contract, strictly and without replacing it."""


_registry: dict[str, Boundary] = {}
_withdrawn: set[str] = set()
_missing: dict[str, dict[str, bool]] = {}
"""Reasons in their order, each once, by target; and whether there is a boundary all the same."""


def register(boundary: Boundary) -> None:
    """Make a boundary known by its name; the same target may be declared again (a reloaded module).

    Raises:
        ConfigurationError: another function already has this name.
    """
    known = _registry.get(boundary.name)
    if known is not None and known.target != boundary.target:
        raise ConfigurationError(
            f"boundary {boundary.name!r} is declared twice, by {known.target} and {boundary.target}; "
            "give one of them another name",
        )
    _registry[boundary.name] = boundary
    _withdrawn.discard(boundary.name)


def withdraw(name: str) -> None:
    """Forget a boundary that was taken off its function: whoever still holds it calls straight through."""
    known = _registry.pop(name, None)
    if known is not None:
        known.withdrawn = True
        _withdrawn.add(name)


def is_withdrawn(name: str) -> bool:
    """Whether the boundary of this name was taken off, and none has the name since."""
    return name in _withdrawn


def note_missing(target: str, reason: str, *, in_part: bool = False) -> None:
    """Keep why what a file declares of a target, or of one that it matches, is not there, or not everywhere."""
    _missing.setdefault(target, {})[reason] = in_part


def forget_missing(target: str) -> None:
    """Forget why; it is looked for anew."""
    _missing.pop(target, None)


def why_missing(target: str) -> tuple[tuple[str, bool], ...]:
    """Return why what a file declares of a target is not there, and with each reason whether it is there in part."""
    return tuple(_missing.get(target, {}).items())


def boundaries() -> dict[str, Boundary]:
    """Return the boundaries declared in this process, by name."""
    return _registry
