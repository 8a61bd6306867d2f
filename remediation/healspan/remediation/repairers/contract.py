"""What a repairer is: a pure, total function from a failing operation to other operands, or None.

A repairer never raises, never mutates an operand, never runs code of an operand's type, and takes bounded
time. It returns operands, not a result: the original operation runs again with them, so what a repaired
call returns was computed by the application's own expression.
"""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import Final, Literal, NamedTuple, Protocol, TypeGuard

from pydantic import BaseModel, ConfigDict

__all__ = [
    "ABSENT",
    "EITHER",
    "Failure",
    "Kind",
    "Loss",
    "Repaired",
    "Repairer",
    "RepairerParameters",
    "exact_text",
    "within",
]

Kind = Literal["call", "subscript", "attribute", "operator"]
"""Form of the failing expression: ``target(argument)``, ``target[argument]``, ``target.argument`` with the name
as a string, or ``target + argument``."""


class Absent(Enum):
    """Stands for an argument that is not there."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT
"""The argument of a call without arguments, such as ``data.decode()``."""


class Loss(StrEnum):
    """What a repair costs in meaning."""

    NONE = "none"
    """Another notation of the same value."""
    NORMALISED = "normalised"
    """A convention decided the reading: a dash is zero, a footnote mark is no part of the number."""
    LOSSY = "lossy"
    """Information was invented or dropped; never automatic."""


EITHER: Final = (Loss.NONE, Loss.NORMALISED)
"""The losses of a repairer whose reading needs a convention for some operands only."""


class RepairerParameters(BaseModel):
    """What every repairer lets a fix decide; each repairer adds its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    accept: Literal[Loss.NONE, Loss.NORMALISED] = Loss.NORMALISED
    """The most loss a repair may have. A fix with ``none`` reads other notations of the same value, and
    nothing else, for as long as it lives: its risk can be told without looking at any input."""


class Failure(NamedTuple):
    """An operation that raised, with the operands it was evaluated with."""

    kind: Kind
    target: object
    """The callee, the container, the owner of the attribute, or the left operand (None where there is only one)."""
    argument: object
    """The first positional argument, or `ABSENT` if there is none; the key (a slice for ``target[low:high]``), the
    attribute's name, or the right or only operand."""
    error: BaseException
    parameters: RepairerParameters
    rest: tuple[object, ...] = ()
    """The further arguments of the call, positional then keyword: ``int(text, 16)`` has ``(16,)``."""
    operator: str = ""
    """The operator as it is written: ``+``, ``<``, ``not in``; ``-x``, ``+x`` and ``~x`` where there is one operand."""


class Repaired(NamedTuple):
    """The operands to use instead."""

    value: object
    """Instead of `Failure.argument`."""
    loss: Loss
    owner: object = ABSENT
    """Instead of `Failure.target`, for a subscript or an attribute whose owner is what was written otherwise;
    `ABSENT` keeps it. Whoever else holds the owner sees no change, so it must be one that is only read, or a part
    of the owner that was given."""


class Repairer(Protocol):
    """One entry of the catalogue."""

    @property
    def name(self) -> str:
        """What a `repair` step calls it."""

    @property
    def summary(self) -> str:
        """A verb phrase for people: what it does."""

    @property
    def domain(self) -> str:
        """The operations it acts on, and what they raise, for people."""

    @property
    def losses(self) -> tuple[Loss, ...]:
        """What its repairs may cost; a diagnosis asks for nothing else."""

    @property
    def library(self) -> str:
        """The library underneath, or an empty string."""

    @property
    def parameters(self) -> type[RepairerParameters]:
        """The model that validates the parameters of a step."""

    def applies(self, kind: str, error: BaseException) -> bool:
        """Whether an expression of this form that raised this error is in its domain at all."""

    def repair(self, failure: Failure) -> Repaired | None:
        """Return the operand to use instead, or None to decline."""


def exact_text(value: object, limit: int) -> str | None:
    """Return the characters of a string of at most `limit` characters, else None.

    Subclasses are common (parsers hand out text nodes, enumerations are keys) and may override anything,
    so only the methods of `str` itself are used.
    """
    if type(value) is str:
        return value if len(value) <= limit else None
    if not _is_text(value) or str.__len__(value) > limit:
        return None
    return str.__str__(value)


def _is_text(value: object) -> TypeGuard[str]:
    """Whether it is a string, by its type: `isinstance` would ask the value as well."""
    return issubclass(type(value), str)


def within(parameters: RepairerParameters, value: object, loss: Loss, owner: object = ABSENT) -> Repaired | None:
    """Return the repair unless it costs more than the fix accepts."""
    if loss is Loss.NORMALISED and parameters.accept is not Loss.NORMALISED:
        return None
    return Repaired(value, loss, owner)
