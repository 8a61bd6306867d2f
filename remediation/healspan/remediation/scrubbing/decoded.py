"""A text as the next program reads it: percent signs, entities and escapes decoded, and where each part stands in it.

A request's query holds JSON with percent signs, a page of an error HTML with entities, a log JSON within JSON. A name
and its value are next to each other in there, and no less secret; so texts are looked through decoded as well, layer by
layer, as often as one of them has been wrapped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.entities import html5

from healspan.remediation.scrubbing.seen import Seen

__all__ = ["Layers", "decoded"]

MOST_LAYERS = 4

_ENTITIES = {
    name.removesuffix(";"): letter
    for name, letter in html5.items()
    if name.endswith(";") and len(letter) == 1 and letter.isascii()
}
_ENCODED = re.compile(
    r"""%(?P<percent>[0-7][0-9A-Fa-f])
        | &(?:\#(?P<decimal>[0-9]{1,4})|\#[xX](?P<hex>[0-9A-Fa-f]{1,4})|(?P<name>[A-Za-z]{2,20}));
        | \\{1,31}+(?:u00|x)(?P<escape>[0-7][0-9A-Fa-f])""",
    re.VERBOSE,
)
_MAY_BE = re.compile(r"%[0-7]|&[#A-Za-z]|\\u00|\\x")

Layers = tuple[Seen, ...]
"""What is within one another, outermost first; each has the places of its parts in the one before."""


def decoded(text: str) -> Iterator[Layers]:
    """Yield a text decoded once, twice and so on, as long as that makes another one of it."""
    layers: Layers = ()
    while len(layers) < MOST_LAYERS and (layer := _decoded_once(layers[-1].text if layers else text)) is not None:
        layers = (*layers, layer)
        yield layers


def _decoded_once(text: str) -> Seen | None:
    if _MAY_BE.search(text) is None:
        return None
    pieces: list[str] = []
    begins, places = [0], [0]
    place = length = 0
    for match in _ENCODED.finditer(text):
        letter = _letter(match)
        if letter is None:
            continue
        before = text[place : match.start()]
        pieces += (before, letter)
        length += len(before)
        begins += (length, length + 1)
        places += (match.start(), match.end())
        length += 1
        place = match.end()
    if not pieces:
        return None
    return Seen("".join((*pieces, text[place:])), tuple(begins), tuple(places))


def _letter(match: re.Match[str]) -> str | None:
    """Return what is decoded; None where that is no letter of ASCII that anybody writes."""
    if match["name"] is not None:
        return _ENTITIES.get(match["name"])
    number = match["percent"] or match["hex"] or match["escape"]
    code = int(number, 16) if number is not None else int(match["decimal"])
    return chr(code) if 0x20 <= code < 0x7F or code in {0x09, 0x0A, 0x0D} else None
