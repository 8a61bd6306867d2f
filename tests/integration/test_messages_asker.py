"""Asking over a real connection: what is sent, what comes back, and every way in which nothing does."""

from __future__ import annotations

import dataclasses
import email.utils
import json
import socket
import threading
import time

import pytest
from pydantic import SecretStr
from tests.asking import KEY, answer, asker, failure_of, prompt

from healspan.remediation.claude.answer import Answer, AnswerWithoutAdapters
from healspan.remediation.claude.ask import FailureKind, Prompt, Turn, bound
from healspan.remediation.claude.messages import MessagesAsker
from healspan.remediation.errors import ConfigurationError
from healspan.remediation.testing import (
    BreaksOff,
    Fails,
    FakeClaude,
    Floods,
    Hangs,
    Move,
    Received,
    Refuses,
    Says,
    Truncates,
)
from healspan.remediation.testing.checks import problems_of_schema
from healspan.remediation.testing.serving import Reaction


def test_an_answer_comes_with_its_usage_and_its_model() -> None:
    with FakeClaude(answer(), model="claude-opus-5-5-20260922") as server:
        reply = asker(server).ask(prompt())
    assert reply.answer == answer()
    assert reply.model == "claude-opus-5-5-20260922"
    assert reply.usage.input_tokens > 0
    assert reply.usage.output_tokens > 0
    assert reply.request_id.startswith("req_")
    assert reply.seconds > 0


def test_the_request_is_what_the_api_documents() -> None:
    with FakeClaude(answer()) as server:
        asker(server, effort="high", max_tokens=1_234).ask(prompt("the failure"))
    (request,) = server.asked
    body = request.json
    assert request.key == KEY
    assert request.header("anthropic-version")
    assert not request.header("anthropic-beta")
    assert body["model"] == "claude-opus-5-5"
    assert body["max_tokens"] == 1_234
    assert body["messages"] == [{"role": "user", "content": "the failure"}]
    assert [block.get("cache_control") for block in body["system"]] == [None, {"type": "ephemeral"}]
    assert body["output_config"]["effort"] == "high"
    assert problems_of_schema(body["output_config"]["format"]["schema"]) == []


def test_turns_keep_their_order_and_their_roles() -> None:
    turns = (Turn(role="user", text="a"), Turn(role="assistant", text="b"), Turn(role="user", text="c"))
    with FakeClaude(answer()) as server:
        asker(server).ask(Prompt(version="1", system=(), turns=turns))
    assert [(each["role"], each["content"]) for each in server.asked[0].json["messages"]] == [
        ("user", "a"),
        ("assistant", "b"),
        ("user", "c"),
    ]


def test_a_server_without_effort_is_not_told_of_it() -> None:
    with FakeClaude(answer()) as server:
        asker(server, effort=None).ask(prompt())
    assert "effort" not in server.asked[0].json["output_config"]


def test_the_beginning_is_cached_from_the_second_time_on() -> None:
    question = prompt(system=("what is alike for every failure. " * 400,))
    with FakeClaude(answer()) as server:
        asking = asker(server)
        first, second = (asking.ask(question).usage for _ in range(2))
    assert first.cache_write_tokens == second.cache_read_tokens > 1_024
    assert first.cache_read_tokens == second.cache_write_tokens == 0
    assert first.input_tokens == second.input_tokens


@pytest.mark.parametrize(
    ("move", "advice"),
    [
        (Fails(status=429), "lower HEALSPAN_CLAUDE_CONCURRENT"),
        (Fails(status=529), "to wait"),
        (Fails(status=500), "to wait"),
        (Truncates(), "raise HEALSPAN_CLAUDE_MAX_TOKENS"),
    ],
    ids=lambda value: value.do if isinstance(value, Move) else value,
)
def test_a_failure_says_what_to_do_about_it(move: Move, advice: str) -> None:
    with FakeClaude([move]) as server:
        assert advice in str(failure_of(asker(server)))


def test_an_address_where_nobody_listens_is_to_be_checked() -> None:
    with FakeClaude() as server:
        asking = asker(server)
    assert "check HEALSPAN_CLAUDE_BASE_URL" in str(failure_of(asking))


