"""The algebra of the repairers of JSON, XML, encodings, invisible characters and truth words."""

import ast
import json
import math
import xml.etree.ElementTree as ET
from html import unescape
from typing import Any
from unittest.mock import ANY
from uuid import UUID

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from healspan.remediation.repairers import ABSENT, Failure, Loss, Repaired, catalogue, repairer
from healspan.remediation.repairers.encoding import EncodingParameters

accepts = st.sampled_from([Loss.NONE, Loss.NORMALISED])
BROKEN = json.JSONDecodeError("", "", 0)


def attempt(name: str, target: Any, argument: object, error: Exception, *rest: object, **given: Any) -> Repaired | None:
    chosen = repairer(name)
    kind: Any = "call" if callable(target) else "subscript"
    return chosen.repair(Failure(kind, target, argument, error, chosen.parameters(**given), rest))


# JSON

scalars = st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False) | st.text(max_size=8)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
containers = st.lists(values, max_size=4) | st.dictionaries(st.text(max_size=5), values, max_size=4)
# fmt: off
json_pieces = st.sampled_from(
    [
        "{", "}", "[", "]", ",", ":", '"', "'", "\\", "a", "1", "-1.5e3", "True", "null", "NaN", "nan", " ",
        "\n", "//", "/*", "*/", "# ", "\ufeff", "\u200b", "'a'", '"b"', "'a': 1", "\\u00e9", "\\x41", "\t",
        "```", "\ud800", "name", "0",
    ],
)
# fmt: on
json_texts = st.lists(json_pieces, max_size=24).map("".join) | st.text(max_size=30)


def spoiled(value: Any, draw: Any) -> str:
    """Write a value as JSON with liberties, each of them drawn."""
    gap = draw(st.sampled_from(["", " ", "\n", "/* , ] */", "// }\n", "\u00a0", "\ufeff"]))
    if isinstance(value, dict):
        inside = [f"{spoiled(key, draw)}{gap}:{spoiled(each, draw)}" for key, each in value.items()]
        return "{" + gap + ",".join(inside) + (draw(st.sampled_from(["", ",", " ,\n"])) if inside else "") + "}"
    if isinstance(value, list):
        inside = [spoiled(each, draw) for each in value]
        return "[" + gap + ",".join(inside) + (draw(st.sampled_from(["", ",", ", "])) if inside else "") + "]"
    if isinstance(value, str):
        plain = json.dumps(value, ensure_ascii=True)
        if draw(st.booleans()) and all(each < "\ud800" or each > "\udfff" for each in value) and value.isascii():
            return "'" + plain[1:-1].replace('\\"', '"').replace("'", "\\'") + "'"
        return plain
    return repr(value) if value is None or (isinstance(value, bool) and draw(st.booleans())) else json.dumps(value)


@given(containers, st.data())
def test_json_with_liberties_reads_as_the_same_value(value: Any, data: st.DataObject) -> None:
    text = spoiled(value, data.draw)
    try:
        got = json.loads(text)
    except json.JSONDecodeError as error:
        repaired = attempt("json", json.loads, text, error, accept="none")
        assert repaired is not None, text
        got = json.loads(str(repaired.value))
    assert got == value


@given(json_texts, accepts)
@example("[" * 250 + "]" * 250, Loss.NORMALISED)
@example("[" + "'\\" * 40 + "]", Loss.NORMALISED)
@example("```" + "\n" * 60, Loss.NORMALISED)
def test_whatever_the_json_the_callee_reads_what_it_is_given(text: str, accept: Loss) -> None:
    repaired = attempt("json", json.loads, text, BROKEN, accept=accept.value)
    if repaired is not None:
        json.loads(str(repaired.value))
        assert repaired.loss in (Loss.NONE, accept)
        assert attempt("json", json.loads, repaired.value, BROKEN) is None


@given(json_texts)
def test_what_python_reads_too_has_the_same_value(text: str) -> None:
    repaired = attempt("json", json.loads, text, BROKEN, accept="none")
    if repaired is None:
        return
    try:
        literal = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return
    got = json.loads(str(repaired.value))
    assert got == literal or repr(got) == repr(literal)


@given(json_texts)
def test_strict_json_is_never_changed(text: str) -> None:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return
    repaired = attempt("json", json.loads, text, BROKEN)
    assert repaired is None or json.loads(str(repaired.value)) == json.loads(text)


@given(containers, st.data())
def test_a_truncated_tail_always_declines(value: Any, data: st.DataObject) -> None:
    text = json.dumps(value)
    cut = text[: data.draw(st.integers(0, len(text) - 1))]
    assert attempt("json", json.loads, cut, BROKEN) is None
    assert attempt("json", json.loads, cut + ",", BROKEN) is None


# XML

