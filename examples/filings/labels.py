"""When two labels name the same line: the same words, but for words that only decorate."""

from __future__ import annotations

import re

__all__ = ["core", "same_line"]

_MARK = re.compile(
    r"\s*\((?:[a-z]|\d{1,2})\)|\s*\(?(?:see )?notes? \d[\d, and]*\)?|[*†‡§]+|(?<=[a-z)])\d{1,2}(?=$|\W)", re.IGNORECASE
)
_WORD = re.compile(r"[a-z]+")
_DECORATION = frozenset(("total", "net", "operating", "consolidated", "of", "the", "and"))


def core(label: str) -> frozenset[str]:
    """The words that carry a label's meaning: without footnote marks, plurals and decoration."""
    plain = _MARK.sub("", label.replace("\u200b", "")).casefold()
    words = {word.removesuffix("s") for word in _WORD.findall(plain)}
    return frozenset(words - _DECORATION) or frozenset(words)


def same_line(label: str, family: tuple[str, ...]) -> bool:
    """Whether a printed label is one of the family."""
    words = core(label)
    return bool(words) and any(words == core(known) for known in family)