@pytest.mark.parametrize(
    ("move", "kind"),
    [
        (Fails(status=400), "bad_request"),
        (Fails(status=401), "unauthorized"),
        (Fails(status=402), "bad_request"),
        (Fails(status=403), "unauthorized"),
        (Fails(status=404), "bad_request"),
        (Fails(status=408), "timeout"),
        (Fails(status=413), "bad_request"),
        (Fails(status=422), "bad_request"),
        (Fails(status=429), "rate_limited"),
        (Fails(status=500), "server_error"),
        (Fails(status=502), "server_error"),
        (Fails(status=503), "server_error"),
        (Fails(status=529), "overloaded"),
        (Fails(status=307, headers={"location": "http://127.0.0.1:9/"}), "bad_request"),
        (Refuses(), "refused"),
        (Truncates(), "truncated"),
        (Says(text='{"root_cause": '), "malformed"),
        (Says(text=""), "malformed"),
        (Says(text="null"), "malformed"),
        (Says(text="[" * 100_000), "malformed"),
        (Says(text=answer().model_dump_json().replace("0.9", "NaN")), "malformed"),
        (BreaksOff(), "unreachable"),
        (Floods(), "malformed"),
        (Floods(announced=True), "malformed"),
        (Fails(status=500, headers={"content-encoding": "gzip"}), "malformed"),
    ],
    ids=lambda value: value.model_dump_json(exclude_defaults=True)[:60] if isinstance(value, Move) else value,
)
def test_each_failure_has_its_kind(move: Move, kind: FailureKind) -> None:
    with FakeClaude([move, answer()]) as server:
        asking = asker(server)
        failed = failure_of(asking)
        assert failed.kind == kind, failed
        assert asking.ask(prompt()).answer == answer(), "and the next one is asked as if nothing had been"


def test_what_is_no_messages_api_says_so() -> None:
    with FakeClaude(lambda _: None) as server:
        asking = asker(server)
        asking._base_url += "/elsewhere"
        assert failure_of(asking).kind == "bad_request"


@pytest.mark.parametrize(
    ("move", "seconds"),
    [
        (Fails(status=429, retry_after=7), 7.0),
        (Fails(status=429, retry_after=0.25), 0.25),
        (Fails(status=529, retry_after=3_600), 3_600.0),
        (Fails(status=503, retry_after="inf"), 86_400.0),
        (Fails(status=429, retry_after="soon"), None),
        (Fails(status=429, headers={"retry-after-ms": "1500"}), 1.5),
        (Fails(status=429, headers={"x-ratelimit-reset-requests": "6m0s"}), 360.0),
        (Fails(status=500), None),
    ],
)
def test_a_server_is_heard_when_it_asks_to_wait(move: Fails, seconds: float | None) -> None:
    with FakeClaude(move) as server:
        assert failure_of(asker(server)).retry_after == seconds


def test_a_server_may_ask_to_wait_until_a_time() -> None:
    date = email.utils.formatdate(time.time() + 100, usegmt=True)
    with FakeClaude(Fails(status=429, retry_after=date)) as server:
        waits = failure_of(asker(server)).retry_after
    assert waits is not None
    assert 10 < waits <= 100


def test_what_was_turned_away_is_asked_again() -> None:
    with FakeClaude([Fails(status=529), Fails(status=429, retry_after=0.05), answer()]) as server:
        assert asker(server, retries=2).ask(prompt()).answer == answer()
    assert len(server.asked) == 3


def test_nobody_sleeps_longer_than_the_call_may_take() -> None:
    with FakeClaude([Fails(status=429, retry_after="inf"), answer()]) as server:
        failed = failure_of(asker(server, retries=5))
    assert failed.kind == "rate_limited"
    assert len(server.asked) == 1


@pytest.mark.parametrize("move", [BreaksOff(), Says(text="no"), Refuses(), Truncates()], ids=lambda move: move.do)
def test_what_may_have_been_charged_for_is_not_asked_again(move: Move) -> None:
    with FakeClaude([move, answer()]) as server:
        failure_of(asker(server, retries=5))
    assert len(server.asked) == 1


