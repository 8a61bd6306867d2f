"""Reads a truth word for a table of truth words, for ``{"true": True, "false": False}["Yes"]``.

That table says itself that a text is read as a bool, and in which sense: every key must be a word listed here,
every value ``True`` or ``False`` as the word says, and both must occur. Then every key of the wanted value gives
the same result, so there is nothing to choose. Only built-in dicts; ``bool(text)`` never raises, and the functions
that read booleans in applications (``strtobool``, ``getboolean``) are not the standard library's to repair.
"""

from __future__ import annotations

from typing import Final

from healspan.remediation.repairers.characters import HARD_SPACES, INVISIBLE
from healspan.remediation.repairers.contract import (
    EITHER,
    Failure,
    Loss,
    Repaired,
    RepairerParameters,
    exact_text,
    within,
)
from healspan.remediation.repairers.keys import missed_key

__all__ = ["BooleanParameters", "BooleanRepairer"]

MAX_LENGTH = 16
_TRUTH: Final = {
    **dict.fromkeys(("true", "t", "yes", "y", "on", "1"), True),
    **dict.fromkeys(("false", "f", "no", "n", "off", "0"), False),
}
_UNSEEN = {**dict.fromkeys(map(ord, INVISIBLE)), **dict.fromkeys(map(ord, HARD_SPACES), " ")}


class BooleanParameters(RepairerParameters):
    """Nothing but how much loss is accepted."""


class BooleanRepairer:
    """Gives a subscript of a table of truth words a key of the table that says the same."""

    name = "boolean"
    summary = "use the truth word of the table that says the same"
    domain = '`{"true": True, "false": False}[text]` raising `KeyError`'
    losses = EITHER
    library = ""
    parameters = BooleanParameters

    def applies(self, kind: str, error: BaseException) -> bool:
        """Whether a subscript missed a truth word."""
        return (
            kind == "subscript" and type(error) is KeyError and len(error.args) == 1 and _word(error.args[0]) in _TRUTH
        )

    def repair(self, failure: Failure) -> Repaired | None:
        """Return a key of the table, or None."""
        parameters = failure.parameters
        if not self.applies(failure.kind, failure.error) or type(parameters) is not BooleanParameters:
            return None
        asked, table = missed_key(failure, MAX_LENGTH), _table(failure.target)
        if asked is None or table is None or asked in table:
            return None
        word = _word(asked)
        wanted = _TRUTH[word]
        same = [key for key in table if _word(key) == word]
        if same:
            return within(parameters, same[0], Loss.NONE)
        return within(parameters, next(key for key, value in table.items() if value is wanted), Loss.NORMALISED)


def _word(value: object) -> str:
    text = exact_text(value, MAX_LENGTH)
    return "" if text is None else text.translate(_UNSEEN).strip().lower()


def _table(target: object) -> dict[str, bool] | None:
    """Return a dict that maps truth words to what they say, both ways, or None."""
    if type(target) is not dict or not 2 <= len(target) <= 4 * len(_TRUTH):
        return None
    try:
        items = list(target.items())
    except RuntimeError:  # another thread is changing it
        return None
    for key, value in items:
        word = _word(key) if type(key) is str else ""
        if word not in _TRUTH or value is not _TRUTH[word]:
            return None
    table = dict(items)
    return table if len(set(table.values())) == 2 else None
