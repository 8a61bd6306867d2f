"""Tells whether two names are the same name, for keys and attributes that were renamed.

A wrong name is a silently wrong value, so the differences that are tolerated are listed here and everything
else declines: a word more or less, another order, another digit, another sign, a misspelling that may be
another word (``contract`` and ``contact`` are one letter apart). The steps; each needs exactly one name:

1. The same name, written otherwise: case, camelCase, white space, punctuation, invisible characters.
2. The aliases that a human gave, in their order; with aliases, nothing is guessed.
3. The same words: an abbreviation, British spelling, a note reference, plurals in tables of human labels, or
   one slip that leaves no other word: two swapped letters or a doubled letter inside a long word. No other
   name may be nearly as similar.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from pydantic import Field, field_validator

from healspan.remediation.repairers.contract import Loss, RepairerParameters

__all__ = ["MAX_LENGTH", "MAX_NAMES", "MAX_TEXT", "NameParameters", "chosen"]

MAX_LENGTH = 160
MAX_NAMES = 1_000
MAX_TEXT = 32_768
"""Characters of all names together: what bounds the time, some 50 ms the first time that they are seen."""
_MAX_ALIASES = 32
_MARGIN = 5.0
"""How much less similar than the chosen name, in points of 100, every other name must be."""
_BOM_READ_OTHERWISE = "ï»¿"
"""A byte order mark of UTF-8, decoded as Latin-1 or Windows-1252; no name begins so."""

# A word, a number, or a sign that may change the meaning (everything but separators). Case is kept where it
# tells units apart: a letter right behind a digit (1m, 1M), a word such as mW. A hyphen before a digit counts
# unless it joins the digit to a word or a number.
_TOKEN = re.compile(
    r"""
      (?P<kept> (?<=[0-9])[A-Za-z](?![^\W\d_]) | (?<![^\W_])[a-z][A-Z][a-z]?(?![^\W_]) )
    | (?P<word> [^\W\d_]+ )
    | (?P<number> \d+ )
    | (?P<sign> (?<!\d)(?<![^\W\d_]{2})[-\u2212](?=\d)
              | [^\w\s\-.,:;"`(){}\[\]/\\|·•…«»\u2010-\u2015\u201c-\u201e] )
    """,
    re.VERBOSE,
)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_NOTE = re.compile(r"\s*\(\s*notes?\b[^()]*\)\s*$", re.IGNORECASE)
_FOOTNOTE = re.compile(r"(?<=[a-z]{3})\([a-z]\)\s*$")

_SAME_WORD = {
    "acct": "account",
    "addr": "address",
    "amt": "amount",
    "avg": "average",
    "bal": "balance",
    "cfg": "configuration",
    "config": "configuration",
    "cust": "customer",
    "dept": "department",
    "dest": "destination",
    "doc": "document",
    "img": "image",
    "info": "information",
    "lang": "language",
    "lat": "latitude",
    "lng": "longitude",
    "lon": "longitude",
    "max": "maximum",
    "mgr": "manager",
    "msg": "message",
    "num": "number",
    "org": "organization",
    "pct": "percent",
    "pmt": "payment",
    "prev": "previous",
    "pwd": "password",
    "qtr": "quarter",
    "qty": "quantity",
    "src": "source",
    "txn": "transaction",
    "behaviour": "behavior",
    "cancelled": "canceled",
    "catalogue": "catalog",
    "centre": "center",
    "colour": "color",
    "favourite": "favorite",
    "fulfilment": "fulfillment",
    "grey": "gray",
    "labour": "labor",
    "licence": "license",
    "neighbour": "neighbor",
    "organisation": "organization",
    "programme": "program",
}
_BRITISH = re.compile(r"(?<=\w{4})is(?=(?:e|ed|es|ing|ation|ations)$)")
_NOT_PLURAL = frozenset(
    (
        "customs",
        "damages",
        "goods",
        "means",
        "minutes",
        "news",
        "seconds",
        "securities",
        "series",
        "times",
        "works",
    )
)
_TAILS = ("", "ed", "er", "ers", "est", "ing", "ings")
"""What makes a doubled letter another word: filed and filled, planed and planned, princes and princess."""


class NameParameters(RepairerParameters):
    """Which other names a human knows, and how similar a misspelt one must be."""

    aliases: tuple[str, ...] = Field(default=(), max_length=_MAX_ALIASES)
    """Other names of the same thing, the first choice first; compared like the same name written otherwise."""
    cutoff: float = Field(default=85.0, ge=80.0, le=100.0)
    """Least similarity of a misspelt name, in points of 100; at 100 no slip is tolerated."""

    @field_validator("aliases")
    @classmethod
    def _nameable(cls, aliases: tuple[str, ...]) -> tuple[str, ...]:
        for alias in aliases:
            if len(alias) > MAX_LENGTH or not _name(alias).same:
                raise ValueError(
                    f"alias {alias[:40]!r} must have letters or digits, and at most {MAX_LENGTH} characters"
                )
        return aliases


def chosen(asked: str, names: Iterable[str], parameters: NameParameters) -> tuple[str, Loss] | None:
    """Return the one of these names that is the one asked for, which is not among them, and the loss; or None."""
    same: dict[str, list[str]] = {}
    every = frozenset(names)
    for each in every:
        same.setdefault(_name(each).same, []).append(each)
    if _is_name(asked) and (found := same.get(_name(asked).same)):
        return (found[0], Loss.NONE) if len(found) == 1 else None
    for alias in parameters.aliases:
        if found := same.get(_name(alias).same):
            return (found[0], Loss.NORMALISED) if len(found) == 1 else None
    if parameters.aliases or parameters.accept is Loss.NONE or not _is_name(asked):
        return None
    similar = _similar(asked, every, parameters.cutoff)
    return None if similar is None else (similar, Loss.NORMALISED)


class _Name(NamedTuple):
    same: str
    """Equal for names that are the same but for their writing."""
    words: tuple[str, ...]
    """Words in order, abbreviations and spellings made one."""


@lru_cache(maxsize=4096)
def _name(text: str) -> _Name:
    text = text.removeprefix(_BOM_READ_OTHERWISE)
    if not text.isascii():
        visible = "".join(each for each in text if unicodedata.category(each) != "Cf")
        text = unicodedata.normalize("NFC", visible)
    text = text.replace("&", " and ").replace("'", "").replace("\u2019", "")
    words = tuple(_common(word) for word in _tokens(_NOTE.sub("", text), camel=True) if word != "the")
    return _Name(_joined(_tokens(text, camel=False)), words)


def _tokens(text: str, *, camel: bool) -> list[str]:
    tokens: list[str] = []
    for token in _TOKEN.finditer(text):
        if token.lastgroup == "kept":
            tokens.append(token[0])
        elif camel and token.lastgroup == "word":
            tokens.extend(part.casefold() for part in _CAMEL.split(token[0]))
        else:
            tokens.append(token[0].casefold())
    return tokens


def _joined(words: list[str] | tuple[str, ...]) -> str:
    """Join words without a mark, but keep numbers apart: 1.23 is not 12.3."""
    parts: list[str] = []
    for word in words:
        if parts and parts[-1][-1].isdigit() and word[0].isdigit():
            parts.append(" ")
        parts.append(word)
    return "".join(parts)


def _common(word: str) -> str:
    return _SAME_WORD.get(word) or _BRITISH.sub("iz", word)


def _singular(word: str) -> str:
    if len(word) < 5 or word in _NOT_PLURAL or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-2] if word.endswith(("sses", "xes", "ches", "shes")) else word[:-1]


def _is_name(text: str) -> bool:
    """Whether there are letters enough to recognise: numbers, dates and single letters are never renamed."""
    return sum(each.isalpha() for each in text) >= 2


def _similar(asked: str, keys: frozenset[str], cutoff: float) -> str | None:
    from rapidfuzz import fuzz, process

    labels = 2 * sum(" " in key.strip() for key in keys) > len(keys)
    # A footnote letter is stripped from the keys only: asking for "rate(a)" must not find "rate(b)".
    reduced = {key: _reduced(_FOOTNOTE.sub("", key) if labels else key, labels=labels) for key in keys}
    wanted = _reduced(asked, labels=labels)
    ranked = process.extract(
        " ".join(wanted),
        {key: " ".join(words) for key, words in reduced.items()},
        scorer=fuzz.ratio,
        score_cutoff=cutoff - _MARGIN,
        limit=None,
    )
    likely = [(key, score) for _, score, key in ranked if score >= cutoff and _harmless(wanted, reduced[key])]
    if len(likely) != 1:
        return None
    chosen, best = likely[0]
    rivals = [key for _, score, key in ranked if key != chosen and score > best - _MARGIN]
    return None if rivals else chosen


def _reduced(text: str, *, labels: bool) -> tuple[str, ...]:
    words = _name(text).words
    # In identifiers a plural says "a list" or "how many"; in a table of labels it is a matter of style.
    return tuple(_singular(word) for word in words) if labels else words


def _harmless(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether two names have the same words, but for one slip of the pen."""
    if len(one) != len(other):
        return _joined(one) == _joined(other)
    different = [(a, b) for a, b in zip(one, other, strict=True) if a != b]
    return not different or (len(different) == 1 and _is_slip(*different[0]))


def _is_slip(one: str, other: str) -> bool:
    """Whether two long words differ by two swapped inner letters, or by a doubled letter."""
    if not (one.isalpha() and other.isalpha()):
        return False
    shorter, longer = sorted((one, other), key=len)
    if len(shorter) == len(longer):
        at = [i for i, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]
        return (
            len(one) >= 7
            and len(at) == 2
            and at[1] == at[0] + 1
            and 2 <= at[0] <= len(one) - 4
            and one[at[0]] == other[at[1]]
            and one[at[1]] == other[at[0]]
        )
    return len(shorter) >= 6 and any(
        longer == shorter[:i] + shorter[i - 1 :] and shorter[i:] not in _TAILS for i in range(1, len(shorter) + 1)
    )
