"""Reads dates and times as people and systems write them, for a call such as ``date.fromisoformat("28 Sep 2024")``.

The repairer hands the plain notation to the original callee: ISO 8601, or the format that `strptime` was given.
Nothing is made up: a part that the callee needs and the text does not say declines (a day, an hour, a time zone),
and so does a part that the text says and the callee would drop (a time of day, a zone, microseconds). Conventions:

* ``05/09/2024`` is two dates and declines; ``28/09/2024`` is one. `DateParameters.order` settles the rest. But where
  `strptime` was told the other order, its format does not fit the source, which will also write ``05/09/2024`` and
  be misread in silence: the loud failure stays.
* Months and weekdays in English only; a weekday must be that of the date. Years have four digits.
* A zone is an offset, ``Z``, ``UTC`` or ``GMT``, and is kept as it is; other names (``EST``) and ``-0000`` decline.
* Midnight without a zone is a date where a date is wanted, and missing seconds are zero: both are normalised.
* A number of seconds since 1970 declines: neither its unit nor its zone stands in the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from types import BuiltinMethodType
from typing import Final, Literal

from healspan.remediation.repairers.characters import HARD_SPACES, INVISIBLE, SOFT_SPACES
from healspan.remediation.repairers.contract import (
    EITHER,
    Failure,
    Loss,
    Repaired,
    RepairerParameters,
    exact_text,
    within,
)

__all__ = ["DateParameters", "DateRepairer"]

MAX_LENGTH = 80
_SEEN = {**dict.fromkeys(map(ord, INVISIBLE)), **dict.fromkeys(map(ord, HARD_SPACES + SOFT_SPACES), " ")}
_COMPLAINTS = ("Invalid isoformat string", "hour must be in", "time data ", "unconverted data remains")

_MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTH = r"(?P<{}>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|" + (
    r"oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
)
_WEEKDAY = (
    r"(?P<weekday>mon(?:day)?|tue(?:s(?:day)?)?|wed(?:nesday)?|thu(?:rs?(?:day)?)?|fri(?:day)?|sat(?:urday)?|"
    r"sun(?:day)?)"
)
_TIME = r"""
    (?P<{0}hour>[0-9]{{1,2}}) :(?P<{0}minute>[0-9]{{2}})
    (?: :(?P<{0}second>[0-9]{{2}}) (?: [.,](?P<{0}fraction>[0-9]{{1,12}}) )? )?
    (?: [ ]?(?P<{0}half>[ap])\.?m\.?(?![a-z]) )?
"""
_ZONE = r"""
    (?P<{0}zone>
        z | utc | gmt
      | (?:utc|gmt)?(?P<{0}sign>[+-])(?P<{0}hours>[0-9]{{2}}):?(?P<{0}minutes>[0-9]{{2}})?
        (?P<{0}note>[ ]\([a-z .]{{1,40}}\))?
    )
