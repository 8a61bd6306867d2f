"""The fake server by itself: what it turns away, what it records, and how it ends."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field, JsonValue

from healspan.remediation.claude.answer import Answer, ProposedFallback
from healspan.remediation.errors import ConfigurationError
from healspan.remediation.testing import Answers, Drips, Fails, FakeClaude, Hangs, Says, Script, an_answer, read_script
from healspan.remediation.testing.checks import problem_of, problems_of_schema

BODY: dict[str, Any] = {"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": "x"}]}
HEADERS = {"x-api-key": "k", "anthropic-version": "2023-06-01"}
SCHEMA = {"type": "object", "properties": {}, "additionalProperties": False, "required": []}


def post(
    server: FakeClaude,
    body: object = BODY,
    *,
    path: str = "/v1/messages",
    headers: dict[str, str] = HEADERS,
) -> tuple[int, dict[str, Any]]:
    host, port = server.url.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    with contextlib.closing(connection):
        connection.request("POST", path, json.dumps(body), headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())


class TestWhatItTurnsAway:
    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ({"anthropic-version": "1"}, 401),
            ({"x-api-key": "other", "anthropic-version": "1"}, 401),
            ({"authorization": "Bearer other", "anthropic-version": "1"}, 401),
            ({"x-api-key": "k"}, 400),
            ({"x-api-key": "k", "anthropic-version": "1"}, 200),
            ({"authorization": "Bearer k", "anthropic-version": "1"}, 200),
        ],
    )
    def test_a_key_and_a_version_are_needed(self, headers: dict[str, str], status: int) -> None:
        with FakeClaude(Says(text="x"), keys=frozenset({"k"})) as server:
            assert post(server, headers=headers)[0] == status

    def test_another_path(self) -> None:
        with FakeClaude(Says(text="x")) as server:
            assert post(server, path="/v1/complete")[0] == 404

    @pytest.mark.parametrize(
        "change",
        [
            {"model": ""},
            {"model": 3},
            {"max_tokens": 0},
            {"max_tokens": True},
            {"messages": []},
            {"messages": "x"},
            {"messages": [{"role": "system", "content": "x"}]},
            {"messages": [{"role": "user", "content": " "}]},
            {"messages": [{"role": "assistant", "content": "x"}]},
            {"messages": [{"role": "user", "content": [{"type": "image"}]}]},
            {"stream": True},
            {"temperature": 0.5},
            {"system": [{"type": "text", "text": ""}]},
            {"system": [{"type": "text", "text": "x", "cache_control": {"type": "for ever"}}]},
            {"system": [{"type": "text", "text": "x", "cache_control": 7}]},
            {"system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}] * 5},
            {"system": 7},
            {"output_config": {"effort": "extreme"}},
            {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
            {"output_config": {"format": "json"}},
            {"output_config": []},
        ],
        ids=lambda change: json.dumps(change)[:50],
    )
    def test_a_request_that_the_api_would_turn_away(self, change: dict[str, object]) -> None:
        with FakeClaude(Says(text="x")) as server:
            status, said = post(server, {**BODY, **change})
            assert (status, said["error"]["type"]) == (400, "invalid_request_error")
            assert post(server)[0] == 200, "the script's move was kept for the next one"

    def test_an_answer_with_a_schema_cannot_be_begun(self) -> None:
        begun = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "{"}]
        output = {"format": {"type": "json_schema", "schema": SCHEMA}}
        assert problem_of({**BODY, "messages": begun}, counting=False) == ""
        assert problem_of({**BODY, "messages": begun, "output_config": output}, counting=False)

    def test_what_is_no_json(self) -> None:
        with FakeClaude(Says(text="x")) as server:
            assert post(server, [1, 2])[0] == 400


class _Bounded(BaseModel):
    count: int = Field(ge=1, le=3)


class _Free(BaseModel):
    values: dict[str, int]


class _Recursive(BaseModel):
    inner: list[_Recursive]


class TestSchemas:
    @pytest.mark.parametrize(
        ("schema", "problem"),
        [
            (_Bounded.model_json_schema(), "additionalProperties"),
            (_Bounded.model_json_schema(), "'maximum' is not supported"),
            (_Free.model_json_schema(), "'additionalProperties' must be"),
            (_Recursive.model_json_schema(), "Recursive"),
            ({"type": ["string", "null"]}, "a type, an enum or an anyOf"),
            ({"type": "string", "minLength": 3}, "'minLength'"),
            ({"type": "string", "pattern": "x"}, "'pattern'"),
            ({"type": "string", "format": "colour"}, "format 'colour'"),
            ({"type": "array", "items": {"type": "string"}, "minItems": 2}, "minItems"),
            ({"type": "array"}, "a schema is an object"),
            ({"enum": [{"a": 1}]}, "complex values"),
            ({"oneOf": [{"type": "string"}]}, "a type, an enum or an anyOf"),
            ({"$ref": "https://elsewhere/schema"}, "$ref"),
        ],
    )
    def test_what_structured_output_does_not_know(self, schema: dict[str, Any], problem: str) -> None:
        assert any(problem in each for each in problems_of_schema(schema)), problems_of_schema(schema)

    def test_too_many_optional_fields(self) -> None:
        properties: dict[str, JsonValue] = {f"p{number}": {"type": "string"} for number in range(25)}
        schema = {**SCHEMA, "properties": properties}
        assert problems_of_schema(schema) == ["more than 24 optional parameters"]
        assert problems_of_schema({**schema, "required": list(properties)}) == []

    def test_ours_as_pydantic_writes_it_is_not_known_to_it(self) -> None:
        # So the test of what is sent does not pass by chance: the SDK's rewriting is needed.
        assert problems_of_schema({**Answer.model_json_schema(), "minProperties": 1})


class TestWhatItSays:
    def test_the_moves_come_in_turn_and_their_end_is_told(self) -> None:
        with FakeClaude([Says(text="one"), Fails(status=529)]) as server:
            assert post(server)[1]["content"][0]["text"] == "one"
            assert post(server)[0] == 529
            status, said = post(server)
        assert status == 400
        assert "no move for request 3" in said["error"]["message"]

    @pytest.mark.parametrize("script", [an_answer(), Answers(answer=an_answer()), lambda _: an_answer()])
    def test_one_move_is_for_every_request(self, script: Script) -> None:
        with FakeClaude(script) as server:
            texts = [post(server)[1]["content"][0]["text"] for _ in range(3)]
        assert [Answer.model_validate_json(text) for text in texts] == [an_answer()] * 3

    def test_a_script_that_fails_fails_the_test(self) -> None:
        def script(_: object) -> Says:
            raise AssertionError("no such prompt")

        def run() -> None:
            with FakeClaude(script) as server:
                assert post(server)[0] == 500

        with pytest.raises(AssertionError, match="no such prompt"):
            run()

    def test_concurrent_requests_get_a_move_each(self) -> None:
        moves = [Says(text=str(number)) for number in range(24)]
        said: list[str] = []
        with FakeClaude(moves) as server:
            threads = [
                threading.Thread(target=lambda: said.append(post(server)[1]["content"][0]["text"])) for _ in moves
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert sorted(said, key=int) == [str(number) for number in range(24)]

    def test_what_came_is_recorded_also_if_it_was_turned_away(self) -> None:
        with FakeClaude(Says(text="x"), keys=frozenset({"other"})) as server:
            post(server, {**BODY, "messages": [{"role": "user", "content": 'say "ä"'}]})
            (request,) = server.received
        assert request.key == "k"
        assert request.json["max_tokens"] == 10
        assert 'say "ä"' in server.wire, "as it reads, not only as JSON spells it"
        assert server.received == (request,), "it can be read after the end"


class TestItsEnd:
    @pytest.mark.parametrize(
        "move", [Hangs(), Drips(every=60), Drips(every=60, of="headers"), Says(text="x", latency=60)]
    )
    def test_it_breaks_off_what_is_under_way(self, move: Script) -> None:
        broken = threading.Event()

        def ask(server: FakeClaude) -> None:
            try:
                post(server)
            except (OSError, http.client.HTTPException, ValueError):
                broken.set()

        with FakeClaude(move) as server:
            asking = threading.Thread(target=ask, args=(server,), daemon=True)
            asking.start()
            while not server.asked:
                time.sleep(0.01)
        asking.join(60)
        assert broken.is_set()

    def test_nothing_listens_afterwards(self) -> None:
        with FakeClaude() as server:
            url = server.url
        with pytest.raises(RuntimeError):
            _ = server.url
        host, port = url.removeprefix("http://").split(":")
        with pytest.raises(OSError, match="refused"):
            http.client.HTTPConnection(host, int(port), timeout=60).connect()

    def test_no_thread_stays(self) -> None:
        before = {*threading.enumerate()}
        with FakeClaude(Says(text="x")) as server:
            post(server)
        assert not [thread for thread in {*threading.enumerate()} - before if thread.name == "fake-claude"]

    def test_two_have_ports_of_their_own(self) -> None:
        with FakeClaude(Says(text="1")) as one, FakeClaude(Says(text="2")) as two:
            assert one.url != two.url
            assert post(two)[1]["content"][0]["text"] == "2"


class TestScripts:
    def test_every_move_can_be_written_as_json(self, tmp_path: Path) -> None:
        answer = an_answer(ProposedFallback(kind="fallback")).model_dump()
        moves = [{"do": "answer", "answer": answer}, {"do": "fail", "status": 429, "retry_after": 2}, {"do": "hang"}]
        read = read_script(json.dumps(moves))
        assert [move.do for move in read] == ["answer", "fail", "hang"]

    @pytest.mark.parametrize("text", ["", "{}", '[{"do": "dance"}]', '[{"do": "fail"}]', '[{"do": "hang", "typo": 1}]'])
    def test_what_is_no_script_says_where(self, text: str) -> None:
        with pytest.raises(ConfigurationError, match="script:"):
            read_script(text)