# fmt: off
xml_pieces = st.sampled_from(
    [
        "<p>", "</p>", "<p", ">", "/>", "&", "&nbsp;", "&amp;", "&copy", ";", "&#65;", "&#", "&x;", "AT&T",
        " ", "a", "=", '"', "<!--", "-->", "<![CDATA[", "]]>", "<?", "?>", "\x01", "\x0c", "\n", "<!DOCTYPE",
        "<!ENTITY", "é", "\ud800", "\ufeff",
    ],
)
# fmt: on
xml_texts = st.lists(xml_pieces, max_size=20).map("".join) | st.text(max_size=30)
shown = st.text("abc 12&;<>é\u00a0", max_size=20)


def parsed(document: Any) -> Any:
    try:
        return ET.fromstring(document)
    except (ET.ParseError, ValueError):
        return None


@given(xml_texts, accepts)
@example("<!--" * 50, Loss.NORMALISED)
@example("\x0c" * 60, Loss.NORMALISED)
def test_whatever_the_xml_the_repairer_is_total_idempotent_and_keeps_every_tag(text: str, accept: Loss) -> None:
    repaired = attempt("xml", ET.fromstring, text, ET.ParseError(), accept=accept.value)
    if repaired is not None:
        written = str(repaired.value)
        assert repaired.loss in (Loss.NONE, accept)
        assert attempt("xml", ET.fromstring, written, ET.ParseError()) is None
        assert [each for each in written if each in "<>\"'="] == [each for each in text if each in "<>\"'="]


@given(st.text("ab1", min_size=1), st.text("\x01\x0c\x1f\x00", min_size=1), st.text("ab1", min_size=1))
def test_what_control_characters_part_is_never_joined(one: str, between: str, other: str) -> None:
    assert attempt("xml", ET.fromstring, f"<p>{one}{between}{other}</p>", ET.ParseError()) is None


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "filler", ["<!DOCTYPE", "<!--", "\x01", "a\x01", "& ", "&nbsp;", "<?xml ", " ", "&a", "é\x01\x01"]
)
def test_the_time_for_xml_grows_with_its_length_only(filler: str) -> None:
    """A quadratic step takes a minute here."""
    assert attempt("xml", ET.fromstring, filler * 100_000, ET.ParseError()) in (None, ANY)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "filler", ["```", " ", "``` ", "/*", "[", "'", "'\\", "[1,", "{'a':", "# ", "1", "-", "a", "\n", "\ufeff"]
)
def test_the_time_for_json_grows_with_its_length_only(filler: str) -> None:
    for start in ("", "```\n", "["):
        assert attempt("json", json.loads, start + filler * 60_000, BROKEN) in (None, ANY)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "filler", [b"\xe9", b"a\xe9", b"\x92", b"\xe9 ", b"a\x92s ", b"\xc3\xa9\xff", b"\x93a\x94", b"l\x92\xe9t\xe9 "]
)
def test_the_time_for_bytes_grows_with_their_length_only(filler: bytes) -> None:
    data = filler * 50_000 + b"\xff."
    assert attempt("encoding", data.decode, ABSENT, undecodable(data, "utf-8")) in (None, ANY)


@given(shown)
def test_xml_text_reads_as_a_browser_reads_it(text: str) -> None:
    document = f"<p>{text.replace('<', '').replace('>', '')}&nbsp;</p>"
    repaired = attempt("xml", ET.fromstring, document, ET.ParseError())
    root = None if repaired is None else parsed(repaired.value)
    if root is not None:
        assert root.text == unescape(document[3:-4])


@given(st.binary(max_size=60), accepts)
def test_whatever_the_bytes_the_xml_repairer_is_total(data: bytes, accept: Loss) -> None:
    for document in (data, b"<p>" + data + b"</p>", b'<?xml version="1.0" encoding="utf-16"?><p>' + data + b"</p>"):
        repaired = attempt("xml", ET.fromstring, document, ET.ParseError(), accept=accept.value)
        assert repaired is None or type(repaired.value) is bytes


# Encodings

ENCODINGS = ["utf-8", "ascii", "cp1252", "utf-16", "cp932"]


def undecodable(data: bytes, encoding: str) -> UnicodeDecodeError:
    try:
        data.decode(encoding)
    except UnicodeDecodeError as error:
        return error
    assume(False)
    raise AssertionError


@given(
    st.binary(max_size=80) | st.text(max_size=30).map(lambda text: text.encode("cp1252", "ignore")),
    st.sampled_from(ENCODINGS),
    accepts,
)
@example(b"\xff\xfe\x00\x00\xff\xff\xff\xff", "utf-8", Loss.NORMALISED)
def test_whatever_the_bytes_the_callee_decodes_what_it_is_given(data: bytes, encoding: str, accept: Loss) -> None:
    error = undecodable(data, encoding)
    repaired = attempt("encoding", data.decode, encoding, error, accept=accept.value)
    if repaired is not None:
        text = data.decode(str(repaired.value))
        assert repaired.loss in (Loss.NONE, accept)
        assert not any(each < " " and each not in "\t\n\x0b\x0c\r" for each in text)
    other = attempt("encoding", str, data, error, encoding, accept=accept.value)
    if other is not None:
        assert repaired is not None
        assert str(other.value, encoding).lstrip("\ufeff") == data.decode(str(repaired.value)).lstrip("\ufeff")


