"""The date repairer reads one date in the notations of people and systems, and makes nothing up."""

from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Any

import pytest

from healspan.remediation.repairers import Failure, Loss, Repaired, repairer
from healspan.remediation.repairers.date import DateParameters

DATE = repairer("date")
TWO = timezone(timedelta(hours=2))


def attempt(target: Any, text: object, *rest: object, **parameters: Any) -> Repaired | None:
    """Call as an application does, and repair what the callee raised."""
    try:
        target(text, *rest)
    except (ValueError, TypeError) as error:
        return DATE.repair(Failure("call", target, text, error, DateParameters(**parameters), rest))
    raise AssertionError("the callee reads it itself")


def read(target: Any, text: object, *rest: object, **parameters: Any) -> tuple[Any, Loss] | None:
    """Return what the callee makes of the repaired text, and the loss."""
    repaired = attempt(target, text, *rest, **parameters)
    return None if repaired is None else (target(repaired.value, *rest), repaired.loss)


@pytest.mark.parametrize(
    "text",
    [
        "2024/09/28",
        "2024.9.28",
        "2024-9-28",
        "2024-Sep-28",
        "2024 September 28",
        "28 September 2024",
        "28 Sep. 2024",
        "28-Sep-2024",
        "28Sep2024",
        "28/SEP/2024",
        "28th of September 2024",
        "28th September, 2024",
        "Sept. 28, 2024",
        "September 28th, 2024",
        "Sep 28 2024",
        "Saturday, September 28, 2024",
        "Sat 28 Sep 2024",
        "28/09/2024",
        "9/28/2024",
        "28.09.2024",
        " 2024-09-28\n",
        "28\u00a0September\u202f2024",
        "\ufeff2024-09-28\u200b",
    ],
)
def test_reads_another_notation_of_a_day_without_loss(text: str) -> None:
    assert read(date.fromisoformat, text) == (date(2024, 9, 28), Loss.NONE)
    assert read(datetime.fromisoformat, text) == (datetime(2024, 9, 28), Loss.NONE)
    assert read(datetime.strptime, text, "%b %d, %Y") == (datetime(2024, 9, 28), Loss.NONE)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("Sat, 28 Sep 2024 14:05:06 +0200", datetime(2024, 9, 28, 14, 5, 6, tzinfo=TWO)),
        ("Sat, 28 Sep 2024 14:05:06 GMT", datetime(2024, 9, 28, 14, 5, 6, tzinfo=UTC)),
        ("2024-09-28t14:05:06z", datetime(2024, 9, 28, 14, 5, 6, tzinfo=UTC)),
        ("2024-09-28 14:05:06 UTC", datetime(2024, 9, 28, 14, 5, 6, tzinfo=UTC)),
        ("2024/09/28 14:05:06.250+02", datetime(2024, 9, 28, 14, 5, 6, 250_000, tzinfo=TWO)),
        ("28/Sep/2024:14:05:06 +0200", datetime(2024, 9, 28, 14, 5, 6, tzinfo=TWO)),
        ("Sat Sep 28 14:05:06 2024", datetime(2024, 9, 28, 14, 5, 6)),
        ("Sat Sep 28 14:05:06 UTC 2024", datetime(2024, 9, 28, 14, 5, 6, tzinfo=UTC)),
        ("9/28/2024, 2:05:06\u202fPM", datetime(2024, 9, 28, 14, 5, 6)),
        ("September 28, 2024 at 12:05 a.m.", datetime(2024, 9, 28, 0, 5)),
        ("28 Sep 2024 12:05 pm", datetime(2024, 9, 28, 12, 5)),
        ("2024-09-28T24:00:00", datetime(2024, 9, 29)),
        ("2024/09/28 14:05:06,1234560", datetime(2024, 9, 28, 14, 5, 6, 123_456)),
    ],
)
def test_reads_a_time_and_keeps_its_zone_or_its_want_of_one(text: str, moment: datetime) -> None:
    found = read(datetime.fromisoformat, text)
    assert found == (moment, Loss.NONE)
    assert found[0].utcoffset() == moment.utcoffset()


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("20240928140506", datetime(2024, 9, 28, 14, 5, 6)),
        (
            "Sat Sep 28 2024 14:05:06 GMT+0200 (Central European Summer Time)",
            datetime(2024, 9, 28, 14, 5, 6, tzinfo=TWO),
        ),
    ],
)
def test_says_so_where_a_convention_decided(text: str, moment: datetime) -> None:
    assert read(datetime.fromisoformat, text) == (moment, Loss.NORMALISED)
    assert read(datetime.fromisoformat, text, accept="none") is None


