"""Asking a server that speaks the Messages API, with Anthropic's SDK.

The SDK is imported when something is asked, never before. Every call has one bound in time, over all its attempts and
whatever the server does; the caller waits in its own thread, and the call runs in another, which nobody waits for at
the end of the process.
"""

from __future__ import annotations

import functools
import ipaddress
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from pydantic import SecretStr

from healspan.remediation.claude.answer import Answer, AnswerWithoutAdapters
from healspan.remediation.claude.ask import AskFailed, Prompt, Reply, Usage, bound, said
from healspan.remediation.claude.call import Call, Response
from healspan.remediation.claude.reading import failure, read_answer, read_count
from healspan.remediation.claude.waiting import asked_to_wait
from healspan.remediation.errors import ConfigurationError
from healspan.remediation.scrubbing import Scrubber

if TYPE_CHECKING:
    import httpx2
    from anthropic import Anthropic
    from anthropic.resources import MessagesWithRawResponse
    from anthropic.types import MessageParam, OutputConfigParam, TextBlockParam

    from healspan.remediation.claude.connection import Connection

__all__ = ["ADDRESS", "Effort", "MessagesAsker", "is_in_clear", "is_installed", "usable"]

Effort = Literal["low", "medium", "high", "xhigh", "max"]

ADDRESS = "https://api.anthropic.com"
MOST_BYTES = 4 * 1024 * 1024
"""Of one answer; the longest that a model can write is a fifth of that."""

_CANNOT_COUNT = frozenset({404, 405, 501})
"""What servers say that cannot count."""
_MOST_NAME = 200


def is_installed() -> bool:
    """Whether the extra ``claude`` is installed; imports nothing."""
    try:
        return find_spec("anthropic") is not None
    except (ImportError, ValueError):
        return False


class MessagesAsker:
    """Asks with one request for a structured answer.

    Safe in threads and across forks: no two calls share a connection, and none outlives its call.

    Args:
        model: as the server names it.
        api_key: sent as the SDK sends it; a local server may ignore it.
        base_url: of the server, without ``/v1``; default: ``ANTHROPIC_BASE_URL``, else Anthropic's own.
        effort: how hard the model thinks; None where the server knows no such thing.
        max_tokens: that an answer may have, thinking included.
        timeout: seconds for a call as a whole, from its beginning to its last byte, with its retries.
        retries: attempts that may follow one that was turned away or found nobody, within the time-out. What a server
            may have begun to answer is not asked again: it may have been charged for.
        most_bytes: that the server may send as an answer.
        scrub: removes secrets from what a server says.
        adapters: whether an answer may propose them.

    Raises:
        ConfigurationError: the SDK is not installed, or the address cannot be used.
    """

    def __init__(
        self,
        *,
        model: str,
        api_key: SecretStr,
        base_url: str = "",
        effort: Effort | None = "medium",
        max_tokens: int = 16_000,
        timeout: float = 60.0,
        retries: int = 1,
        most_bytes: int = MOST_BYTES,
        scrub: Callable[[str], str] | None = None,
        adapters: bool = True,
    ) -> None:
        if not is_installed():
            raise ConfigurationError("asking Claude needs the extra claude: pip install 'healspan[claude]'")
        self._model = model
        # A key from a file often ends with a line break, which no header may hold.
        self._key = SecretStr(api_key.get_secret_value().strip())
        self._base_url = usable(base_url)
        self._effort = effort
        self._max_tokens = max_tokens
        self._timeout = timeout
        self._retries = retries
        self._most_bytes = most_bytes
        self._scrub = scrub or Scrubber().scrub_text
        self._form = Answer if adapters else AnswerWithoutAdapters
        self._counts = True
        # Two threads may both make one; nothing is lost, and a lock could be held by nobody after a fork.
        self._client: Anthropic | None = None

    @property
    def model(self) -> str:
        """The model that is asked."""
        return self._model

    def __repr__(self) -> str:
        return f"MessagesAsker(model={self._model!r}, base_url={self._base_url!r})"

    def ask(self, prompt: Prompt) -> Reply:
        """Return the answer.

        A server that does not say what it charges is taken to charge `max_tokens` and `bound` of the prompt.

        Raises:
            AskFailed: none came that can be used.
        """
        began = time.monotonic()
        response = self._response(
            lambda messages: (
                messages.create(
                    model=self._model,
                    max_tokens=self._max_tokens,
                    system=_system(prompt),
                    messages=_turns(prompt),
                    output_config=self._output(),
                ).http_response
            )
        )
        if not response.is_success:
            raise self._failure(response, prompt)
        said = read_answer(response.body, response.request_id)
        return Reply(
            answer=said.answer,
            usage=said.usage or Usage(input_tokens=bound(prompt), output_tokens=self._max_tokens),
            model=said.model or self._model,
            request_id=response.request_id[:_MOST_NAME],
            seconds=time.monotonic() - began,
        )

    def count(self, prompt: Prompt) -> int:
        """Return how many input tokens a prompt has: as the server counts them, or `bound` where it does not count.

        A server that has said once that it cannot count is not asked again.

        Raises:
            AskFailed: the server was asked and failed otherwise than by not counting.
        """
        if not self._counts:
            return bound(prompt)
        response = self._response(
            lambda messages: (
                messages.count_tokens(
                    model=self._model,
                    system=_system(prompt),
                    messages=_turns(prompt),
                    output_config=self._output(),
                ).http_response
            )
        )
        if response.status in _CANNOT_COUNT:
            self._counts = False
        elif not response.is_success:
            raise self._failure(response, prompt)
        counted = read_count(response.body) if response.is_success else None
        return bound(prompt) if counted is None else counted

    def _output(self) -> OutputConfigParam:
        config: OutputConfigParam = {"format": {"type": "json_schema", "schema": _schema(self._form)}}
        if self._effort is not None:
            config["effort"] = self._effort
        return config

    def _response(self, send: Callable[[MessagesWithRawResponse], httpx2.Response]) -> Response:
        return Call(self._connect, send, self._timeout).response()

    def _connect(self, until: float) -> Connection:
        from healspan.remediation.claude.connection import Connection, template

        if self._client is None:
            self._client = template(
                api_key=self._key.get_secret_value(),
                base_url=self._base_url,
                retries=self._retries,
                timeout=self._timeout,
            )
        return Connection(self._client, until=until, most_bytes=self._most_bytes)

    def _failure(self, response: Response, prompt: Prompt) -> AskFailed:
        return failure(
            response.status,
            response.body,
            response.request_id,
            retry_after=asked_to_wait(response.headers, datetime.now(UTC)),
            question=f"{said(prompt)}\n{self._key.get_secret_value()}",
            scrub=self._scrub,
        )


