"""The key test: does this name announce a secret?

A name is split into words (``dbPassword``, ``X-Api-Key``, ``db.pass`` alike). Long words convict wherever
they stand in the name; short ones only as a whole word, otherwise ``author`` would be an ``auth`` and
``keyboard`` a ``key``. Two families are let through because they name counts and look-ups, not secrets:
``max_tokens`` with a number, and ``sort_key`` and its like. A name is judged as people see it (`seen`).
"""

from __future__ import annotations

import re
import unicodedata
from enum import Enum
from functools import lru_cache

from healspan.remediation.scrubbing.seen import folded

__all__ = ["KeyVerdict", "judge_key"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_WORDS = re.compile(r"[^A-Za-z0-9]+|(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_KEY_TAIL = 128
"""Only the end of a longer name is judged; that is where its noun stands."""

_ANYWHERE = re.compile(
    "passw|passphrase|passcode|secret(?!ar)|credential|authorization|apikey|privatekey|accesskey|signingkey"
    "|encryptionkey|masterkey|accesstoken|refreshtoken|authtoken|bearer|cookie|csrf|xsrf|sessionid|mysqlpwd"
    "|socialsecurity|creditcard|cardnumber|connectionstring|kennwort|contrasen|motdepasse",
)
_STRONG = _words(
    """
    pwd jwt sso saml otp totp mfa pin ssn sid sig signature cvv cvc passwd secret secrets sessid
    phpsessid jsessionid
    """
)
_COUNTABLE = frozenset(("token", "tokens", "key", "auth", "session", "sessions", "pass", "authentication"))
"""Words of a secret that are also counted: convict, unless a counting word stands by a number."""
_COUNTING = _words(
    """
    max min count counts num total limit length len size ttl timeout age used usage remaining budget
    rate per input output prompt completion avg
    """
)
_LOOKUP = _words(
    """
    primary foreign sort cache partition unique row group lookup natural context idempotency shard dict
    index composite missing public column order join
    """
)
"""``<word> key`` that names a look-up."""
_KEY_MATERIAL = frozenset(("material", "pem", "data", "bytes", "value", "b64", "base64", "passphrase"))
_NO_SECRET_ENDING = frozenset(("error", "exception", "warning"))
"""``KeyError: ...`` names a failure."""


class KeyVerdict(Enum):
    """What a name says of the value beside it."""

    HARMLESS = 0
    SECRET = 1
    SECRET_UNLESS_NUMBER = 2
    """``max_tokens``, ``session_count``: a number is a count, a string is not."""


@lru_cache(maxsize=4096)
def judge_key(key: str) -> KeyVerdict:
    """Return what a name says of the value beside it, in any spelling: snake, kebab, camel, dotted."""
    key = folded(key)
    if not key.isascii():
        key = unicodedata.normalize("NFKC", key[-_KEY_TAIL:])
    words = [word.lower().rstrip("0123456789") or word for word in _WORDS.split(key[-_KEY_TAIL:]) if word]
    if not words or words[-1] in _NO_SECRET_ENDING:
        return KeyVerdict.HARMLESS
    if _ANYWHERE.search("".join(words)) or not _STRONG.isdisjoint(words):
        return KeyVerdict.SECRET
    if _COUNTABLE.isdisjoint(words) or _names_a_lookup(words):
        return KeyVerdict.HARMLESS
    return KeyVerdict.SECRET if _COUNTING.isdisjoint(words) else KeyVerdict.SECRET_UNLESS_NUMBER


def _names_a_lookup(words: list[str]) -> bool:
    """Whether `key` is the only suspicious word of the name and stands for a look-up key."""
    if "key" not in words or not (_COUNTABLE - {"key"}).isdisjoint(words):
        return False
    place = len(words) - 1 - words[::-1].index("key")
    if place < len(words) - 1:
        return words[place + 1] not in _KEY_MATERIAL
    return place > 0 and words[place - 1] in _LOOKUP
