"""Secrets inside text: what goes, what stays, and that nothing half remains."""

from __future__ import annotations

import gzip
import html
from pathlib import Path

import pytest

from healspan.remediation.errors import ConfigurationError
from healspan.remediation.scrubbing import MAX_TEXT, Finding, Scrubber
from healspan.remediation.scrubbing import scrubber as scrubber_module
from healspan.remediation.scrubbing.rules import Rule
from healspan.remediation.scrubbing.seen import as_seen

FILINGS = Path(__file__).parents[2] / "examples" / "filings" / "data"

SCRUB = Scrubber().scrub_text
RANDOM = "Zk3jQ9vLw2Xc8RtY5uIoP1aSdF6gHj7K4lM0nBv"


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("?q=%7B%22password%22%3A%22pa+ss%22%7D&n=1", "?q=%7B%22password%22%3A%22[redacted:key]%22%7D&n=1"),
        ("{&quot;token&quot;: &quot;abc&quot;, n: 1}", "{&quot;token&quot;: &quot;[redacted:key]&quot;, n: 1}"),
        ("%70assword=abc&n=%70", "%70assword=[redacted:key]&n=%70"),
        ("next=%2Fin%253Ftoken%253Dabc%2526n%253D1", "next=%2Fin%253Ftoken%253D[redacted:key]%2526n%253D1"),
        ("100% of &lt;b&gt;%20 &nbsp; %zz", "100% of &lt;b&gt;%20 &nbsp; %zz"),
        ("password=hunter2 user=bob", "password=[redacted:key] user=bob"),
        ("db_password: 'two words' end", "db_password: '[redacted:key]' end"),
        ('{"password": "a\\"b", "n": 1}', '{"password": "[redacted:key]", "n": 1}'),
        ('log: {\\"token\\": \\"abc\\", \\"n\\": 1}', 'log: {\\"token\\": \\"[redacted:key]\\", \\"n\\": 1}'),
        ("token=(1, 'a)b') x", "token=[redacted:key] x"),
        ("Authorization: Digest a=b, c=d\nHost: x", "Authorization: [redacted:key]\nHost: x"),
        ("Cookie: a=b; c=d", "Cookie: [redacted:key]"),
        ("?token=abc&page=2&api_key=z", "?token=[redacted:key]&page=2&api_key=[redacted:key]"),
        ("[('authorization', 'abc'), ('host', 'x')]", "[('authorization', '[redacted:key]'), ('host', 'x')]"),
        ('{"name": "API_KEY", "value": "z"}', '{"name": "API_KEY", "value": "[redacted:key]"}'),
        ("IDENTIFIED BY 'pw'", "IDENTIFIED BY '[redacted:key]'"),
        ("the password is hunter2", "the password is [redacted:key]"),
        ("secret_key: \"never closed", 'secret_key: "[redacted:key]'),
        ("https://bob:pa@ss/w@host/x", "https://[redacted:url_credentials]@host/x"),
        ("git clone https://tok@host/x", "git clone https://[redacted:url_credentials]@host/x"),
        ("Bearer abc12345.x", "Bearer [redacted:bearer]"),
        ("Basic Ym9iOnB3", "Basic [redacted:basic]"),
        ("pay 4111 1111 1111 1111 now", "pay [redacted:card] now"),
        ("DE89 3704 0044 0532 0130 00 OK", "[redacted:iban] OK"),
        ("ssn 078-05-1120.", "ssn [redacted:ssn]."),
        ("-----BEGIN EC PRIVATE KEY-----\nab\ncd", "[redacted:pem]"),
        (f"blob {RANDOM} end", "blob [redacted:entropy] end"),
        ("INSERT INTO u (n, password) VALUES ('b', 'x;y'); x", "INSERT INTO u (n, password) VALUES [redacted:sql]; x"),
    ],
)  # fmt: skip
def test_a_secret_is_replaced_and_its_surroundings_stay(text: str, scrubbed: str) -> None:
    assert SCRUB(text) == scrubbed


