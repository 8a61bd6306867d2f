"""Reads numbers as people and filings write them, for a call such as ``float("($1,234)")``.

The repairer hands the plain notation to the original callee; it never computes with floats. Conventions:

* The point is the decimal mark and a comma groups thousands, as in the notation the callees read
  themselves: ``1,234`` is 1234. A comma that cannot be grouping (``12,5``) declines, because the next value
  of the same source may be ``1,234`` and mean 1.234. Text that shows two kinds of marks (``1.234,56``), or a
  repeated point (``1.234.567``), says itself which is which. Money, or a whole number, with one point and three
  digits (``€1.234``, ``int("500.000")``) declines. `NumberParameters.decimal_mark` settles all of these.
* A hard or thin space and an apostrophe group thousands; a plain space does not: it also parts two numbers.
* ``(1,234)`` is negative; a bare ``(1)`` or ``(12)`` likewise, but as normalised: it may be a footnote mark.
  ``(9`` is what remains of ``(9)`` where a table puts the parenthesis into its own cell.
* ``12%`` may be 0.12, what spreadsheets and ``format(0.12, "%")`` mean by it, and what filers tag; or 12, where a
  source writes points with a sign. It declines unless `NumberParameters.percent` says which. `int` declines ratios.
* ``€1,234`` is no 1234 where a service reckons in dollars, and nothing would tell: an amount declines unless its
  sign fits `NumberParameters.currency`. Nil is nil in every currency.
* ``1,234.50-`` is negative, as ledgers print it: normalised, and only behind a fraction or a grouped number.
* ``â‚¬1,234`` is ``€1,234`` that was decoded wrongly: normalised, and only if it is a number then.
* A lone dash is zero, as in accounts. Words (``n/a``, ``nil``, ``million``) and empty text decline.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Literal

from pydantic import field_validator

from healspan.remediation.currency import CURRENCY, DEFAULT, fits, is_known, one_currency
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
from healspan.remediation.repairers.mojibake import read_again

__all__ = ["ERRORS", "MAX_LENGTH", "NumberParameters", "NumberRepairer", "as_read"]

MAX_LENGTH = 64
# By identity, as `in` would call `__eq__` of an unknown callee; these types live as long as the interpreter.
_CALLEES: tuple[Callable[[str], object], ...] = (float, int, Decimal, Fraction)
_TARGETS = {id(callee): callee for callee in _CALLEES}
ERRORS = (ValueError, InvalidOperation)

_HARD_SPACE = "\u00a0"
_GLYPHS = {
    **dict.fromkeys(map(ord, INVISIBLE)),
    **dict.fromkeys(map(ord, HARD_SPACES), _HARD_SPACE),
    **dict.fromkeys(map(ord, SOFT_SPACES), " "),
    **dict.fromkeys(map(ord, "\u2010\u2011\u2212\ufe63\uff0d"), "-"),
    **dict.fromkeys(map(ord, "\u2012\u2013"), "–"),
    **dict.fromkeys(map(ord, "\u2014\u2015"), "—"),
    **dict.fromkeys(map(ord, "\u2018\u2019\uff07"), "'"),
    **{ord(a): b for a, b in zip("，．（）％＄￡￥＋＊٫٬٪", ",.()%$£¥+*.,%", strict=True)},
}

_SPACE = r"\s*+"
_MARKS = (
    rf"(?:{_SPACE}[*†‡§]{{1,3}}+"
    r"|(?<!\s)(?:\([0-9]{1,2}\)|\[[0-9]{1,2}\]){1,3}+"  # behind a space it may be a number of its own
    rf"|(?:{_SPACE}\([a-zA-Z]\)){{1,3}}+)?"
)

# Quantifiers over white space are possessive and no two of them can share a character: linear time.
_SHOWN = re.compile(
    rf"""
    {_SPACE}
    (?:(?P<outer>[-+–])(?={CURRENCY}))?
    (?P<before>{CURRENCY})?+ {_SPACE}
    (?P<open>\()?+ {_SPACE}
    (?P<inside>{CURRENCY})?+ {_SPACE}
    (?P<inner>[-+–])?+
    (?P<digits>\.?+[0-9]++(?:[.,'{_HARD_SPACE}][0-9]++)*+)
    (?P<trailing>-)?+
    {_SPACE} (?P<percent>%)?+
    {_SPACE} (?P<behind>{CURRENCY})?+
    {_SPACE} (?P<close>\))?+
    {_SPACE} (?P<percent_outside>%)?+
    {_SPACE} (?P<after>{CURRENCY})?+
    (?P<marks>{_MARKS})
    {_SPACE}
    """,
    re.VERBOSE,
)
# No marks of digits behind a dash, as "-(5)" is more than nil; no currency right behind a hyphen, as "-$" is
# what remains of "-$5".
_NIL = re.compile(
    rf"{_SPACE}(?:{CURRENCY})?+{_SPACE}(?:-{{1,3}}+(?!{CURRENCY})|–{{1,2}}+|—{{1,2}}+)"
    rf"{_SPACE}(?:%|{CURRENCY})?+{_SPACE}[*†‡§]{{0,3}}+{_SPACE}"
)
_ENGLISH = re.compile(
    rf"""
    (?P<whole>
        [0-9]*+ (?![,'{_HARD_SPACE}])
      | [1-9][0-9]{{0,2}}(?P<mark>[,'{_HARD_SPACE}])[0-9]{{3}}(?:(?P=mark)[0-9]{{3}})*+
      | (?P<lakh>[1-9][0-9]?(?:,[0-9]{{2}})+,[0-9]{{3}})
    )
    (?:\.(?P<fraction>[0-9]++))?
    """,
    re.VERBOSE,
)
_CONTINENTAL = re.compile(
    rf"""
    (?P<whole>[1-9][0-9]{{0,2}}(?P<mark>[.'{_HARD_SPACE}])[0-9]{{3}}(?:(?P=mark)[0-9]{{3}})*+ | [0-9]++)
    (?:,(?P<fraction>[0-9]++))?
    """,
    re.VERBOSE,
)
_NOT_DIGITS = {ord(mark): None for mark in f".,'{_HARD_SPACE}"}


class NumberParameters(RepairerParameters):
    """How to read what a text alone does not say."""

    decimal_mark: Literal[".", ","] | None = None
    """The decimal mark of the source; None reads what is unambiguous by the rules of the module."""
    currency: str = DEFAULT
    """Of the amounts that the callee reckons with, as a code, or as a sign that is taken as it stands: an amount with a
    sign of another one declines. ``any`` takes the number of each, which no check of a result can tell from the truth.
    """
    percent: Literal["ratio", "points", "decline"] = "decline"
    """``12%`` is 0.12, or 12, or declines."""
    dash: Literal["zero", "decline"] = "zero"
    """A lone dash is zero, or declines."""

    @field_validator("currency")
    @classmethod
    def _is_known(cls, currency: str) -> str:
        if not is_known(currency):
            raise ValueError(f"{currency!r:.40} names no currency; give a code such as 'EUR', a sign, or 'any'")
        return currency


class NumberRepairer:
    """Gives `float`, `int`, `Decimal` and `Fraction` the plain notation of a number."""

    name = "number"
    summary = "read the number in the notation that people and filings use"
    domain = "`float`, `int`, `Decimal`, `Fraction` of a text, raising `ValueError` or `InvalidOperation`"
    losses = EITHER
    library = ""
    parameters = NumberParameters

    def applies(self, kind: str, error: BaseException) -> bool:
        """Whether a call raised what the callees raise for text that they cannot read."""
        return kind == "call" and type(error) in ERRORS

    def repair(self, failure: Failure) -> Repaired | None:
        """Return the plain notation of the text as a string that the callee reads, or None."""
        parameters, target = failure.parameters, failure.target
        if not self.applies(failure.kind, failure.error) or failure.rest:
            return None
        callee = _TARGETS.get(id(target))
        if callee is None or type(parameters) is not NumberParameters:
            return None
        text = exact_text(failure.argument, MAX_LENGTH)
        if text is None:
            return None
        written, text, again = text, *as_read(text)
        shown = _SHOWN.fullmatch(text)
        if shown is None:
            if parameters.dash == "decline" or _NIL.fullmatch(text) is None:
                return None
            return within(parameters, "0", Loss.NORMALISED)
        if _reads(callee, written):
            return None
        return _number(shown, parameters, whole_only=target is int, again=again)


def as_read(text: str) -> tuple[str, bool]:
    """Return a text as the repairer reads it, in the signs of ASCII, and whether it had been decoded wrongly."""
    meant = read_again(text)
    return _in_plain_signs(text if meant is None else meant), meant is not None


def _in_plain_signs(text: str) -> str:
    """Return a text with the signs and digits of ASCII, where it has others that mean the same."""
    if text.isascii():
        return text
    return "".join(str(unicodedata.decimal(each, each)) for each in text.translate(_GLYPHS))


def _reads(callee: Callable[[str], object], text: str) -> bool:
    """Whether a known callee reads a text without exponent, which takes bounded time."""
    try:
        callee(text)
    except ERRORS:
        return False
    return True


def _number(
    shown: re.Match[str],
    parameters: NumberParameters,
    *,
    whole_only: bool,
    again: bool,
) -> Repaired | None:
    outer, before, opened, inside, inner, digits, trailing, near, behind, closed, far, after, marks = shown.groups()
    percent = near or far
    currencies = list(filter(None, (before, inside, behind, after)))
    if (
        ((outer or inner) and opened)
        or (outer and inner)
        or (closed and not opened)
        or (near and far)
        or (percent and currencies)
        or (trailing and (outer or inner or opened or percent or marks or digits.isdigit()))
        or (opened and not closed and (far or after or marks))
        or (len(currencies) > 1 and not one_currency(currencies))
        or not fits(currencies, parameters.currency)
    ):
        return None
    read = _digits(digits, parameters.decimal_mark, money=bool(currencies or opened or whole_only) and not percent)
    if read is None:
        return None
    whole, fraction, loss = read
    if percent:
        if parameters.percent == "decline":
            return None
        loss = Loss.NORMALISED
        if parameters.percent == "ratio":
            if whole_only:
                return None
            padded = whole.rjust(2, "0")
            whole, fraction = padded[:-2], padded[-2:] + fraction
    if whole_only:
        if fraction.strip("0"):
            return None
        fraction = ""
    footnote = opened and not currencies and not percent and digits.isdigit() and len(digits) <= 2
    if again or marks or footnote or trailing or (opened and not closed) or "–" in (outer, inner):
        loss = Loss.NORMALISED
    negative = opened or trailing or (outer or inner or "+") != "+"
    plain = f"{'-' if negative else ''}{whole or '0'}{'.' + fraction if fraction else ''}"
    return within(parameters, plain, loss)


def _digits(text: str, decimal_mark: str | None, *, money: bool) -> tuple[str, str, Loss] | None:
    """Return the whole and the fractional digits of an unsigned number, or None if it is ambiguous."""
    if text.isdigit():
        return text, "", Loss.NONE
    english = _ENGLISH.fullmatch(text) if decimal_mark != "," else None
    if english is not None:
        whole, mark, lakh, fraction = english.groups()
        if decimal_mark is None and money and not mark:
            continental = _CONTINENTAL.fullmatch(text)
            if continental is not None and continental["mark"] == ".":
                return None
        return whole.translate(_NOT_DIGITS), fraction or "", Loss.NORMALISED if lakh else Loss.NONE
    continental = _CONTINENTAL.fullmatch(text) if decimal_mark != "." else None
    if continental is None or (decimal_mark is None and not continental["mark"]):
        return None
    return continental["whole"].translate(_NOT_DIGITS), continental["fraction"] or "", Loss.NONE
