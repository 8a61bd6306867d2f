"""Reads text again that was decoded in the wrong encoding, for a key ``"Größe"`` in ``{"GrÃ¶ÃŸe": 1}``.

UTF-8 read as Windows-1252 or Latin-1 can be told by its bytes: written back in that encoding they are well-formed
UTF-8, which text in another encoding all but never is. That alone is not proof (``à «`` with a hard space is three such
bytes), so there must be more: a key must then be exactly the key that was asked for, and a whole text must begin with
the byte order mark. Always normalised: somebody may store the garbled text on purpose.

Numbers are read by `number`, which knows the signs that its garbled ones must turn out to be.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from datetime import date, datetime
from ipaddress import ip_address, ip_network
from types import BuiltinMethodType
from typing import Final

from healspan.remediation.repairers.contract import (
    Failure,
    Loss,
    Repaired,
    RepairerParameters,
    exact_text,
    within,
)
from healspan.remediation.repairers.keys import key_named, missed_key, text_keys
from healspan.remediation.repairers.names import MAX_LENGTH as MAX_KEY

__all__ = ["MojibakeParameters", "MojibakeRepairer", "read_again"]

MAX_LENGTH = 1 << 20
_MARK: Final = "ï»¿"
# By identity, as `==` of an unknown callee is its own code.
_CALLEES = frozenset(map(id, (json.loads, ip_address, ip_network)))
_METHODS = (date.fromisoformat, datetime.fromisoformat)
# Five bytes have no character in Windows-1252; those who read it put control characters in their place.
_BYTES: Final = {
    bytes([each]).decode("cp1252", "replace").replace("\ufffd", chr(each)): each for each in range(0x80, 0x100)
}
_AS_LATIN_1 = {ord(sign): chr(byte) for sign, byte in _BYTES.items()}


class MojibakeParameters(RepairerParameters):
    """Nothing but how much loss is accepted."""


class MojibakeRepairer:
    """Gives a subscript the key, or a callee the text, as it was before somebody decoded it wrongly."""

    name = "mojibake"
    summary = "read the text in UTF-8 that was decoded in another encoding"
    domain = (
        "keys of built-in mappings raising `KeyError`; `json.loads`, `ip_address`, `fromisoformat` behind a garbled BOM"
    )
    losses = (Loss.NORMALISED,)
    library = ""
    parameters = MojibakeParameters

    def applies(self, kind: str, error: BaseException) -> bool:
        """Whether the error is about a text that may have been decoded wrongly."""
        if kind == "subscript":
            key = key_named(error)
            return key is not None and not key.isascii()
        if kind != "call":
            return False
        if type(error) is json.JSONDecodeError:
            document = exact_text(error.doc, MAX_LENGTH)
            return document is not None and document.startswith(_MARK)
        message = exact_text(error.args[0], 2 * MAX_KEY) if type(error) is ValueError and len(error.args) == 1 else None
        return message is not None and _MARK in message

    def repair(self, failure: Failure) -> Repaired | None:
        """Return the text as it was meant, or None."""
        parameters = failure.parameters
        if not self.applies(failure.kind, failure.error) or type(parameters) is not MojibakeParameters:
            return None
        if failure.kind == "subscript":
            found = _key(failure)
        else:
            text = exact_text(failure.argument, MAX_LENGTH) if _is_known(failure) else None
            if text is None or not text.startswith(_MARK):
                return None
            meant = read_again(text)
            found = None if meant is None else meant.removeprefix("\ufeff")
        return None if found is None else within(parameters, found, Loss.NORMALISED)


def read_again(text: str) -> str | None:
    """Return the text that was in UTF-8 and decoded as Windows-1252 or Latin-1, or None if it was not."""
    if text.isascii():
        return None
    for latin in (text, text.translate(_AS_LATIN_1)):
        try:
            return latin.encode("latin-1").decode("utf-8")
        except UnicodeError:
            continue
    return None


def _key(failure: Failure) -> str | None:
    """Return the one key that is the one asked for, if one of the two was decoded wrongly."""
    asked = missed_key(failure)
    if asked is None or (type(failure.target) is not dict and type(failure.target) is not OrderedDict):
        return None
    keys = text_keys(failure.target)
    if keys is None or asked in keys:
        return None
    meant = read_again(asked)
    found = [key for key in keys if key == meant or (not key.isascii() and read_again(key) == asked)]
    return found[0] if len(found) == 1 else None


def _is_known(failure: Failure) -> bool:
    if failure.rest:
        return False
    if type(failure.target) is BuiltinMethodType:
        return any(failure.target == each for each in _METHODS)
    return id(failure.target) in _CALLEES
