"""Signs and codes of currencies, and which currencies each may stand for.

A sign says less than it seems to: ``$`` is written for a dozen currencies, ``¥`` for two. So an amount fits a currency
where each of its signs may stand for it; which of them is meant, only the owner of the data can say.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["ANY", "CURRENCY", "DEFAULT", "fits", "is_code", "is_known", "named", "one_currency", "signs_in"]

DEFAULT = "USD"
"""What a service reckons in that says nothing of it."""

ANY = "any"
"""Instead of a currency: whatever the sign is, the number is taken."""

_CODES = (
    "AED|ARS|AUD|BGN|BHD|BRL|CAD|CHF|CLP|CNH|CNY|COP|CZK|DKK|EGP|EUR|GBP|GHS|HKD|HUF|IDR|ILS|INR|ISK|JOD|JPY|"
    "KES|KRW|KWD|KZT|LKR|MAD|MXN|MYR|NGN|NOK|NZD|OMR|PEN|PHP|PKR|PLN|QAR|RMB|RON|RSD|RUB|SAR|SEK|SGD|THB|TND|"
    "TRY|TWD|UAH|USD|UYU|VND|ZAR"
)
CURRENCY = (
    r"(?:(?:US|CA|AU|NZ|HK|NT|[ACSR])?\$|[£¥\u058f\u060b\u09f3\u0e3f\u20a1-\u20bf]|Rs\.?"
    rf"|(?=[A-Z])(?:{_CODES})(?![A-Za-z]))"  # one look spares sixty where there is no letter
)
"""One sign or code, as a pattern."""

_SIGN = re.compile(rf"(?<![A-Za-z]){CURRENCY}")
_CODE = re.compile(r"[A-Z]{3}")

_TABLE = """
    $ USD AUD CAD HKD NZD SGD TWD ARS CLP COP MXN UYU
    US$ USD|CA$ CAD|C$ CAD|AU$ AUD|A$ AUD|NZ$ NZD|HK$ HKD|NT$ TWD|S$ SGD|R$ BRL
    € EUR|£ GBP|¥ JPY CNY CNH|RMB CNY CNH|Rs INR PKR LKR|₨ INR PKR LKR|₹ INR
    ₦ NGN|₩ KRW|₪ ILS|₫ VND|₱ PHP|₴ UAH|₵ GHS|₸ KZT|₺ TRY|₽ RUB|฿ THB
"""
_STANDS_FOR = {sign: frozenset(codes) for sign, *codes in map(str.split, re.split(r"[|\n]", _TABLE.strip()))}
"""The codes that a sign may stand for, by sign."""


def is_code(currency: str) -> bool:
    """Whether it has the form of a code of ISO 4217."""
    return _CODE.fullmatch(currency) is not None


def is_known(currency: str) -> bool:
    """Whether it is a code, a sign, or `ANY`."""
    return currency == ANY or is_code(currency) or _SIGN.fullmatch(currency) is not None


def _bare(sign: str) -> str:
    """Return a sign without the point of an abbreviation: ``Rs.`` is ``Rs``."""
    return sign.rstrip(".")


def _stands_for(sign: str) -> frozenset[str]:
    """Return the codes that a sign or code may stand for; what is in no list stands for itself."""
    return _STANDS_FOR.get(sign) or frozenset((sign,))


def fits(signs: Iterable[str], currency: str) -> bool:
    """Whether an amount with these signs may be of a currency: a code, a sign that is taken as it stands, or `ANY`."""
    # Every repaired amount comes here, and nearly always its sign stands for the currency at the first look.
    for sign in signs:
        if currency not in _STANDS_FOR.get(sign, ()) and not _is_of(_bare(sign), _bare(currency)):
            return currency == ANY
    return True


def _is_of(sign: str, currency: str) -> bool:
    return sign == currency or currency in _stands_for(sign)


def one_currency(signs: list[str]) -> bool:
    """Whether several signs of one amount name one currency, as in ``$5 USD``."""
    return len(signs) == 2 and signs[0] == "$" and signs[1] in _STANDS_FOR["$"]


def signs_in(text: str) -> list[str]:
    """Return the signs and codes of a short text."""
    return _SIGN.findall(text)


def named(signs: list[str]) -> str:
    """Return the currency of an amount with one or more signs: its code, or where they leave it open the first sign."""
    bare = [*map(_bare, signs)]
    codes = frozenset[str].intersection(*map(_stands_for, bare))
    return min(codes) if len(codes) == 1 else bare[0]
