"""What an operand means where neither its text nor any check of the result could tell: the owner of the data says so.

An amount with the sign of another currency, and a number with a percent sign, can be read; whether the number is what
the code behind reckons with stands nowhere. So a fix says in its parameters how it reads them. What the boundary
declares a machine may assume; everything else is a question, which a human answers by approving a fix.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from pydantic import JsonValue

from healspan.remediation.boundary import Boundary
from healspan.remediation.currency import DEFAULT, fits, named, signs_in
from healspan.remediation.repairers import Failure
from healspan.remediation.repairers.contract import exact_text
from healspan.remediation.repairers.number import MAX_LENGTH, as_read
from healspan.remediation.step import RepairStep, Step

__all__ = ["assumed", "assumption", "contradiction", "declared", "open_in", "percent_read", "questions", "reckoned_in"]

_NUMBER = "number"


def declared(repairer: str, boundary: Boundary) -> dict[str, JsonValue]:
    """Return the parameters of a repairer that follow from what a boundary declares."""
    return {"currency": boundary.currency} if repairer == _NUMBER else {}


def questions(repairer: str, failure: Failure) -> Iterator[dict[str, JsonValue]]:
    """Yield the parameters with which a repairer could read an operand, each an answer that only a human can give."""
    text = _shown(failure.argument) if repairer == _NUMBER else None
    if text is None:
        return
    signs = signs_in(text)
    if signs:
        yield {"currency": named(signs)}
    elif "%" in text:
        yield {"percent": "ratio"}
        yield {"percent": "points"}


def open_in(value: object, boundary: Boundary) -> str | None:
    """Say what a number in a text leaves open, whoever reads it; None if nothing is seen, or it is no text.

    For what reads it by a text of its own, as an adapter does: what that takes it to mean stands nowhere.
    """
    text = _shown(value)
    if text is None:
        return None
    signs = [*signs_in(text), *signs_in(text.upper())]
    if not fits(signs, boundary.currency):
        return f"an amount in {named(signs)}, where boundary {boundary.name!r} reckons in {boundary.currency}"
    return "a percentage" if "%" in text else None


def _shown(value: object) -> str | None:
    text = exact_text(value, MAX_LENGTH)
    return None if text is None else as_read(text)[0]


def reckoned_in(step: Step) -> str | None:
    """Return the currency that a step takes amounts to be in; None if it reads none."""
    if not isinstance(step, RepairStep) or step.repairer != _NUMBER:
        return None
    return str(step.parameters.get("currency", DEFAULT))


def percent_read(step: Step) -> str | None:
    """Return in a few words how a step reads a percent sign; None if it does not."""
    if isinstance(step, RepairStep) and step.repairer == _NUMBER:
        match step.parameters.get("percent", "decline"):
            case "ratio":
                return "12% as 0.12"
            case "points":
                return "12% as 12"
    return None


def contradiction(steps: Iterable[Step], others: Iterable[Step]) -> tuple[str, str] | None:
    """Return how steps and others read the same text at the same expression, where that is not the same."""
    for step, other in itertools.product(steps, others):
        mine, theirs = percent_read(step), percent_read(other)
        if mine and theirs and mine != theirs and _place(step) == _place(other):
            return mine, theirs
    return None


def _place(step: Step) -> Step:
    return step.model_copy(update={"parameters": {}})


def assumption(step: Step, boundary: Boundary) -> str | None:
    """Return in a few words what a step reads as only the owner of the data can say; None if nothing."""
    currency = reckoned_in(step)
    if currency is not None and currency != boundary.currency:
        return f"amounts in {currency} as they stand"
    return percent_read(step)


def assumed(step: Step, boundary: Boundary) -> str | None:
    """Say what a step takes the data to mean that its boundary does not declare; None if nothing."""
    what = assumption(step, boundary)
    if what is None:
        return None
    if what == percent_read(step):
        return f"it reads {what}, and nothing but its owner says what the data mean by it: approve it if this is meant"
    return (
        f"it reads {what}, and boundary {boundary.name!r}, which reckons in {boundary.currency}, does not say that "
        "this is meant: approve it if it is, or declare the boundary's currency"
    )
