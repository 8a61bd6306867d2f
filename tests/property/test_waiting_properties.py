"""How long a server asks to wait: whatever its headers say, the answer is a sane number of seconds or none."""

from __future__ import annotations

import email.utils
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from healspan.remediation.claude.waiting import MOST_WAIT, asked_to_wait

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
NAMES = st.sampled_from(
    [
        "retry-after",
        "retry-after-ms",
        "anthropic-ratelimit-requests-reset",
        "anthropic-ratelimit-requests-remaining",
        "x-ratelimit-reset-tokens",
        "x-ratelimit-remaining-tokens",
        "x-ratelimit-reset",
    ]
)
VALUES = st.one_of(
    st.text(max_size=30),
    st.floats().map(str),
    st.integers().map(str),
    st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat),
    st.from_regex(r"([0-9]{1,30}h)?([0-9]{1,5}m)?([0-9]{1,5}\.?[0-9]?s)?", fullmatch=True),
)
WAITS = st.integers(min_value=0, max_value=int(MOST_WAIT))


@given(st.dictionaries(NAMES, VALUES))
def test_any_headers_give_a_bounded_wait_or_none(headers: dict[str, str]) -> None:
    wait = asked_to_wait(headers, NOW)
    assert wait is None or 0 <= wait <= MOST_WAIT


@given(WAITS)
def test_every_notation_says_the_same(seconds: int) -> None:
    when = NOW + timedelta(seconds=seconds)
    hours, rest = divmod(seconds, 3_600)
    minutes, left = divmod(rest, 60)
    notations: list[dict[str, str]] = [
        {"retry-after": str(seconds)},
        {"retry-after": email.utils.format_datetime(when, usegmt=True)},
        {"retry-after-ms": str(seconds * 1_000)},
        {"anthropic-ratelimit-tokens-reset": when.isoformat().replace("+00:00", "Z")},
        {"x-ratelimit-reset": str(seconds)},
        {"x-ratelimit-reset": str(int(when.timestamp()))},
        {"x-ratelimit-reset-requests": f"{hours}h{minutes}m{left}s"},
        {"x-ratelimit-reset-requests": f"{left * 1_000 + (hours * 60 + minutes) * 60_000}ms"},
    ]
    assert [asked_to_wait(each, NOW) for each in notations] == [float(seconds)] * len(notations)


@given(WAITS, WAITS)
def test_an_exhausted_limit_counts_and_no_other(requests: int, tokens: int) -> None:
    headers = {
        "anthropic-ratelimit-requests-remaining": "0",
        "anthropic-ratelimit-requests-reset": str(requests),
        "anthropic-ratelimit-tokens-remaining": "1000",
        "anthropic-ratelimit-tokens-reset": str(tokens),
    }
    assert asked_to_wait(headers, NOW) == requests
    assert asked_to_wait({**headers, "anthropic-ratelimit-requests-remaining": "1"}, NOW) is None
    headers["anthropic-ratelimit-tokens-remaining"] = "0"
    assert asked_to_wait(headers, NOW) == max(requests, tokens)


@given(WAITS, WAITS)
def test_what_the_server_says_outright_wins(said: int, reset: int) -> None:
    assert asked_to_wait({"retry-after": str(said), "x-ratelimit-reset": str(reset)}, NOW) == said


def test_a_time_that_has_passed_is_no_wait() -> None:
    assert asked_to_wait({"retry-after": "Thu, 26 Nov 2020 12:00:00 GMT"}, NOW) == 0
    assert asked_to_wait({"retry-after": "-5"}, NOW) == 0


def test_silence_is_none() -> None:
    assert asked_to_wait({}, NOW) is None
    assert asked_to_wait({"retry-after": "nan"}, NOW) is None
    assert asked_to_wait({"anthropic-ratelimit-requests-remaining": "0"}, NOW) is None
