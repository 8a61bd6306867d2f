"""The scrubber: removes secrets from texts and JSON values, by the name beside a value and by its form.

A `Scrubber` is configuration and shared; a `ScrubSession` belongs to one incident and gives equal e-mail
addresses the same pseudonym in all of its parts, so that equality survives. A rule that fails redacts the
whole text.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from pydantic import JsonValue

from healspan.remediation.errors import ConfigurationError
from healspan.remediation.scrubbing.decoded import decoded
from healspan.remediation.scrubbing.entries import convicted_entry, convicted_items, pairs_of
from healspan.remediation.scrubbing.keys import KeyVerdict, judge_key
from healspan.remediation.scrubbing.pairs import code_pairs, insert_statements, text_pairs
from healspan.remediation.scrubbing.rules import VALUE_RULES, Rule, pattern_rule
from healspan.remediation.scrubbing.seen import as_seen, folded

__all__ = ["FAILED", "MAX_TEXT", "RULE_NAMES", "Finding", "ScrubSession", "Scrubber", "marker"]

MAX_TEXT = 100_000
"""Characters of one text that are read; what lies beyond is dropped, never passed on unread."""
MAX_DEPTH = 32
"""Nesting of JSON that is followed; deeper values are redacted."""
_MARGIN = 256
"""Characters read beyond a cut, so that a secret that straddles it is recognised as a whole."""
_CLEAN_SIZE, _CLEAN_LENGTH = 4096, 64

KEY_RULE, SQL_RULE = "key", "sql"
_SEPARATOR = re.compile(r"[=:<]|--|%3[Dd]|,[ \t]*+[bru]?\\{0,31}[\"']")
_TELLING = ("pass", "pwd", "pin", "token", "secret", "cred", "identif", " key")
_INSERTING = ("insert", "replace", "parameters:")
_JSON_STARTS = frozenset('{["')
_ESCAPED = re.compile(r"\\++u00(2[DEde]|3[0-9]|4[0-9A-Fa-f]|5[0-9AFaf]|6[1-9A-Fa-f]|7[0-9Aa])")
"""Letters, digits and ``@._-`` that JSON spells as numbers; quotes stay, they would change what is quoted."""
_BREAKS = re.compile(r"[\s,;&\"'<>{}\[\]()|\\]")
_MARKER = re.compile(r"\[redacted:\w+\]|<email:\d+>")
_WHY = {
    KEY_RULE: "the name beside it announces a secret",
    SQL_RULE: "values of a statement that names a secret column",
    "failed": "a rule failed here, so the whole text is removed",
    "depth": f"nested deeper than {MAX_DEPTH} levels",
}
_BYTES = "$bytes"
_MAX_CONTEXT_KEY, _MAX_CONTEXT_VALUE = 80, 200
RULE_NAMES = frozenset({KEY_RULE, SQL_RULE, *(rule.name for rule in VALUE_RULES)})
"""What may be named in `disabled_patterns`."""


def marker(rule: str) -> str:
    """Return what stands in the place of a secret; it names the rule and never holds a part of the match."""
    return f"[redacted:{rule}]"


FAILED = marker("failed")
"""What stands in the place of a text, or value, that a rule could not read."""


class Finding(NamedTuple):
    """One secret that a scrubber would remove: the rule, where, and why; never the secret itself."""

    rule: str
    path: str
    """``$`` for the text itself, else the way through a JSON value, e.g. ``$.headers[2]``."""
    offset: int
    """Of its first character in that text."""
    why: str


class _Span(NamedTuple):
    start: int
    end: int
    rule: str


@dataclass(frozen=True)
class Scrubber:
    """What counts as a secret.

    Args:
        safe_keys: Names that the key test lets through (the value tests still apply); case is ignored.
        disabled_patterns: Rules that are switched off, out of `RULE_NAMES`.
        extra_patterns: More rules as (name, regular expression); every match is removed.

    Raises:
        ConfigurationError: For an unknown rule name or an expression that does not compile.
    """

    safe_keys: frozenset[str] = frozenset()
    disabled_patterns: frozenset[str] = frozenset()
    extra_patterns: tuple[tuple[str, str], ...] = ()
    clean: dict[str, None] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if unknown := self.disabled_patterns - RULE_NAMES:
            raise ConfigurationError(
                f"unknown scrubbing rules {sorted(unknown)}; choose from {sorted(RULE_NAMES)}",
            )
        _ = self._rules

    @cached_property
    def _safe(self) -> frozenset[str]:
        return frozenset(folded(key).lower() for key in self.safe_keys)

    @cached_property
    def _rules(self) -> tuple[Rule, ...]:
        extra = []
        for name, pattern in self.extra_patterns:
            if not re.fullmatch(r"\w+", name):
                raise ConfigurationError(f"scrubbing rule name {name!r}: use letters, digits and underscores")
            try:
                extra.append(pattern_rule(name, f"the configured pattern {name}", pattern))
            except re.error as error:
                raise ConfigurationError(
                    f"scrubbing pattern {name!r} does not compile ({error}); correct it",
                ) from error
        return tuple(rule for rule in VALUE_RULES if rule.name not in self.disabled_patterns) + tuple(extra)

    def session(self) -> ScrubSession:
        """Begin the scrubbing of one incident."""
        return ScrubSession(self)

    def scrub_text(self, text: str, limit: int | None = None) -> str:
        """Return the text without secrets, cut to `limit` characters after scrubbing."""
        return self.session().text(text, limit)

    def scrub_value(self, value: JsonValue, key: str = "") -> JsonValue:
        """Return a JSON value without secrets; `key` is the name it stands under."""
        return self.session().value(value, key)

    def scrub_context(self, keys: Mapping[str, str]) -> dict[str, str]:
        """Return context keys as they may be kept: made from data by the application, they go to every table."""
        session = self.session()
        return {
            session.text(key, _MAX_CONTEXT_KEY): marker("key")
            if self.convicts(key, value)
            else session.text(value, _MAX_CONTEXT_VALUE)
            for key, value in keys.items()
        }

    def judge(self, key: str) -> KeyVerdict:
        """Say what a name means for the value beside it, under this configuration."""
        if KEY_RULE in self.disabled_patterns or (self._safe and folded(key).lower() in self._safe):
            return KeyVerdict.HARMLESS
        return judge_key(key)

    def explain(self, value: JsonValue) -> list[Finding]:
        """List what would be removed from a text or JSON value, in order of appearance."""
        return list(self._explain(value, "", "$", 0))

    def _explain(self, value: JsonValue, key: str, path: str, depth: int) -> Iterator[Finding]:
        if depth > MAX_DEPTH:
            yield Finding("depth", path, 0, _WHY["depth"])
        elif key and self.convicts(key, value):
            yield Finding(KEY_RULE, path, 0, _WHY[KEY_RULE])
        elif isinstance(value, str):
            inner = _parsed(value)
            found = list(self._explain(inner, "", path, depth + 1)) if inner is not None else []
            yield from found or (
                Finding(span.rule, path, span.start, self._why(span.rule)) for span in self.spans(_unescaped(value))
            )
        elif isinstance(value, dict):
            for name, item in value.items():
                yield from self._explain(item, name, f"{path}.{self.scrub_text(name, 64)}", depth + 1)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                yield from self._explain(item, "", f"{path}[{index}]", depth + 1)

    def _why(self, rule: str) -> str:
        return _WHY.get(rule) or next(r.why for r in self._rules if r.name == rule)

    def convicts(self, key: str, value: object) -> bool:
        """Whether a value of any type is removed because of its name; runs no code of the value."""
        verdict = self.judge(key)
        if verdict is KeyVerdict.HARMLESS or value is None or type(value) is bool:
            return False
        if type(value) is str and not value:
            return False
        return verdict is KeyVerdict.SECRET or type(value) not in {int, float}

    def convicted_entry(self, value: Mapping[Any, Any]) -> str | None:
        """Return the key under which a mapping holds what it says is secret; None if it says so of nothing."""
        return convicted_entry(value, self.judge)

    def convicted_items(self, items: Sequence[object]) -> frozenset[int]:
        """Return which items of a row are removed because of the one before them."""
        return convicted_items(items, self.convicts)

    def spans(self, text: str, *, code: bool = False) -> list[_Span]:
        """Find the secrets of a text: disjoint spans in order. `code`: only literals are values of names."""
        lower = text.lower()
        found = self._named(text, lower, code=code)
        if (seen := as_seen(text)) is not None:
            named = self._named(seen.text, seen.text.lower(), code=code)
            found += [_Span(seen.start(start), seen.end(end), rule) for start, end, rule in named]
        found += self._formed(text, lower)
        for layers in decoded(text):
            within = layers[-1].text
            inner = within.lower()
            for span in (*self._named(within, inner, code=code), *self._formed(within, inner)):
                start, end = span.start, span.end
                for layer in reversed(layers):
                    start, end = layer.start(start), layer.end(end)
                found.append(_Span(start, end, span.rule))
        return _disjoint(found, text)

    def _formed(self, text: str, lower: str) -> list[_Span]:
        """Find what is secret by its form."""
        return [
            _Span(start, end, rule.name)
            for rule in self._rules
            if rule.gate(text, lower)
            for start, end in rule.find(text)
            if end > start
        ]

    def _named(self, text: str, lower: str, *, code: bool) -> list[_Span]:
        """Find what is secret because of the names beside it."""
        found: list[_Span] = []
        if KEY_RULE not in self.disabled_patterns and (
            _SEPARATOR.search(text) or any(word in lower for word in _TELLING)
        ):
            pairs = code_pairs if code else text_pairs
            found += (_Span(start, end, KEY_RULE) for start, end in pairs(text, self.judge))
        if SQL_RULE not in self.disabled_patterns and any(word in lower for word in _INSERTING):
            found += (_Span(start, end, SQL_RULE) for start, end in insert_statements(text, self.judge))
        return found


class ScrubSession:
    """The scrubbing of one incident: a scrubber, and the pseudonyms given out so far."""

    __slots__ = ("_emails", "_seen", "scrubber")

    def __init__(self, scrubber: Scrubber) -> None:
        self.scrubber = scrubber
        self._emails: dict[str, int] = {}
        # One value is met in several frames of one incident.
        self._seen: dict[tuple[str, int | None, bool], str] = {}

    def text(self, text: str, limit: int | None = None, *, code: bool = False) -> str:
        """Return the text without secrets, cut to `limit` characters after scrubbing.

        The result can be stored anywhere: no lone surrogates, no NUL. `code`: the text is a line of code.
        """
        clean = self.scrubber.clean
        if len(text) <= _CLEAN_LENGTH and text in clean:
            return text if limit is None or len(text) <= limit else _cut(text, limit)
        if (text, limit, code) in self._seen:
            return self._seen[text, limit, code]
        try:
            scrubbed = self._scrub(text, MAX_TEXT if limit is None else min(limit, MAX_TEXT), code=code)
        except Exception:
            return FAILED
        if not code and len(text) <= _CLEAN_LENGTH and scrubbed == text:
            if len(clean) >= _CLEAN_SIZE:
                clean.clear()
            clean[text] = None
        elif len(text) <= MAX_TEXT:
            self._seen[text, limit, code] = scrubbed
        return scrubbed

    def value(self, value: JsonValue, key: str = "") -> JsonValue:
        """Return a JSON value without secrets; `key` is the name it stands under."""
        try:
            return self._value(value, key, 0)
        except Exception:
            return FAILED

    def lines(self, lines: Sequence[str]) -> list[str]:
        """Return as many lines without secrets, looked for in all of them together.

        A secret of several lines leaves its marker on each. What lies beyond `MAX_TEXT` is a marker.
        """
        text = "\n".join(lines)
        if len(text) > MAX_TEXT:
            read = text[:MAX_TEXT].count("\n")
            return [*self.lines(lines[:read]), *[marker("cut")] * (len(lines) - read)]
        try:
            pieces: list[str] = []
            place = 0
            for span in self.scrubber.spans(text):
                mark = self._replacement(text, span, code=False)
                more = text.count("\n", span.start, span.end)
                pieces += (text[place : span.start], "\n".join([mark] * (more + 1)))
                place = span.end
            return [_storable(line) for line in ("".join(pieces) + text[place:]).split("\n")]
        except Exception:
            # As everywhere here: a rule that fails takes the whole text away, never lets it through.
            return [FAILED] * len(lines)

    def _scrub(self, text: str, limit: int, *, code: bool) -> str:
        window, partial = text, False
        if len(text) > limit + _MARGIN:
            window, partial = _without_last_word(text[: limit + _MARGIN]), True
        elif not code and (inner := _parsed(text)) is not None:
            scrubbed = self._value(inner, "", 1)
            if scrubbed != inner:
                window = json.dumps(scrubbed, ensure_ascii=False)
        if partial and not window:
            return _cut(marker("cut"), limit) if limit > len(marker("cut")) else "…"
        window = _unescaped(window)
        pieces: list[str] = []
        place = 0
        for span in self.scrubber.spans(window, code=code):
            if span.start >= limit:
                break
            pieces += (window[place : span.start], self._replacement(window, span, code=code))
            place = span.end
        if place < limit:
            pieces.append(window[place:limit])
        result = _storable("".join(pieces))
        return _cut(result, limit) if partial or len(window) > limit or len(result) > limit else result

    def _replacement(self, text: str, span: _Span, *, code: bool) -> str:
        if span.rule != "email" or code:
            return marker(span.rule)
        address = text[span.start : span.end].lower().replace("%40", "@")
        return f"<email:{self._emails.setdefault(address, len(self._emails) + 1)}>"

    def _value(self, value: JsonValue, key: str, depth: int) -> JsonValue:
        if depth > MAX_DEPTH:
            return marker("depth")
        if key and self.scrubber.convicts(key, value):
            return marker(KEY_RULE)
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            read = _bytes_as_text(value)
            if read is not None and (scrubbed := self.text(read)) != read:
                return {_BYTES: scrubbed}
            named = self.scrubber.convicted_entry(value)
            return {
                self.text(name): marker(KEY_RULE) if name == named else self._value(item, name, depth + 1)
                for name, item in value.items()
            }
        if isinstance(value, list):
            named = self.scrubber.convicted_entry(pairs_of(value))
            convicted = self.scrubber.convicted_items(value)
            return [
                marker(KEY_RULE)
                if place in convicted
                else [self.text(named), marker(KEY_RULE)]
                if isinstance(named, str) and isinstance(item, list) and item[:1] == [named]
                else self._value(item, "", depth + 1)
                for place, item in enumerate(value)
            ]
        if isinstance(value, int | float) and not isinstance(value, bool) and 10**12 <= abs(value) < 10**20:
            # A column of numbers that has gaps is one of floats, card numbers as well.
            text = str(int(value)) if value == int(value) else ""
            return marker("card") if self.text(text) != text else value
        return value


def _disjoint(found: list[_Span], text: str) -> list[_Span]:
    """Join overlapping spans; the first found names the whole, and markers of an earlier scrubbing stay."""
    if not found:
        return found
    markers = [match.span() for match in _MARKER.finditer(text)]
    order = sorted(range(len(found)), key=lambda place: (found[place].start, place))
    joined: list[tuple[int, int, int]] = []
    for place in order:
        start, end, _ = found[place]
        before = bisect_right(markers, (start, len(text))) - 1
        if before >= 0 and end <= markers[before][1]:
            continue
        if joined and start < joined[-1][1]:
            first_start, first_end, first = joined[-1]
            joined[-1] = (first_start, max(first_end, end), min(first, place))
        else:
            joined.append((start, end, place))
    return [_Span(start, end, found[place].rule) for start, end, place in joined]


def _parsed(text: str) -> JsonValue | None:
    """The JSON object, array or string that a text is, if it is one."""
    if text[:1] not in _JSON_STARTS and text.lstrip()[:1] not in _JSON_STARTS:
        return None
    try:
        value: JsonValue = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict | list | str) else None


def _bytes_as_text(value: dict[str, JsonValue]) -> str | None:
    """The UTF-8 that bytes hold, in the notation of `plain`, where that reads otherwise than the notation itself."""
    text = value.get(_BYTES) if len(value) == 1 else None
    if not isinstance(text, str) or text.isascii():
        return None
    try:
        return text.encode("latin-1").decode()
    except UnicodeError:
        return None


def _unescaped(text: str) -> str:
    """With letters that JSON text spells as numbers spelled as letters; a name may hide behind them."""
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text) if "\\u00" in text else text


def _without_last_word(window: str) -> str:
    """Drop the word that a window cut through: half a secret may not look like one."""
    for place in range(len(window) - 1, -1, -1):
        if _BREAKS.match(window[place]):
            return window[: place + 1]
    return ""


def _cut(text: str, limit: int) -> str:
    return text[: max(limit - 1, 0)] + "…"


def _storable(text: str) -> str:
    """Without what a UTF-8 file or a PostgreSQL column refuses."""
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()
    return text.replace("\0", "␀") if "\0" in text else text
