"""The algebra of the renamed-key repairer: total, pure, independent of order, and humble."""

import re
from copy import deepcopy
from typing import Any

from hypothesis import assume, example, given
from hypothesis import strategies as st

from healspan.remediation.repairers import Failure, Loss, Repaired, repairer
from healspan.remediation.repairers.renamed_key import RenamedKeyParameters

RENAMED = repairer("renamed_key")

WORDS = """
    total current noncurrent net gross cost of sales revenue revenues assets asset liabilities the not max
    received recieved
    address adress customer user id name qty quantity color colour created updated at min start end
    1 2 12 % (note_3) employee employer
"""
words = st.sampled_from(WORDS.split())
names = st.lists(words, min_size=1, max_size=5).flatmap(
    lambda parts: st.sampled_from(
        [
            " ".join(parts),
            "_".join(parts),
            "-".join(parts),
            " ".join(parts).title(),
            "".join(map(str.title, parts)),
        ]
    )
)
keys = names | st.text(max_size=12)
mappings = st.dictionaries(keys | st.integers() | st.none() | st.binary(max_size=3), st.integers(), max_size=12)
aliases = st.lists(names, max_size=3).map(tuple)
parameters = st.builds(
    RenamedKeyParameters,
    aliases=aliases,
    cutoff=st.floats(80, 100),
    accept=st.sampled_from([Loss.NONE, Loss.NORMALISED]),
)
identifiers = st.lists(st.from_regex(r"[a-z]{2,9}", fullmatch=True), min_size=1, max_size=4)


def find(asked: object, mapping: Any, given: RenamedKeyParameters | None = None) -> Repaired | None:
    failure = Failure("subscript", mapping, asked, KeyError(asked), given or RenamedKeyParameters())
    return RENAMED.repair(failure)


@given(keys, mappings, parameters)
@example("\ud800", {"\ud800 ": 1}, RenamedKeyParameters())
@example("(" * 150 + "ab", {"(" * 150 + "AB": 1}, RenamedKeyParameters())
@example("note (" + " " * 150, {"note (" + " " * 149: 1}, RenamedKeyParameters())
def test_returns_a_key_of_the_mapping_and_changes_nothing(
    asked: str, mapping: dict[Any, int], given: RenamedKeyParameters
) -> None:
    before = deepcopy(list(mapping.items()))
    repaired = find(asked, mapping, given)
    assert list(mapping.items()) == before
    if repaired is not None:
        assert repaired.value in mapping
        assert repaired.value != asked
        assert repaired.loss in (Loss.NONE, given.accept)


@given(keys, mappings, parameters)
def test_a_present_key_is_never_replaced(asked: str, mapping: dict[Any, int], given: RenamedKeyParameters) -> None:
    assert find(asked, mapping | {asked: 0}, given) is None


@given(keys, mappings, parameters, st.randoms(use_true_random=False))
def test_the_order_of_the_mapping_does_not_matter(
    asked: str, mapping: dict[Any, int], given: RenamedKeyParameters, random: Any
) -> None:
    items = list(mapping.items())
    random.shuffle(items)
    assert find(asked, dict(items), given) == find(asked, mapping, given)


@given(keys, mappings, parameters, st.sampled_from(["{}:", "_{}", "{}.", "({})", "{}\u200b"]))
def test_a_second_key_that_is_equally_close_makes_it_decline(
    asked: str, mapping: dict[Any, int], given: RenamedKeyParameters, form: str
) -> None:
    repaired = find(asked, mapping, given)
    if repaired is not None:
        twin = form.format(repaired.value)
        # The twin must be another key, and no note reference or hyphen may change what it says.
        assume(twin not in mapping and twin != asked and re.fullmatch(r"\w[\w ]*", str(repaired.value)))
        assert find(asked, mapping | {twin: 0}, given) is None


@given(keys, mappings, st.floats(80, 100))
def test_more_keys_never_make_it_choose_another_one(asked: str, mapping: dict[Any, int], cutoff: float) -> None:
    given = RenamedKeyParameters(cutoff=cutoff)
    for key in mapping:
        alone, among = find(asked, {key: 0}, given), find(asked, mapping, given)
        if alone is not None and alone.loss is Loss.NONE and among is not None:
            assert among.value == key


@given(identifiers)
def test_every_case_style_of_an_identifier_finds_every_other(parts: list[str]) -> None:
    styles = {
        "_".join(parts),
        "-".join(parts),
        " ".join(parts),
        "_".join(parts).upper(),
        " ".join(parts).title(),
        "".join(part.title() for part in parts),
        parts[0] + "".join(part.title() for part in parts[1:]),
    }
    for asked in styles:
        for present in styles - {asked}:
            assert find(asked, {present: 1, "0 other": 2}) == Repaired(present, Loss.NONE)


@given(identifiers, st.from_regex(r"[a-z]{2,9}", fullmatch=True), st.integers(0, 4))
def test_a_word_more_or_less_always_declines(parts: list[str], word: str, at: int) -> None:
    assume(word != "the")
    longer = [*parts[:at], word, *parts[at:]]
    assert find("_".join(parts), {"_".join(longer): 1}) is None
    assert find("_".join(longer), {"_".join(parts): 1}) is None


@given(identifiers, st.integers(0, 99), st.integers(0, 99))
def test_another_number_always_declines(parts: list[str], one: int, other: int) -> None:
    assume(one != other)
    name = "_".join(parts)
    assert find(f"{name}_{one}", {f"{name}_{other}": 1}) is None
    assert find(f"{one}{name}", {f"{other}{name}": 1}) is None


@given(st.permutations(["usd", "eur", "source", "target", "parent"]), st.data())
def test_another_order_always_declines(order: list[str], data: st.DataObject) -> None:
    other = data.draw(st.permutations(order))
    assume(order != other)
    assert find("_".join(order), {"_".join(other): 1}) is None


@given(st.from_regex(r"[a-z]{4,12}", fullmatch=True), st.data())
def test_a_letter_replaced_added_or_lost_always_declines_unless_it_is_doubled(word: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(word) - 1))
    letter = data.draw(st.sampled_from("abcdefghijklmnopqrstuvwxyz"))
    for other in (
        word[:at] + letter + word[at + 1 :],
        word[:at] + letter + word[at:],
        word[:at] + word[at + 1 :],
    ):
        assume(re.sub(r"(.)\1+", r"\1", word) != re.sub(r"(.)\1+", r"\1", other))
        assume(re.sub("is", "iz", word) != re.sub("is", "iz", other))
        assert find(f"{word}_id", {f"{other}_id": 1}) is None
