"""Text that was decoded in the wrong encoding is read again where something proves it."""

import json
from datetime import date
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from healspan.remediation.repairers import Failure, Loss, Repaired, repairer
from healspan.remediation.repairers.mojibake import MojibakeParameters, read_again

MOJIBAKE = repairer("mojibake")


def garbled(text: str, encoding: str = "cp1252") -> str:
    """Return a text as it is when its UTF-8 is read in another encoding, as browsers and editors do it."""
    return "".join(
        bytes([each]).decode(encoding, "ignore") or bytes([each]).decode("latin-1") for each in text.encode()
    )


def find(target: Any, argument: Any, *, accept: Any = "normalised") -> Repaired | None:
    try:
        _ = target(argument) if callable(target) else target[argument]
    except Exception as error:
        kind: Any = "call" if callable(target) else "subscript"
        return MOJIBAKE.repair(Failure(kind, target, argument, error, MojibakeParameters(accept=accept)))
    raise AssertionError("it does not fail")


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1"])
@pytest.mark.parametrize("word", ["Größe", "Š", "€", "naïve façade", "日本", "Ý", "🙂"])
def test_a_key_is_found_if_one_of_the_two_is_the_other_garbled(word: str, encoding: str) -> None:
    wrong = garbled(word, encoding)
    assert find({wrong: 1, "other": 2}, word) == Repaired(wrong, Loss.NORMALISED)
    assert find({word: 1, "other": 2}, wrong) == Repaired(word, Loss.NORMALISED)
    assert find({wrong: 1}, word, accept="none") is None


@pytest.mark.parametrize(
    ("mapping", "asked"),
    [
        ({"Grosse": 1}, "Größe"),
        ({garbled("größe"): 1}, "Größe"),
        ({garbled("Größe"): 1, garbled("Größe", "latin-1"): 2}, "Größe"),
        ({garbled(garbled("Größe")): 1}, "Größe"),
        ({"Gr\ufffde": 1}, "Größe"),
        ({"a": 1}, "b"),
        ([1], 1),
    ],
)
def test_another_key_two_keys_or_doubly_garbled_ones_decline(mapping: Any, asked: Any) -> None:
    assert find(mapping, asked) is None


def test_an_error_about_another_key_declines() -> None:
    for error in (KeyError("ü"), KeyError("é", 1), KeyError(), LookupError("é")):
        assert MOJIBAKE.repair(Failure("subscript", {"Ã©": 1}, "é", error, MojibakeParameters())) is None
    assert MOJIBAKE.repair(Failure("subscript", {"Ã©": 1}, "é", KeyError("é"), MojibakeParameters())) is not None


def test_behind_a_garbled_mark_a_whole_text_is_read_again() -> None:
    assert find(json.loads, garbled('\ufeff["é", "€"]')) == Repaired('["é", "€"]', Loss.NORMALISED)
    assert find(date.fromisoformat, garbled("\ufeff2024-09-28")) == Repaired("2024-09-28", Loss.NORMALISED)
    assert find(ip_address, garbled("\ufeff10.0.0.1")) == Repaired("10.0.0.1", Loss.NORMALISED)


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (json.loads, garbled('["é"') + "]]"),
        (json.loads, "ï»¿[é]"),
        (json.loads, "x" + garbled("\ufeff[1]")),
        (ip_address, "ï»"),
        (float, garbled("\ufeffone")),
    ],
)
def test_without_that_mark_or_with_anything_that_was_not_garbled_it_declines(target: Any, text: str) -> None:
    assert find(target, text) is None


@given(st.text(), st.sampled_from(["cp1252", "latin-1"]))
def test_reading_again_undoes_the_wrong_reading_and_nothing_else(text: str, encoding: str) -> None:
    try:
        wrong = garbled(text, encoding)
    except UnicodeEncodeError:  # a lone surrogate has no UTF-8
        return
    assert read_again(wrong) == (None if text.isascii() else text)


@given(st.text(st.characters(max_codepoint=0x24F, categories=["L", "P", "S", "Zs"])))
def test_what_is_read_again_is_what_was_garbled(text: str) -> None:
    meant = read_again(text)
    assert meant is None or text in (garbled(meant), garbled(meant, "latin-1"))
