"""Decodes bytes that are not in the encoding they were said to be in, for ``data.decode("utf-8")``.

A method's argument is its encoding, so that is what is given anew; for ``str(data, "utf-8")`` and ``json.loads(data)``
the bytes are, in the encoding that the callee reads. What shows the encoding:

* A byte order mark, or bytes that are well-formed UTF-8 where another encoding was named: no loss.
* `EncodingParameters.encodings`, the ones a human names, in their order: normalised, and nothing is guessed.
* Otherwise text of a Latin script in a one-byte encoding, mostly Windows-1252. It is read in each of the encodings
  that are in use; a reading counts if letters and signs stand where they do in writing, and if all its accented
  letters are of one language's alphabet. All readings that count must agree: normalised. A sentence in French or
  German is enough; a lone n with a tilde is not (Polish has another letter there), and neither is another script.

Declines: bytes cut inside a character, a mixture of UTF-8 and something else, anything binary. No library decides:
those that guess rank a wrong reading first for most short texts, with full confidence.
"""

from __future__ import annotations

import codecs
import json
import re
import unicodedata
from types import BuiltinMethodType
from typing import Final

from pydantic import Field, field_validator

from healspan.remediation.repairers.contract import (
    ABSENT,
    EITHER,
    Failure,
    Loss,
    Repaired,
    RepairerParameters,
    exact_text,
    within,
)

__all__ = ["EncodingParameters", "EncodingRepairer", "detect"]

MAX_LENGTH = 1 << 20
_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_FIRST = "cp1252"
_RIVALS = ("iso8859-15", "cp1250", "iso8859-2", "cp1254", "cp1257", "cp850")
_RARE = ("mac-roman", "mac-latin2", "cp852", "cp857")
"""Too rare to doubt an apostrophe or a quotation mark for their sake, but not a word."""
_WINNERS = frozenset((_FIRST, "cp1250", "iso8859-2"))
"""The others are readings to doubt by, never to choose."""
# fmt: off
_DECLARABLE: Final = frozenset(
    (
        "cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257",
        "cp1258", "cp437", "cp850", "cp852", "cp866", "cp932", "cp949", "big5",
        "big5hkscs", "euc_jp", "euc_kr", "gb18030", "gb2312", "gbk", "iso2022_jp", "iso8859-1",
        "iso8859-10", "iso8859-13", "iso8859-14", "iso8859-15", "iso8859-16", "iso8859-2", "iso8859-3", "iso8859-4",
        "iso8859-5", "iso8859-6", "iso8859-7", "iso8859-8", "iso8859-9", "koi8-r", "koi8-u", "mac-roman",
        "mac-latin2", "mac-cyrillic", "shift_jis", "tis-620", "utf-8", "utf-8-sig", "utf-16", "utf-16-be",
        "utf-16-le", "utf-32",
    )
)
# fmt: on

# Accented letters of each language; a reading whose letters no one of them has is not one.
_ALPHABETS: Final = tuple(
    map(
        frozenset,
        (
            "äöüß",
            "àâæçèéêëîïôœùûüÿ",
            "áéíñóúü",
            "àáâãçéêíóôõú",
            "àèéìíîòóùú",
            "àçèéíïòóúü",
            "áèéëïóöü",
            "æéøå",
            "äåéö",
            "áæéíðóöúýþ",
            "äõöüšž",
            "óąćęłńśźż",
            "áéíóúýčďěňřšťůž",
            "áäéíóôúýčďĺľňŕšťž",
            "áéíóöúüőű",
            "âîăşţ",
            "âîășț",
            "ćčđšž",
            "çöüğış",
            "ąčęėįšųūž",
            "āčēģīķļņšūž",
        ),
    ),
)
_MOST, _MOST_OF_RIVALS = 50_000, 2_000
"""Places with characters outside ASCII that are looked at; what bounds the time, a quarter of a second."""
_LONG = 40
"""Letters of the longest word."""
_ALONE = frozenset("àèéêìòóôöùúåæøâ")
"""Accented letters that are a word in some language."""
_CUT = ("unexpected end of data", "incomplete multibyte sequence", "truncated data")
_RUN = re.compile(rb"[\x80-\xff]+")
_SEQUENCE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
# What no text has: control characters, surrogates, the places that Unicode keeps for nobody.
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\uf8ff\ufdd0-\ufdef\ufffe\uffff]")
_WORD = re.compile(r"[^\W\d_]+")
_CONTRACTION = re.compile(r"(?:s|t|d|m|re|ve|ll)(?![^\W_])", re.IGNORECASE)
_SIGN = re.compile(r"[^\x00-\x7f]")
_AFTER_WORDS, _BEFORE_WORDS, _APART = "®™†‡²³¹ªº…", "©¶•·µ", "±§¢×÷½¼¾‹›"
_NO_LETTERS = "ªºµ"


