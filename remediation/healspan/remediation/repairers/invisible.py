"""Takes out characters that nobody sees, for ``UUID(text)`` or a key where the text begins with a BOM.

The operands of callees that read a short text exactly, and keys of built-in dicts. What is left is the same text
to whoever reads it, so the loss is none; only an invisible character between two letters or digits may have parted
two words, and taking it out is normalised. Overrides of the writing direction decline, and so do joiners in text
that is not plain ASCII otherwise: there they are letters' business.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from ipaddress import ip_address, ip_network
from types import BuiltinMethodType
from uuid import UUID

from healspan.remediation.repairers.characters import HARD_SPACES, INVISIBLE, JOINERS, SOFT_SPACES
from healspan.remediation.repairers.contract import (
    EITHER,
    Failure,
    Loss,
    Repaired,
    RepairerParameters,
    exact_text,
    within,
)
from healspan.remediation.repairers.keys import key_named

__all__ = ["InvisibleParameters", "InvisibleRepairer"]

MAX_LENGTH = 256
MAX_KEYS = 1_000
MAX_TEXT = 32_768
"""Characters of all keys together."""

# By identity, as `==` of an unknown callee is its own code; the tuple keeps them alive.
_CALLEES = (int, float, Decimal, Fraction, UUID, ip_address, ip_network)
_TARGETS = frozenset(map(id, _CALLEES))
_METHODS = (date.fromisoformat, datetime.fromisoformat)

_SPACES = HARD_SPACES + SOFT_SPACES
_SEEN = {**dict.fromkeys(map(ord, INVISIBLE)), **dict.fromkeys(map(ord, _SPACES), " ")}
_BETWEEN = re.compile(rf"[^\W_][{INVISIBLE}]+[^\W_]")
# The callees quote the text with `repr`, which escapes what is not printable.
_QUOTED = re.compile(
    r"\\xa0|\\xad|\\u061c|\\u20[0-6][0-9a-f]|\\u3000|\\ufeff|\\[nrt]'|'\\[nrt]|(?:^|: )'\s|\s'(?:$| does)",
)


class InvisibleParameters(RepairerParameters):
    """Nothing but how much loss is accepted."""


class InvisibleRepairer:
    """Gives a callee or a dict the text without what nobody sees."""

    name = "invisible"
    summary = "take out characters that nobody sees"
    domain = (
        "`int`, `float`, `Decimal`, `Fraction`, `UUID`, `ip_address`, `ip_network`, `fromisoformat`, keys of a dict"
    )
    losses = EITHER
    library = ""
    parameters = InvisibleParameters

    def applies(self, kind: str, error: BaseException) -> bool:
        """Whether the error may be about a text with invisible characters in it."""
        if kind == "subscript":
            key = key_named(error, MAX_LENGTH)
            # Where a clean key with letters is asked for, `renamed_key` looks past what nobody sees, too.
            return key is not None and (_seen(key) != key or sum(map(str.isalpha, key)) < 2)
        if kind != "call" or len(error.args) != 1:
            return False
        if type(error) is InvalidOperation:
            return True
        message = exact_text(error.args[0], 2 * MAX_LENGTH)
        return (
            type(error) is ValueError
            and message is not None
            and (_QUOTED.search(message) is not None or message.startswith("badly formed hexadecimal UUID"))
        )

    def repair(self, failure: Failure) -> Repaired | None:
        """Return the text as a reader sees it, or the key that a reader cannot tell from the one asked for."""
        parameters = failure.parameters
        if not self.applies(failure.kind, failure.error) or type(parameters) is not InvisibleParameters:
            return None
        text = exact_text(failure.argument, MAX_LENGTH)
        if text is None:
            return None
        if failure.kind == "subscript":
            key = _key(text, failure.target) if key_named(failure.error, MAX_LENGTH) == text else None
            return None if key is None else within(parameters, key, _loss(text, key))
        seen = _seen(text)
        if seen is None or seen in ("", text) or not _known(failure.target, failure.rest):
            return None
        return within(parameters, seen, _loss(text))


def _known(target: object, rest: tuple[object, ...]) -> bool:
    if type(target) is BuiltinMethodType:
        return not rest and any(target == each for each in _METHODS)
    if id(target) not in _TARGETS:
        return False
    return not rest or (target is int and len(rest) == 1 and type(rest[0]) is int)


def _seen(text: str) -> str | None:
    """Return what a reader sees, or None where an invisible character may have a meaning."""
    seen = text.translate(_SEEN).strip()
    if not seen.isascii() and any(each in text for each in JOINERS):
        return None
    return seen


def _loss(*texts: str) -> Loss:
    return Loss.NORMALISED if any(_BETWEEN.search(text) for text in texts) else Loss.NONE


def _key(asked: str, target: object) -> str | None:
    """Return the one key of a dict that looks like the one asked for."""
    wanted = _seen(asked)
    if type(target) is not dict or not wanted or len(target) > MAX_KEYS:
        return None
    try:
        keys = list(target)
    except RuntimeError:  # another thread is changing it
        return None
    # A key of a text type of its own could be meant, and its hash and equality are its own code.
    if any(type(key) is not str and issubclass(type(key), str) for key in keys):
        return None
    texts = [key for key in keys if type(key) is str]
    if asked in texts or sum(map(len, texts)) > MAX_TEXT:
        return None
    # A joiner may tell two keys apart: it counts against a choice even where it could not be chosen.
    same = [key for key in texts if key.translate(_SEEN).strip() == wanted]
    return same[0] if len(same) == 1 and _seen(same[0]) == wanted else None
