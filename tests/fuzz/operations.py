"""Failing operations of each repairer's domain, made of what a source gives: hypothesis, or the bytes of a fuzzer."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections import OrderedDict, namedtuple
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from fractions import Fraction
from ipaddress import ip_address, ip_network
from types import SimpleNamespace
from typing import Any, Protocol, TypeVar
from uuid import UUID

from tests.fuzz.contract import Operation
from tests.fuzz.hostile import HOSTILE

from healspan.remediation.repairers import ABSENT, Failure, Kind, RepairerParameters

__all__ = ["CALLEES", "ERRORS", "OPERATIONS", "Source", "failing", "hostile"]

_Option = TypeVar("_Option")


class Source(Protocol):
    """Where choices come from."""

    def number(self, most: int) -> int:
        """Return a number from 0 to `most`."""

    def pick(self, options: Sequence[_Option]) -> _Option:
        """Return one of these."""

    def text(self, most: int) -> str:
        """Return any text."""

    def data(self, most: int) -> bytes:
        """Return any bytes."""


# fmt: off
_NUMBERS = [
    *"0123456789", "1,234", ".", ",", "'", "-", "–", "—", "\u2212", "+", "(", ")", "$", "€", "£", "USD", "CHF", "%",
    "*", "(1)", "[2]",
    "(a)", " ", "\u00a0", "\u202f", "\u200b", "\ufeff", "１", "٣", "٫", "٬", "’", "e5", "CR", "kg", "â‚¬", "Â\u00a0",
    "ï»¿", "†", "Rs.",
]
_DATES = [
    *"0123456789", "2024", "28", "Sep", "September", "-", "/", ".", ",", " ", ":", "T", "Z", "+02:00", "UTC", "EST",
    "12", "05", "pm",
    "am", "th", "of ", "Sat", "Sat, ", " at ", "\u202f", "\u200b", "24:00", "-0000", "(CET)", "20240928", "99",
]
_JSON = [
    "{", "}", "[", "]", ",", ":", '"a"', "'b'", "c", "1", "-2.5e3", "true", "False", "None", "null", "nan", "//x\n",
    "/*y*/", "# z\n",
    " ", "\n", "\\", "\\u00e9", "\\x41", "\\'", '"', "'", "\ufeff", "\u00a0", "```json\n", "```", "é", "\ud800",
    "\x00", "Infinity",
]
_XML = [
    "<p>", "</p>", "<a b='c'>", "</a>", "<br/>", "&amp;", "&nbsp;", "&", "&copy2", "&#65;", "&#x1F600;", "&bogus;",
    "<!--", "-->", "<?x ?>",
    "<![CDATA[", "]]>", "<!DOCTYPE p>", "<!ENTITY a 'b'>", "\x00", "\x0b", "\ufeff", " ", "text", "é", "<", ">",
    "\ud800", "\ufffe",
    "<?xml version='1.0' encoding='utf-16'?>", '<?xml version="1.0" encoding="ISO-8859-1"?>',
]
_BYTES = [
    b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\xff\xfe\x00\x00", b"\xe9", b"\xc3\xa9", b"caf", b" la ",
    b"\x93quoted\x94", b"\x92s",
    b"\x80", b"\xa4", b"\x00", b"stra\xdfe ", b"\xf1o", b"a", b" ", b"\xe2\x82", b"<p>", b"{", b'"a"', b"}", b"\x1a",
    b"na\xefve ",
]
_NAMES = [
    "user", "User", "USER", "name", "Name", "_", "-", " ", ".", "id", "Id", "qty", "quantity", "1", "2", "m", "M",
    "%", "$", "(a)", "é",
    "e\u0301", "the ", "not", "s", "colour", "color", "\u200b", "\ufeff", "ï»¿", "Ã©", "ü", "ß", "&", "and",
    "(Note 4)", "-1", "mW",
]
_WORDS = ["true", "True", "YES", "no", "on", "OFF", "1", "0", "y", "n", "t", "maybe", " yes", "\u200bno", "oui"]
_FIELDS = ["id", "name", ";", ",", "\t", "|", '"', "1", "12,5", "é", " ", "\n", "", "a b", '""']
_ENVELOPES = ["data", "result", "response", "attributes", "payload", "_source"]
_ENVELOPES += ["items", "Items", "order", "id", "status", "rows"]
# fmt: on


def _made(source: Source, pieces: Sequence[str], most: int = 12) -> str:
    """Return pieces one behind the other, and now and then anything else, or one piece very often."""
    parts = [source.pick(pieces) if source.number(9) else source.text(4) for _ in range(source.number(most))]
    text = "".join(parts)
    return text * (1 + source.number(4_000)) if source.number(60) == 60 else text


def _value(source: Source, deepest: int = 3) -> Any:
    """Return a nested value of built-in types, a hostile one among them now and then."""
    match source.number(9 if deepest else 6):
        case 0:
            return source.text(8)
        case 1:
            return source.data(8)
        case 2:
            return source.number(1_000) - 500
        case 3:
            return source.pick([None, True, False, 0.5, float("nan"), 10**400, 1j, ABSENT])
        case 4:
            return _made(source, _NAMES, 4)
        case 5 | 6:
            return source.pick(HOSTILE)
        case 7:
            return [_value(source, deepest - 1) for _ in range(source.number(3))]
        case 8:
            return tuple(_value(source, deepest - 1) for _ in range(source.number(3)))
        case _:
            return {_made(source, _NAMES, 3): _value(source, deepest - 1) for _ in range(source.number(4))}


def _loose_json(source: Source, deepest: int) -> str:
    """Return JSON as people write it, mostly."""
    kind = source.number(5) if deepest else 5
    if kind > 3:
        return source.pick(_JSON)
    items = [_loose_json(source, deepest - 1) for _ in range(source.number(3))]
    ends = source.pick(["[]", "[]", "{}", "{}", "[}"])
    if ends == "{}":
        items = [
            source.pick(['"a"', "'b'", "c", " 'd' ", "1", '"a"']) + source.pick([":", ": ", ""]) + one for one in items
        ]
    tail = source.pick(["", "", ",", " // x\n", "# y\n", ",,"])
    return ends[0] + source.pick([",", ", ", ",\n"]).join(items) + tail + ends[-1]


def _json_call(source: Source) -> Operation:
    text = _loose_json(source, 4) if source.number(3) else _made(source, _JSON, 20)
    if source.number(5) == 0:
        return Operation("call", json.loads, text.encode("utf-8", "replace"))
    return Operation("call", json.loads, text)


def _xml_call(source: Source) -> Operation:
    text = _made(source, _XML, 12)
    if source.number(3):
        return Operation("call", ET.fromstring, text)
    return Operation("call", ET.fromstring, text.encode(source.pick(["utf-8", "latin-1", "cp1252"]), "replace"))


def _bytes_call(source: Source) -> Operation:
    data = b"".join(source.pick(_BYTES) if source.number(9) else source.data(4) for _ in range(source.number(14)))
    data *= 1 + (source.number(2_000) if source.number(60) == 60 else 0)
    named = source.pick(["utf-8", "ascii", "utf-16", "cp1252", "UTF8", "nonsense"])
    match source.number(4):
        case 0:
            return Operation("call", data.decode)
        case 1:
            return Operation("call", data.decode, named)
        case 2:
            return Operation("call", json.loads, data)
        case 3:
            return Operation("call", data.decode, named, (source.pick(["strict", "replace", "surrogateescape"]),))
        case _:
            return Operation("call", str, data, (named,))


def _loose_date(source: Source) -> str:
    """Return a date and time as people write it, mostly."""
    day, month, year = (f"{1 + source.number(most):0{source.number(2)}}" for most in (31, 12, 2_100))
    names = ["Jan", "February", "MAR", "apr.", "May", "Sept", "October", "Dec"]
    mark = source.pick("-/. ,")
    shown = source.pick([
        f"{year}{mark}{month}{mark}{day}",
        f"{day}{mark}{month}{mark}{year.rjust(4, '2')}",
        f"{day}{source.pick(['', 'th', 'st', 'nd'])} {source.pick(names)} {year}",
        f"{source.pick(names)} {day}, {year}",
        f"{source.pick(['Mon', 'Sat'])}, {day} {source.pick(names)} {year}",
        f"{year.rjust(4, '2')}{month.rjust(2, '0')}{day.rjust(2, '0')}",
        "",
    ])  # fmt: skip
    clock = f"{source.number(25)}:{source.number(61):02}" + source.pick(
        ["", f":{source.number(61):02}", ":05.25", ":05,1234567"]
    )
    clock += source.pick(["", "", " pm", "AM", " a.m."])
    zone = source.pick(["", "", "Z", " UTC", " +0200", "-05:30", " EST", " -0000", " GMT+0200 (CEST)"])
    return source.pick([shown, f"{shown}{source.pick(['T', ' ', ', ', ' at '])}{clock}{zone}", clock + zone])


def _date_call(source: Source) -> Operation:
    text = _loose_date(source) if source.number(3) else _made(source, _DATES, 14)
    target = source.pick([date.fromisoformat, datetime.fromisoformat, time.fromisoformat, datetime.strptime])
    if target == datetime.strptime:
        forms = [
            "%Y-%m-%d",
            "%d/%m/%Y",
            "%m/%d/%Y",
            "%Y-%m-%dT%H:%M:%SZ",
            "%b %d, %Y",
            "%Y-%m-%d %H:%M%z",
            "%H:%M",
            "%j %U",
            "%",
        ]
        return Operation("call", target, text, (source.pick(forms),))
    return Operation("call", target, text)


def _number_call(source: Source) -> Operation:
    return Operation("call", source.pick([float, int, Decimal, Fraction]), _made(source, _NUMBERS))


def _boolean_item(source: Source) -> Operation:
    table = {source.pick(_WORDS): source.pick([True, False, 1, None]) for _ in range(source.number(5))}
    if source.number(1):
        table = {"true": True, "false": False}
    return Operation("subscript", table, source.pick(_WORDS))


def _otherwise(source: Source, name: str) -> str:
    """Return a name as another system would write it, or nearly so."""
    styles: list[Callable[[str], str]] = [
        str.upper,
        str.title,
        lambda text: text.replace("_", ""),
        lambda text: text.replace("_", "-"),
        lambda text: text.title().replace("_", ""),
        lambda text: text.replace("quantity", "qty"),
        lambda text: text + "s",
        lambda text: text[:-2] + text[:-3:-1],
    ]
    return source.pick(styles)(name)


def _key_item(source: Source) -> Operation:
    names = {_made(source, _NAMES, 5): number for number in range(source.number(6))}
    asked = _made(source, _NAMES, 5)
    if names and source.number(2):
        asked = _otherwise(source, source.pick(list(names)))
    return Operation("subscript", source.pick([dict, OrderedDict])(names), asked)


def _invisible(source: Source) -> Operation:
    if source.number(1):
        return _key_item(source)
    text = _made(
        source,
        [*"0123456789abcdef-.:", "\u200b", "\u00a0", "\ufeff", "\u200d", "\u202e", " ", "10.0.0.1", "2024-09-28"],
        36,
    )
    callees = [int, float, Decimal, Fraction, UUID, ip_address, ip_network, date.fromisoformat, datetime.fromisoformat]
    return Operation("call", source.pick(callees), text)


def _row_item(source: Source) -> Operation:
    mark = source.pick(",;\t|")
    header = mark.join(source.pick(_FIELDS) for _ in range(source.number(4)))
    values = mark.join(source.pick(_FIELDS) for _ in range(source.number(4)))
    row: dict[Any, Any] = {header: values}
    if source.number(9) == 0:
        row[None] = [source.pick(_FIELDS)]
    return Operation("subscript", row, source.pick([*_FIELDS, *header.split(mark)]))


def _garbled(source: Source) -> Operation:
    if source.number(1):
        asked = _made(source, [*_NAMES, "é", "€", "ö"], 4)
        wrong = asked.encode("utf-8", "replace").decode("latin-1")
        return Operation("subscript", {source.pick([wrong, asked + "x"]): 1, _made(source, _NAMES, 3): 2}, asked)
    text = "ï»¿" + _made(source, [*_JSON, "Ã©", "â‚¬", "10.0.0.1", "2024-09-28"], 8)
    return Operation("call", source.pick([json.loads, ip_address, ip_network, date.fromisoformat]), text)


def _moved_item(source: Source) -> Operation:
    def nested(deepest: int) -> Any:
        if not deepest or source.number(3) == 0:
            return source.pick([1, [], None, "text"])
        return {source.pick(_ENVELOPES): nested(deepest - 1) for _ in range(source.number(3))}

    return Operation("subscript", {source.pick(_ENVELOPES): nested(3) for _ in range(3)}, source.pick(_ENVELOPES))


@dataclass(slots=True)
class _Older:
    """What has fields that an older object lacks."""

    user_name: str = "x"
    retries: int = 3
    tags: tuple[str, ...] = ()
    parts: Any = ([],)


_Pair = namedtuple("_Pair", "user_name count_")


def _attribute(source: Source) -> Operation:
    identifiers = [
        "user",
        "User",
        "Name",
        "name",
        "_",
        "qty",
        "quantity",
        "id",
        "1",
        "é",
        "s",
        "count",
        "retries",
        "tags",
        "parts",
    ]
    names = {"a" + _made(source, identifiers, 4).replace("\x00", ""): 1 for _ in range(source.number(4))}
    plain = SimpleNamespace(**{name: 1 for name in names if name.isprintable()})
    owner = source.pick([plain, object.__new__(_Older), _Pair(1, 2), _Older()])
    asked = source.pick(["a", ""]) + _made(source, identifiers, 4)
    if source.number(2):
        asked = _otherwise(source, source.pick([*names, "user_name", "retries", "count_"]))
    return Operation("attribute", owner, asked)


OPERATIONS: dict[str, Callable[[Source], Operation]] = {
    "json": _json_call,
    "xml": _xml_call,
    "encoding": _bytes_call,
    "date": _date_call,
    "boolean": _boolean_item,
    "number": _number_call,
    "renamed_key": _key_item,
    "invisible": _invisible,
    "delimiter": _row_item,
    "mojibake": _garbled,
    "moved_key": _moved_item,
    "renamed_attribute": _attribute,
    "declared_default": _attribute,
}
"""The domain of each built-in repairer; every one must have one, see `tests/property/test_repairers_contract.py`."""


def failing(name: str, source: Source) -> Failure | None:
    """Return a failing operation of a repairer's domain, or None if it does not fail."""
    return OPERATIONS[name](source).failure()