class EncodingParameters(RepairerParameters):
    """Which encodings a human expects."""

    encodings: tuple[str, ...] = Field(default=(), max_length=8)
    """Encodings of the source, the first choice first; the first that decodes all bytes to text is taken."""

    @field_validator("encodings")
    @classmethod
    def _known(cls, encodings: tuple[str, ...]) -> tuple[str, ...]:
        for each in encodings:
            if _canonical(each) not in _DECLARABLE:
                raise ValueError(f"{each[:40]!r} is no encoding of text that is known here; name one such as 'cp1251'")
        return encodings


class EncodingRepairer:
    """Gives `bytes.decode`, `str` and `json.loads` the encoding, or the bytes, that can be decoded."""

    name = "encoding"
    summary = "decode the bytes in the encoding that they are in"
    domain = "`data.decode(...)`, `str(data, ...)`, `json.loads(data)` raising `UnicodeDecodeError`"
    losses = EITHER
    library = ""
    parameters = EncodingParameters

    def applies(self, kind: str, error: BaseException) -> bool:
        """Whether a call could not decode bytes."""
        return kind == "call" and type(error) is UnicodeDecodeError

    def repair(self, failure: Failure) -> Repaired | None:
        """Return the encoding for a method of bytes, else the bytes in the encoding that was named, or None."""
        parameters, target = failure.parameters, failure.target
        if not self.applies(failure.kind, failure.error) or type(parameters) is not EncodingParameters:
            return None
        asked = _asked(failure)
        # The method's bytes are looked at where the method comes from, so nothing of the application's runs.
        method = type(target) is BuiltinMethodType
        data = target.__self__ if type(target) is BuiltinMethodType else failure.argument
        if asked is None or type(data) is not bytes or not 0 < len(data) <= MAX_LENGTH:
            return None
        found = detect(data, failure.error, parameters.encodings)
        if found is None or found[0] == asked:
            return None
        encoding, text, loss = found
        if method:
            return within(parameters, encoding, loss)
        try:
            return within(parameters, text.encode(asked), loss)
        except UnicodeEncodeError:
            return None


