"""A text as people see it: the name of a secret may be written with letters that look like others, or hold some unseen.

A password's name with a blank of no width in it, or with a Cyrillic letter, is still read as what it looks like, and
programs that normalise what they get take it for that. So names are judged as they are seen, and looked for in texts
as these are seen; what is found is given as places of the text itself. Escapes, as representations and JSON have them,
count as the letters that they stand for.

Letters are folded one by one: other forms and accents by the Unicode tables, those of other scripts by a table of
what the names of secrets can be written with. A word that still has letters of another alphabet then is one of that
alphabet and stays; likewise a short one in which nothing but accents is strange (``Čvc`` is July).
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from typing import NamedTuple

__all__ = ["LOOK_ALIKES", "Seen", "as_seen", "folded"]

LOOK_ALIKES = {
    "a": "аαɑᴀ", "b": "ьʙ", "c": "сϲᴄ", "d": "ԁđᴅ", "e": "еεᴇҽ", "f": "ƒꜰ", "g": "ɡցɢ", "h": "һհħʜ", "i": "іιıɪɩ",
    "j": "јϳյᴊ", "k": "кκᴋ", "l": "ӏłʟ", "m": "мᴍ", "n": "пηոɴ", "o": "оοօøᴏ", "p": "рρᴘ", "q": "ԛզ", "r": "гʀ",
    "s": "ѕꜱ", "t": "тτŧᴛ", "u": "υսʋᴜ", "v": "ѵνᴠ", "w": "ԝωᴡ", "x": "хχ", "y": "уүγʏ", "z": "ᴢ",
    "A": "АΑᎪ", "B": "ВΒᏴ", "C": "СϹᏟ", "D": "ĐᎠ", "E": "ЕΕᎬ", "G": "ԌᏀ", "H": "НΗᎻ", "I": "ІӀΙ", "J": "ЈͿᎫ",
    "K": "КΚᏦ", "L": "ŁᏞ", "M": "МΜᎷ", "N": "Ν", "O": "ОΟՕØ", "P": "РΡᏢ", "Q": "Ԛ", "R": "Ꭱ", "S": "ЅՏᏚ",
    "T": "ТΤᎢ", "U": "Ս", "V": "ѴᏙ", "W": "ԜᎳ", "X": "ХΧ", "Y": "УҮΥ", "Z": "ΖᏃ",
}  # fmt: skip
"""Letters of Cyrillic, Greek, Armenian and Cherokee, of phonetics and small capitals, by what they look like."""
_ALIKE = {each: letter for letter, others in LOOK_ALIKES.items() for each in others}
_MARKS = "\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
"""What stands over, under and through letters."""
_UNSEEN = (
    "\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""What Unicode calls default ignorable."""
_HIDING = re.compile(
    rf"""\\{{1,31}}+(?:u[dD](?P<high>[89abAB][0-9a-fA-F]{{2}})\\{{1,31}}+u[dD](?P<low>[c-fC-F][0-9a-fA-F]{{2}})
        | u(?P<u>[0-9a-fA-F]{{4}}) | x(?P<x>[0-9a-fA-F]{{2}}) | U(?P<U>000[0-9a-fA-F]{{5}}))
        | [{_MARKS}{_UNSEEN}]+""",
    re.VERBOSE,
)
_BEYOND = re.compile(r"[^\x00-\x7f]+")
_NOTHING = re.compile(rf"[{_MARKS}{_UNSEEN}]")
_WORD = re.compile(
    rf"(?<![A-Za-z])[A-Za-z]*+(?:[^\W\d_A-Za-z]|[{_MARKS}{_UNSEEN}])(?:[^\W\d_]|[{_MARKS}{_UNSEEN}])*+",
)
"""A word with a letter beyond ASCII."""
_SHORT = 3
_ESCAPES = ("\\u", "\\x", "\\U")
_MOST_LETTERS = 10_000