"""
# Fixed runs and single separators only: no two parts can share a character, so the time is linear.
_SHOWN = re.compile(
    rf"""
    (?: {_WEEKDAY}\.?,?[ ] )?
    (?:
        (?P<y1>[0-9]{{4}})(?P<s1>[-/.])(?P<m1>[0-9]{{1,2}})(?P=s1)(?P<d1>[0-9]{{1,2}})
      | (?P<a>[0-9]{{1,2}})(?P<s2>[-/.])(?P<b>[0-9]{{1,2}})(?P=s2)(?P<y2>[0-9]{{4}})
      | (?P<y3>[0-9]{{4}})(?P<s3>[-/ ]){_MONTH.format("m3")}(?P=s3)(?P<d3>[0-9]{{1,2}})
      | (?P<d4>[0-9]{{1,2}})(?P<o4>st|nd|rd|th)?[-/ ]?(?:of[ ])?{_MONTH.format("m4")},?[-/ ]?(?P<y4>[0-9]{{4}})
      | {_MONTH.format("m5")}[ ](?P<d5>[0-9]{{1,2}})(?P<o5>st|nd|rd|th)?(?:,[ ]?|[ ])(?P<y5>[0-9]{{4}})
      | {_MONTH.format("m6")}[ ]{{1,2}}(?P<d6>[0-9]{{1,2}})
        [ ]{_TIME.format("in")}(?:[ ]{_ZONE.format("in")})?[ ](?P<y6>[0-9]{{4}})
      | (?P<y7>(?:19|20)[0-9]{{2}})(?P<m7>[0-9]{{2}})(?P<d7>[0-9]{{2}})
        (?:(?P<h7>[0-9]{{2}})(?P<n7>[0-9]{{2}})(?P<x7>[0-9]{{2}}))?
    )
    (?: (?:,[ ]?|[ ]at[ ]|[T :])[ ]?{_TIME.format("")} (?:[ ]?{_ZONE.format("")})? )?
    """,
    re.VERBOSE | re.IGNORECASE,
)
_CLOCK = re.compile(rf"{_TIME.format('')} (?:[ ]?{_ZONE.format('')})?", re.VERBOSE | re.IGNORECASE)
_DIRECTIVE = re.compile(r"%(.)", re.DOTALL)
_OF_TIME = frozenset("HIMSfp")
_IS_UTC = re.compile(r"(?<![A-Za-z])(?:Z|UTC|GMT)(?![A-Za-z])|\+00:?00")


class DateParameters(RepairerParameters):
    """How to read what a text alone does not say."""

    order: Literal["day first", "month first"] | None = None
    """What stands first in ``05/09/2024``; None reads what is a date in one order only."""


class DateRepairer:
    """Gives `fromisoformat` and `strptime` the plain notation of a date or time."""

    name = "date"
    summary = "read the date or time in the notation that people and systems use"
    domain = "`date`, `time` and `datetime.fromisoformat`, `datetime.strptime` raising `ValueError`"
    losses = EITHER
    library = ""
    parameters = DateParameters

    def applies(self, kind: str, error: BaseException) -> bool:
        """Whether a call raised what the callees raise for text that they cannot read."""
        if kind != "call" or type(error) is not ValueError or len(error.args) != 1:
            return False
        message = exact_text(error.args[0], 1_000)
        return message is not None and message.startswith(_COMPLAINTS)

    def repair(self, failure: Failure) -> Repaired | None:
        """Return the notation of the same date and time that the callee reads, or None."""
        parameters, target = failure.parameters, failure.target
        if not self.applies(failure.kind, failure.error) or type(parameters) is not DateParameters:
            return None
        text = exact_text(failure.argument, MAX_LENGTH)
        if text is None or type(target) is not BuiltinMethodType:
            return None
        if target == time.fromisoformat:
            clock = _clock(text) if not failure.rest else None
            return None if clock is None or clock == text else within(parameters, clock, Loss.NONE)
        shown = _SHOWN.fullmatch(_seen(text))
        moment = None if shown is None else _moment(shown, parameters.order)
        if moment is None:
            return None
        rest = failure.rest
        if target == datetime.strptime and len(rest) == 1:
            found = _formatted(moment, text, rest[0])
        elif rest:
            return None
        elif target == datetime.fromisoformat:
            found = _plain(moment), moment.loss
        elif target == date.fromisoformat:
            found = _plain_date(moment)
        else:
            return None
        return None if found is None or found[0] == text else within(parameters, *found)


def _seen(text: str) -> str:
    return text.translate(_SEEN).strip()


def _clock(text: str) -> str | None:
    """Return a time of day in ISO 8601, or None."""
    shown = _CLOCK.fullmatch(_seen(text))
    if shown is None:
        return None
    part = {name: value or "" for name, value in shown.groupdict().items()}
    since, offset = _time(part), _offset(part)
    # A note says no more than the offset; 24:00 is a time of the next day.
    if since is None or offset is False or part["note"] or since >= timedelta(days=1):
        return None
    said = (datetime.min + since).time()
    return (said if offset is None else said.replace(tzinfo=timezone(offset))).isoformat()


@dataclass(frozen=True, slots=True)
class _Moment:
    """What a text says, and how much of it."""

    value: datetime
    """Without a zone; midnight where no time is said."""
    to: Literal["day", "minute", "second"]
    offset: timedelta | None
    rolled: bool
    """Whether 24:00 made it the day after the one that is written."""
    first: Literal["day", "month"] | None
    """Which of two numbers stood first, where the year stood last."""
    loss: Loss


def _moment(shown: re.Match[str], order: str | None) -> _Moment | None:
    part = {name: value for name, value in shown.groupdict().items() if value is not None}
    loss, first = Loss.NONE, None
    if "a" in part:
        decided = _day_and_month(int(part["a"]), int(part["b"]), order)
        if decided is None:
            return None
        day, month, first, loss = decided
        year = int(part["y2"])
    else:
        form = next(each for each in "134567" if f"y{each}" in part)
        year, day = int(part[f"y{form}"]), int(part[f"d{form}"])
        name = part[f"m{form}"].lower()
        month = (
            int(name)
            if name.isdigit()
            else 1 + next(i for i, each in enumerate(_MONTHS) if each[:3].lower() == name[:3])
        )
        suffix = part.get("o4") or part.get("o5")
        if suffix is not None and suffix.lower() != _ordinal(day):
            return None
    try:
        said = date(year, month, day)
    except ValueError:
        return None
    if "weekday" in part and _DAYS[said.weekday()][:3].lower() != part["weekday"][:3].lower():
        return None
    inner = "in" if "inhour" in part else ""
    if inner and "hour" in part:
        return None
    if "h7" in part:
        if "hour" in part:
            return None
        part.update(hour=part["h7"], minute=part["n7"], second=part["x7"])
        loss = Loss.NORMALISED
    since = _time({name: part.get(inner + name, "") for name in ("hour", "minute", "second", "fraction", "half")})
    offset = _offset({name: part.get(inner + name, "") for name in ("zone", "sign", "hours", "minutes")})
    if since is None or offset is False:
        return None
    try:
        value = datetime(year, month, day) + since
    except OverflowError:
        return None
    if inner + "note" in part:
        loss = Loss.NORMALISED
    to: Literal["day", "minute", "second"] = "second" if inner + "second" in part else "minute"
    return _Moment(value, to if inner + "hour" in part else "day", offset, value.date() != said, first, loss)


def _day_and_month(
    a: int,
    b: int,
    order: str | None,
) -> tuple[int, int, Literal["day", "month"] | None, Loss] | None:
    """Return day and month of two numbers, which stood first, and the loss."""
    if order is not None:
        return (a, b, "day", Loss.NORMALISED) if order == "day first" else (b, a, "month", Loss.NORMALISED)
    if a == b:
        return a, b, None, Loss.NONE
    if a > 12:
        return a, b, "day", Loss.NONE
    return (b, a, "month", Loss.NONE) if b > 12 else None


def _ordinal(day: int) -> str:
    return "th" if day // 10 == 1 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")


def _time(part: dict[str, str]) -> timedelta | None:
    """Return the time of day, zero where none is said, or None where there is no such time."""
    hour, minute, second = (int(part[name] or 0) for name in ("hour", "minute", "second"))
    fraction = part["fraction"]
    if fraction[6:].strip("0") or minute > 59 or second > 59:
        return None
    if part["half"]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if part["half"].lower() == "p" else 0)
    micro = int(fraction[:6].ljust(6, "0"))
    if hour > 24 or (hour == 24 and (minute or second or micro)):
        return None
    return timedelta(hours=hour, minutes=minute, seconds=second, microseconds=micro)


def _offset(part: dict[str, str]) -> timedelta | Literal[False] | None:
    """Return the offset from UTC, None where none is said, or False where it cannot be told."""
    if not part["zone"]:
        return None
    if not part["sign"]:
        return timedelta()
    hours, minutes = int(part["hours"]), int(part["minutes"] or 0)
    offset = timedelta(hours=hours, minutes=minutes)
    # RFC 2822 and RFC 3339: minus zero is a time in UTC whose zone is unknown.
    if minutes > 59 or offset > timedelta(hours=14) or (not offset and part["sign"] == "-"):
        return False
    return -offset if part["sign"] == "-" else offset


def _aware(moment: _Moment) -> datetime:
    return moment.value if moment.offset is None else moment.value.replace(tzinfo=timezone(moment.offset))


def _plain(moment: _Moment) -> str:
    return moment.value.date().isoformat() if moment.to == "day" else _aware(moment).isoformat()


def _plain_date(moment: _Moment) -> tuple[str, Loss] | None:
    if moment.to == "day":
        return moment.value.date().isoformat(), moment.loss
    midnight = moment.value == datetime.combine(moment.value.date(), datetime.min.time())
    return (
        (moment.value.date().isoformat(), Loss.NORMALISED)
        if midnight and moment.offset is None and not moment.rolled
        else None
    )


def _formatted(moment: _Moment, text: str, given: object) -> tuple[str, Loss] | None:
    """Return the moment in a format of `strptime` that reads all of it, and nothing more."""
    form = exact_text(given, MAX_LENGTH)
    if form is None or _read(text, form) is not None:
        return None
    asked = _DIRECTIVE.findall(form)
    if moment.first is not None and _first(asked) not in (None, moment.first):
        return None
    if moment.to == "day" and _OF_TIME & set(asked):
        return None
    # A literal Z says UTC, although `strptime` gives no zone for it.
    literal = _IS_UTC.search(_DIRECTIVE.sub(" ", form)) is not None
    wanted = _aware(moment)
    if "z" not in asked:
        if literal != (moment.offset is not None) or moment.offset:
            return None
        wanted = moment.value
    elif moment.offset is None:
        return None
    dropped = moment.to != "day" and not _OF_TIME & set(asked)
    if dropped and moment.rolled:
        return None
    values = _values(moment)
    if not values.keys() >= set(asked):
        return None
    written = _DIRECTIVE.sub(lambda directive: values[directive[1]], form)
    # The locale decides what names `strptime` reads, and the format what it keeps: only its own answer counts.
    read = _read(written, form)
    if read is None or read != wanted or read.utcoffset() != wanted.utcoffset():
        return None
    short = moment.to == "minute" and "S" in asked
    return written, Loss.NORMALISED if short or dropped else moment.loss


def _read(text: str, form: str) -> datetime | None:
    try:
        return datetime.strptime(text, form)
    except (ValueError, re.error):
        return None


def _first(asked: list[str]) -> str | None:
    """Return which of day and month a format has first, if both are numbers."""
    if "d" not in asked or "m" not in asked:
        return None
    return "day" if asked.index("d") < asked.index("m") else "month"


def _values(moment: _Moment) -> dict[str, str]:
    value = moment.value
    month, day = _MONTHS[value.month - 1], _DAYS[value.weekday()]
    values = {
        "Y": f"{value.year:04}",
        "y": f"{value.year % 100:02}",
        "m": f"{value.month:02}",
        "d": f"{value.day:02}",
        "H": f"{value.hour:02}",
        "I": f"{value.hour % 12 or 12:02}",
        "M": f"{value.minute:02}",
        "S": f"{value.second:02}",
        "f": f"{value.microsecond:06}",
        "p": "AM" if value.hour < 12 else "PM",
        "b": month[:3],
        "B": month,
        "a": day[:3],
        "A": day,
        "%": "%",
    }
    if moment.offset is not None:
        values["z"] = f"{_aware(moment):%z}"
    return values
