"""Names that announce secrets, and names that only look like it."""

from __future__ import annotations

import pytest

from healspan.remediation.scrubbing import KeyVerdict, Scrubber, judge_key


@pytest.mark.parametrize(
    "key",
    [
        "password", "db_password", "dbPassword", "DB-PASSWORD", "user.password.hash", "passwd", "pwd", "mysql_pwd",
        "secret", "client_secret", "token", "accessToken", "access_token", "refresh-token", "csrf_token", "key",
        "api_key", "APIKey", "apikey", "X-Api-Key", "stripe_key", "privateKey", "auth", "Authorization",
        "proxy-authorization", "credential", "credentials", "session", "session_id", "sessionid", "cookie",
        "Set-Cookie",
        "csrf", "xsrf", "jwt", "bearer", "sso", "saml", "otp", "pin", "ssn", "sid", "pin2", "tokens", "auth_key",
        "key_material", "connection_string", "PHPSESSID",
    ],
)  # fmt: skip
def test_a_name_that_announces_a_secret_convicts(key: str) -> None:
    assert judge_key(key) is KeyVerdict.SECRET


@pytest.mark.parametrize(
    "key",
    [
        "author", "keyboard", "monkey", "tokenizer", "shipping", "opinion", "considered", "secretary", "name", "label",
        "primary_key", "foreignKey", "sort_key", "cache_key", "key_name", "context_keys", "KeyError", "TokenError",
        "revenue", "inside", "passenger", "compass", "authority", "", "…", "123",
    ],
)  # fmt: skip
def test_a_look_alike_is_let_through(key: str) -> None:
    assert judge_key(key) is KeyVerdict.HARMLESS


@pytest.mark.parametrize("key", ["max_tokens", "token_count", "totalTokens", "session_timeout", "prompt_tokens"])
def test_a_counting_name_convicts_a_text_but_not_a_number(key: str) -> None:
    scrubber = Scrubber()
    assert scrubber.scrub_value({key: 4096}) == {key: 4096}
    assert scrubber.scrub_value({key: "hunter2"}) == {key: "[redacted:key]"}


@pytest.mark.parametrize("value", [None, True, False, ""])
def test_values_that_can_hold_no_secret_stay(value: object) -> None:
    assert Scrubber().scrub_value({"password": value}) == {"password": value}


@pytest.mark.parametrize("value", [1234, 12.5, "x", ["a", "b"], {"user": "bob", "p": "q"}])
def test_everything_else_under_a_secret_name_goes(value: object) -> None:
    assert Scrubber().scrub_value({"pin": value}) == {"pin": "[redacted:key]"}


def test_safe_keys_are_let_through_whatever_their_case() -> None:
    scrubber = Scrubber(safe_keys=frozenset({"Session"}))
    assert scrubber.scrub_value({"session": "10-K"}) == {"session": "10-K"}
    assert scrubber.scrub_text("session=10-K token=abc") == "session=10-K token=[redacted:key]"


def test_a_safe_key_does_not_excuse_a_secret_by_form() -> None:
    scrubber = Scrubber(safe_keys=frozenset({"token"}))
    assert scrubber.scrub_value({"token": "ghp_abcdefghij0123456789"}) == {"token": "[redacted:api_key]"}