class _Letters(dict[int, int]):
    """What single characters are folded to, by code point: one of ASCII that is no blank, or themselves."""

    def __missing__(self, code: int) -> int:
        letter = chr(code)
        bare = _ALIKE.get(letter) or _NOTHING.sub("", unicodedata.normalize("NFKD", letter))
        bare = _ALIKE.get(bare, bare)
        if len(self) >= _MOST_LETTERS:
            self.clear()
        self[code] = found = ord(bare) if len(bare) == 1 and bare.isascii() and not bare.isspace() else code
        return found


_letters = _Letters()


class Seen(NamedTuple):
    """A text as it is seen, with the places that its parts have in the text itself."""

    text: str
    begins: tuple[int, ...]
    """Where parts begin, in order; one that is seen at all is as long as in the text, or one letter."""
    places: tuple[int, ...]
    """Where they begin in the text itself."""

    def start(self, place: int) -> int:
        """Return where what begins here begins in the text itself."""
        part = bisect_right(self.begins, place) - 1
        return self.places[part] + place - self.begins[part]

    def end(self, place: int) -> int:
        """Return where what ends here ends in the text itself."""
        part = bisect_left(self.begins, place) - 1
        if part + 1 < len(self.begins) and self.begins[part + 1] == place:
            return self.places[part + 1]
        return self.places[part] + place - self.begins[part]


def folded(name: str) -> str:
    """Return a name as it is seen."""
    seen = as_seen(name)
    return name if seen is None else seen.text


def as_seen(text: str) -> Seen | None:
    """Return a text as it is seen; None if it is seen as what it is."""
    # Only what lies beyond ASCII is translated: in a document that is a hundredth.
    letters = (
        text
        if text.isascii()
        else _without_foreign_words(text, _BEYOND.sub(lambda match: match[0].translate(_letters), text))
    )
    escapes = "\\" in text and any(each in text for each in _ESCAPES)
    if not escapes and (text.isascii() or not _NOTHING.search(text)):
        return None if letters == text else Seen(letters, (0,), (0,))
    pieces: list[str] = []
    begins, places = [0], [0]
    place = length = 0
    for match in _HIDING.finditer(text):
        shown = _shown(match)
        if shown is None:
            continue
        before = letters[place : match.start()]
        pieces += (before, shown)
        length += len(before)
        begins += (length, length + len(shown))
        places += (match.start(), match.end())
        length += len(shown)
        place = match.end()
    if not pieces:
        return None if letters == text else Seen(letters, (0,), (0,))
    pieces.append(letters[place:])
    return Seen("".join(pieces), tuple(begins), tuple(places))


def _without_foreign_words(text: str, letters: str) -> str:
    """Return folded letters, which are as many as the text has, with the words that stay put back."""
    if letters == text:
        return text
    pieces: list[str] = []
    place = 0
    for match in _WORD.finditer(text):
        start, end = match.span()
        if letters[start:end] != match[0] and _stays(match[0], letters[start:end]):
            pieces += (letters[place:start], match[0])
            place = end
    return "".join(pieces) + letters[place:] if pieces else letters


def _stays(word: str, seen: str) -> bool:
    if any(each > "\x7f" and each.lower() != each.upper() for each in seen):
        return True
    bare = _NOTHING.sub("", word)
    return len(bare) <= _SHORT and all(unicodedata.normalize("NFD", each)[0].isascii() for each in bare)


def _shown(match: re.Match[str]) -> str | None:
    """Return what is seen in the place of characters; None if nothing is to be said of them."""
    digits = match["u"] or match["x"] or match["U"]
    if digits is not None:
        code = int(digits, 16)
    elif match["high"] is not None:  # a letter beyond the first plane, in JSON
        code = 0x10000 + ((int(match["high"], 16) - 0x800) << 10) + int(match["low"], 16) - 0xC00
    else:
        return ""
    if code > 0x10FFFF:
        return None
    if _NOTHING.match(chr(code)):
        return ""
    letter = chr(_letters[code])
    # Quotes and separators would change what is quoted and what is parted.
    return letter if letter.isascii() and (letter.isalnum() or letter in "._-") else None
