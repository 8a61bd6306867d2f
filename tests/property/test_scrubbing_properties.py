"""Scrubbing of any text: total, storable, bounded, linear, and never undone by what stands around a secret."""

from __future__ import annotations

import html
import json
import re
import urllib.parse
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from healspan.remediation.scrubbing import Scrubber

_FRAGMENTS = (
    "password", "token", "key", "name", "value", "Authorization", "cookie", "bearer ", "is ", "in (", "--", "//", "@",
    "=", ":", ",", ";", "&", "'", '"', "\\", '\\"', "(", ")", "[", "]", "{", "}", "<", ">", "_", "/", " ", "\n", "é",
    "insert into t (password) values ", "parameters: (", "password='", 'token="', "name='password',", "a@b.c", "%40",
    "https://a:b@", "eyJ", "-----BEGIN X-----", "1", "4111 ", "DE89 ", "\\u0041", "[redacted:key]", "<email:1>",
    "\u200b", "\u0440", "\u0301", "\\u200b", "\\ud835",
    "%22", "%2522", "%70", "&quot;", "&amp;quot;", "&#61;", "\\x3d", ":5432:", "*:*:", "bob:", "\\n", "\\:",
)  # fmt: skip
_any_text = st.text(st.characters(codec=None), max_size=300)
_hostile_text = st.lists(st.sampled_from(_FRAGMENTS), max_size=30).map("".join)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _hostile_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_hostile_text, inner, max_size=4),
    max_leaves=20,
)


@given(_any_text | _hostile_text, st.integers(0, 400))
def test_any_text_gives_a_storable_text_within_its_limit(text: str, limit: int) -> None:
    scrubbed = Scrubber().scrub_text(text, limit)
    assert len(scrubbed) <= max(limit, 1)
    scrubbed.encode()
    assert "[redacted:failed]" not in scrubbed


@given(_json)
def test_any_json_value_gives_a_json_value(value: object) -> None:
    json.dumps(Scrubber().scrub_value(value))  # type: ignore[arg-type]


@given(_hostile_text.filter(lambda text: not text.endswith(("\\", "%")) and len(text) < 200), _hostile_text)
def test_a_key_with_a_prefix_of_its_own_goes_wherever_it_stands(before: str, after: str) -> None:
    assert "Q1w2E3r4T5y6U7i8" not in Scrubber().scrub_text(f"{before} ghp_Q1w2E3r4T5y6U7i8 {after}")


_ENCODINGS = (
    urllib.parse.quote,
    urllib.parse.quote_plus,
    html.escape,
    lambda text: "".join(f"&#{ord(each)};" for each in text),
    lambda text: "".join(f"&#x{ord(each):X};" for each in text),
    lambda text: "".join(f"%{ord(each):02x}" for each in text),
    lambda text: "".join(f"\\u{ord(each):04x}" for each in text),
    json.dumps,
)


@given(
    st.sampled_from(('{"password": "%s"}', "token=%s", "postgres://bob:%s@host/db", "Authorization: Bearer %s")),
    st.lists(st.sampled_from(_ENCODINGS), max_size=3),
)
def test_a_secret_goes_however_it_was_wrapped(text: str, wrapped: list[Callable[[str], str]]) -> None:
    secret = text % "Q1w2E3r4T5y6U7i8"
    for wrap in wrapped:
        secret = wrap(secret)
        if len(secret) > 20_000:
            return
    shown = Scrubber().scrub_text(f"the request was GET /find?with={secret} HTTP/1.1")
    for _ in range(4):
        shown = html.unescape(urllib.parse.unquote(re.sub(r"\\+u(00..)", lambda one: chr(int(one[1], 16)), shown)))
        assert "Q1w2E3r4T5y6U7i8" not in shown


@given(_any_text, st.integers(0, 300))
def test_a_cut_shows_nothing_that_the_whole_did_not(text: str, limit: int) -> None:
    whole = Scrubber().scrub_text(text)
    cut = Scrubber().scrub_text(text, limit).removesuffix("…")
    assert whole.startswith(cut) or len(text) > limit


@pytest.mark.timeout(120)
@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(_FRAGMENTS), min_size=1, max_size=4), st.sampled_from(_FRAGMENTS))
def test_a_hundred_kilobytes_of_anything_repeated_take_linear_time(unit: list[str], last: str) -> None:
    """A rule that backtracks over such a text takes minutes, and runs into the time limit."""
    piece = "".join(unit)
    Scrubber().scrub_text((piece * (100_000 // len(piece)))[:99_000] + last)
