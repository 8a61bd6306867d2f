"""The algebra of retrieval: total, bounded, indifferent to order."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from healspan.remediation.retrieval import Document, PatternIndex, Place
from healspan.remediation.retrieval.terms import profile

_HOSTILE = st.sampled_from(
    [
        'a" OR "b',
        "NEAR(x y, 3)",
        "*",
        "col:x",
        "-x ^y (z",
        "\x00",
        "a\x00b",
        "\ud800",
        "\udfff net",
        "'; DROP TABLE known; --",
        "x" * 20_000,
        "ß" * 500,
        "🦄 𝕏",
        "\n\r\t",
        "",
    ],
)
_any_text = st.text(st.characters(), max_size=40) | _HOSTILE
_code = st.sampled_from(["return row['net']", "float(text)", "rows = parse(text)", "raise Missing(name)", ""])
_name = st.sampled_from(["parse", "load", "Reader.total", "<module>"])
_kinds = st.sampled_from(["builtins.KeyError", "builtins.IndexError", "app.Error"])
_ids = st.uuids().map(str)


def _documents(text: st.SearchStrategy[str], code: st.SearchStrategy[str]) -> st.SearchStrategy[Document]:
    return st.builds(
        Document,
        pattern_id=_ids,
        group_id=st.sampled_from(["fix-a", "fix-b", "fix-c"]),
        error_type=_kinds | text,
        places=st.lists(st.builds(Place, text, _name | text, code), max_size=4).map(tuple),
        message=text,
        name=text,
        context=st.frozensets(text, max_size=3),
        boundary=st.sampled_from(["revenue", "net"]) | text,
    )


_plain = _documents(st.sampled_from(["net", "gross sales", "no row", ""]), _code)
_any = _documents(_any_text, _code | _any_text)


@settings(max_examples=60)
@given(st.lists(_any, max_size=8), _any, st.integers(0, 5))
def test_a_search_never_raises_and_scores_are_shares(known: list[Document], sought: Document, limit: int) -> None:
    index = PatternIndex()
    for one in known:
        index.add(one)
    hits = index.search(sought, limit)
    assert len(hits) <= limit
    for hit in hits:
        assert 0.0 <= hit.score <= 1.0
        assert all(part is None or 0.0 <= part <= 1.0 for part in hit.parts)
        assert -1.0 <= hit.signs.margin <= 1.0
        assert 0.0 < hit.likelihood < 1.0
        assert hit.why
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


@settings(max_examples=60)
@given(st.lists(_any, min_size=1, max_size=8), st.data())
def test_the_very_same_failure_ranks_first(known: list[Document], data: st.DataObject) -> None:
    index = PatternIndex()
    for one in known:
        index.add(one)
    sought = data.draw(st.sampled_from(known))
    hits = index.search(sought, len(known))
    assert hits[0].score == 1.0
    assert sought.group_id in {hit.group_id for hit in hits if hit.score == 1.0}


@settings(max_examples=60)
@given(st.lists(_plain, max_size=8), _plain, st.randoms(use_true_random=False))
def test_the_order_of_adding_does_not_matter(known: list[Document], sought: Document, rng: random.Random) -> None:
    found = []
    for order in (known, rng.sample(known, len(known))):
        index = PatternIndex()
        for one in order:
            index.add(one)
        found.append(index.search(sought))
    assert found[0] == found[1]


@settings(max_examples=60)
@given(st.lists(_plain, max_size=6), st.lists(_any, max_size=6), _plain)
def test_what_was_added_and_removed_leaves_no_trace(
    kept: list[Document], removed: list[Document], sought: Document
) -> None:
    index, other = PatternIndex(), PatternIndex()
    for one in (*removed[:3], *kept, *removed[3:]):
        index.add(one)
    for one in removed:
        assert index.remove(one.pattern_id, one.group_id)
    for one in kept:
        other.add(one)
    assert len(index) == len(other)
    assert index.search(sought) == other.search(sought)


@settings(max_examples=60)
@given(_any)
def test_profiles_are_small_and_the_same_each_time(document: Document) -> None:
    kept = profile(document)
    assert kept == profile(document)
    assert len(kept.places) + len(kept.words) + len(kept.other) <= 4 * (2 * 8 + 96 + 96)
