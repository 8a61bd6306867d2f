"""Reading what a server answered: bytes in, an answer or a reason out.

Pure. Nothing of what a server says is trusted, and nothing of it is repeated in a reason unless it is known to hold
nothing of the question: a server may echo what it was sent, and what it was sent may be anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from http import HTTPStatus

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from healspan.remediation.claude.answer import Answer
from healspan.remediation.claude.ask import AskFailed, FailureKind, Usage

__all__ = ["Said", "failure", "read_answer", "read_count"]

_KINDS: dict[int, FailureKind] = {
    401: "unauthorized",
    403: "unauthorized",
    408: "timeout",
    429: "rate_limited",
    529: "overloaded",
}
_ADVICE: dict[FailureKind, str] = {
    "unauthorized": "check the key and what it may do",
    "rate_limited": "ask its owner for a higher limit, or lower HEALSPAN_CLAUDE_CONCURRENT",
    "overloaded": "there is nothing to do but to wait",
    "server_error": "there is nothing to do but to wait",
    "bad_request": "check the model, the address and the settings of the request",
}
_NAME = re.compile(r"[A-Za-z0-9_.:/@-]{1,128}")
_PART = 8
"""As many characters of the question in a row are recognisable."""
_WORD = re.compile(r"[\w-]{8,}")
_MOST_MESSAGE = 200
_MOST_TOKENS = 10**9
MOST_ANSWER = 100_000
"""Characters; the longest adapter has a dozenth of it. What is kept and sent back has to be bounded whoever answers."""


class _Part(BaseModel):
    # Servers add fields as they like.
    model_config = ConfigDict(extra="ignore")


class _Block(_Part):
    type: str
    text: str = ""


class _Usage(_Part):
    input_tokens: int = Field(ge=0, le=_MOST_TOKENS)
    output_tokens: int = Field(ge=0, le=_MOST_TOKENS)
    cache_read_input_tokens: int | None = Field(default=None, ge=0, le=_MOST_TOKENS)
    cache_creation_input_tokens: int | None = Field(default=None, ge=0, le=_MOST_TOKENS)


class _Message(_Part):
    content: list[_Block]
    model: str = ""
    stop_reason: str | None = None


class _Charged(_Part):
    usage: _Usage


class _Count(_Part):
    input_tokens: int = Field(ge=0, le=_MOST_TOKENS)


class Said(BaseModel):
    """An answer, with what the server says of it."""

    answer: Answer
    usage: Usage | None
    """None where the server does not say, or says nonsense."""
    model: str


def read_answer(body: bytes, request_id: str) -> Said:
    """Return the answer that the body of a successful response holds.

    Raises:
        AskFailed: ``refused``, ``truncated`` or ``malformed``, with the usage where it is known.
    """
    usage = _usage(body)

    def no(kind: FailureKind, detail: str) -> AskFailed:
        return AskFailed(kind, detail + _request(request_id), usage=usage)

    try:
        message = _Message.model_validate_json(body)
    except ValidationError:
        message = None
    if message is None:
        raise no("malformed", "what the server sent is no message; is this the address of a Messages API?")
    match message.stop_reason:
        case "refusal":
            raise no("refused", "the model refused to answer")
        case "max_tokens":
            raise no(
                "truncated",
                "the answer was cut off at its limit; raise HEALSPAN_CLAUDE_MAX_TOKENS or lower HEALSPAN_CLAUDE_EFFORT",
            )
        case "model_context_window_exceeded":
            raise no("truncated", "the question leaves the model no room to answer; send less or take another model")
        case _:
            pass
    answer = _answer("".join(block.text for block in message.content if block.type == "text"))
    if isinstance(answer, str):
        raise no("malformed", answer)
    return Said(answer=answer, usage=usage, model=_known(message.model, _NAME))


def read_count(body: bytes) -> int | None:
    """Return the tokens that the body of a successful count holds; None if it holds no count."""
    try:
        return _Count.model_validate_json(body).input_tokens
    except ValidationError:
        return None


def failure(
    status: int,
    body: bytes,
    request_id: str,
    *,
    retry_after: float | None,
    question: str,
    scrub: Callable[[str], str],
) -> AskFailed:
    """Return the reason that the response of a failed request gives.

    Args:
        status: of the response, which is no success.
        body: its bytes.
        request_id: as the server names it.
        retry_after: seconds that its headers ask to wait.
        question: all that was sent, key included; no longer word of it is repeated, nor a word that holds part of one.
        scrub: removes secrets from a text.
    """
    error_type, message = _error(body)
    kind = _KINDS.get(status)
    if kind is None and (error_type == "overloaded_error" and status >= HTTPStatus.INTERNAL_SERVER_ERROR):
        kind = "overloaded"
    if kind is None:
        kind = "server_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "bad_request"
    detail = f"the server answered {status}"
    if error_type:
        detail += f" {error_type}"
    if status < HTTPStatus.BAD_REQUEST:
        detail += ", sending us elsewhere, which is not followed; set the address to where it leads"
    elif message and kind == "bad_request":
        clean = scrub(_WORD.sub(lambda word: "…" if _is_of(word[0], question) else word[0], message))
        detail += f" ({' '.join(clean.split())[:_MOST_MESSAGE]})"
    if kind in _ADVICE:
        detail += f"; {_ADVICE[kind]}"
    return AskFailed(kind, detail + _request(request_id), retry_after=retry_after)


def _usage(body: bytes) -> Usage | None:
    try:
        said = _Charged.model_validate_json(body).usage
    except ValidationError:
        return None
    return Usage(
        input_tokens=said.input_tokens,
        output_tokens=said.output_tokens,
        cache_read_tokens=said.cache_read_input_tokens or 0,
        cache_write_tokens=said.cache_creation_input_tokens or 0,
    )


def _answer(text: str) -> Answer | str:
    """Return the answer in a text, or what is wrong with it."""
    if len(text) > MOST_ANSWER:
        return f"the answer has more than {MOST_ANSWER:,} characters"
    try:
        return Answer.model_validate_json(_unfenced(text))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        place = ".".join(str(part) if part in _FIELDS or isinstance(part, int) else "?" for part in first["loc"])
        return f"the answer does not fit the schema ({first['type']} at {place or 'its beginning'})"


def _unfenced(text: str) -> str:
    """Without the fence that models put around JSON where a server does not hold them to a schema."""
    text = text.strip()
    if text.startswith("```") and text.endswith("```") and "\n" in text:
        return text.partition("\n")[2].removesuffix("```")
    return text


def _field_names(part: object) -> Iterator[str]:
    if isinstance(part, dict):
        for name, value in part.items():
            if name in {"properties", "$defs"}:
                yield from value
            yield from _field_names(value)
    elif isinstance(part, list):
        for item in part:
            yield from _field_names(item)


_FIELDS = frozenset(_field_names(Answer.model_json_schema()))
"""The names that may stand in a reason: those of the schema, never those that an answer made up."""


def _error(body: bytes) -> tuple[str, str]:
    """Return the type and the message of an error, as far as they are texts."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return "", ""
    error = said.get("error") if isinstance(said, dict) else None
    if not isinstance(error, dict):
        return "", ""
    kind, message = error.get("type"), error.get("message")
    return (
        _known(kind, re.compile("[a-z_]{1,64}")) if isinstance(kind, str) else "",
        # A word that this cuts is still one of the question's, if it was.
        message[: 3 * _MOST_MESSAGE] if isinstance(message, str) else "",
    )


def _is_of(word: str, question: str) -> bool:
    return any(word[start : start + _PART] in question for start in range(len(word) - _PART + 1))


def _known(text: str, form: re.Pattern[str]) -> str:
    return text if form.fullmatch(text) else ""


def _request(request_id: str) -> str:
    return f" [{request_id}]" if re.fullmatch(r"[\w-]{1,80}", request_id) else ""
