"""Names of secrets as people see them: however one is written, it is found; what is found lies where it stands."""

from __future__ import annotations

import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from healspan.remediation.scrubbing import KeyVerdict, Scrubber, judge_key
from healspan.remediation.scrubbing.seen import LOOK_ALIKES, as_seen, folded

_NAMES = ("password", "db_password", "api_key", "token", "client-secret", "Authorization", "session", "cookie", "pin")
_UNSEEN = st.sampled_from("\u200b\u200c\u200d\u2060\ufeff\u00ad\u034f\u061c\u200e\u180e\ufe0f\u3164\u0301\U000e0041")
_LIKE = {
    "a": "а\uff41𝐚", "c": "сϲⅽ", "d": "ԁｄ", "e": "еｅ", "i": "іｉ", "k": "кκｋ", "n": "пｎ", "o": "оοｏ",
    "p": "рρｐ", "r": "гｒ", "s": "ѕｓ", "t": "тτｔ", "u": "υｕ", "w": "ԝｗ", "y": "уｙ", "A": "АΑＡ",
}  # fmt: skip


@st.composite
def _written(draw: st.DrawFn) -> str:
    """A name of a secret as somebody may write it who does not want it found."""
    name = draw(st.sampled_from(_NAMES))
    letters = [draw(st.sampled_from(_LIKE.get(letter, "") + letter)) for letter in name]
    for place in draw(st.lists(st.integers(1, len(letters) - 1), max_size=4)):
        letters[place] += draw(_UNSEEN)
    return "".join(letters)


@given(_written())
def test_a_name_is_judged_as_it_is_seen(name: str) -> None:
    assert judge_key(name) is KeyVerdict.SECRET
    assert Scrubber().scrub_value({"user": "bob", name: "h7nter2x"}) == {
        "user": "bob",
        Scrubber().scrub_text(name): "[redacted:key]",
    }


@given(
    _written(), st.sampled_from(["{}=h7nter2x", "('{}', 'h7nter2x')", '{{"a": 1, "{}": "h7nter2x"', "{} : h7nter2x"])
)
def test_a_name_is_found_in_a_text_as_it_is_seen(name: str, form: str) -> None:
    text = form.format(name)
    for written in (text, f"the call {text} failed", repr(text), ascii(text), json.dumps(text)[:-1]):
        assert "h7nter2x" not in Scrubber().scrub_text(written), written


@given(st.text(st.characters(codec=None), max_size=80))
def test_the_parts_of_a_text_as_seen_stand_where_it_says(text: str) -> None:
    seen = as_seen(text)
    if seen is None:
        return
    assert len(seen.text) <= len(text)
    for place, letter in enumerate(seen.text):
        start, end = seen.start(place), seen.end(place + 1)
        assert 0 <= start < end <= len(text)
        piece = text[start:end]
        # A letter of a longer word, where accents count for nothing.
        assert letter in (piece, folded(f"secret{piece}").removeprefix("secret"))
    ends = [seen.end(place + 1) for place in range(len(seen.text))]
    assert ends == sorted(set(ends))


@given(st.text(string.printable.replace("\\", ""), max_size=200))
def test_plain_text_is_seen_as_what_it_is(text: str) -> None:
    assert as_seen(text) is None


@given(st.text(st.characters(codec=None), max_size=80))
def test_what_is_seen_is_seen_as_it_is(text: str) -> None:
    once = folded(text.replace("\\", ""))
    assert folded(once) == once


def test_each_look_alike_is_of_another_script_and_like_one_letter() -> None:
    every = "".join(LOOK_ALIKES.values())
    assert len(set(every)) == len(every)
    assert not any(each.isascii() for each in every)
    assert all(folded(each) == letter for letter, others in LOOK_ALIKES.items() for each in others)


@pytest.mark.parametrize("word", ["отримати", "Čvc", "Über", "пароль", "κλειδί", "čas", "sédentaire", "ключ"])
def test_words_of_other_languages_announce_no_secret(word: str) -> None:
    assert judge_key(word) is KeyVerdict.HARMLESS
    assert Scrubber().scrub_text(f"{word}: 12, {word}=x") == f"{word}: 12, {word}=x"


@pytest.mark.parametrize("word", ["contraseña", "pässwörd", "tókèn", "sécret", "clé_privatekéy", "co\u0301okie"])
def test_accents_hide_no_name(word: str) -> None:
    assert Scrubber().scrub_text(f"{word}: h7nter2x") == f"{word}: [redacted:key]"