@pytest.mark.parametrize("move", [Refuses(), Truncates(), Says(text="no")], ids=lambda move: move.do)
def test_what_an_answer_cost_is_known_if_it_is_of_no_use(move: Move) -> None:
    with FakeClaude(move) as server:
        usage = failure_of(asker(server, max_tokens=500)).usage
    assert usage is not None
    assert usage.input_tokens > 0
    assert usage.output_tokens == (500 if isinstance(move, Truncates) else 1)


def test_an_answer_in_a_fence_is_an_answer() -> None:
    # As models write it where a server does not hold them to the schema.
    with FakeClaude(Says(text=f"```json\n{answer().model_dump_json()}\n```\n")) as server:
        assert asker(server).ask(prompt()).answer == answer()


def test_steps_that_exist_nowhere_are_an_answer_all_the_same() -> None:
    unknown = answer(steps=[{"kind": "repair", "repairer": "telepathy", "accept": "none", "parameters": []}])
    with FakeClaude(unknown) as server:
        assert asker(server).ask(prompt()).answer == unknown


def test_an_answer_with_more_than_the_schema_is_refused_without_repeating_it() -> None:
    said = {**answer().model_dump(), "approved_by_the_document": True}
    with FakeClaude(Says(text=json.dumps(said))) as server:
        failed = failure_of(asker(server))
    assert failed.kind == "malformed"
    assert "approved" not in failed.detail


def test_a_server_that_names_no_usage_is_taken_to_charge_the_most() -> None:
    with _serving({"content": [{"type": "text", "text": answer().model_dump_json()}]}) as address:
        asking = MessagesAsker(model="m", api_key=SecretStr(KEY), base_url=address, max_tokens=321)
        reply = asking.ask(prompt())
    assert reply.usage.input_tokens == bound(prompt())
    assert reply.usage.output_tokens == 321
    assert reply.model == "m"


@pytest.mark.parametrize("usage", [{"input_tokens": -5, "output_tokens": 1}, {"input_tokens": "x"}, [], None])
def test_a_usage_that_is_nonsense_is_none(usage: object) -> None:
    with _serving({"content": [], "stop_reason": "refusal", "usage": usage}) as address:
        failed = failure_of(MessagesAsker(model="m", api_key=SecretStr(KEY), base_url=address))
    assert failed.kind == "refused"
    assert failed.usage is None


class _serving:
    """One response, written by hand, for what no script of the fake server gives."""

    def __init__(self, body: object) -> None:
        self._body = json.dumps(body).encode()
        self._socket = socket.create_server(("127.0.0.1", 0))

    def __enter__(self) -> str:
        threading.Thread(target=self._serve, daemon=True).start()
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def __exit__(self, *error: object) -> None:
        self._socket.close()

    def _serve(self) -> None:
        connection, _ = self._socket.accept()
        with connection, connection.makefile("rb") as file:
            length = 0
            while (line := file.readline().strip()) != b"":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            file.read(length)
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(self._body), self._body))


class TestCounting:
    def test_the_server_counts(self) -> None:
        with FakeClaude() as server:
            asking = asker(server)
            tokens = asking.count(prompt())
        assert 0 < tokens < bound(prompt())
        assert [each.path for each in server.received] == ["/v1/messages/count_tokens"]

    def test_a_count_is_of_the_same_prompt_as_the_question(self) -> None:
        with FakeClaude(answer()) as server:
            asking = asker(server)
            asking.count(prompt())
            asking.ask(prompt())
        counted, asked = (each.json for each in server.received)
        assert counted == {name: asked[name] for name in ("model", "system", "messages", "output_config")}

    @pytest.mark.parametrize("status", [404, 405, 501])
    def test_where_nobody_counts_the_bytes_are_the_bound(self, status: int) -> None:
        with FakeClaude(counts=False) if status == 404 else _Uncounted(status) as server:
            asking = asker(server)
            assert asking.count(prompt("ü" * 1_000)) == bound(prompt("ü" * 1_000)) > 2_000
            asking.count(prompt())
        assert len(server.received) == 1, "it is not asked again"

    def test_no_count_of_the_server_exceeds_the_bound(self) -> None:
        with FakeClaude() as server:
            asking = asker(server)
            for question in (prompt("a"), prompt("日本語" * 3_000), prompt('"\\\n' * 2_000)):
                assert asking.count(question) <= bound(question)

    @pytest.mark.parametrize(("status", "kind"), [(401, "unauthorized"), (429, "rate_limited"), (500, "server_error")])
    def test_another_failure_is_one(self, status: int, kind: str) -> None:
        with _Uncounted(status) as server, pytest.raises(Exception, match=kind):
            asker(server).count(prompt())


