"""Asking: one question to a server that speaks the Messages API, and what can come of it.

`messages` asks a real server with the SDK; whoever asks (`diagnoser`) knows these types only.
"""

from __future__ import annotations

import functools
import json
from typing import Literal, Protocol

from pydantic import Field

from healspan.remediation.claude.answer import Answer
from healspan.remediation.errors import AskFailed
from healspan.remediation.record import Record

__all__ = ["UNCHARGED", "AskFailed", "Asker", "FailureKind", "Prompt", "Reply", "Turn", "Usage", "bound", "said"]

FailureKind = Literal[
    "unauthorized",
    "rate_limited",
    "overloaded",
    "timeout",
    "unreachable",
    "server_error",
    "bad_request",
    "refused",
    "truncated",
    "malformed",
]
"""Why no answer came: the key is not accepted (401, 403); 429; 529; no answer in time; no connection, or one that broke
in the middle; another 5xx; another 4xx; the model refused; the answer was cut off at its limit; it does not fit the
schema."""


UNCHARGED: frozenset[FailureKind] = frozenset({"unauthorized", "rate_limited", "overloaded", "bad_request"})
"""The server has declined the request, so it cost nothing unless it says otherwise."""


class Turn(Record):
    """One turn of the conversation."""

    role: Literal["user", "assistant"]
    text: str


class Prompt(Record):
    """One question."""

    version: str
    """Of the reviewed text it was made from, e.g. ``diagnose-1``."""
    system: tuple[str, ...]
    """Blocks that are alike for every failure of a process, the most stable first; the last one ends what is cached."""
    turns: tuple[Turn, ...]
    """The failure, then answers and their verdicts in turn; the last one is the user's."""


_PREAMBLE = 1_024
"""Tokens that a server may add on its own."""


def bound(prompt: Prompt) -> int:
    """Return a number that the input tokens of a prompt do not exceed: its bytes, twice those of the schema, and 1,024.

    A token stands for a byte at least, wherever a tokenizer splits the bytes of the text as it is. In English it stands
    for about four, so this is four times too much.
    """
    return len(said(prompt).encode("utf-8", "replace")) + _schema_bytes() + _PREAMBLE


def said(prompt: Prompt) -> str:
    """Return all that a prompt says, as one text."""
    return "\n".join((*prompt.system, *(turn.text for turn in prompt.turns)))


@functools.cache
def _schema_bytes() -> int:
    """Return how many bytes the schema has, at most: what is sent leaves out what structured output does not know."""
    return 2 * len(json.dumps(Answer.model_json_schema()).encode())


class Usage(Record):
    """Tokens that one request was charged for."""

    input_tokens: int = Field(default=0, ge=0)
    """Neither read from the cache nor written to it."""
    output_tokens: int = Field(default=0, ge=0)
    cache_read_tokens: int = Field(default=0, ge=0)
    cache_write_tokens: int = Field(default=0, ge=0)


class Reply(Record):
    """An answer that fits the schema."""

    answer: Answer
    usage: Usage
    model: str
    """As the server names it."""
    request_id: str = ""
    seconds: float = Field(ge=0)


class Asker(Protocol):
    """Asks a server."""

    @property
    def model(self) -> str:
        """The model that is asked."""

    def count(self, prompt: Prompt) -> int:
        """Return how many input tokens a prompt has, asking the server, or `bound` where it cannot say.

        Raises:
            AskFailed: the server was asked and failed otherwise than by not counting.
        """

    def ask(self, prompt: Prompt) -> Reply:
        """Return the answer.

        Raises:
            AskFailed: none came that can be used.
        """
