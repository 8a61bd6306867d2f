"""What must hold of every repair, whatever the operands: shared by the property tests and the fuzzing harness.

`check` runs a repairer on one failing operation and asserts the contract: it does not raise, runs no code of an
operand's type, changes no operand, answers within the loss that was accepted and that it names, and the same twice; and
an oracle that shares no code with it agrees: where it says that there is no loss, or where there always is one.
"""

from __future__ import annotations

import ast
import codecs
import csv
import json
import re
import unicodedata
import xml.etree.ElementTree as ET
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import json5
from dateutil import parser as dateutil
from tests.fuzz.hostile import armed

from healspan.remediation.repairers import ABSENT, Failure, Kind, Loss, Repaired, RepairerParameters, catalogue

__all__ = ["ORACLES", "Operation", "check", "shape"]


@dataclass(frozen=True)
class Operation:
    """An operation as an application writes it."""

    kind: Kind
    target: Any
    argument: Any = ABSENT
    rest: tuple[Any, ...] = ()

    def run(self) -> Any:
        """Return its result, or raise what it raises."""
        match self.kind:
            case "call":
                return self.target(*(() if self.argument is ABSENT else (self.argument,)), *self.rest)
            case "subscript":
                return self.target[self.argument]
            case "attribute":
                return getattr(self.target, self.argument)
        raise AssertionError(self.kind)

    def failure(self) -> Failure | None:
        """Return it as a repairer is shown it, if it fails."""
        try:
            self.run()
        except Exception as error:
            parameters = asked_of("number")
            return Failure(self.kind, self.target, self.argument, error, parameters, self.rest)
        return None

    def repaired(self, by: Repaired) -> Operation:
        """Return it with the operands of a repair, as the guard makes it."""
        owner = self.target if by.owner is ABSENT else by.owner
        return replace(self, target=owner, argument=by.value)


def asked_of(name: str, **given: object) -> RepairerParameters:
    """Return the parameters of a fix that leaves open what only the owner of the data can say."""
    said = {"currency": "any", "percent": "ratio"} if name == "number" else {}
    return catalogue()[name].parameters.model_validate({**said, **given})


def check(name: str, failure: Failure) -> Repaired | None:
    """Return what a repairer answers with every loss accepted, once all that must hold has been asserted."""
    chosen = catalogue()[name]
    with armed():
        applies = chosen.applies(failure.kind, failure.error)
    assert applies in (True, False)
    before = shape((failure.target, failure.argument, failure.rest, failure.error.args))
    found = {}
    for accept in (Loss.NONE, Loss.NORMALISED):
        asked = failure._replace(parameters=asked_of(name, accept=accept))
        with armed():
            found[accept], again = chosen.repair(asked), chosen.repair(asked)
        assert shape(found[accept]) == shape(again), "it answers otherwise the second time"
    assert shape((failure.target, failure.argument, failure.rest, failure.error.args)) == before, "an operand changed"
    strict, lax = found[Loss.NONE], found[Loss.NORMALISED]
    assert applies or lax is None, "it answers what it says is none of its business"
    for accept, one in found.items():
        if one is not None:
            assert type(one) is Repaired
            assert one.loss in chosen.losses
            assert one.loss is Loss.NONE or accept is Loss.NORMALISED
            assert one.owner is ABSENT or failure.kind in ("subscript", "attribute")
            assert one.value != failure.argument if one.owner is ABSENT else one.owner is not failure.target
    if strict is not None:
        assert lax is not None
        assert shape(strict) == shape(lax), "what needs no convention must not need one"
        assert ORACLES[name](failure, strict), (
            f"not the same: {failure.target!a:.200}, {failure.argument!a:.200}: {strict!a:.200}"
        )
    elif lax is not None and Loss.NONE not in chosen.losses:
        assert ORACLES[name](failure, lax), (
            f"not meant: {failure.target!a:.200}, {failure.argument!a:.200}: {lax!a:.200}"
        )
    return lax


