"""A question, an answer, and an asker that is connected to a fake server."""

from __future__ import annotations

from typing import Any

from pydantic import SecretStr

from healspan.remediation.claude.answer import Answer, ProposedRepair
from healspan.remediation.claude.ask import Asker, AskFailed, Prompt, Turn
from healspan.remediation.claude.messages import MessagesAsker
from healspan.remediation.testing import FakeClaude, an_answer

__all__ = ["KEY", "answer", "asker", "failure_of", "prompt"]

KEY = "sk-ant-api03-q8fjw20fkXo2kfLwq0Zk"


def prompt(
    text: str = "float('$1,234') failed", *, system: tuple[str, ...] = ("You diagnose.", "The catalogue.")
) -> Prompt:
    """Return a question."""
    return Prompt(version="diagnose-1", system=system, turns=(Turn(role="user", text=text),))


def answer(**changes: Any) -> Answer:
    """Return an answer, with changes."""
    repair = ProposedRepair(kind="repair", repairer="number", accept="none", parameters=[])
    return Answer.model_validate({**an_answer(repair).model_dump(), **changes})


def asker(server: FakeClaude, **changes: Any) -> MessagesAsker:
    """Return an asker of a server; patient, unless a test is about patience."""
    settings: dict[str, Any] = {"model": "claude-opus-5-5", "api_key": SecretStr(KEY), "retries": 0, "timeout": 60.0}
    return MessagesAsker(base_url=server.url, **{**settings, **changes})


def failure_of(asking: Asker, question: Prompt | None = None) -> AskFailed:
    """Return why an asker gives no answer."""
    try:
        reply = asking.ask(question or prompt())
    except AskFailed as error:
        return error
    raise AssertionError(f"an answer came: {reply}")
