"""Cassettes: what is played back is what was written, and no secret ever was."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.asking import answer, failure_of, prompt
from tests.canaries import canaries, leaks

from healspan.remediation.claude.answer import Answer
from healspan.remediation.claude.ask import AskFailed, FailureKind, Prompt, Reply, Turn, Usage
from healspan.remediation.errors import ConfigurationError
from healspan.remediation.scrubbing import Scrubber
from healspan.remediation.testing import CassetteMismatch, Player, Recorder

TEXT = st.text(max_size=40)
PLAIN = st.text(alphabet='abcdefghij \n\u2028\x85"\\é', max_size=40)
"""Nothing that a scrubber could take for a secret."""
TOKENS = st.integers(min_value=0, max_value=10**6)
USAGES = st.builds(
    Usage, input_tokens=TOKENS, output_tokens=TOKENS, cache_read_tokens=TOKENS, cache_write_tokens=TOKENS
)
TURNS = st.builds(Turn, role=st.sampled_from(["user", "assistant"]), text=PLAIN)
PROMPTS = st.builds(
    Prompt,
    version=PLAIN,
    system=st.lists(PLAIN, max_size=3).map(tuple),
    turns=st.lists(TURNS, max_size=3).map(tuple),
)
ANSWERS = st.builds(
    Answer,
    root_cause=PLAIN,
    evidence=st.lists(PLAIN, max_size=3),
    disproof=PLAIN,
    steps=st.just([]) | st.just([{"kind": "parameters", "arguments": [{"name": "limit", "value": 3}]}]),
    instruction=PLAIN,
    risk_level=st.sampled_from(["low", "medium", "high"]),
    risk_assessment=PLAIN,
    confidence=st.floats(-1e9, 1e9),
)
REPLIES = st.builds(Reply, answer=ANSWERS, usage=USAGES, model=PLAIN, seconds=st.floats(min_value=0, max_value=100))
FAILURES = st.builds(
    AskFailed,
    st.sampled_from(get_args(FailureKind)),
    PLAIN,
    usage=st.none() | USAGES,
    retry_after=st.none() | st.floats(min_value=0, max_value=86_400),
)


class Scripted:
    """An asker that says what it is told."""

    model = "claude-opus-5-5"

    def __init__(self, say: Callable[[Prompt], Reply | AskFailed]) -> None:
        self._say = say

    def ask(self, prompt: Prompt) -> Reply:
        said = self._say(prompt)
        if isinstance(said, AskFailed):
            raise said
        return said

    def count(self, prompt: Prompt) -> int:
        return len(prompt.turns)


def saying(reply: Reply) -> Scripted:
    return Scripted(lambda _: reply)


def reply(**changes: object) -> Reply:
    return Reply.model_validate({"answer": answer(), "usage": Usage(), "model": "m", "seconds": 1.0, **changes})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "calls.jsonl"


def outcome(ask: Callable[[Prompt], Reply], question: Prompt) -> object:
    try:
        return ask(question)
    except AskFailed as failed:
        return (failed.kind, failed.detail, failed.usage, failed.retry_after)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(PROMPTS, REPLIES | FAILURES), max_size=5))
def test_what_is_played_is_what_was_recorded(calls: list[tuple[Prompt, Reply | AskFailed]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "calls.jsonl"
        said = iter([say for _, say in calls])
        recorder = Recorder(Scripted(lambda _: next(said)), file)
        recorder.count(prompt())
        was = [outcome(recorder.ask, question) for question, _ in calls]
        with Player(file) as player:
            assert player.count(prompt()) == 1
            assert [outcome(player.ask, question) for question, _ in calls] == was
            assert player.model == "claude-opus-5-5"


@settings(max_examples=10, deadline=None)
@given(st.integers(min_value=0, max_value=10_000))
def test_no_secret_is_in_a_cassette(seed: int) -> None:
    corpus = [canary for canary in canaries(seed) if canary.is_text]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "calls.jsonl"
        for canary in corpus:
            said = answer(root_cause=canary.value, evidence=[canary.value], instruction=f"see {canary.value}")
            asking = saying(reply(answer=said, model=canary.value, request_id="req_of_an_account"))
            recorder = Recorder(asking, file)
            recorder.ask(Prompt(version="1", system=(canary.value,), turns=(Turn(role="user", text=canary.value),)))
            failing = Recorder(
                Scripted(lambda _, canary=canary: AskFailed("timeout", canary.value)), file.with_suffix(".f")
            )
            failure_of(failing)
            written = file.read_text() + file.with_suffix(".f").read_text()
            assert not leaks(written, [canary])
            assert "req_of_an_account" not in written


def test_a_count_need_not_be_played(path: Path) -> None:
    recorder = Recorder(saying(reply()), path)
    recorder.count(prompt())
    recorder.ask(prompt())
    with Player(path) as player:
        assert player.ask(prompt()) == reply()


def test_prompts_that_differ_in_their_secrets_only_are_one(path: Path) -> None:
    Recorder(saying(reply()), path).ask(prompt("password=hunter2hunter2"))
    with Player(path) as player:
        assert player.ask(prompt("password=correcthorse9")).answer == answer()


def test_what_changes_with_every_run_can_be_taken_out(path: Path) -> None:
    without_times = Scrubber(extra_patterns=(("time", r"\d\d:\d\d:\d\d"),))
    Recorder(saying(reply()), path, without_times).ask(prompt("failed at 12:00:01"))
    with Player(path, without_times) as player:
        assert player.ask(prompt("failed at 17:31:59")).answer == answer()


def test_another_prompt_is_a_mismatch_that_says_where_and_what_to_do(path: Path) -> None:
    Recorder(saying(reply()), path).ask(prompt("the amount was 12"))
    player = Player(path)
    with pytest.raises(CassetteMismatch) as mismatch:
        player.ask(prompt("the amount was 13"))
    assert "turn 1" in str(mismatch.value)
    assert "12" in str(mismatch.value)
    assert "13" in str(mismatch.value)
    assert "record the cassette again" in str(mismatch.value)


def test_a_mismatch_is_raised_again_at_the_end_since_an_engine_survives_it(path: Path) -> None:
    Recorder(saying(reply()), path).ask(prompt())

    def survives() -> None:
        with Player(path) as player:
            player.ask(prompt())
            with pytest.raises(CassetteMismatch, match="played already"):
                player.ask(prompt())

    with pytest.raises(CassetteMismatch, match="played already"):
        survives()


def test_a_call_that_was_not_made_is_a_mismatch(path: Path) -> None:
    Recorder(saying(reply()), path).ask(prompt())
    with pytest.raises(CassetteMismatch, match="1 of 1 questions"), Player(path):
        pass


def test_a_count_is_no_question(path: Path) -> None:
    Recorder(saying(reply()), path).ask(prompt())
    with pytest.raises(CassetteMismatch, match="no such call was recorded"):
        Player(path).count(prompt())


def test_equal_questions_keep_the_order_of_their_answers(path: Path) -> None:
    said = iter([reply(seconds=1.0), reply(seconds=2.0)])
    recorder = Recorder(Scripted(lambda _: next(said)), path)
    recorder.ask(prompt())
    recorder.ask(prompt())
    with Player(path) as player:
        assert [player.ask(prompt()).seconds for _ in range(2)] == [1.0, 2.0]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "damaged at line 1"),
        ("{}\n", "no cassette"),
        ('{"cassette": "healspan-claude", "version": 2, "model": "m"}\n', "version 2"),
        ('{"cassette": "healspan-claude", "version": 1, "model": "m"}\n{"call": "a', "damaged at line 2"),
        ('{"cassette": "healspan-claude", "version": 1, "model": "m"}\n{"call": "ask"}\n', "damaged at prompt"),
        ("\x00\xff", "damaged at line 1"),
    ],
)
def test_what_is_no_cassette_says_so(path: Path, text: str, why: str) -> None:
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=why):
        Player(path)


def test_a_cassette_that_is_not_there_says_so(path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Player(path)
