"""The XML repairer sets text right and never an element."""

import xml.etree.ElementTree as ET
from typing import Any

import lxml.etree
import pytest

from healspan.remediation.repairers import Failure, Loss, Repaired, repairer
from healspan.remediation.repairers.xml_notation import XmlParameters

XML = repairer("xml")
PARSERS: list[Any] = [ET.fromstring, lxml.etree.fromstring]


def attempt(document: object, parse: Any = ET.fromstring, *rest: object, **parameters: Any) -> Repaired | None:
    try:
        parse(document)
    except (ET.ParseError, lxml.etree.XMLSyntaxError, ValueError, LookupError) as error:
        return XML.repair(Failure("call", parse, document, error, XmlParameters(**parameters), rest))
    raise AssertionError("the callee reads it itself")


def read(document: object, parse: Any = ET.fromstring, **parameters: Any) -> tuple[str, Loss] | None:
    """Return all text and attributes that the parser finds, and the loss."""
    repaired = attempt(document, parse, **parameters)
    if repaired is None:
        return None
    root = parse(repaired.value)
    return "|".join(["".join(root.itertext()), *(value for each in root.iter() for value in each.attrib.values())]), (
        repaired.loss
    )


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize(
    ("document", "text"),
    [
        ("<p>a&nbsp;b</p>", "a\u00a0b"),
        ("<p>&copy; 2024 &mdash; &Eacute;</p>", "© 2024 — É"),
        ("<p>AT&T</p>", "AT&T"),
        ("<p>a & b &amp; c &lt; d &#65;&#x42;</p>", "a & b & c < d AB"),
        ("<p>R&D;&nbsp;</p>".replace(";&", " &"), "R&D \u00a0"),
        ("<a href='x?a=1&b=2'>t</a>", "t|x?a=1&b=2"),
        ("<p><![CDATA[a & b &nbsp;]]>&nbsp;<!-- & &x; --></p>", "a & b &nbsp;\u00a0"),
        ("<p>\x01a b\x02 c</p>", "a b c"),
        ("<p>a\x0c b</p>", "a  b"),
        (b"<p>caf\xc3\xa9 & co</p>", "café & co"),
    ],
)
def test_text_is_set_right_as_normalised(document: object, text: str, parse: Any) -> None:
    assert read(document, parse) == (text, Loss.NORMALISED)
    assert read(document, parse, accept="none") is None


@pytest.mark.parametrize(
    ("document", "parse"),
    [
        (' \n<?xml version="1.0"?><p>é</p>', ET.fromstring),
        (b'\n<?xml version="1.0" encoding="utf-8"?><p>\xc3\xa9</p>', ET.fromstring),
        (b'<?xml version="1.0" encoding="UTF-16"?><p>\xc3\xa9</p>', ET.fromstring),
        (b"<?xml version='1.0' encoding='us-ascii' standalone='yes'?><p>\xc3\xa9</p>", ET.fromstring),
        ('<?xml version="1.0" encoding="utf-8"?><p>é</p>', lxml.etree.fromstring),
        ('<?xml version="1.0" encoding="iso-8859-1"?><p>é</p>', lxml.etree.fromstring),
    ],
)
def test_a_declaration_that_the_document_shows_to_be_wrong_is_set_right_without_loss(document: Any, parse: Any) -> None:
    assert read(document, parse) == ("é", Loss.NONE)


def test_bytes_of_another_encoding_than_declared_are_detected() -> None:
    text = "Le café était fermé, la forêt brûlée, où ça?"
    document = f'<?xml version="1.0" encoding="utf-8"?><p>{text}</p>'.encode("cp1252")
    assert read(document) == (text, Loss.NORMALISED)
    assert attempt('<?xml version="1.0" encoding="utf-8"?><p>ni\xf1o x</p>'.encode("cp1252")) is None


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize(
    "document",
    [
        "",
        "text",
        "<p>",
        "<p>a",
        "<p>a</q>",
        "<p>a<br></p>",
        "<p a=b/>",
        "<p a='1' a='2'/>",
        "<p>a < b</p>",
        "<p/><p/>",
        "<p>&unknown;</p>",
        "<p>&unknown; &nbsp;",
        "<p>&copy2024</p>",
        "<p>&amp &lt</p>",
        "<a href='?a=1&section=2'/>",
        "<p>&#0;</p>",
        "<p>&#x;</p>",
        "<p>&# 65;</p>",
        "<p>12\x1f34</p>",
        "<p>12\x1f34 & more</p>",
        "<p>12\x1f\x1f34</p>",
        "<p>12\x01\x0c34</p>",
        '<!DOCTYPE p SYSTEM "a>b" [<!ENTITY nbsp "y">]><p>&nbsp; & z</p>',
        "<p>a\x00b</p>",
        "<p>&nbsp;<!-- open</p>",
        "<p>&nbsp;<![CDATA[open</p>",
        '<!DOCTYPE p [<!ENTITY x "y">]><p>&nbsp;</p>',
        "<!DOCTYPE p [ ]><p>&nbsp;</p>",
        b"<p>\xff\xfe & \x80</p>",
        b'<?xml version="1.0" encoding="rot13"?><p>&</p>',
        b'<?xml version="1.0" encoding="no-such"?><p>&</p>',
    ],
)
def test_declines_whatever_touches_an_element_or_has_two_readings(document: Any, parse: Any) -> None:
    repaired = attempt(document, parse)
    if repaired is not None:
        with pytest.raises((ET.ParseError, lxml.etree.XMLSyntaxError)):
            parse(repaired.value)
        pytest.fail(f"{repaired} does not help")


def test_a_call_with_a_parser_of_its_own_declines() -> None:
    assert attempt("<p>&nbsp;</p>", ET.fromstring, ET.XMLParser()) is None


@pytest.mark.parametrize("target", [ET.parse, lxml.etree.parse, ET.XMLParser, str])
def test_declines_callees_that_it_does_not_know(target: Any) -> None:
    assert XML.repair(Failure("call", target, "<p>&nbsp;</p>", ET.ParseError(), XmlParameters())) is None


def test_applies_to_the_errors_of_its_callees_only() -> None:
    assert not XML.applies("call", SyntaxError())
    assert not XML.applies("call", ValueError("no XML"))
    assert not XML.applies("subscript", ET.ParseError())