def is_in_clear(base_url: str) -> bool:
    """Whether key and questions would go unencrypted over a network.

    Raises:
        ConfigurationError: the address cannot be used.
    """
    parts = urlsplit(usable(base_url))
    if parts.scheme == "https" or parts.hostname == "localhost":
        return False
    try:
        return not ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return True


def usable(base_url: str) -> str:
    """Return the address of a server: what is given, else `ANTHROPIC_BASE_URL`, else Anthropic's.

    Raises:
        ConfigurationError: it cannot be used; the message holds no secret of it.
    """
    base_url = base_url or os.environ.get("ANTHROPIC_BASE_URL") or ADDRESS
    try:
        parts = urlsplit(base_url)
    except ValueError as error:
        raise ConfigurationError("the address of the server cannot be read; write https://host") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigurationError(
            "the address of the server begins with neither https:// nor http://, or names no host; write https://host"
        )
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ConfigurationError(
            f"the address of {parts.hostname} holds more than a host and a path; give a key as the key, since "
            "addresses get into logs and traces",
        )
    if parts.path.rstrip("/").endswith("/v1"):
        raise ConfigurationError(f"the address of {parts.hostname} ends with /v1, which the SDK adds; leave it out")
    return base_url


def _storable(text: str) -> str:
    """Without halves of characters, which no request can carry."""
    return text.encode("utf-8", "replace").decode()


def _system(prompt: Prompt) -> list[TextBlockParam]:
    """Return the blocks of the system prompt; what ends with the last one is cached."""
    blocks: list[TextBlockParam] = [{"type": "text", "text": _storable(text)} for text in prompt.system if text.strip()]
    if blocks:
        blocks[-1]["cache_control"] = {"type": "ephemeral"}
    return blocks


def _turns(prompt: Prompt) -> list[MessageParam]:
    turns: list[MessageParam] = []
    for turn in prompt.turns:
        text = _storable(turn.text)
        turns.append(
            {"role": "user", "content": text} if turn.role == "user" else {"role": "assistant", "content": text}
        )
    return turns


@functools.cache
def _schema(form: type[Answer]) -> dict[str, object]:
    """Return the schema of an answer in the part of JSON Schema that structured output knows."""
    from anthropic import transform_schema

    return transform_schema(form)
