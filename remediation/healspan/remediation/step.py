"""A step: one typed action of a fix. Steps are data; each kind is applied by one small module.

Steps of one fix are ordered from the innermost outwards: repairs act inside the call, and each later
step handles what is still raised by everything before it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue, field_validator

from healspan.remediation.adapter import MOST_TEXT, read_text
from healspan.remediation.errors import InvalidFix
from healspan.remediation.record import Record

__all__ = [
    "AdapterStep",
    "FallbackStep",
    "FramePath",
    "ParametersStep",
    "RepairStep",
    "RetryStep",
    "Step",
    "StepKind",
    "StrategyStep",
    "in_words",
    "used_repairers",
    "used_strategies",
]

StepKind = Literal["retry", "repair", "adapter", "parameters", "strategy", "fallback"]

FramePath = tuple[tuple[str, str, str], ...]
"""The way from a boundary down to a failing frame: (module, qualified name, source line with white space
collapsed) of each in-between frame, the boundary's own function first, the failing frame last.

The module's dotted name stands where a file's path could: paths differ between hosts."""


class RepairStep(Record):
    """Run a repairer on the operands of one expression when, and only when, it raises."""

    kind: Literal["repair"] = "repair"
    module: str
    """Dotted name of the module that defines the function."""
    qualname: str
    """Qualified name of the function in that module, e.g. ``Reader.total``."""
    source_hash: str
    """SHA-256 of the function's source text, decorators included."""
    expression: str
    """Source text of the expression."""
    line: int = Field(ge=0)
    """First line of the expression; the function's first source line (a decorator, if any) is 0."""
    end_line: int = Field(ge=0)
    column: int = Field(ge=0)
    """First column, in UTF-8 bytes, as ``co_positions`` counts."""
    end_column: int = Field(ge=0)
    error_type: str
    """Qualified type of the exception that the expression raised, e.g. ``builtins.ValueError``."""
    repairer: str
    parameters: dict[str, JsonValue] = Field(default_factory=dict)


class RetryStep(Record):
    """Make the same call again, a few times, after waiting longer each time; a Retry-After is honoured."""

    kind: Literal["retry"] = "retry"
    attempts: int = Field(default=3, ge=1, le=5)
    """Calls after the failed one."""
    first_wait: float = Field(default=0.1, gt=0, le=5)
    """Seconds before the first of them; each further wait is twice as long, with jitter."""
    longest_wait: float = Field(default=2.0, gt=0, le=30)
    """Seconds; who is asked to wait longer gives up at once."""


class ParametersStep(Record):
    """Make the call again with other values for arguments that the boundary declared tunable."""

    kind: Literal["parameters"] = "parameters"
    arguments: dict[str, JsonValue] = Field(min_length=1)


class StrategyStep(Record):
    """Call a named alternative that the application registered for the boundary."""

    kind: Literal["strategy"] = "strategy"
    strategy: str
    arguments: dict[str, JsonValue] = Field(default_factory=dict)
    """Values for keyword-only parameters of the alternative, which it thereby declares tunable."""


class AdapterStep(Record):
    """Run a text of Python, ``def heal(call, arguments, error)``, in the sandbox, and take its result."""

    kind: Literal["adapter"] = "adapter"
    text: str = Field(min_length=1, max_length=MOST_TEXT)
    """The whole text. ``call(name=value)`` makes the original call again with other values for some arguments,
    ``arguments`` are plain copies by name, ``error`` is a dict with ``type``, ``name``, ``message`` and ``args``."""
    arguments: tuple[str, ...] | None = None
    """The arguments that cross into the sandbox; None for all, but for the object that a method belongs to."""
    strategies: tuple[str, ...] = ()
    """The boundary's alternatives that it may use: ``strategy(name, keyword=value)``."""
    repairers: tuple[str, ...] = ()
    """The repairers of the catalogue that it may use: ``repair(name, operation, operand)``."""

    @field_validator("text")
    @classmethod
    def _is_fit(cls, text: str) -> str:
        # Whoever reads a fix, from a file or from the store, refuses what no sandbox should be given.
        try:
            read_text(text)
        except InvalidFix as refusal:
            raise ValueError(str(refusal)) from None
        return text

    @property
    def calls(self) -> bool:
        """Whether it may make the original call again."""
        return read_text(self.text).calls


class FallbackStep(Record):
    """Return the value that the boundary declared as its fallback; the output is marked degraded."""

    kind: Literal["fallback"] = "fallback"


def in_words(step: RetryStep | RepairStep | AdapterStep | ParametersStep | StrategyStep | FallbackStep) -> str:
    """Return a step in a few words."""
    match step:
        case RetryStep():
            return f"retry up to {step.attempts} times"
        case ParametersStep():
            return "parameters " + ", ".join(f"{name}={value!r}" for name, value in step.arguments.items())
        case RepairStep():
            said = (f"{value}" if name == "accept" else f"{name} {value}" for name, value in step.parameters.items())
            how = ", ".join(said)
            return f"repair {step.repairer}{f' ({how})' if how else ''} at {step.expression}"
        case AdapterStep():
            return f"adapter of {len(step.text.splitlines())} lines"
        case StrategyStep():
            return f"strategy {step.strategy}"
        case FallbackStep():
            return "fallback"


Step = Annotated[
    RetryStep | RepairStep | AdapterStep | ParametersStep | StrategyStep | FallbackStep,
    Field(discriminator="kind"),
]


def used_repairers(step: Step) -> tuple[str, ...]:
    """Return the names of the repairers that a step may ask."""
    match step:
        case RepairStep():
            return (step.repairer,)
        case AdapterStep():
            return step.repairers
    return ()


def used_strategies(step: Step) -> tuple[str, ...]:
    """Return the boundary's alternatives that a step may call."""
    match step:
        case StrategyStep():
            return (step.strategy,)
        case AdapterStep():
            return step.strategies
    return ()
