"""The parts of likeness: postings, terms, frames, words, types, and the likelihood that is made of them."""

from __future__ import annotations

import pytest

from healspan.remediation.retrieval import REUSE_AT, Document, Place, Signs, likelihood, may_be_reused
from healspan.remediation.retrieval.postings import Postings
from healspan.remediation.retrieval.similarity import Compared, Parts, Query, kinship, overall
from healspan.remediation.retrieval.terms import profile, split


def compare(one: Document, other: Document) -> Compared:
    return Query(profile(one), lambda _: 2.0, 2.0).compare(profile(other))


def way(*places: tuple[str, str], message: str = "m") -> Document:
    return Document("p", "", "builtins.ValueError", tuple(Place("app", *place) for place in places), message)


def test_rare_terms_count_more() -> None:
    postings = Postings()
    for number, terms in enumerate(({1, 2}, {1, 3}, {1, 4})):
        postings.add(number, terms)
    assert postings.rarity(2) > postings.rarity(1) > 0
    assert postings.rarity(99) > postings.rarity(2)
    scores = postings.most_alike({1, 2})
    assert scores[0] > scores[1] == scores[2]


def test_the_rarest_terms_are_read_first_and_what_is_left_of_the_budget_from_the_newest() -> None:
    postings = Postings(budget=3)
    for number in range(10):
        postings.add(number, {1, 2} if number == 0 else {1})
    assert postings.most_alike({1, 2}).keys() == {0, 8, 9}


def test_what_is_removed_leaves_nothing_behind() -> None:
    postings = Postings()
    before = postings.rarity(1)
    postings.add(0, {1, 2})
    postings.add(1, {1})
    postings.remove(0, {1, 2})
    assert postings.most_alike({1, 2}).keys() == {1}
    postings.remove(1, {1})
    assert postings.most_alike({1, 2}) == {}
    assert (len(postings), postings.rarity(1)) == (0, before)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("netSales", ("netsales", "net", "sales")),
        ("net_sales", ("net_sales", "net", "sales")),
        ("HTTPError 404", ("httperror", "http", "error", "404")),
        ("if x <= seq[0]:", ("if", "x", "<=", "seq", "0")),
        ("größe = 1", ("größe", "gr", "öß", "e", "1")),
        ("", ()),
    ],
)
def test_compound_words_are_also_their_parts(text: str, words: tuple[str, ...]) -> None:
    assert split(text) == words


def test_a_huge_failure_has_a_small_profile() -> None:
    places = tuple(Place("m" * 10_000, f"f{n}" * 1_000, f"x{n} " * 10_000) for n in range(1_000))
    tags = frozenset(f"k{n}=v" for n in range(1_000))
    kept = profile(Document("p", "", "T" * 10_000, places, "word " * 100_000, "n" * 10_000, tags))
    assert len(kept.places) + len(kept.words) + len(kept.other) < 1_000
    assert len(kept.context) == 16


def test_the_way_to_the_failure_counts_most_at_its_end() -> None:
    sought = way(("main", "load()"), ("load", "parse()"), ("parse", "float(x)"))
    same_end = compare(sought, way(("run", "other()"), ("parse", "float(x)")))
    same_start = compare(sought, way(("main", "load()"), ("other", "int(y)")))
    assert same_end.parts.frames is not None
    assert same_start.parts.frames is not None
    assert 1.0 > same_end.parts.frames > same_start.parts.frames > 0.0


def test_frames_are_worth_most_at_the_same_line_of_the_same_function() -> None:
    sought = way(("parse", "float(x)"))
    others = [way(("parse", "float(x)")), way(("parse_v2", "float(x)")), way(("parse", "int(x)")), way(("f", "g"))]
    frames = [compare(sought, other).parts.frames for other in others]
    assert frames == sorted(frames, key=lambda part: part or 0.0, reverse=True)
    assert (frames[0], frames[-1]) == (1.0, 0.0)
    assert len(set(frames)) == 4


def test_what_neither_failure_has_counts_neither_for_nor_against() -> None:
    assert compare(way(message=""), way(message="")).parts == Parts(None, None, 1.0, None)
    assert compare(way(message=""), way(message="")).score == 1.0
    assert overall(Parts(1.0, 0.0, 1.0, None)) == pytest.approx(0.55 / 0.85)


def test_context_is_the_share_of_keys_in_common() -> None:
    one, other = (Document("p", "", "T", (), "", context=frozenset(tags)) for tags in ({"a=1", "b=1"}, {"a=1", "b=2"}))
    assert compare(one, other).parts.context == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("one", "other", "kin"),
    [
        ("builtins.KeyError", "builtins.KeyError", 1.0),
        ("app.Unknown", "app.Unknown", 1.0),
        ("builtins.KeyError", "builtins.IndexError", 0.5),
        ("json.decoder.JSONDecodeError", "builtins.UnicodeDecodeError", 0.5),
        ("builtins.KeyError", "builtins.TypeError", 0.0),
        ("builtins.KeyError", "app.Unknown", 0.0),
        ("builtins.len", "builtins.KeyError", 0.0),
        ("", "builtins.KeyError", 0.0),
    ],
)
def test_types_are_related_through_a_class_below_exception(one: str, other: str, kin: float) -> None:
    assert kinship(one, other) == kinship(other, one) == kin


def test_a_type_is_looked_up_without_running_code_of_its_module() -> None:
    # A lazy module imports when an attribute of it is asked for.
    assert kinship("importlib.no_such_name", "builtins.KeyError") == 0.0


SURE = Signs(score=1.0, margin=0.5, same_type=True, same_function=True, same_line=True, same_name=True)


def test_the_likelihood_rises_with_each_sign() -> None:
    assert likelihood(SURE) > REUSE_AT
    lesser = [SURE._replace(score=0.5), SURE._replace(margin=0.0)]
    lesser += [SURE._replace(**{sign: False}) for sign in ("same_type", "same_function", "same_line", "same_name")]
    assert all(0.0 < likelihood(signs) < likelihood(SURE) < 1.0 for signs in lesser)


@pytest.mark.parametrize("sign", ["same_type", "same_line", "same_name"])
def test_without_one_of_these_signs_nothing_is_reused(sign: str) -> None:
    assert may_be_reused(SURE)
    assert not may_be_reused(SURE._replace(**{sign: False}))


def test_the_likelihood_decides_where_the_signs_allow_it() -> None:
    assert not may_be_reused(SURE._replace(score=0.0, margin=-1.0))


def test_a_margin_counts_up_to_a_limit() -> None:
    assert likelihood(SURE._replace(margin=0.1)) < likelihood(SURE._replace(margin=0.5))
    assert likelihood(SURE._replace(margin=0.9)) == likelihood(SURE._replace(margin=0.5))
