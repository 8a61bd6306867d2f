"""Notes: by them an exception says which incidents it is, to whoever reads its traceback and to healspan itself."""

from __future__ import annotations

import contextlib
from typing import Any

__all__ = ["incident_ids", "name_incident"]

_NOTE = "healspan: incident "
_MOST_NOTES = 8
"""Boundaries an exception can pass, each with a note; one object raised for ever keeps the latest of them."""

_UNNOTED = "__healspan__"
"""Key in the dictionary of an exception whose class refuses notes: without either it would pass for another failure,
once more noted by each pipeline that it leaves."""

_DICTIONARY: Any = BaseException.__dict__["__dict__"]
"""Reads what an exception holds past whatever its class overrides."""


def incident_ids(error: BaseException) -> frozenset[str]:
    """Return which incidents an exception says that it is; read past whatever its class overrides."""
    ids = [note.removeprefix(_NOTE).partition(";")[0] for note in _our_notes(error)]
    return frozenset((*ids, *_DICTIONARY.__get__(error).get(_UNNOTED, ())))


def name_incident(error: BaseException, error_id: str) -> None:
    """Let an exception say which incident it is, in a note; where its class refuses notes, to us alone."""
    _forget_notes(error)
    try:
        with contextlib.suppress(Exception):
            # The class's own method: an instance may carry a hostile one.
            BaseException.add_note(error, f"{_NOTE}{error_id}; see 'healspan incidents show {error_id}'")
    finally:
        if error_id not in incident_ids(error):
            held = _DICTIONARY.__get__(error)
            held[_UNNOTED] = (*held.get(_UNNOTED, ()), error_id)[-_MOST_NOTES:]


def _forget_notes(error: BaseException) -> None:
    ours = _our_notes(error)
    for note in ours[: max(0, len(ours) - _MOST_NOTES + 1)]:
        _DICTIONARY.__get__(error)["__notes__"].remove(note)


def _our_notes(error: BaseException) -> list[str]:
    notes = _DICTIONARY.__get__(error).get("__notes__")
    if type(notes) is not list:
        return []
    return [note for note in notes if type(note) is str and note.startswith(_NOTE)]
