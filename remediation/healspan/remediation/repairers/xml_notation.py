"""Reads XML that is slightly broken in its text, for ``xml.etree.ElementTree.fromstring("<p>AT&T&nbsp;</p>")``.

Elements, attributes and their order are never touched: no tag is closed, dropped or quoted, so whatever needs that
declines, and what the callee returns was read by the callee. What is mended:

* White space or a byte order mark before the declaration; a declared encoding that the text or the bytes show to be
  wrong: no loss (normalised where the bytes alone do not show what is right, see `encoding`).
* Names of characters that only HTML declares (``&nbsp;``), an ampersand that stands for itself, control characters
  at the edge of a text: normalised.

Declines: documents that declare entities of their own, unknown names, ampersands that HTML would read as a character
(``&copy2``), control characters between two others (they may part fields), calls with a parser of their own.
"""

from __future__ import annotations

import codecs
import re
import sys
import xml.etree.ElementTree as ET
from html.entities import html5
from typing import Final

from healspan.remediation.repairers.contract import (
    EITHER,
    Failure,
    Loss,
    Repaired,
    RepairerParameters,
    exact_text,
    within,
)
from healspan.remediation.repairers.encoding import detect

__all__ = ["XmlParameters", "XmlRepairer"]

MAX_LENGTH = 1 << 20
_DECLARATION = re.compile(
    r"<\?xml\b[^<>?]{0,80}?(?P<attribute>\s+encoding\s*=\s*(?:\"(?P<d>[\w.-]{1,20})\"|'(?P<s>[\w.-]{1,20})'))"
)
_BEFORE = re.compile(r"[\s\ufeff]+(?=<\?xml\s)")
_WIDE = ("utf-16", "utf-32", "ucs")
# fmt: off
_TEXTS = frozenset(
    (
        "utf-8", "ascii", "cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1257",
        "iso8859-1", "iso8859-2", "iso8859-5", "iso8859-7", "iso8859-9", "iso8859-15", "koi8-r",
    )
)
# fmt: on
# Control characters that XML has no place for.
_CONTROL: Final = "\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff"
_CONTROLS = re.compile(rf"[{_CONTROL}]+")
_FORBIDDEN = re.compile(rf"[{_CONTROL}\ud800-\udfff]")
_ENDS = {"<!--": "-->", "<![CDATA[": "]]>", "<?": "?>"}
_SPECIAL = re.compile(r"<!--|<!\[CDATA\[|<\?|&(?:\#[0-9]{1,7};|\#x[0-9a-fA-F]{1,6};|[A-Za-z][A-Za-z0-9]{0,31};)?")
_OWN = frozenset(("amp", "lt", "gt", "quot", "apos"))
_LEGACY = tuple(name for name in html5 if not name.endswith(";"))
"""Names that HTML reads without a semicolon."""


class XmlParameters(RepairerParameters):
    """Nothing but how much loss is accepted."""


class XmlRepairer:
    """Gives `ElementTree.fromstring`, and lxml's, the same elements in text that they read."""

    name = "xml"
    summary = "read the XML with entities, ampersands and encoding set right"
    domain = "`xml.etree.ElementTree.fromstring`, `lxml.etree.fromstring` raising their error of syntax"
    losses = EITHER
    library = ""
    parameters = XmlParameters

    def applies(self, kind: str, error: BaseException) -> bool:
        """Whether a call raised what the parsers raise for text that is no XML."""
        if kind != "call":
            return False
        if type(error) is ValueError:
            message = exact_text(error.args[0], 200) if error.args else None
            return message is not None and message.startswith("Unicode strings with encoding declaration")
        lxml = sys.modules.get("lxml.etree")
        return type(error) is ET.ParseError or (lxml is not None and type(error) is lxml.XMLSyntaxError)

    def repair(self, failure: Failure) -> Repaired | None:
        """Return the document, as text or bytes as it was given, or None."""
        parameters, document = failure.parameters, failure.argument
        if not self.applies(failure.kind, failure.error) or type(parameters) is not XmlParameters:
            return None
        if failure.rest or not _is_parser(failure.target):
            return None
        if type(document) is bytes:
            read = _bytes_read(document) if len(document) <= MAX_LENGTH else None
        else:
            text = exact_text(document, MAX_LENGTH)
            read = None if text is None else (text, Loss.NONE)
        if read is None:
            return None
        mended = _mended(read[0])
        if mended is None:
            return None
        written, given = (mended[0].encode(), document) if type(document) is bytes else (mended[0], read[0])
        if written == given:
            return None
        return within(parameters, written, Loss.NONE if mended[1] is read[1] is Loss.NONE else Loss.NORMALISED)