class _Uncounted(FakeClaude):
    """A server whose count fails with a status."""

    def __init__(self, status: int) -> None:
        super().__init__()
        self._status = status

    def reaction(self, request: Received) -> Reaction:
        return dataclasses.replace(super().reaction(request), status=self._status)


class TestSettings:
    @pytest.mark.parametrize(
        "address",
        [
            "api.anthropic.com",
            "ftp://host",
            "https://",
            "https://user:secret-4711@host",
            "https://host?key=secret-4711",
        ],
    )
    def test_an_address_that_cannot_be_used_is_refused_without_its_secret(self, address: str) -> None:
        with pytest.raises(ConfigurationError) as refused:
            MessagesAsker(model="m", api_key=SecretStr(KEY), base_url=address)
        assert "4711" not in str(refused.value)

    def test_a_key_from_a_file_may_end_with_a_line_break(self) -> None:
        with FakeClaude(answer(), keys=frozenset({KEY})) as server:
            assert asker(server, api_key=SecretStr(f"{KEY}\n")).ask(prompt()).answer == answer()

    @pytest.mark.parametrize("key", ["", "two\nlines"])
    def test_a_key_that_no_header_can_hold_is_a_failure_like_any(self, key: str) -> None:
        with FakeClaude(answer()) as server:
            failed = failure_of(asker(server, api_key=SecretStr(key)))
        assert failed.kind in {"unreachable", "unauthorized"}
        assert not key or key not in str(failed)

    def test_the_environment_names_the_server_where_no_setting_does(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with FakeClaude(answer()) as server:
            monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
            assert MessagesAsker(model="m", api_key=SecretStr(KEY)).ask(prompt()).answer == answer()

    def test_no_proxy_is_asked_for_this_machine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        with FakeClaude(answer()) as server:
            assert asker(server).ask(prompt()).answer == answer()

    def test_a_proxy_is_used_for_others(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with FakeClaude(answer()) as proxy:
            monkeypatch.setenv("http_proxy", proxy.url)
            asking = MessagesAsker(model="m", api_key=SecretStr(KEY), base_url="http://claude.invalid", retries=0)
            failure_of(asking)
        assert [each.path for each in proxy.received] == ["http://claude.invalid/v1/messages"]


def test_a_prompt_with_halves_of_characters_is_sent_without_them() -> None:
    with FakeClaude(answer()) as server:
        asker(server).ask(prompt("a\ud800b"))
    assert server.asked[0].json["messages"][0]["content"] == "a?b"


def test_empty_blocks_are_not_sent() -> None:
    with FakeClaude(answer()) as server:
        asker(server).ask(prompt(system=("", "what is alike", " \n")))
    assert [block["text"] for block in server.asked[0].json["system"]] == ["what is alike"]


@pytest.mark.parametrize("leave", [KeyboardInterrupt, SystemExit])
def test_what_is_no_exception_passes(leave: type[BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: object, seconds: float | None = None) -> bool:
        raise leave

    with FakeClaude(Hangs()) as server:
        asker(server).count(prompt())
        monkeypatch.setattr("healspan.remediation.claude.call.threading.Event.wait", interrupted)
        with pytest.raises(leave):
            asker(server).ask(prompt())
        monkeypatch.undo()


@pytest.mark.parametrize("form", [Answer, AnswerWithoutAdapters])
def test_the_schema_is_one_that_structured_output_takes(form: type[Answer]) -> None:
    from anthropic import transform_schema

    assert problems_of_schema(transform_schema(form)) == []
