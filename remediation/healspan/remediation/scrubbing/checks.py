"""Checks that tell a secret from its look-alikes: card and account check digits, randomness."""

from __future__ import annotations

import base64
import binascii
import re
from collections import Counter
from math import log2

__all__ = ["iban_end", "is_basic_credential", "is_bearer_credential", "is_card", "looks_random"]

_CARD = re.compile(
    r"4\d{12}(?:\d{3}){0,2}|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}|3[47]\d{13}"
    r"|3(?:0[0-5]|[68]\d)\d{11}|35(?:2[89]|[3-8]\d)\d{12}|6(?:011|5\d\d|4[4-9]\d|2\d\d)\d{12,15}"
    r"|(?:5[06-8]|6\d)\d{14}",
)
_IBAN_LENGTH = {
    country: length
    for length, countries in (
        (15, "NO"),
        (16, "BE"),
        (18, "DK FI FO GL NL SD"),
        (19, "MK SI"),
        (20, "AT BA EE KZ LT LU MN XK"),
        (21, "CH HR LI LV"),
        (22, "BG BH CR DE GB GE IE ME RS VA"),
        (23, "AE GI IL IQ OM TL"),
        (24, "AD CZ ES MD PK RO SA SE SK TN VG"),
        (25, "LY PT ST"),
        (26, "IS TR"),
        (27, "BI FR GR IT MC MR SM"),
        (28, "AL AZ BY CY DO GT HU LB NI PL"),
        (29, "BR EG PS QA UA"),
        (30, "JO KW MU"),
        (31, "MT SC"),
        (32, "LC"),
        (33, "RU"),
    )
    for country in countries.split()
}
"""Characters of an IBAN by country."""

_PUBLIC_IDS = re.compile(
    r"""(?<![0-9a-z])(?:
        [0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}
      | [0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}
      | [a-z]?[0-9a-f]{32} | [0-9a-f]{40} | [0-9a-f]{56} | [0-9a-f]{64} | [0-9a-f]{96} | [0-9a-f]{128}
      | [0-9]{8,}+
    )(?![0-9a-z])""",
    re.IGNORECASE | re.VERBOSE,
)
"""UUIDs, W3C trace parents, MD5 (and trace ids, and element ids of a letter and such a number), SHA-1 (and
commits), SHA-224 to SHA-512, decimal numbers."""
_HEX = re.compile(r"[0-9a-fA-F]+")
_CLASS_RUNS = re.compile(r"[a-z]+|[A-Z]+|[0-9]+|[^a-zA-Z0-9]")


def is_card(digits: str) -> bool:
    """Whether a string of digits has a card issuer's prefix and length, and the Luhn check digit."""
    if not _CARD.fullmatch(digits):
        return False
    odd, even = digits[-1::-2], digits[-2::-2]
    return (sum(map(int, odd)) + sum(sum(divmod(2 * int(d), 10)) for d in even)) % 10 == 0


def iban_end(text: str, start: int) -> int | None:
    """Return where the IBAN that starts here ends; None if country, length or check digits say it is none."""
    length = _IBAN_LENGTH.get(text[start : start + 2].upper())
    if length is None:
        return None
    letters: list[str] = []
    place = start
    while place < len(text) and len(letters) < length:
        char = text[place]
        if char.isascii() and char.isalnum():
            letters.append(char)
        elif char not in " -" or text[place - 1] in " -":
            return None
        place += 1
    if len(letters) < length or (place < len(text) and text[place].isalnum()):
        return None
    iban = "".join(letters)
    return place if int("".join(str(int(c, 36)) for c in iban[4:] + iban[:4])) % 97 == 1 else None


def is_basic_credential(encoded: str) -> bool:
    """Whether the text after ``Basic`` is base64 of something with a colon, as RFC 7617 has it."""
    try:
        return b":" in base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        return False


def is_bearer_credential(token: str) -> bool:
    """Whether the word after ``Bearer`` is a credential and not English (``bearer authentication``)."""
    return not token.isalpha() or not (token.islower() or token.istitle()) or len(token) >= 24


def looks_random(run: str) -> bool:
    """Whether an unbroken run of 32 or more letters and digits looks random, hence secret.

    Let through, because software is full of them and they give nobody access: long decimal numbers, UUIDs,
    trace parents, and hexadecimal strings with the length of a digest. (A secret of that very shape is still
    found by its key.) Names such as ``RevenueFromContractWithCustomerExcludingAssessedTax`` or a path consist
    of words: long runs of one class of characters.
    """
    return any(len(rest) >= 32 and _is_random(rest) for rest in _PUBLIC_IDS.split(run.rstrip("=")))


def _is_random(run: str) -> bool:
    has_digit, has_letter = any(c.isdigit() for c in run), any(c.isalpha() for c in run)
    if _HEX.fullmatch(run):
        return has_digit and has_letter
    classes = _CLASS_RUNS.findall(run)
    if run.count("/") >= 3 and len(run) / len(classes) > 1.9:
        mixed = [part for part in run.split("/") if part and not (part.isalpha() or part.isdigit())]
        if len(mixed) <= 1:
            return False  # a path
    if run.lower() != run and run.upper() != run:
        # Random runs of a class are 1.6 characters long on average (without a digit 2.0); those of words in
        # camel case 2.2 and more, with dates between them 2.7.
        if len(run) / len(classes) > (2.4 if has_digit else 1.9):
            return False
    elif sum(part.isdigit() for part in classes) < 3 or len(run) / len(classes) > 4.5:
        return False
    size = len(run)
    return -sum(n / size * log2(n / size) for n in Counter(run).values()) >= 3.9