@pytest.mark.parametrize(
    "text",
    [
        "KeyError: 'Net sales'",
        "no such key: revenue",
        "could not convert string to float: '$1,234'",
        "'NoneType' object has no attribute 'text'",
        "the token is invalid",
        "Basic information about the Bearer of this",
        "columns ('user', 'password', 'email')",
        "550e8400-e29b-41d4-a716-446655440000",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "sha256 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "commit 2fd4e1c67a2d28fced849ee1bb76e7391b93eb12",
        "accession 0000320193-24-000123 at 1732320759123456789",
        "RevenueFromContractWithCustomerExcludingAssessedTax",
        "/usr/lib/python3.11/site-packages/opentelemetry/sdk/trace/export/__init__.py",
        "https://github.com/PyMySQL/mysqlclient/discussions/651/comments",
        "DE88 3704 0044 0532 0130 00 fails the check digits",
        "facade" * 6,
        "4111111111111112 fails the check digit",
        "2019 2020 2021 2022 2023 2024",
        "http://localhost:8080/a?page=2",
        "max_tokens=4096, token_count: 12",
        "total: $ 4,539 1,488 343 6,467",
    ],
)
def test_what_is_no_secret_stays_as_it_is(text: str) -> None:
    assert SCRUB(text) == text


def test_equal_addresses_get_equal_pseudonyms_within_one_session_only() -> None:
    session = Scrubber().session()
    assert session.text("from a@x.org to b@x.org") == "from <email:1> to <email:2>"
    assert session.text("reply to B@X.org") == "reply to <email:2>"
    assert Scrubber().scrub_text("b@x.org") == "<email:1>"


def test_json_inside_json_inside_a_value_is_scrubbed() -> None:
    value = {"body": '{"inner": "{\\"password\\": \\"hunter2\\"}"}'}
    assert "hunter2" not in str(Scrubber().scrub_value(value))