@pytest.mark.parametrize("text", ["05/09/2024", "5.9.2024", "12-12-2024 05:00", "1/2/2024"])
def test_a_day_that_may_be_a_month_declines_unless_both_are_the_same(text: str) -> None:
    found = read(datetime.fromisoformat, text)
    assert found == ((datetime(2024, 12, 12, 5), Loss.NONE) if text.startswith("12") else None)


def test_a_declared_order_settles_it() -> None:
    assert read(date.fromisoformat, "05/09/2024", order="day first") == (date(2024, 9, 5), Loss.NORMALISED)
    assert read(date.fromisoformat, "05/09/2024", order="month first") == (date(2024, 5, 9), Loss.NORMALISED)
    assert read(date.fromisoformat, "28/09/2024", order="month first") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "today",
        "28 September",
        "September 2024",
        "2024-09",
        "2024",
        "28/09/24",
        "28-Sep-24",
        "1727532306",
        "1727532306000",
        "2024-02-30",
        "31 April 2024",
        "29/02/2023",
        "2024/28/09",
        "2024-09/28",
        "0/9/2024",
        "Sunday, 28 September 2024",
        "28st September 2024",
        "28 Septembre 2024",
        "28 Mai 2024",
        "2024-09-28 14:05:60",
        "2024-09-28 14:60",
        "2024/09/28 24:01",
        "28 Sep 2024 13:05 PM",
        "28 Sep 2024 0:05 AM",
        "2024/09/28 14:05:06.1234567",
        "2024-09-28 14:05:06 EST",
        "2024-09-28 14:05:06 CET",
        "Sat, 28 Sep 2024 14:05:06 -0000",
        "2024/09/28 14:05 +1500",
        "2024/09/28 14:05 +0260",
        "2024/09/28 UTC",
        "2024/09/28 - 2024/09/30",
        "28 and 29 September 2024",
        "Sep 28 14:05 2024 15:05",
        "\u202e28 September 2024",
        "٢٨ September 2024",
        "28 September 2024" + " " * 70 + "x",
    ],
)
@pytest.mark.parametrize("target", [datetime.fromisoformat, date.fromisoformat])
def test_declines_what_is_no_whole_date(text: str, target: Any) -> None:
    assert attempt(target, text) is None


@pytest.mark.parametrize(
    "text",
    ["28 Sep 2024 14:05", "2024-09-28T00:00:00Z", "Sat, 28 Sep 2024 00:00:00 +0200", "2024-09-28T24:00:00"],
)
def test_a_date_never_drops_a_time_or_a_zone(text: str) -> None:
    assert attempt(date.fromisoformat, text) is None
    assert read(date.fromisoformat, "2024-09-28T00:00:00") == (date(2024, 9, 28), Loss.NORMALISED)


