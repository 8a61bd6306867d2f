"""The algebra of the date repairer: total, exact, silent where nothing is wrong, and it makes nothing up."""

import re
from datetime import date, datetime, timedelta, timezone
from typing import Any

from dateutil import parser
from hypothesis import assume, example, given
from hypothesis import strategies as st

from healspan.remediation.repairers import Failure, Loss, Repaired, repairer
from healspan.remediation.repairers.date import DateParameters

DATE = repairer("date")
TARGETS: list[Any] = [datetime.fromisoformat, date.fromisoformat, datetime.strptime]
UNREADABLE = ValueError("Invalid isoformat string: ''")

parameters = st.builds(
    DateParameters,
    accept=st.sampled_from([Loss.NONE, Loss.NORMALISED]),
    order=st.sampled_from([None, "day first", "month first"]),
)
# fmt: off
pieces = st.sampled_from(
    [
        "2024", "24", "28", "9", "09", "05", "5", "12", "13", "0", "00", "14", "59", "60", "Sep", "Sept.",
        "September", "May", "Sat", "Sunday", ",", ".", "/", "-", ":", "T", "t", "Z", "z", "UTC", "GMT",
        "EST", "+", "am", "PM", "at", "of", "th", "st", "0200", "02:00", "14:05", "14:05:06", ".250",
        "2024-09-28", "05/09/2024", "28.09.2024", "\u200b", "\u202e", "٢", "(", ")", "CEST", " ", " ", " ",
    ],
)
# fmt: on
texts = st.lists(pieces, max_size=14).map("".join) | st.text(max_size=90)
formats = st.sampled_from(
    [
        "%Y-%m-%d",
        "%d/%m/%Y",
        "%m/%d/%y",
        "%d %b %Y %H:%M",
        "%Y-%m-%dT%H:%M:%SZ",
        "%Y-%m-%dT%H:%M:%S.%f%z",
        "%d %B",
        "%j",
    ],
) | st.text("%YmdHMSfzZbpaBIy -/:.T", max_size=20)
offsets = st.none() | st.integers(-12 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(datetime(1000, 1, 1), datetime(9998, 12, 31), timezones=offsets)
days = st.dates(date(1000, 1, 1), date(9998, 12, 31))


def read(text: object, target: Any, *rest: object, given: DateParameters | None = None) -> Repaired | None:
    return DATE.repair(Failure("call", target, text, UNREADABLE, given or DateParameters(), rest))


def value(text: str, target: Any, *rest: object) -> Any:
    """What the callee makes of a text, repaired if it must be."""
    try:
        return target(text, *rest)
    except ValueError:
        repaired = read(text, target, *rest)
        return None if repaired is None else target(repaired.value, *rest)


@given(texts, st.sampled_from(TARGETS), formats, parameters)
@example("28/09/2024" + " " * 69, date.fromisoformat, "", DateParameters())
@example("(" * 80, date.fromisoformat, "", DateParameters())
@example("9999-12-31T24:00", datetime.fromisoformat, "", DateParameters())
@example("0001/01/01 00:00+14:00", datetime.fromisoformat, "", DateParameters())
def test_whatever_the_text_the_callee_reads_what_it_is_given(
    text: str, target: Any, form: str, given: DateParameters
) -> None:
    rest = (form,) if target == datetime.strptime else ()
    repaired = read(text, target, *rest, given=given)
    if repaired is not None:
        target(repaired.value, *rest)
        assert repaired.loss in (Loss.NONE, given.accept)
        assert read(repaired.value, target, *rest, given=given) is None


@given(st.one_of(st.none(), st.binary(), st.integers(), st.dates(), st.lists(st.text())), st.sampled_from(TARGETS))
def test_total_on_other_arguments(argument: object, target: Any) -> None:
    assert read(argument, target) is None
    assert read("28 Sep 2024", target, argument) is None


@given(texts)
def test_every_number_of_the_answer_stands_in_the_text_and_dateutil_agrees(text: str) -> None:
    """An independent reader, told either order, must read the same moment."""
    repaired = read(text, datetime.fromisoformat)
    if repaired is None or "24:00" in text:
        return
    got = datetime.fromisoformat(str(repaired.value))
    clean = re.sub(r"\([^)]*\)|[\u200b\u202e]", "", text).replace("\u00a0", " ")
    clean = re.sub(r"(?i)(utc|gmt)(?=[+-])", "", clean)  # which dateutil reads as POSIX does, the other way round
    clean = re.sub(r"(\d{4}):(?=\d\d?:)", r"\1 ", clean)
    readings = set()
    for first in (True, False):
        try:
            readings.add(parser.parse(clean, dayfirst=first, default=datetime(1, 1, 1)))
        except (ValueError, OverflowError):
            continue
    assert not readings or any(got.replace(tzinfo=None) == each.replace(tzinfo=None) for each in readings), readings
    assert not readings or any(got.utcoffset() == each.utcoffset() for each in readings)


@given(
    days,
    st.sampled_from(
        [
            "%d %B %Y",
            "%d %b %Y",
            "%B %d, %Y",
            "%b. %d, %Y",
            "%A, %B %d, %Y",
            "%a, %d %b %Y",
            "%Y/%m/%d",
            "%Y.%m.%d",
            "%d-%b-%Y",
        ]
    ),
)
def test_every_notation_of_a_day_reads_back_exactly(day: date, form: str) -> None:
    text = day.strftime(form).replace("May. ", "May ")
    assert value(text, date.fromisoformat) == day
    assert value(text, datetime.fromisoformat) == datetime(day.year, day.month, day.day)
    assert value(text, datetime.strptime, "%d/%m/%Y") == datetime(day.year, day.month, day.day)


@given(moments, st.sampled_from(["%d %B %Y %H:%M:%S.%f", "%Y/%m/%d %H:%M:%S.%f", "%a %b %d %Y %I:%M:%S.%f %p"]))
def test_every_notation_of_a_moment_keeps_the_time_and_the_zone(moment: datetime, form: str) -> None:
    text = moment.strftime(form) + (f" {moment:%z}" if moment.tzinfo else "")
    got = value(text, datetime.fromisoformat)
    assert got == moment
    assert got.utcoffset() == moment.utcoffset()


@given(days, st.sampled_from("/-."))
def test_a_day_and_a_month_by_number_are_read_only_if_they_cannot_be_swapped(day: date, mark: str) -> None:
    swappable = day.day <= 12 and day.day != day.month
    for form in ("%d/%m/%Y", "%m/%d/%Y"):
        got = value(day.strftime(form).replace("/", mark), date.fromisoformat)
        assert got == (None if swappable else day)


@given(days, st.sampled_from(["day first", "month first"]))
def test_a_declared_order_reads_its_own_and_never_the_other(day: date, order: Any) -> None:
    given = DateParameters(order=order)
    form = "%d/%m/%Y" if order == "day first" else "%m/%d/%Y"
    repaired = read(day.strftime(form), date.fromisoformat, given=given)
    assert repaired == Repaired(day.isoformat(), Loss.NORMALISED)


@given(days, days)
def test_another_weekday_always_declines(day: date, other: date) -> None:
    assume(day.weekday() != other.weekday())
    assert read(f"{other:%A}, {day:%d %B %Y}", date.fromisoformat) is None


@given(moments)
def test_a_format_gets_all_of_a_moment_or_nothing(moment: datetime) -> None:
    text = f"{moment:%d %B %Y %H:%M:%S.%f}" + (f" {moment:%z}" if moment.tzinfo else "")
    for form in ("%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S.%f%z"):
        got = value(text, datetime.strptime, form)
        assert got is None or (got == moment and got.utcoffset() == moment.utcoffset())
