"""A key that moved into an envelope is found there if it is in one place only, and a human may name any other place."""

from types import MappingProxyType
from typing import Any

import pytest
from pydantic import ValidationError

from healspan.remediation.repairers import Failure, Loss, Repaired, repairer
from healspan.remediation.repairers.moved_key import MovedKeyParameters

MOVED = repairer("moved_key")


def find(mapping: Any, asked: Any, error: BaseException | None = None, **parameters: Any) -> Repaired | None:
    return MOVED.repair(
        Failure("subscript", mapping, asked, error or KeyError(asked), MovedKeyParameters(**parameters))
    )


ITEMS = {"items": [1]}


@pytest.mark.parametrize(
    "mapping",
    [
        {"data": ITEMS},
        {"data": ITEMS, "meta": {"items": 3}},
        {"status": 200, "response": {"result": ITEMS}},
        {"data": {"attributes": ITEMS}, "errors": []},
        {"data": [1, 2], "payload": ITEMS},
    ],
)
def test_the_one_envelope_that_has_the_key_is_asked_instead(mapping: Any) -> None:
    found = find(mapping, "items")
    assert found is not None
    assert (found.value, found.loss) == ("items", Loss.NORMALISED)
    assert found.owner is ITEMS


@pytest.mark.parametrize(
    ("mapping", "asked"),
    [
        ({"order": {"items": 1}}, "items"),
        ({"data": {"items": 1}, "result": {"items": 2}}, "items"),
        ({"data": {"items": 1, "attributes": {"items": 1}}}, "items"),
        ({"data": [{"items": 1}]}, "items"),
        ({"data": {"data": {"data": {"items": 1}}}}, "items"),
        ({"data": {"Items": 1}}, "items"),
        ({"Items": 1, "data": {"items": 1}}, "items"),
        ({"response": {"status": 200}}, "status"),
        ({"data": {"id": 7}}, "id"),
        ({"data": {"Id": 7}}, "Id"),
        ({"items": 1}, "items"),
        ({"data": {3: 1}}, 3),
        (MappingProxyType({"data": {"items": 1}}), "items"),
        ([{"items": 1}], "items"),
        (None, "items"),
    ],
)
def test_two_places_another_name_or_the_envelopes_own_words_decline(mapping: Any, asked: Any) -> None:
    assert find(mapping, asked) is None


def test_it_is_never_without_a_convention() -> None:
    assert find({"data": ITEMS}, "items", accept="none") is None


def test_a_human_names_the_way_and_nothing_is_guessed_then() -> None:
    mapping = {"order": {"lines": {"id": 4}}, "data": {"id": 5}}
    found = find(mapping, "id", path=("order", "lines"))
    assert found is not None
    assert found.owner == {"id": 4}
    assert find(mapping, "id", path=("order", "rows")) is None
    assert find({"data": ITEMS}, "items", path=("order",)) is None
    with pytest.raises(ValidationError):
        MovedKeyParameters(path=("",))


def test_declines_an_error_about_another_key() -> None:
    assert find({"data": ITEMS}, "items", KeyError("other")) is None
    assert find({"data": ITEMS}, "items", KeyError()) is None
    assert find({"data": ITEMS}, "items", IndexError("items")) is None


class Spy(str):
    """A key that is equal to whatever has its hash, and says when it is asked."""

    __slots__ = ()
    asked = 0

    def __hash__(self) -> int:
        return hash("data")

    def __eq__(self, other: object) -> bool:
        type(self).asked += 1
        return False


def test_runs_no_code_of_other_keys() -> None:
    mapping = {Spy("x"): 1, "payload": {"items": 1}}
    Spy.asked = 0
    assert find(mapping, "items") is None
    assert Spy.asked == 0
