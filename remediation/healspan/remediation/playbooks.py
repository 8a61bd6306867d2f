"""The playbooks: which failure is answered with which kinds of step, and what is left to a human.

A table, read from the top: the first row that matches a failure decides. The steps of a row stand in the order of what
they cost: a retry and a repair without loss keep the whole computation, other parameters and strategies compute the
result another way, a fallback gives it up. What no row answers with a step is left alone on purpose; `LEFT` says why.
`docs/playbooks.md` shows both tables, and a test compares them.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from healspan.remediation.class_names import qualified
from healspan.remediation.transience import is_transient, says_status

__all__ = ["LEFT", "PLAYBOOKS", "Answer", "Left", "Playbook", "is_violation", "playbook_for"]


class Answer(StrEnum):
    """A kind of step that a playbook may propose."""

    RETRY = "retry"
    REPAIR = "repair"
    PARAMETERS = "parameters"
    STRATEGY = "strategy"
    FALLBACK = "fallback"


_WITHOUT_THE_CALL: Final = (Answer.STRATEGY, Answer.FALLBACK)
_ANOTHER_RESULT: Final = (Answer.PARAMETERS, Answer.STRATEGY, Answer.FALLBACK)

_CONTRACT_VIOLATION: Final = "healspan.instrumentation.errors.ContractViolation"
"""By name: the engine does not import the instrumentation."""
_EXHAUSTED: Final = frozenset((errno.ENOMEM, errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE))
_errno = OSError.__dict__["errno"]


@dataclass(frozen=True, slots=True)
class Playbook:
    """One row of the table."""

    name: str
    failures: str
    """Which failures it answers, for people."""
    matches: Callable[[Exception], bool]
    answers: tuple[Answer, ...]
    """What to propose, in this order."""
    left: str
    """What is not proposed, and why."""


def _is(*types: type[Exception]) -> Callable[[Exception], bool]:
    return lambda error: issubclass(type(error), types)


def is_violation(error: BaseException) -> bool:
    """Whether it says that a value broke its boundary's contract: the call itself raised nothing."""
    return qualified(type(error)) == _CONTRACT_VIOLATION


def _is_refused(error: Exception) -> bool:
    return issubclass(type(error), PermissionError) or says_status(error, 401, 403, 407)


def _is_exhausted(error: Exception) -> bool:
    if issubclass(type(error), (MemoryError, RecursionError, SystemError)):
        return True
    return issubclass(type(error), OSError) and _errno.__get__(error) in _EXHAUSTED


PLAYBOOKS: Final = (
    Playbook(
        "exhaustion",
        "`MemoryError`, `RecursionError`, `SystemError`, no space, quota or file descriptors left",
        _is_exhausted,
        (Answer.FALLBACK,),
        "Another way to the result needs the same memory, stack or disk: a human.",
    ),
    Playbook(
        "contract",
        "`ContractViolation`: a value that breaks the boundary's contract",
        is_violation,
        _ANOTHER_RESULT,
        "No repair, since nothing was raised inside. No retry: to ask again until an answer passes proves nothing.",
    ),
    Playbook(
        "transient",
        "`ConnectionError`, `TimeoutError`, HTTP 408, 425, 429, 502, 503, 504, 529, and types named so",
        is_transient,
        (Answer.RETRY, *_ANOTHER_RESULT),
        "Who asks to wait longer than a retry may (`Retry-After`) is not waited for; the incident says so.",
    ),
    Playbook(
        "refused",
        "`PermissionError`, HTTP 401, 403, 407",
        _is_refused,
        _WITHOUT_THE_CALL,
        "The same call is refused again, and may lock an account: a human gives the right or the credential.",
    ),
    Playbook(
        "broken code",
        "`ImportError`, `NameError`, `SyntaxError`, `NotImplementedError`",
        _is(ImportError, NameError, SyntaxError, NotImplementedError),
        _WITHOUT_THE_CALL,
        "Code or deployment is incomplete, whatever the input: a human writes the change and deploys it.",
    ),
    Playbook(
        "assertion",
        "`AssertionError`",
        _is(AssertionError),
        _WITHOUT_THE_CALL,
        "An assumption of the code is wrong. Other parameters might only pass by the check: a human.",
    ),
    Playbook(
        "operand",
        "every other exception",
        _is(Exception),
        (Answer.REPAIR, *_ANOTHER_RESULT),
        "What no repairer reads without doubt: see below.",
    ),
)


def playbook_for(error: Exception) -> Playbook:
    """Return the row that answers an exception."""
    return next(each for each in PLAYBOOKS if each.matches(error))


@dataclass(frozen=True, slots=True)
class Left:
    """A failure that no playbook repairs, on purpose."""

    failure: str
    example: str
    """One statement, which fails so wherever it stands."""
    why: str
    whom: str
    """Who may find a fix."""


_DATA, _CODE = "a human who knows the data", "a human who reads the code"

LEFT: Final = (
    Left("division by zero", "1 / int('0')", "Every result would be invented.", _DATA),
    Left(
        "an attribute of None", "dict().get('order').amount", "A value is missing, and only the code says why.", _CODE
    ),
    Left(
        "a missing required value",
        "dict(order=1)['amount']",
        "No key is the same name; the value is not there.",
        _DATA,
    ),
    Left("an index out of range", "[7][int('1')]", "A list has no names to go by.", _CODE),
    Left("operands of the wrong type", "1 + str(2)", "Whether text or number was meant stands nowhere.", _CODE),
    Left("a word where a number should be", "float('n/a')", "That no number is known is no number.", _DATA),
    Left("a number with a scale or unit", "float('1.2 million')", "The code behind may scale by itself.", _CODE),
    Left("an ambiguous number", "float('12,5')", "The next value may be 1,234 and mean 1.234.", _DATA),
    Left(
        "an ambiguous date",
        "__import__('datetime').date.fromisoformat('05/09/2024')",
        "Day and month can be swapped.",
        _DATA,
    ),
    Left("a cut text", "__import__('json').loads('{\"a\": [1, 2')", "Its end would be invented.", _DATA),
    Left("one line with another delimiter", "'7;12'.split(',')[int('1')]", "One line alone shows no delimiter.", _CODE),
    Left("an iterator at its end", "next(iter([]))", "There is no next value.", _CODE),
    Left("unpacking", "a, b = [1]", "There is no single expression whose operand could be read otherwise.", _CODE),
    Left("an error of your own", "raise ValueError('no such order')", "Your code has decided.", _CODE),
)
"""Beside these: a wrong but well-formed value raises nothing, and only `checks` can see it; errors that your code
handles are not looked at; `KeyboardInterrupt`, `SystemExit` and `CancelledError` pass untouched."""
