"""Entries and items: which values of a mapping or of a row are secret because of what stands beside them. Pure.

Names are texts, or bytes: servers hand headers over as pairs of bytes. Of values in the notation of `plain`, bytes and
tuples are read as names as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from healspan.remediation.scrubbing.keys import KeyVerdict
from healspan.remediation.scrubbing.seen import folded

__all__ = ["convicted_entry", "convicted_items", "name_of", "pairs_of"]

_NAMED_AS = ("name", "Name", "key", "Key", "field", "Field", "header", "Header", "k", "ParameterKey")
_HELD_AS = ("value", "Value", "val", "content", "v", "ParameterValue")
_SHORT_ROW = 4
"""Items; a row this short that begins with the name of a secret is one of names only by a rare chance."""
_MOST_NAME = 128
_IDENTIFIER = re.compile(r"[\w.\-]+")
_OPTION_OR_HEADER = re.compile(r"-{1,2}[A-Za-z][\w\-]*|[A-Za-z]+(?:-[A-Za-z]+)+")
_HEADERS = frozenset({"Authorization", "authorization", "Cookie", "cookie"})
"""Those without a hyphen."""


def name_of(value: object) -> str | None:
    """Return the text of a value that may be a name; None for any other. Runs no code of the value."""
    if type(value) is str:
        return value
    if type(value) is bytes:
        return value.decode("latin-1") if len(value) <= _MOST_NAME else None
    if type(value) is tuple:
        # A key of several levels: its last word is the noun. ``("token", "...")`` is no name but a pair.
        return name_of(value[-1]) if value else None
    if type(value) is dict and len(value) == 1:
        if (text := value.get("$bytes")) is not None:
            return name_of(text)
        if type(parts := value.get("$tuple")) is list:
            return name_of(tuple(parts))
    return None


def convicted_entry(value: Mapping[Any, Any], judge: Callable[[str], KeyVerdict]) -> str | None:
    """Return the key that ``{"name": "password", "value": "..."}`` and its like hold the secret under; None if none."""
    held = next((name for name in _HELD_AS if name in value), None)
    if held is None or not value[held]:
        return None
    for name in _NAMED_AS:
        said = name_of(value[name]) if name in value else None
        if said is not None and judge(said) is KeyVerdict.SECRET:
            return held
    return None


def pairs_of(items: Sequence[object]) -> dict[str, object]:
    """Return a row of pairs as a mapping, as far as their names are texts."""
    pairs = (item for item in items if type(item) is list and len(item) == 2)
    return {pair[0]: pair[1] for pair in pairs if type(pair[0]) is str}


def convicted_items(items: Sequence[object], convicts: Callable[[str, object], bool]) -> frozenset[int]:
    """Return which items of a row are secret because of the one before them.

    A pair, ``("password", "...")``, also with a little more behind it; options and headers in a flat row,
    ``["--password", "..."]`` and ``["X-Api-Key", "..."]``.
    """
    found: set[int] = set()
    for place, item in enumerate(items[:-1]):
        if place and type(item) is str and "-" not in item and item not in _HEADERS:
            continue  # as almost every item
        name = None if place in found else name_of(item)
        if not name:
            continue
        name = folded(name)
        begins = place == 0 and (len(items) == 2 or (len(items) <= _SHORT_ROW and _IDENTIFIER.fullmatch(name)))
        tells = begins or name in _HEADERS or ("-" in name and _OPTION_OR_HEADER.fullmatch(name))
        if tells and convicts(name.lstrip("-"), items[place + 1]):
            found.add(place + 1)
    return frozenset(found)
