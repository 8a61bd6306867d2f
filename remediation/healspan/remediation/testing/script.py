"""What a fake server is told to do with a request: data, in Python or as JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from healspan.remediation.claude.answer import Answer, ProposedStep
from healspan.remediation.errors import ConfigurationError
from healspan.remediation.record import Record
from healspan.remediation.testing.received import Received

__all__ = [
    "Answers",
    "BreaksOff",
    "Drips",
    "Fails",
    "Floods",
    "Hangs",
    "Move",
    "Refuses",
    "Says",
    "Script",
    "Truncates",
    "an_answer",
    "read_script",
]


class _Move(Record):
    latency: float = Field(default=0.0, ge=0)
    """Seconds before the server does it."""


class Answers(_Move):
    """A whole answer; what its steps name need not exist."""

    do: Literal["answer"] = "answer"
    answer: Answer


class Says(_Move):
    """A message with this text, be it an answer or not."""

    do: Literal["say"] = "say"
    text: str


class Refuses(_Move):
    """A refusal of the model, which is charged for."""

    do: Literal["refuse"] = "refuse"


class Truncates(_Move):
    """An answer that is cut off at its limit."""

    do: Literal["truncate"] = "truncate"
    text: str = '{"root_cause": "The amount is'


class Fails(_Move):
    """A status that is no success, with the body that the API gives it."""

    do: Literal["fail"] = "fail"
    status: int = Field(ge=300, le=599)
    message: str = "scripted"
    retry_after: float | str | None = None
    """Seconds, or a date as HTTP writes it."""
    headers: dict[str, str] = Field(default_factory=dict)


class Hangs(_Move):
    """Nothing at all, until the client goes away or the server closes."""

    do: Literal["hang"] = "hang"


class Drips(_Move):
    """A byte at a time: of the body, or of the headers."""

    do: Literal["drip"] = "drip"
    every: float = Field(default=0.05, gt=0)
    """Seconds between two bytes."""
    of: Literal["headers", "body"] = "body"


class BreaksOff(_Move):
    """Half an answer, and then the end of the connection."""

    do: Literal["break_off"] = "break_off"


class Floods(_Move):
    """An answer of so many bytes, with or without saying so beforehand."""

    do: Literal["flood"] = "flood"
    size: int = Field(default=64 * 1024 * 1024, ge=1)
    announced: bool = False


Move = Answers | Says | Refuses | Truncates | Fails | Hangs | Drips | BreaksOff | Floods
Script = Move | Answer | Sequence[Move | Answer] | Callable[[Received], Move | Answer | None]
"""One move for every request; a list, a move for each request in turn; or a function that decides, or has none."""

_MOVES = TypeAdapter(tuple[Annotated[Move, Field(discriminator="do")], ...])


def an_answer(
    *steps: ProposedStep,
    confidence: float = 0.9,
    risk_level: Literal["low", "medium", "high"] = "low",
    root_cause: str = "The input is written for people.",
    instruction: str | None = None,
) -> Answer:
    """Return an answer that proposes these steps; none: that a human should look, and the instruction says at what."""
    if instruction is None:
        instruction = "Read it as people write it." if steps else "Ask whoever sends it what is meant."
    return Answer(
        root_cause=root_cause,
        evidence=["the argument of the marked expression"],
        disproof="An input in this notation that means something else.",
        steps=list(steps),
        instruction=instruction,
        risk_level=risk_level,
        risk_assessment="A misread input would be seen in the result.",
        confidence=confidence,
    )


def read_script(text: str | bytes) -> tuple[Move, ...]:
    """Read a JSON list of moves, e.g. ``[{"do": "fail", "status": 529}, {"do": "say", "text": "no JSON"}]``.

    Raises:
        ConfigurationError: it is no such list; the message says where.
    """
    try:
        return _MOVES.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(
            f"script: {first['msg']} at {place or 'the beginning'}; correct it "
            "('python -m healspan.remediation.testing.server --example' prints a whole one)"
        ) from error
