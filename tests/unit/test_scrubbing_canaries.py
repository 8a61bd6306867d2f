"""No canary survives, wherever it is put."""

from __future__ import annotations

import json

import pytest
from tests.canaries import Canary, canaries, leaks

from healspan.remediation.scrubbing import RULE_NAMES, Scrubber

CORPUS = canaries()


def test_the_corpus_is_seeded_unique_and_found_where_nothing_scrubs() -> None:
    assert canaries(3) == canaries(3)
    assert len({canary.secret for canary in CORPUS}) == len(CORPUS)
    assert all(leaks(json.dumps(c.value, ensure_ascii=False), [c]) for c in CORPUS)


@pytest.mark.parametrize("seed", range(5))
def test_no_canary_survives_in_a_structure(seed: int) -> None:
    corpus = canaries(seed)
    values = json.loads(json.dumps([canary.value for canary in corpus]))
    assert leaks(json.dumps(Scrubber().scrub_value(values), ensure_ascii=False), corpus) == []


@pytest.mark.parametrize("canary", CORPUS, ids=lambda canary: canary.name)
def test_no_canary_survives_in_a_text(canary: Canary) -> None:
    for written in (json.dumps(canary.value), repr(canary.value), json.dumps({"body": json.dumps(canary.value)})):
        scrubbed = Scrubber().scrub_text(written)
        assert leaks(scrubbed, [canary]) == []
        assert Scrubber().scrub_text(scrubbed) == scrubbed


@pytest.mark.parametrize("rule", sorted(RULE_NAMES))
def test_every_rule_is_needed(rule: str) -> None:
    scrubber = Scrubber(disabled_patterns=frozenset({rule}))
    assert any(leaks(json.dumps(scrubber.scrub_value(json.loads(json.dumps(c.value)))), [c]) for c in CORPUS)


def test_no_canary_survives_a_cut() -> None:
    for canary in CORPUS:
        for before in range(90, 210, 11):
            text = "a " * (before // 2) + repr(canary.value) + " tail" * 200
            assert leaks(Scrubber().scrub_text(text, 200), [canary]) == [], (canary.name, before)
