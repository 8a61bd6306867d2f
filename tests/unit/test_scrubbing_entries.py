"""What stands beside a value may tell that it is secret: in a row, in an entry, in a name that is no text."""

from __future__ import annotations

from typing import Any

import pytest

from healspan.remediation.scrubbing import Scrubber, name_of

SCRUBBER = Scrubber()


@pytest.mark.parametrize(
    ("row", "removed"),
    [
        (["password", "x"], {1}),
        ([b"password", b"x"], {1}),
        ([{"$bytes": "x-api-key"}, "x"], {1}),
        (["session", "x", True], {1}),
        (["psql", "-U", "bob", "--password", "x"], {4}),
        (["Accept", "*/*", "X-Api-Key", "x", "Host", "h"], {3}),
        (["a", "b", "c", "d", "Authorization", "x"], {5}),
        (["--password", "--token", "x"], {1}),
        (["--verbose", "--user", "bob"], set()),
        (["user", "password", "email", "phone", "city"], set()),
        (["order-id", "4711", "ship-to", "Bonn", "x"], set()),
        (["--max-tokens", 4096, "x", "y", "z"], set()),
        (["password"], set()),
        ([1, None, {"a": 1}, [2]], set()),
        ([], set()),
    ],
)
def test_an_item_is_judged_by_the_one_before_it(row: list[Any], removed: set[int]) -> None:
    assert SCRUBBER.convicted_items(row) == removed


@pytest.mark.parametrize(
    ("mapping", "entry"),
    [
        ({"name": "password", "value": "x"}, "value"),
        ({"Key": "DB_PASSWORD", "Value": "x"}, "Value"),
        ({"ParameterKey": "ApiToken", "ParameterValue": "x"}, "ParameterValue"),
        ({"k": b"password", "v": "x"}, "v"),
        ({"name": "colour", "value": "red"}, None),
        ({"name": "password", "value": ""}, None),
        ({"value": "x"}, None),
        ({}, None),
    ],
)
def test_an_entry_is_judged_by_the_one_that_names_it(mapping: dict[str, Any], entry: str | None) -> None:
    assert SCRUBBER.convicted_entry(mapping) == entry


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("a", "a"),
        (b"a", "a"),
        (b"x" * 1_000, None),
        (("db", "password"), "password"),
        ((), None),
        ({"$bytes": "a"}, "a"),
        ({"$tuple": ["db", {"$bytes": "password"}]}, "password"),
        ({"$bytes": 1}, None),
        ({"a": "b"}, None),
        (7, None),
        (None, None),
    ],
)
def test_bytes_and_keys_of_several_levels_are_names(value: Any, name: str | None) -> None:
    assert name_of(value) == name


def test_no_code_of_a_value_is_run_to_read_it_as_a_name() -> None:
    class Hostile:
        @property
        def __class__(self) -> Any:
            raise AssertionError("looked at")

        def __eq__(self, other: object) -> bool:
            raise AssertionError("compared")

        __hash__ = None  # type: ignore[assignment]

    hostile: Any = Hostile()
    assert name_of(hostile) is None
    assert SCRUBBER.convicted_items(["a", hostile, "b"]) == set()
