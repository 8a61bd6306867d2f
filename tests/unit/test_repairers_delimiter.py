"""A row that was read with the wrong delimiter is parted as its header says, or not at all."""

import csv
import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from healspan.remediation.repairers import Failure, Loss, Repaired, repairer
from healspan.remediation.repairers.delimiter import DelimiterParameters

DELIMITER = repairer("delimiter")


def find(row: Any, asked: Any, error: BaseException | None = None) -> Repaired | None:
    return DELIMITER.repair(Failure("subscript", row, asked, error or KeyError(asked), DelimiterParameters()))


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_the_row_is_parted_by_the_delimiter_of_its_header(mark: str) -> None:
    row = {mark.join(("id", "name", "amount")): mark.join(("7", "a b", "12.5"))}
    assert find(row, "amount") == Repaired("amount", Loss.NONE, {"id": "7", "name": "a b", "amount": "12.5"})
    assert len(row) == 1


@pytest.mark.parametrize(
    ("row", "asked"),
    [
        ({"id;amount": "7;12;3"}, "amount"),
        ({"id;amount": "7"}, "amount"),
        ({"id;amount": "7,12"}, "amount"),
        ({"id;amount": "7;12"}, "name"),
        ({"id;amount": "7;12", None: ["5"]}, "amount"),
        ({"id;amount": "7;12", "x": "1"}, "amount"),
        ({"id;a,b": "7;1,2"}, "id"),
        ({"id;a|b": "7;1|2"}, "id"),
        ({"id;id": "7;12"}, "id"),
        ({"id;": "7;12"}, "id"),
        ({"id;amount": '7;"12'}, "amount"),
        ({"id;amount": '7;"12"'}, "amount"),
        ({'"id";amount': "7;12"}, "amount"),
        ({"id;amount": '7;"1\n2"'}, "amount"),
        ({"id;amount": None}, "amount"),
        ({"id amount": "7 12"}, "amount"),
        ({"amount": "7"}, "amount"),
        ({"id;" + "x" * 65_536: "7;12"}, "id"),
        ({}, "amount"),
        (["7;12"], 1),
        (None, "amount"),
    ],
)
def test_declines_what_does_not_say_itself_how_it_is_parted(row: Any, asked: Any) -> None:
    assert find(row, asked) is None


def test_declines_an_error_about_something_else() -> None:
    assert find({"id;amount": "7;12"}, "amount", KeyError("id")) is None
    assert find({"id;amount": "7;12"}, "amount", IndexError()) is None


names = st.lists(st.text('abcé "', min_size=1, max_size=6), min_size=1, max_size=5, unique=True)
fields = st.text('ab,;|\t"é 1', max_size=8)


@settings(max_examples=300)
@given(names, st.data(), st.sampled_from(",;\t|"), st.sampled_from(",;\t|"))
def test_whatever_is_read_is_what_the_right_delimiter_reads(
    header: list[str], data: st.DataObject, mark: str, used: str
) -> None:
    values = data.draw(st.lists(fields, min_size=len(header), max_size=len(header)))
    file = io.StringIO()
    csv.writer(file, delimiter=mark).writerows([header, values])
    [truth] = csv.DictReader(io.StringIO(file.getvalue()), delimiter=mark)
    for row in csv.DictReader(io.StringIO(file.getvalue()), delimiter=used):
        found = find(row, header[0]) if header[0] not in row else None
        assert found is None or found.owner == truth
