"""Which failures may pass by themselves, and how long to wait for that."""

from __future__ import annotations

import http.client
import urllib.error
from email.message import Message
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from healspan.remediation.errors import StepInapplicable
from healspan.remediation.step import RetryStep
from healspan.remediation.transience import is_transient, retry_after, wait_seconds


class RateLimitError(Exception):
    pass


class HTTPError(Exception):
    def __init__(self, status: int, headers: dict[str, str] | None = None) -> None:
        self.response = SimpleNamespace(status_code=status, headers=headers or {})


class Hostile(Exception):
    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


@pytest.mark.parametrize(
    "error",
    [
        *(ConnectionResetError(), TimeoutError(), RateLimitError(), HTTPError(503), HTTPError(429)),
        *(http.client.IncompleteRead(b""), http.client.RemoteDisconnected()),
        urllib.error.URLError(ConnectionRefusedError()),
        *(requests.ConnectionError(), requests.exceptions.ChunkedEncodingError(), requests.ReadTimeout()),
    ],
)
def test_a_failure_that_says_it_may_pass_is_transient(error: Exception) -> None:
    assert is_transient(error)


@pytest.mark.parametrize(
    "error",
    [ValueError(), KeyError("timeout"), HTTPError(404), HTTPError(500), urllib.error.URLError("unknown scheme")],
)
def test_other_failures_are_not(error: Exception) -> None:
    assert not is_transient(error)


def test_a_hostile_failure_has_said_nothing() -> None:
    assert not is_transient(Hostile())


def test_a_retry_after_is_honoured_and_read_from_where_it_stands() -> None:
    assert retry_after(HTTPError(429, {"retry-after": "1.5"})) == 1.5
    assert retry_after(HTTPError(429, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"})) is None
    assert retry_after(Hostile()) is None
    assert wait_seconds(RetryStep(), 0, HTTPError(429, {"retry-after": "1.5"})) == 1.5


def test_who_asks_for_more_patience_than_there_is_is_not_waited_for() -> None:
    with pytest.raises(StepInapplicable, match="60 s"):
        wait_seconds(RetryStep(longest_wait=2), 0, HTTPError(429, {"retry-after": "60"}))


def test_a_retry_after_on_the_error_itself_is_honoured() -> None:
    headers = Message()
    headers["Retry-After"] = "1"
    assert retry_after(urllib.error.HTTPError("http://localhost", 429, "", headers, None)) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422])
def test_who_has_answered_for_good_is_not_asked_again(status: int) -> None:
    # The fix was made for a 503 of the same client, on the same line.
    with pytest.raises(StepInapplicable, match="for good"):
        wait_seconds(RetryStep(), 0, HTTPError(status))
    assert wait_seconds(RetryStep(), 0, HTTPError(500)) > 0


@given(
    st.integers(0, 4),
    st.floats(0, 1, exclude_max=True),
    st.floats(0.01, 5),
    st.floats(0.01, 30),
)
def test_waits_are_bounded_and_never_nothing(number: int, jitter: float, first: float, longest: float) -> None:
    step = RetryStep(first_wait=first, longest_wait=longest)
    wait = wait_seconds(step, number, ConnectionError(), lambda: jitter)
    full = min(longest, first * 2**number)
    assert full / 2 <= wait <= min(longest, full)