def _is_parser(target: object) -> bool:
    lxml = sys.modules.get("lxml.etree")
    return target is ET.fromstring or (lxml is not None and (target is lxml.fromstring or target is lxml.XML))


def _bytes_read(document: bytes) -> tuple[str, Loss] | None:
    """Return the text of bytes, in the encoding that they declare if it is right."""
    declared = _declared(document[:200].decode("latin-1"))
    # What can be read here as ASCII is in no encoding of wider units, whatever it declares.
    name = "utf-8" if declared.startswith(_WIDE) else declared
    if name not in _TEXTS:
        return None
    try:
        return document.decode(name), Loss.NONE
    except UnicodeDecodeError as error:
        found = detect(document, error)
    return None if found is None else found[1:]


def _declared(head: str) -> str:
    """Return the canonical name of the encoding that a document declares; an unknown one is empty."""
    found = _DECLARATION.search(head)
    if found is None:
        return "utf-8"
    name = found["d"] or found["s"]
    try:
        return codecs.lookup(name).name
    except LookupError:
        return "ucs" if name.lower().startswith(("ucs", "iso-10646")) else ""


def _mended(text: str) -> tuple[str, Loss] | None:
    """Return the document with text that a parser reads, and the loss."""
    if _declares_entities(text):
        return None
    before = _BEFORE.match(text)
    text = text[before.end() :] if before is not None else text.lstrip("\ufeff")
    declaration = _DECLARATION.match(text)
    if declaration is not None:
        start, end = declaration.span("attribute")
        text = text[:start] + text[end:]
    cleaned = _CONTROLS.sub(_without, text)
    if _FORBIDDEN.search(cleaned) is not None:
        return None
    mended = _references(cleaned)
    return None if mended is None else (mended, Loss.NONE if mended == text else Loss.NORMALISED)


def _declares_entities(text: str) -> bool:
    """Whether names may mean what the document says, not what HTML says."""
    start = text.find("<!DOCTYPE")
    return "<!ENTITY" in text or (start >= 0 and "[" in text[start : text.find(">", start)])


def _without(run: re.Match[str]) -> str:
    """Take control characters away at the edge of a text; between two characters they may part fields, and stay."""
    text = run.string
    before, after = text[run.start() - 1 : run.start()], text[run.end() : run.end() + 1]
    if not (_is_edge(before) or _is_edge(after)):
        return run[0]
    # A form feed or a line tabulation parts words, as a space does.
    return " " if any(each in run[0] for each in "\x0b\x0c") else ""


def _is_edge(neighbour: str) -> bool:
    return not neighbour or neighbour in "<>" or neighbour.isspace()


def _references(text: str) -> str | None:
    """Return the text with references that XML knows, or None."""
    parts: list[str] = []
    at = 0
    while (found := _SPECIAL.search(text, at)) is not None:
        parts.append(text[at : found.start()])
        if found[0] in _ENDS:
            end = text.find(_ENDS[found[0]], found.end())
            if end < 0:
                return None
            at = end + len(_ENDS[found[0]])
            parts.append(text[found.start() : at])
            continue
        written = _reference(found, text)
        if written is None:
            return None
        parts.append(written)
        at = found.end()
    parts.append(text[at:])
    return "".join(parts)


def _reference(found: re.Match[str], text: str) -> str | None:
    whole = found[0]
    if whole == "&":
        meant = text[found.end() : found.end() + 32]
        # HTML would read these without the semicolon: two readings.
        return None if meant.startswith(("#", *_LEGACY)) else "&amp;"
    if whole[1] == "#" or whole[1:-1] in _OWN:
        return whole
    characters = html5.get(whole[1:])
    return None if characters is None else "".join(f"&#{ord(each)};" for each in characters)