def shape(value: Any, deepest: int = 40) -> object:
    """Return what a value is made of, built-in containers all through and everything else by identity."""
    kind = type(value)
    if deepest == 0:
        return id(value)
    if kind in (dict, SimpleNamespace):
        held = vars(value) if kind is SimpleNamespace else value
        return kind.__name__, [(shape(a, deepest - 1), shape(b, deepest - 1)) for a, b in list(held.items())]
    if kind in (list, tuple):
        return kind.__name__, [shape(each, deepest - 1) for each in value]
    if kind is Repaired:
        return kind.__name__, shape(value.value), value.loss, shape(value.owner)
    if kind in (str, bytes, int, bool, type(None)):
        return kind.__name__, value
    return kind.__name__, id(value) if kind is not float else repr(value)


# Oracles: whether a repair that claims to have no loss says the same as the operand that was given.


def _number(failure: Failure, repaired: Repaired) -> bool:
    visible = "".join(each for each in str.__str__(failure.argument) if unicodedata.category(each) != "Cf")
    text = unicodedata.normalize("NFKC", visible).replace("Rs.", "Rs")
    digits = "".join(
        str(unicodedata.decimal(each, each)) for each in text if unicodedata.decimal(each, None) is not None
    )
    negative = "(" in text or any(unicodedata.category(each) == "Pd" or each == "\u2212" for each in text)
    first, last = re.search(r"\d", text), re.search(r"\d(?!.*\d)", text, re.DOTALL)
    if first is None or last is None:
        return False
    marks = [
        each for each in text[max(0, first.start() - 1) : last.end()] if not each.isdecimal() and each not in "$( "
    ]
    marks = [{"٫": ".", "٬": ",", "’": "'"}.get(each, each) for each in marks if each in ".,'’٫٬"]
    point = marks[-1] if marks and (marks.count(marks[-1]) == 1 and (len(set(marks)) > 1 or marks[-1] == ".")) else ""
    places = 0
    if point:
        behind = re.split(r"[.,'’٫٬]", text)[-1]
        places = sum(unicodedata.decimal(each, None) is not None for each in behind)
    expected = Decimal(digits or "0").scaleb(-places)
    return Decimal(str(repaired.value)) == (-expected if negative else expected)


def _json(failure: Failure, repaired: Repaired) -> bool:
    text = failure.argument.decode() if isinstance(failure.argument, bytes) else str.__str__(failure.argument)
    value = json.dumps(json.loads(str(repaired.value)))
    plain = text.translate(dict.fromkeys(map(ord, "\ufeff\u200b\u2060\u00ad"), " "))
    readings = []
    with suppress(Exception):
        readings.append(json.dumps(json5.loads(re.sub(r"\b(True|False|None)\b", _as_json, plain))))
    with suppress(Exception):
        readings.append(json.dumps(ast.literal_eval(plain.strip())))
    return not readings or value in readings


def _as_json(word: re.Match[str]) -> str:
    return {"True": "true", "False": "false", "None": "null"}[word[0]]


def _xml(failure: Failure, repaired: Repaired) -> bool:
    assert isinstance(repaired.value, str | bytes)
    given = failure.argument
    bare: Any = given.lstrip() if isinstance(given, bytes) else str.__str__(given).lstrip("\ufeff \t\r\n")
    pattern: Any = rb"<\?xml[^>]*\?>" if isinstance(bare, bytes) else r"<\?xml[^>]*\?>"
    bare = re.sub(pattern, bare[:0], bare.removeprefix(codecs.BOM_UTF8) if isinstance(bare, bytes) else bare, count=1)
    try:
        return ET.canonicalize(ET.tostring(ET.fromstring(repaired.value), "unicode")) == ET.canonicalize(
            ET.tostring(ET.fromstring(bare), "unicode")
        )
    except ET.ParseError:
        return True  # neither is read; the guard lets the original exception go on


def _encoding(failure: Failure, repaired: Repaired) -> bool:
    target = failure.target
    data = target.__self__ if failure.kind == "call" and hasattr(target, "__self__") else failure.argument
    marks = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
    marks = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32", **marks}
    encoding = next((name for mark, name in marks.items() if data.startswith(mark)), "utf-8")
    text = data.decode(encoding)
    if isinstance(repaired.value, str):
        return bool(data.decode(repaired.value) == text)
    assert isinstance(repaired.value, bytes)
    named = str(failure.rest[0]) if failure.rest else "utf-8"
    return repaired.value.decode(named).lstrip("\ufeff") == text.lstrip("\ufeff")


