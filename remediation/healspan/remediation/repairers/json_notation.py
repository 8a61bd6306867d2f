"""Reads JSON with the small liberties that people and programs take, for ``json.loads("{'a': 1,}")``.

The text is walked token by token by one strict grammar, and only the tokens that are no JSON are written anew; so
nothing is guessed, moved, closed or invented, and what the callee returns was read by the callee:

* A comma before a closing bracket, ``//`` and ``/* */`` comments, strings in single quotes with the escapes that
  Python and JavaScript share, ``True``, ``False``, ``None``, invisible characters between tokens: other notations
  of the same value.
* ``# comments``, names as keys, line breaks and tabs inside strings, ``nan`` and ``inf``, a Markdown fence around
  the whole: normalised.

Declines: a truncated tail, a missing comma or bracket, text around the value, elisions (``[1,,2]``), bare words,
keys that are no text (``{1: 2}``), other escapes, several values. Duplicate keys stay: the callee takes the last.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Final

from healspan.remediation.repairers.characters import HARD_SPACES, INVISIBLE, SOFT_SPACES
from healspan.remediation.repairers.contract import (
    EITHER,
    Failure,
    Loss,
    Repaired,
    RepairerParameters,
    exact_text,
    within,
)

__all__ = ["JsonParameters", "JsonRepairer"]

MAX_LENGTH = 1 << 18
"""Characters; what bounds the time, a third of a second."""
MAX_DEPTH = 200

# Quantifiers over characters are possessive and no two alternatives can begin alike: linear time.
_TOKEN = re.compile(
    rf"""
      (?P<space>   [ \t\n\r]++ )
    | (?P<unseen>  [{HARD_SPACES}{SOFT_SPACES}{INVISIBLE}]++ )
    | (?P<string>  "(?: [^"\\\x00-\x1f] | \\["\\/bfnrtu'x] | [\t\n\r] )*+" )
    | (?P<single>  '(?: [^'\\\x00-\x1f] | \\["\\/bfnrtu'x] )*+' )
    | (?P<number>  -?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)? )
    | (?P<word>    -?[A-Za-z_$][A-Za-z0-9_$]*+ )
    | (?P<mark>    [{{}}\[\],:] )
    | (?P<comment> //[^\n\r\u2028\u2029]*+ | /\*.*?\*/ )
    | (?P<hash>    \#(?=[ \t\n\r#]|\Z)[^\n\r]*+ )
    """,
    re.VERBOSE | re.DOTALL,
)
_FENCE = re.compile(r"```(?:json|JSON)?[ \t]*+\n")
_ESCAPE = re.compile(r"""\\(?:u(?P<u>[0-9a-fA-F]{4})|x(?P<x>[0-9a-fA-F]{2})|(?P<plain>["\\/bfnrt'])|(?P<bad>.))""")
_RAW = {"\t": r"\t", "\n": r"\n", "\r": r"\r"}
_SAME: Final = {"True": "true", "False": "false", "None": "null"}
_FLOATS: Final = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
_WORDS = frozenset(("true", "false", "null", "NaN", "Infinity", "-Infinity"))
# By identity: other arguments may be the application's code, which the first attempt has run in part.
_PLAIN = frozenset(map(id, (None, True, False, int, float, str, dict, list, Decimal)))


class JsonParameters(RepairerParameters):
    """Nothing but how much loss is accepted."""


class JsonRepairer:
    """Gives `json.loads` the same value in strict JSON."""

    name = "json"
    summary = "read the JSON without the liberties taken with it"
    domain = "`json.loads(text)` raising `JSONDecodeError`"
    losses = EITHER
    library = ""
    parameters = JsonParameters

    def applies(self, kind: str, error: BaseException) -> bool:
        """Whether a call could not read JSON."""
        return kind == "call" and type(error) is json.JSONDecodeError

    def repair(self, failure: Failure) -> Repaired | None:
        """Return strict JSON, or None."""
        if not self.applies(failure.kind, failure.error) or type(failure.parameters) is not JsonParameters:
            return None
        if failure.target is not json.loads or not all(id(each) in _PLAIN for each in failure.rest):
            return None
        text = _text(failure.argument)
        if text is None:
            return None
        inside = _inside_fence(text)
        walk = _Walk(loss=Loss.NONE if inside is None else Loss.NORMALISED)
        written = walk.run(text if inside is None else inside)
        if written is None or written == text or not _is_json(written):
            return None
        return within(failure.parameters, written, walk.loss)


def _text(argument: object) -> str | None:
    if type(argument) is bytes and len(argument) <= MAX_LENGTH:
        try:
            # The encoding that the callee reads it in, but strictly.
            return argument.decode(json.detect_encoding(argument))
        except UnicodeDecodeError:
            return None
    return exact_text(argument, MAX_LENGTH)


def _inside_fence(text: str) -> str | None:
    """Return what a Markdown fence holds that holds everything, else None."""
    stripped = text.strip()
    start = _FENCE.match(stripped)
    return stripped[start.end() : -3] if start is not None and stripped.endswith("```") else None


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


class _Walk:
    """One pass over the tokens of a text: what is written, and what may come next."""

    def __init__(self, loss: Loss) -> None:
        self.loss = loss
        self._written: list[str] = []
        self._open: list[str] = []
        self._comma = -1
        """Where in what is written the comma stands that nothing has followed yet, or -1."""
        self._next = "open"
        """open: the outermost bracket; value, key, colon, more (comma or closing bracket), end."""
        self._fresh = False
        """Whether a closing bracket may come instead of a key or value."""

    def run(self, text: str) -> str | None:
        """Return the text as strict JSON, or None where it is not that but for known liberties."""
        at = 0
        while at < len(text):
            token = _TOKEN.match(text, at)
            if token is None or not self._take(str(token.lastgroup), token[0]):
                return None
            at = token.end()
        return "".join(self._written) if self._next == "end" else None

    def _take(self, kind: str, token: str) -> bool:
        match kind:
            case "space":
                self._written.append(token)
                return True
            case "unseen" | "comment":
                return True
            case "hash":
                self.loss = Loss.NORMALISED
                return True
            case "mark":
                return self._mark(token)
            case _:
                return self._scalar(kind, token)

    def _mark(self, mark: str) -> bool:
        if mark in "{[":
            return self._opened(mark)
        if mark in "}]":
            return self._closed("{" if mark == "}" else "[", mark)
        if mark == ":" and self._next == "colon":
            self._next, self._fresh = "value", False
        elif mark == "," and self._next == "more":
            self._comma = len(self._written)
            self._next, self._fresh = ("key" if self._open[-1] == "{" else "value"), True
        else:
            return False
        self._written.append(mark)
        return True

    def _opened(self, mark: str) -> bool:
        if self._next not in ("open", "value") or len(self._open) >= MAX_DEPTH:
            return False
        self._open.append(mark)
        self._written.append(mark)
        self._comma, self._next, self._fresh = -1, ("key" if mark == "{" else "value"), True
        return True

    def _closed(self, opening: str, mark: str) -> bool:
        may = self._next == "more" or (self._fresh and self._next in ("key", "value"))
        if not may or self._open.pop() != opening:
            return False
        if self._comma >= 0:
            self._written[self._comma] = ""
        self._written.append(mark)
        self._done()
        return True

    def _scalar(self, kind: str, token: str) -> bool:
        if self._next not in ("key", "value"):
            return False
        is_key = self._next == "key"
        strict = _string(token) if kind in ("string", "single") else _bare(token, is_key=is_key, word=kind == "word")
        if strict is None:
            return False
        written, loss = strict
        if loss is not Loss.NONE:
            self.loss = loss
        self._written.append(written)
        if is_key:
            self._comma, self._next = -1, "colon"
        else:
            self._done()
        return True

    def _done(self) -> None:
        """Go on after a value."""
        self._comma, self._fresh = -1, False
        self._next = "more" if self._open else "end"


def _bare(token: str, *, is_key: bool, word: bool) -> tuple[str, Loss] | None:
    """Return a number or word as JSON, with the loss."""
    if is_key:
        named = word and token not in _WORDS and token not in _SAME and not token.startswith("-")
        return (f'"{token}"', Loss.NORMALISED) if named else None
    if not word or token in _WORDS:
        return token, Loss.NONE
    if token in _SAME:
        return _SAME[token], Loss.NONE
    return (_FLOATS[token], Loss.NORMALISED) if token in _FLOATS else None


def _string(token: str) -> tuple[str, Loss] | None:
    """Return a string in double quotes with the escapes of JSON, and the loss."""
    quote, inside = token[0], token[1:-1]
    if quote == '"' and "\\" not in inside and not any(each in inside for each in _RAW):
        return token, Loss.NONE
    parts: list[str] = []
    at = 0
    for escape in _ESCAPE.finditer(inside):
        parts += (_unescaped(inside[at : escape.start()]), _escaped(escape, quote))
        at = escape.end()
    parts.append(_unescaped(inside[at:]))
    if "" in (part for part in parts[1::2]):
        return None
    raw = any(each in inside for each in _RAW)
    return f'"{"".join(parts)}"', Loss.NORMALISED if raw else Loss.NONE


def _unescaped(text: str) -> str:
    return text.replace('"', r"\"").translate({ord(a): b for a, b in _RAW.items()})


def _escaped(escape: re.Match[str], quote: str) -> str:
    """Return an escape as JSON writes it, or nothing where languages differ on what it means."""
    if escape["x"]:
        return f"\\u00{escape['x']}"
    if escape["u"]:
        # In Python a pair of surrogates stays one; in JavaScript and JSON it is a character.
        return "" if quote == "'" and escape["u"][:2].lower() in _SURROGATES else escape[0]
    if escape["plain"] is None or (quote == "'" and escape["plain"] == "/"):
        return ""
    return "'" if escape["plain"] == "'" else escape[0]


_SURROGATES = ("d8", "d9", "da", "db", "dc", "dd", "de", "df")