@pytest.mark.parametrize(
    ("text", "form", "moment", "loss"),
    [
        ("2024-09-28T14:05:06Z", "%Y-%m-%dT%H:%M:%S.%fZ", datetime(2024, 9, 28, 14, 5, 6), Loss.NONE),
        ("2024-09-28T14:05:06.000Z", "%Y-%m-%dT%H:%M:%SZ", datetime(2024, 9, 28, 14, 5, 6), Loss.NONE),
        ("2024-09-28T14:05:06+00:00", "%Y-%m-%dT%H:%M:%SZ", datetime(2024, 9, 28, 14, 5, 6), Loss.NONE),
        ("2024-09-28 14:05:06 +02:00", "%Y-%m-%dT%H:%M:%S%z", datetime(2024, 9, 28, 14, 5, 6, tzinfo=TWO), Loss.NONE),
        ("28.09.2024", "%d/%m/%Y", datetime(2024, 9, 28), Loss.NONE),
        ("2024-09-28", "%m/%d/%Y", datetime(2024, 9, 28), Loss.NONE),
        ("28 Sep 2024", "%d.%m.%y", datetime(2024, 9, 28), Loss.NONE),
        ("28 Sep 2024 14:05", "%A %d %B %Y %I:%M %p", datetime(2024, 9, 28, 14, 5), Loss.NONE),
        ("2024-09-28 14:05", "%Y-%m-%d %H:%M:%S", datetime(2024, 9, 28, 14, 5), Loss.NORMALISED),
        ("2024-09-28 00:00:00", "%Y-%m-%d", datetime(2024, 9, 28), Loss.NORMALISED),
    ],
)
def test_writes_the_moment_in_the_format_that_was_asked_for(text: str, form: str, moment: datetime, loss: Loss) -> None:
    found = read(datetime.strptime, text, form)
    assert found == (moment, loss)
    assert found[0].utcoffset() == moment.utcoffset()


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("2024-09-28", "%Y-%m-%d %H:%M:%S"),
        ("2024-09-28 14:05:06", "%Y-%m-%d"),
        ("2024-09-28 14:05:06", "%Y-%m-%d %H:%M"),
        ("2024-09-28 14:05:06.5", "%Y-%m-%d %H:%M:%S"),
        ("2024-09-28 14:05:06Z", "%Y-%m-%d %H:%M:%S"),
        ("2024-09-28 14:05:06", "%Y-%m-%dT%H:%M:%SZ"),
        ("2024-09-28 14:05:06", "%Y-%m-%dT%H:%M:%S%z"),
        ("2024-09-28 14:05:06+02:00", "%Y-%m-%dT%H:%M:%SZ"),
        ("2024-09-28", "%Y-%m"),
        ("2024-09-28", "%d %B"),
        ("1924-09-28", "%d.%m.%y"),
        ("28 Sep 2024", "%Y-W%W-%w"),
        ("28 Sep 2024", "%Y-%m-%d%"),
        ("28 Sep 2024", "%Q"),
        ("2024-09-28T24:00", "%d.%m.%Y"),
    ],
)
def test_a_format_that_would_drop_or_make_up_a_part_declines(text: str, form: str) -> None:
    assert attempt(datetime.strptime, text, form) is None


def test_a_format_with_the_other_order_stays_a_loud_failure() -> None:
    assert attempt(datetime.strptime, "28/09/2024", "%m/%d/%Y") is None
    assert attempt(datetime.strptime, "9/28/2024", "%d-%m-%Y") is None


class Stamp(datetime):
    pass


@pytest.mark.parametrize("target", [Stamp.fromisoformat, Stamp.strptime, datetime.utcfromtimestamp, str.upper, print])
def test_declines_callees_that_it_does_not_know(target: Any) -> None:
    error = ValueError("Invalid isoformat string: '28 Sep 2024'")
    assert DATE.repair(Failure("call", target, "28 Sep 2024", error, DateParameters())) is None


@pytest.mark.parametrize(
    "error", [ValueError("no date"), TypeError("Invalid isoformat string"), KeyError(), ValueError()]
)
def test_applies_to_the_complaints_of_its_callees_only(error: Exception) -> None:
    assert not DATE.applies("call", error)
    assert not DATE.applies("subscript", ValueError("Invalid isoformat string: ''"))


@pytest.mark.parametrize("argument", [None, 5, b"28 Sep 2024", date(2024, 9, 28)])
def test_declines_arguments_that_are_no_text(argument: object) -> None:
    error = ValueError("Invalid isoformat string")
    assert DATE.repair(Failure("call", date.fromisoformat, argument, error, DateParameters())) is None


@pytest.mark.parametrize(
    ("text", "clock"),
    [
        ("2:30 PM", time(14, 30)),
        ("9:05", time(9, 5)),
        ("12:00 a.m.", time()),
        (" 12:05:06,25 pm ", time(12, 5, 6, 250_000)),
        ("9:05 UTC", time(9, 5, tzinfo=UTC)),
        ("14:05:06 GMT+0200", time(14, 5, 6, tzinfo=TWO)),
    ],
)
def test_reads_a_time_of_day_without_loss(text: str, clock: time) -> None:
    found = read(time.fromisoformat, text)
    assert found == (clock, Loss.NONE)
    assert found[0].utcoffset() == clock.utcoffset()


@pytest.mark.parametrize(
    "text",
    [
        "24:00",
        "25:00",
        "9:60",
        "13:05 PM",
        "0:05 AM",
        "9",
        "9 PM",
        "9:05 EST",
        "9:05 AMZ",
        "9:05pmutc",
        "28 Sep 2024 9:05",
        "9:05 (CET)",
        "٩:05",
    ],
)
def test_declines_what_is_no_time_of_day_or_more_than_that(text: str) -> None:
    assert attempt(time.fromisoformat, text) is None