def _date(failure: Failure, repaired: Repaired) -> bool:
    read = failure.target(repaired.value, *failure.rest)
    text = "".join(each for each in str.__str__(failure.argument) if unicodedata.category(each) != "Cf")
    readings = []
    for day_first in (True, False):
        with suppress(Exception):
            readings.append(dateutil.parse(text.replace("/Sep/", " Sep "), dayfirst=day_first))
    if not readings or (isinstance(read, date) and read.year < 100):
        return True  # dateutil reads 0013 as 2013
    if isinstance(read, datetime):
        # In a format without a zone, a literal Z says the same.
        return any(read == each or read == each.replace(tzinfo=None) for each in readings)
    if isinstance(read, date):
        return any(read == each.date() for each in readings)
    assert isinstance(read, time)
    return any(read.replace(tzinfo=None) == each.time() for each in readings)


def _letters(text: object) -> str:
    seen = "".join(each for each in str.__str__(text) if unicodedata.category(each) != "Cf")
    composed = unicodedata.normalize("NFC", seen.removeprefix("ï»¿"))
    return "".join(each for each in composed.casefold() if each.isalnum())


def _same_letters(failure: Failure, repaired: Repaired) -> bool:
    return _letters(failure.argument) == _letters(repaired.value)


def _visible(text: object) -> str:
    seen = "".join(each for each in str.__str__(text) if unicodedata.category(each) != "Cf")
    return "".join(" " if each.isspace() else each for each in seen).strip()


def _looks_the_same(failure: Failure, repaired: Repaired) -> bool:
    return _visible(failure.argument) == _visible(repaired.value)


def _parts(failure: Failure, repaired: Repaired) -> bool:
    [(header, values)] = failure.target.items()
    readings = []
    for mark in ",;\t|":
        with suppress(csv.Error):
            readings.append(dict(zip(*csv.reader([header, values], delimiter=mark), strict=False)))
    joined = {mark.join(repaired.owner) for mark in ",;\t|"}  # type: ignore[arg-type]
    return repaired.owner in readings and ('"' in header or header in joined)


def _garbled(failure: Failure, repaired: Repaired) -> bool:
    """Whether one of the two is the UTF-8 of the other, read byte by byte as Latin-1 or Windows-1252."""
    given, found = str.__str__(failure.argument), str(repaired.value)
    pairs = [(given, found), (found, given)] if failure.kind == "subscript" else [(given, "\ufeff" + found)]
    return any(wrong in _wrongly_read(right) for wrong, right in pairs)


def _wrongly_read(text: str) -> tuple[str, str]:
    data = text.encode("utf-8", "surrogatepass")
    windows = "".join(bytes([each]).decode("cp1252", "ignore") or chr(each) for each in data)
    return data.decode("latin-1"), windows


def _moved(failure: Failure, repaired: Repaired) -> bool:
    """Whether the owner is the only mapping below, reached by words of an envelope alone, that has the key."""
    words = ["data", "result", "response", "payload", "body", "attributes", "properties", "fields", "_source"]
    found, level = [], [failure.target]
    for _ in range(2):
        level = [each[word] for each in level if type(each) is dict for word in words if word in each]
        found += [each for each in level if type(each) is dict and failure.argument in each]
    return len(found) == 1 and found[0] is repaired.owner and repaired.value == failure.argument


def _declared(failure: Failure, repaired: Repaired) -> bool:
    """Whether the class, called with nothing but its defaults, makes an object with that value."""
    made = type(failure.target)()
    return bool(getattr(made, failure.argument) == getattr(repaired.owner, str(repaired.value)))


ORACLES: dict[str, Callable[[Failure, Repaired], bool]] = {
    "json": _json,
    "xml": _xml,
    "encoding": _encoding,
    "date": _date,
    "boolean": _same_letters,
    "number": _number,
    "renamed_key": _same_letters,
    "invisible": _looks_the_same,
    "delimiter": _parts,
    "renamed_attribute": _same_letters,
    "mojibake": _garbled,
    "moved_key": _moved,
    "declared_default": _declared,
}
