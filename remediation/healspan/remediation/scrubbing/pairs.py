"""Names and values inside text: ``password=...``, headers, query strings, JSON, reprs, SQL, XML, options.

Everything here is linear in the text: each pattern scans a run of characters once (possessive quantifiers,
or a bound), and what has been claimed is not read again. A value that is not closed reaches to the end of
the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from healspan.remediation.scrubbing.keys import KeyVerdict

__all__ = ["code_pairs", "insert_statements", "text_pairs"]

JudgeKey = Callable[[str], KeyVerdict]
Span = tuple[int, int]

_PAIR = re.compile(
    r"""(?<![\w.\-])(?P<key>[\w.\-]++)
        (?P<close>\\{0,31}+["'`\])]{0,3})[ \t]*+
        (?P<sep>=>|:=|[!<>]?={1,3}|:(?!//)|%3[DdAa]|<>|,(?=[ \t]*+[bru]?\\{0,31}+["']))[ \t]*+""",
    re.VERBOSE,
)
_PROSE = re.compile(
    r"""(?<![\w.\-])(?P<key>passw\w*+|passphrase|pwd|pin|token|secret|credentials?
        |(?:api|access|private|secret)[ ]key|identified)
        (?P<close>\\{0,31}+["'`]?)[ \t]++(?P<sep>(?:(?:is|was|like|in|by|to)\b)?+)[ \t]*+""",
    re.VERBOSE | re.IGNORECASE,
)
_CODE_PAIR = re.compile(
    r"""(?<![\w.\-])(?P<key>[\w.\-]++)(?P<close>["'\])]{0,3})[ \t]*+
        (?::[ \w.\[\]|]{1,60}?(?==))?(?P<sep>={1,2}|!=|:|,)[ \t]*+(?=[rbuf]{0,2}["'])""",
    re.VERBOSE,
)
_ELEMENT = re.compile(r"<(?P<key>[A-Za-z_][\w:.\-]*+)(?:\s[^<>]*+)?>(?P<value>[^<]++)")
_OPTION = re.compile(r"(?<!\S)--(?P<key>[A-Za-z][\w\-]*+)[ \t]++(?P<value>[^\s\-]\S*+)")
_USER = re.compile(
    r"""(?<![\w\-])(?:-u|--user|--proxy-user)["']?(?:[ \t]*+[,=][ \t]*+|[ \t]++)[bru]?["']?
        [^\s:"',]{1,64}+:(?P<value>[^\s"']++)""",
    re.VERBOSE,
)
"""``curl -u name:password``."""
_BREAK = r"(?:\r?\n|(?:\\{1,8}r)?\\{1,8}n)"
"""The end of a line, also as representations spell it."""
_NEXT_LINE = re.compile(
    rf"""[ \t]*+[|>]?[+\-]?[ \t]*+{_BREAK}[ \t]*+(?P<value>[^\s\\"']++)[ \t]*+(?={_BREAK}|["']|\Z)""",
)
"""A word alone on the line below its name, as YAML and forms have it."""
_NAMES_A_NAME = frozenset(("name", "key", "field", "header"))
_NAMED_VALUE = re.compile(
    r"""[ \t]*+,?[ \t]*+\\{0,31}+["']?(?:value|val|content)\\{0,31}+["']?[ \t]*+[:=][ \t]*+""",
    re.IGNORECASE,
)

_QUOTE = re.compile(r"""[bBrRuUfF]{0,2}(?P<quote>(?P<slashes>\\{1,31})["']|\"{3}|'{3}|["'])""")
_QUOTED_TAIL = {
    '"': re.compile(r'(?:[^"\\]|\\.)*+', re.DOTALL),
    "'": re.compile(r"(?:[^'\\]|\\.)*+", re.DOTALL),
}
_BRACKETS = re.compile(
    r"""(?P<open>[\[{(])|(?P<shut>[\]})])|\\.|"(?:[^"\\]|\\.)*+"?+|'(?:[^'\\]|\\.)*+'?+""",
    re.DOTALL,
)
_BARE = re.compile(
    r"""(?:[^\s&,;]|&(?![\w.\-%\[\]]{1,64}=|amp;|\s|$)|[,;](?!\s|$|["'\\]|[\w.\-]{1,64}[ ]?[=:]))++""",
)
_SCHEME = re.compile(r"(?:bearer|basic|token|digest|negotiate|apikey)[ \t]++[^\s,;]++", re.IGNORECASE)
_LINE = re.compile(r"[^\r\n]*+")
_WHOLE_LINE = re.compile(r"authorization|cookie|passphrase|mnemonic|recovery", re.IGNORECASE)
"""Their values have spaces and separators of their own."""
_NOTHING = re.compile(
    r"(?:None|null|nil|undefined|[Tt]rue|[Ff]alse|NULL|\.{3}|\*++|…|\[redacted:\w++\]|<email:\d++>)?[^\w\s]{0,3}",
)
_INSERT = re.compile(
    r"(?:insert|replace)\s++(?:ignore\s++)?into\s++[^\s(]++\s*+\((?P<columns>[^()]*+)\)\s*+values\s*+",
    re.IGNORECASE,
)
_STATEMENT = re.compile(r"""(?:[^;'"]|'(?:[^'\\]|\\.)*+'?+|"(?:[^"\\]|\\.)*+"?+)*+""", re.DOTALL)
_PARAMETERS = re.compile(r"\bparameters:\s*+(?=[\[({])", re.IGNORECASE)
_NAMES = re.compile(r"[A-Za-z_]\w*+")


class _Value(NamedTuple):
    """Where a value lies: its text without quotes from `start` to `end`, and where reading goes on."""

    start: int
    end: int
    after: int
    quoted: bool = False


def text_pairs(text: str, judge: JudgeKey) -> Iterator[Span]:
    """Yield where the values of secret names lie in a text of any kind."""
    yield from _separated(text, judge)
    if "'" in text or '"' in text or " is " in text or " was " in text:
        yield from _prose(text, judge)
    if "<" in text:
        for match in _ELEMENT.finditer(text):
            if judge(match["key"]) is KeyVerdict.SECRET and not _NOTHING.fullmatch(match["value"]):
                yield match.span("value")
    if "--" in text:
        for match in _OPTION.finditer(text):
            if judge(match["key"]) is KeyVerdict.SECRET:
                yield match.span("value")
    if "-u" in text:
        yield from (match.span("value") for match in _USER.finditer(text))


def code_pairs(text: str, judge: JudgeKey) -> Iterator[Span]:
    """Yield where the literal values of secret names lie in a line of code; ``token = read()`` has none."""
    place = 0
    while match := _CODE_PAIR.search(text, place):
        place = match.end("key")
        if judge(match["key"]) is KeyVerdict.HARMLESS:
            continue
        if match["sep"] == "," and not _is_a_pair(text, match):
            continue
        value = _value(text, match.end())
        place = max(place, value.after)
        if not _NOTHING.fullmatch(text, value.start, value.end):
            yield value.start, value.end


def insert_statements(text: str, judge: JudgeKey) -> Iterator[Span]:
    """Yield the values of INSERT statements and the parameters of statements that name a secret column."""
    place = 0
    while match := _INSERT.search(text, place):
        place = match.end()
        if any(judge(name) is KeyVerdict.SECRET for name in _NAMES.findall(match["columns"])):
            tail = _STATEMENT.match(text, place)
            place = max(place, tail.end() if tail else len(text))
            yield match.end(), place
    match = _PARAMETERS.search(text)
    if match and any(judge(name) is KeyVerdict.SECRET for name in _NAMES.findall(text, 0, match.start())):
        yield match.end(), _bracketed_end(text, match.end())


def _separated(text: str, judge: JudgeKey) -> Iterator[Span]:
    """``name=value``, ``name: value``, ``("name", "value")`` and relatives."""
    place = 0
    while match := _PAIR.search(text, place):
        # Go on after the name, not after the separator: the next name may be the value (``a: password: x``).
        place = match.end("key")
        if text.startswith("[redacted:", match.start("key") - 10):
            continue  # the name of a rule in a marker
        if match["key"].lower() in _NAMES_A_NAME and (named := _named_value(text, match.end(), judge)):
            place = max(place, named.after)
            yield named.start, named.end
            continue
        verdict = judge(match["key"])
        if verdict is KeyVerdict.HARMLESS:
            continue
        if match["sep"] == "," and not _is_a_pair(text, match):
            continue
        if match["sep"] == ":" and _is_prose_about_a_key(text, match):
            continue
        value = _value(text, match.end(), whole_line=bool(_WHOLE_LINE.search(match["key"])))
        if below := _NEXT_LINE.match(text, match.end()):
            # ``if token:`` stands above a statement; what holds a digit is hardly one.
            start, end = below.span("value")
            if any(map(str.isdigit, text[start:end])) or text.startswith("[redacted:", start):
                value = _Value(start, end, end)
        if verdict is KeyVerdict.SECRET_UNLESS_NUMBER and _is_number(text[value.start : value.end]):
            continue
        place = max(place, value.after)
        if value.end > value.start and not _NOTHING.fullmatch(text, value.start, value.end):
            yield value.start, value.end


def _prose(text: str, judge: JudgeKey) -> Iterator[Span]:
    """``password 'value'``, ``the token was value``, ``IDENTIFIED BY 'value'``, ``secret IN ('a', 'b')``."""
    place = 0
    while match := _PROSE.search(text, place):
        place = match.end("key")
        identified = match["key"].lower() == "identified"
        if identified is not (match["sep"].lower() == "by") or (
            not identified and judge(match["key"]) is KeyVerdict.HARMLESS
        ):
            continue
        value = _value(text, match.end())
        separator, content = match["sep"].lower(), text[value.start : value.start + 64]
        if not value.quoted:
            listed = separator == "in" and content.startswith("(")
            # "the token is invalid" says nothing secret; "the token is 4rT-x" does.
            told = separator in {"is", "was"} and any(c.isdigit() for c in content[: value.end - value.start])
            if not (listed or told):
                continue
        place = max(place, value.after)
        if value.end > value.start and not _NOTHING.fullmatch(text, value.start, value.end):
            yield value.start, value.end


def _is_a_pair(text: str, match: re.Match[str]) -> bool:
    """Whether a quoted name and the quoted value after its comma stand alone in brackets, not in a list.

    Options and headers, which are written with hyphens, stand before their values in lists as well.
    """
    if not match["close"].lstrip("\\").startswith(('"', "'", "`")):
        return False
    if "-" in match["key"]:
        return True
    before = text[max(0, match.start("key") - 12) : match.start("key")].rstrip("\\\"'bru")[-1:]
    return before in {"(", "["} and text[_value(text, match.end()).after :][:2].lstrip()[:1] in {")", "]", ""}


def _is_prose_about_a_key(text: str, match: re.Match[str]) -> bool:
    """Whether this is ``no such key: revenue`` rather than ``api key: ...`` or ``"key": ...``."""
    if match["key"].lower() != "key" or match["close"]:
        return False
    before = text[max(0, match.start() - 12) : match.start()].rstrip().lower()
    return not before.endswith(("api", "secret", "private", "access", "license"))


def _is_number(value: str) -> bool:
    return len(value) <= 32 and value.strip("\"' )]}").replace(".", "").replace("_", "").isdigit()


def _named_value(text: str, start: int, judge: JudgeKey) -> _Value | None:
    """The value of ``"name": "password", "value": "..."`` and its like; `start` is where the name begins."""
    name = _value(text, start) if _QUOTE.match(text, start) else None
    if name is None or name.end - name.start > 128:
        return None
    if judge(text[name.start : name.end]) is not KeyVerdict.SECRET:
        return None
    follows = _NAMED_VALUE.match(text, name.after)
    return _value(text, follows.end()) if follows else None


def _value(text: str, start: int, *, whole_line: bool = False) -> _Value:
    """Find the value that starts here."""
    if opening := _QUOTE.match(text, start):
        return _quoted(text, opening)
    if text[start : start + 1] in {"[", "{", "("} and not text.startswith("[redacted:", start):
        end = _bracketed_end(text, start)
        return _Value(start, end, end)
    pattern = _LINE if whole_line else _BARE
    match = (None if whole_line else _SCHEME.match(text, start)) or pattern.match(text, start)
    end = match.end() if match else start
    return _Value(start, end, end)


def _quoted(text: str, opening: re.Match[str]) -> _Value:
    quote, start = opening["quote"], opening.end()
    if not opening["slashes"] and len(quote) == 1:
        tail = _QUOTED_TAIL[quote].match(text, start)
        end = tail.end() if tail else len(text)
        return _Value(start, end, min(end + 1, len(text)), quoted=True)
    place = start
    while (place := text.find(quote, place)) >= 0:
        if text[place - 1] != "\\":
            return _Value(start, place, place + len(quote), quoted=True)
        place += len(quote)
    return _Value(start, len(text), len(text), quoted=True)


def _bracketed_end(text: str, start: int) -> int:
    depth = 0
    for match in _BRACKETS.finditer(text, start):
        if match["open"]:
            depth += 1
        elif match["shut"]:
            depth -= 1
            if depth == 0:
                return match.end()
    return len(text)