def detect(
    data: bytes,
    error: BaseException,
    encodings: tuple[str, ...] = (),
) -> tuple[str, str, Loss] | None:
    """Return the encoding of bytes that did not decode, their text and the loss, or None if nothing shows it.

    Args:
        data: at most 1 MiB.
        error: what decoding them raised.
        encodings: to try instead of guessing, the first choice first.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            text = _decoded(data, encoding)
            return None if text is None else (encoding, text, Loss.NONE)
    text = _decoded(data, "utf-8")
    if text is not None:
        return "utf-8", text, Loss.NONE
    cut = type(error) is UnicodeDecodeError and error.reason in _CUT
    mixed = _SEQUENCE.search(data) is not None
    if encodings:
        return None if cut and mixed else _declared(data, encodings)
    return None if cut or mixed else _western(data)


def _declared(data: bytes, encodings: tuple[str, ...]) -> tuple[str, str, Loss] | None:
    for each in encodings:
        text = _decoded(data, each)
        if text is not None:
            return _canonical(each), text, Loss.NORMALISED
    return None


def _asked(failure: Failure) -> str | None:
    """Return the canonical name of the encoding that the callee decodes, or None if it is none of those known."""
    target, argument, rest = failure.target, failure.argument, failure.rest
    if type(target) is BuiltinMethodType:
        if target.__name__ != "decode":
            return None
        if argument is ABSENT:
            return "utf-8" if not rest else None
        named, errors = argument, rest
    elif target is str and rest:
        named, errors = rest[0], rest[1:]
    elif target is json.loads and not rest:
        return "utf-8"
    else:
        return None
    strict = not errors or (len(errors) == 1 and exact_text(errors[0], 16) == "strict")
    text = exact_text(named, 32)
    return None if text is None or not strict else _canonical(text) or None


def _canonical(name: str) -> str:
    try:
        return codecs.lookup(name).name
    except (LookupError, ValueError):
        return ""


def _decoded(data: bytes, encoding: str) -> str | None:
    """Return the text if the bytes are text in this encoding, without control characters."""
    try:
        text = data.decode(encoding)
    except ValueError:
        return None
    return None if _CONTROL.search(text) else text


def _western(data: bytes) -> tuple[str, str, Loss] | None:
    """Return what all readings in the one-byte encodings of Latin script agree on."""
    runs = _RUN.findall(data)
    if all(len(run) % 2 == 0 for run in runs):
        return None  # pairs of bytes only: the way in which Chinese, Japanese and Korean are written
    if len(runs) > _MOST:
        return None
    first = _decoded(data, _FIRST)
    tidy = first is not None and _is_tidy(first)
    letters = first is None or _letters(first)
    readings: dict[str, str] = {}
    for encoding in (_FIRST, *_RIVALS, *(_RARE if letters else ())):
        text = _decoded(data, encoding)
        if text is None or text in readings or not _is_of_one_language(text):
            continue
        # What is untidy at its beginning is no rival; only what is chosen must be tidy to its end.
        if tidy if encoding == _FIRST else _is_tidy(text, most=_MOST_OF_RIVALS):
            readings[text] = encoding
    if len(readings) != 1:
        return None
    [(text, encoding)] = readings.items()
    # Words of several languages in Windows-1252 may happen to be those of one language elsewhere.
    if encoding not in _WINNERS or (encoding != _FIRST and (tidy or not _is_tidy(text))):
        return None
    return encoding, text, Loss.NORMALISED


def _letters(text: str) -> set[str]:
    return {each for each in text.lower() if each > "\x7f" and each.isalpha() and each not in _NO_LETTERS}


def _is_of_one_language(text: str) -> bool:
    letters = _letters(text)
    return any(letters <= alphabet for alphabet in _ALPHABETS)


def _is_tidy(text: str, most: int | None = None) -> bool:
    """Whether every character outside ASCII, or the first so many, stands where it does in writing."""
    if text.count("”") > text.count("“") + text.count("„") or text.count("»") != text.count("«"):
        return False
    for count, found in enumerate(_SIGN.finditer(text)):
        if count == most:
            break
        sign, at = found[0], found.start()
        before, after = text[at - 1 : at], text[at + 1 : at + 2]
        letter = sign.isalpha() and sign not in _NO_LETTERS
        if not (_letter_fits(text, at) if letter else _sign_fits(text, sign, at, before, after)):
            return False
    return True


def _letter_fits(text: str, at: int) -> bool:
    start, end = at, at + 1
    while start > max(0, at - _LONG) and text[start - 1].isalpha():
        start -= 1
    while end < min(len(text), at + _LONG) and text[end].isalpha():
        end += 1
    word = text[start:end]
    if len(word) >= _LONG or text[start - 1 : start].isdigit() or text[end : end + 1].isdigit():
        return False
    if unicodedata.name(text[at], "")[:6] != "LATIN ":
        return False
    if not any(each < "\x80" for each in word):
        return len(word) == 1 and word.lower() in _ALONE
    return word[1:].islower() or word.replace("ß", "").isupper()


def _sign_fits(text: str, sign: str, at: int, before: str, after: str) -> bool:
    if sign in "’‘‚“„”":
        return _quotes(text, sign, at, before, after)
    if sign in "–—":
        return _dashes(text, at, before, after)
    if sign in "€£¥":
        near = text[max(0, at - 2) : at + 3]
        return not before.isalpha() and not after.isalpha() and any(each.isdigit() for each in near)
    if sign == "°":
        return before.isdigit() or before.isspace()
    if sign in "\u00a0«»":
        return True
    if sign in _AFTER_WORDS:
        return not after.isalnum()
    if sign in "¿¡":
        return not before.isalpha() and after.isalpha()
    if sign in _BEFORE_WORDS:
        return not before.isalpha()
    return sign in _APART and not before.isalpha() and not after.isalpha()


def _quotes(text: str, sign: str, at: int, before: str, after: str) -> bool:
    """Whether an apostrophe or quotation mark stands at the right side of a word."""
    if sign == "’":
        if not before.isalnum():
            return after.isdigit() or not after.isalnum()
        if after.isalnum():
            return _elides(text, at)
        return before.isdigit() or before in "sSxXzZ" or "‘" in text
    if sign == "”" or (sign == "“" and "„" in text):
        return not after.isalnum() and not before.isspace()
    return not before.isalnum() and not after.isspace() and after != ""


def _dashes(text: str, at: int, before: str, after: str) -> bool:
    """Whether a dash stands between two words or numbers, alone, or behind a heading: Energy— Our plants."""
    spaced = (before.isspace() or not before) == (after.isspace() or not after)
    if not before.isalpha() and not after.isalpha():
        return spaced or after.isdigit()
    # A letter alone is what an accent leaves behind.
    words = text[max(0, at - 2) : at].isalpha() and text[at + 1 : at + 3].isalpha()
    heading = text[max(0, at - 2) : at].isalpha() and after.isspace() and text[at + 2 : at + 3].isupper()
    return words or heading or (spaced and before.isspace())


def _elides(text: str, at: int) -> bool:
    """Whether an apostrophe between two letters is one: company’s, don’t, l’amour, aujourd’hui."""
    if _CONTRACTION.match(text, at + 1):
        return True
    word = _WORD.search(text[max(0, at - _LONG) : at][::-1])
    elided = word[0][::-1].lower() if word and word.start() == 0 else ""
    return elided in ("c", "d", "j", "l", "m", "n", "o", "s", "t", "qu", "dell", "nell", "all", "un")