@pytest.mark.parametrize("before", range(60, 101))
def test_a_cut_leaves_no_part_of_a_secret_that_straddles_it(before: int) -> None:
    secret = "sk-ant-Q1w2E3r4T5y6U7i8O9p0A1s2D3f4G5h6"
    cut = SCRUB("x " * (before // 2) + secret + " tail" * 400, limit=100)
    assert len(cut) <= 100
    assert secret[:10] not in cut
    assert cut.endswith("…")


def test_a_secret_longer_than_everything_read_leaves_no_part() -> None:
    assert "Zk3j" not in SCRUB("see " + RANDOM * 100, limit=100)
    assert "aaaa" not in SCRUB("password='" + "a" * 10_000 + "' x", limit=100)


def test_a_secret_that_only_its_end_betrays_leaves_no_part_before_a_cut() -> None:
    assert "q9" not in SCRUB("x " * 40 + "https://bob:" + "q9" * 200 + "@host/", limit=100)


def test_what_lies_beyond_the_cut_is_not_pulled_forward() -> None:
    text = "token=" + "a" * 150 + " " + "b " * 22 + "BEYOND token=c d"
    assert "BEYOND" not in SCRUB(text, limit=200)
    assert SCRUB(text, limit=200).startswith("token=[redacted:key] b b")


def test_json_over_several_lines_is_scrubbed_by_its_structure() -> None:
    assert "hunter2" not in SCRUB('{"password":\n  "hunter2"}')


def test_what_redaction_pulls_forward_was_scrubbed_as_a_whole() -> None:
    text = "token=" + "a" * 150 + " " + "b@example.org " * 30
    assert "@" not in SCRUB(text, limit=200)


def test_a_text_beyond_the_bound_is_dropped_not_passed_on() -> None:
    assert "hunter2" not in SCRUB("x " * MAX_TEXT + "password=hunter2")


def test_a_rule_that_fails_redacts_the_whole_text(monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(text: str, lower: str) -> object:
        raise RuntimeError("broken rule")

    broken = Rule("broken", "fails", explode, iter)  # type: ignore[arg-type]
    monkeypatch.setattr(scrubber_module, "VALUE_RULES", (*scrubber_module.VALUE_RULES, broken))
    scrubber = Scrubber()
    assert scrubber.scrub_text("anything at all") == "[redacted:failed]"
    assert scrubber.scrub_value({"a": "anything"}) == {"[redacted:failed]": "[redacted:failed]"}


def test_code_keeps_expressions_and_loses_literals() -> None:
    session = Scrubber().session()
    assert session.text("send('bob@x.org')", code=True) == "send('[redacted:email]')"
    assert session.text("token = reader.next()", code=True) == "token = reader.next()"
    assert session.text('password: str = "hunter2"', code=True) == 'password: str = "[redacted:key]"'
    assert (
        session.text("connect(password='hunter2', retries=3)", code=True)
        == "connect(password='[redacted:key]', retries=3)"
    )


def test_a_result_can_be_stored_anywhere() -> None:
    SCRUB("lone \ud800 surrogate").encode()
    assert "\0" not in SCRUB("nul \0 byte")


def test_nesting_beyond_the_bound_is_redacted() -> None:
    value: object = "deep"
    for _ in range(60):
        value = [value]
    assert "deep" not in str(Scrubber().scrub_value(value))  # type: ignore[arg-type]


def test_a_disabled_rule_lets_its_kind_through_and_no_other() -> None:
    scrubber = Scrubber(disabled_patterns=frozenset({"email"}))
    assert scrubber.scrub_text("a@x.org ssn 078-05-1120") == "a@x.org ssn [redacted:ssn]"


def test_an_extra_pattern_joins_the_rules() -> None:
    scrubber = Scrubber(extra_patterns=(("badge", r"B-\d{6}"),))
    assert scrubber.scrub_text("badge B-123456") == "badge [redacted:badge]"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"disabled_patterns": frozenset({"nonsense"})}, "choose from"),
        ({"extra_patterns": (("x", "("),)}, "does not compile"),
        ({"extra_patterns": (("x y", "a"),)}, "letters, digits and underscores"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(settings: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        Scrubber(**settings)  # type: ignore[arg-type]


def test_explain_names_rule_place_and_reason_and_never_the_secret() -> None:
    value = {"db": {"password": "hunter2"}, "notes": ["mail bob@x.org"], "raw": '{"token": "abcdef"}'}
    findings = Scrubber().explain(value)  # type: ignore[arg-type]
    assert [(f.rule, f.path, f.offset) for f in findings] == [
        ("key", "$.db.password", 0),
        ("email", "$.notes[0]", 5),
        ("key", "$.raw.token", 0),
    ]
    assert all(f.why for f in findings)
    assert not any(secret in str(findings) for secret in ("hunter2", "bob@", "abcdef"))


def test_explain_does_not_betray_a_secret_in_a_key() -> None:
    assert Scrubber().explain({"bob@x.org": "a@x.org"}) == [
        Finding("email", "$.<email:1>", 0, "an e-mail address"),
    ]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("localhost:5432:orders:bob:hunter2", "localhost:5432:orders:bob:[redacted:pgpass]"),
        ("*:*:*:bob:hun ter:2\nnext", "*:*:*:bob:[redacted:pgpass]\nnext"),
        ("/run/postgresql:5433:*:_b0b:hun\\:ter2 ", "/run/postgresql:5433:*:_b0b:[redacted:pgpass]"),
        ("\\:\\:1:5432:orders:bob:hunter2", "\\:\\:1:5432:orders:bob:[redacted:pgpass]"),
        ("in 'db:5432:orders:bob:hunter2' line 3", "in 'db:5432:orders:bob:[redacted:pgpass]' line 3"),
        ("b'x\\ndb:5432:orders:bob:hunter2\\ny'", "b'x\\ndb:5432:orders:bob:[redacted:pgpass]\\ny'"),
    ],
)
def test_the_password_of_a_password_files_line_goes(text: str, kept: str) -> None:
    assert Scrubber().scrub_text(text) == kept


@pytest.mark.parametrize(
    "text",
    [
        "src/app.py:12:5:E501:line",
        "INFO:412:orders:load:no such order",
        "2026-01-05T12:30:45:123:456",
        "00:11:22:33:44:55",
        "2001:1234:abcd:ef01:5678:1::2",
        "arn:aws:iam::123456789012:role/reader",
        "root:x:0:0:root:/root:/bin/bash",
        "127.0.0.1:8080:8080",
        "http://db:5432/a:b:c:d",
        "db:5432:orders:bob:",
    ],
)
def test_what_only_has_colons_stays(text: str) -> None:
    assert Scrubber().scrub_text(text) == text


def test_a_safe_name_is_safe_however_it_is_written() -> None:
    scrubber = Scrubber(safe_keys=frozenset({"Contraseña_Token"}))
    assert scrubber.scrub_text("contraseña_token=abc") == "contraseña_token=abc"
    assert scrubber.scrub_text("contrasena_tοken=abc") == "contrasena_tοken=abc"


def test_letters_of_other_scripts_are_none_of_ours() -> None:
    text = "Выручка: 5; имя = Анна, ключевой показатель: рост; Έσοδα: 7; Größe=3; 收入: 12"
    assert Scrubber().scrub_text(text) == text


def test_nothing_in_filings_is_taken_for_a_name_in_disguise() -> None:
    """They have soft hyphens, blanks without width and accents, and no password."""
    disguised = 0
    for path in sorted(FILINGS.glob("*.gz"))[::3]:
        text = html.unescape(gzip.decompress(path.read_bytes()).decode("utf-8", "replace"))
        for start in range(0, len(text), 20_000):
            piece = text[start : start + 20_000]
            if as_seen(piece) is not None:
                disguised += 1
                assert {span.rule for span in Scrubber().spans(piece)} <= {"entropy", "email"}
    assert disguised > 10