@given(
    st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1),
    st.sampled_from(["utf-8-sig", "utf-16", "utf-32"]),
)
def test_text_with_a_byte_order_mark_reads_back_exactly(text: str, encoding: str) -> None:
    data = text.encode(encoding)
    error = undecodable(data, "ascii")
    repaired = attempt("encoding", data.decode, "ascii", error, accept="none")
    assert repaired is not None
    assert data.decode(str(repaired.value)) == text


@given(st.text(st.characters(codec="utf-8", min_codepoint=0xA0, exclude_categories=["C"]), min_size=2), st.data())
def test_utf_8_cut_inside_a_character_always_declines(text: str, data: st.DataObject) -> None:
    whole = text.encode()
    cut = whole[: data.draw(st.integers(1, len(whole) - 1))]
    error = undecodable(cut, "utf-8")
    assert attempt("encoding", cut.decode, ABSENT, error) is None


@given(st.binary(min_size=1, max_size=40), st.sampled_from(["cp1251", "koi8-r", "gb18030"]))
def test_a_declared_encoding_is_taken_or_nothing(data: bytes, encoding: str) -> None:
    error = undecodable(data, "utf-8")
    assume(not data.startswith((b"\xff\xfe", b"\xfe\xff")))
    chosen = repairer("encoding")
    given = EncodingParameters(encodings=(encoding,))
    repaired = chosen.repair(Failure("call", data.decode, "utf-8", error, given))
    assert repaired is None or repaired == Repaired(encoding, Loss.NORMALISED)


# Invisible characters and truth words

HIDDEN = "\u200b\u200e\u2060\ufeff\u00ad"


@given(st.uuids().map(str), st.text(HIDDEN + " \u00a0\n", min_size=1, max_size=4), st.text(HIDDEN, max_size=3))
def test_what_surrounds_a_text_never_matters(text: str, before: str, after: str) -> None:
    hidden = before + text + after
    error = ValueError("badly formed hexadecimal UUID string")
    assert attempt("invisible", UUID, hidden, error, accept="none") == Repaired(text, Loss.NONE)


@given(st.text(max_size=20), st.dictionaries(st.text(max_size=6) | st.integers(), st.integers(), max_size=6))
def test_a_key_is_found_only_if_it_looks_the_same_and_no_other_does(asked: str, mapping: dict[Any, int]) -> None:
    repaired = attempt("invisible", mapping, asked, KeyError(asked))
    if repaired is not None:
        assert repaired.value in mapping
        assert repaired.value != asked
        twin = f"{repaired.value}\u200b"
        assert (
            twin == asked
            or twin in mapping
            or attempt("invisible", mapping | {twin: 1}, asked, KeyError(asked)) is None
        )


truth = st.sampled_from(
    ["true", "false", "yes", "no", "y", "n", "t", "f", "on", "off", "1", "0", "True", "NO", "maybe"]
)


@given(truth | st.text(max_size=5), st.dictionaries(truth, st.booleans() | st.integers(0, 1), max_size=5))
def test_a_truth_word_finds_only_what_says_the_same(asked: str, table: dict[str, Any]) -> None:
    repaired = attempt("boolean", table, asked, KeyError(asked))
    if repaired is not None:
        positive = asked.strip().lower() in ("true", "yes", "y", "t", "on", "1")
        assert table[str(repaired.value)] is positive


# All of them

anything = st.one_of(
    st.none(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.binary(max_size=12),
    st.lists(st.text(max_size=3)),
    st.just(ABSENT),
)
targets = st.sampled_from(
    [int, str, json.loads, ET.fromstring, UUID, b"\xff".decode, "".join, {}, {"a": 1}, [], None, print, ABSENT],
)
# fmt: off
errors = st.sampled_from(
    [
        ValueError(), ValueError("Invalid isoformat string: ''"), ValueError("'\\ufeff'"), KeyError(),
        KeyError("a"), KeyError(None), KeyError("Yes"), TypeError(), BROKEN, ET.ParseError(),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x"), ArithmeticError(),
    ],
)
# fmt: on


@pytest.mark.parametrize("name", list(catalogue()))
@settings(max_examples=60)
@given(
    kind=st.sampled_from(["call", "subscript", "attribute", ""]),
    target=targets,
    argument=anything,
    error=errors,
    rest=st.lists(anything, max_size=2),
)
def test_no_operation_makes_a_repairer_raise(
    name: str, kind: Any, target: Any, argument: Any, error: Any, rest: Any
) -> None:
    chosen = repairer(name)
    assert chosen.applies(kind, error) in (True, False)
    repaired = chosen.repair(Failure(kind, target, argument, error, chosen.parameters(), tuple(rest)))
    assert repaired is None or (type(repaired) is Repaired and repaired.loss in (Loss.NONE, Loss.NORMALISED))
    assert not (isinstance(argument, float) and math.isnan(argument) and repaired)