CALLEES: tuple[Any, ...] = (float, int, json.loads, ET.fromstring, str, b"\xff".decode, date.fromisoformat, UUID)
ERRORS: tuple[Callable[[Any], BaseException], ...] = (
    KeyError,
    ValueError,
    lambda given: ValueError("Invalid isoformat string: ''"),
    lambda given: ValueError("time data 'x' does not match"),
    lambda given: ValueError("'\\ufeff' ï»¿"),
    lambda given: KeyError(),
    lambda given: json.JSONDecodeError("x", "ï»¿", 0),
    lambda given: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x"),
    lambda given: ET.ParseError("x"),
    lambda given: AttributeError(given, name=given, obj=given),
    AttributeError,
    TypeError,
)


def hostile(source: Source) -> Failure:
    """Return an operation of any form with operands of any kind, and an error that may not be its own."""
    kind: Kind = source.pick(["call", "subscript", "attribute", "operator"])
    target = source.pick(CALLEES) if kind == "call" and source.number(3) else _value(source)
    argument = _value(source)
    error = source.pick(ERRORS)(argument)
    if kind == "attribute":
        error = AttributeError("x", name=argument, obj=target)
    rest = tuple(_value(source, 1) for _ in range(source.number(2)))
    return Failure(kind, target, argument, error, RepairerParameters(), rest)
