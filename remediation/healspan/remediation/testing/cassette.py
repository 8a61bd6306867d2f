"""Cassettes: real calls, recorded without secrets, and played back.

A cassette is a file of JSON lines: the first one names the format, its version and the model; each of the others holds
a call with what came of it. Prompts and answers are scrubbed before they are written, and so is a prompt before it is
looked up; so what is played back is what was written, not what the model said to the letter.
"""

from __future__ import annotations

import json
import threading
from collections import defaultdict, deque
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self, cast

from pydantic import Field, ValidationError

from healspan.remediation.claude.answer import without_secrets
from healspan.remediation.claude.ask import Asker, AskFailed, FailureKind, Prompt, Reply, Turn, Usage
from healspan.remediation.errors import CassetteMismatch, ConfigurationError
from healspan.remediation.record import Record, content_address
from healspan.remediation.scrubbing import Scrubber

__all__ = ["CassetteMismatch", "Player", "Recorder"]

VERSION = 1


class _Head(Record):
    cassette: Literal["healspan-claude"] = "healspan-claude"
    version: int
    model: str


class _Failed(Record):
    kind: FailureKind
    detail: str
    usage: Usage | None
    retry_after: float | None = Field(ge=0)


class _Call(Record):
    call: Literal["ask", "count"]
    prompt: Prompt
    """Scrubbed."""
    reply: Reply | None = None
    tokens: int | None = None
    failed: _Failed | None = None

    @property
    def key(self) -> _Key:
        return _Key(self.call, content_address(self.prompt.model_dump(mode="json")))


class _Key(NamedTuple):
    call: str
    prompt: str


class Recorder:
    """Asks another asker, and writes down what came of it.

    Args:
        asker: that is asked.
        path: of the cassette; an older one in its place is replaced with the first call.
        scrubber: removes secrets; give it ``extra_patterns`` for what changes from run to run, too.
    """

    def __init__(self, asker: Asker, path: Path, scrubber: Scrubber | None = None) -> None:
        self._asker = asker
        self._path = path
        self._scrubber = scrubber or Scrubber()
        self._lock = threading.Lock()
        self._begun = False

    @property
    def model(self) -> str:
        """The model that is asked."""
        return self._asker.model

    def ask(self, prompt: Prompt) -> Reply:
        """Ask, write down, and return the answer as it came."""
        try:
            reply = self._asker.ask(prompt)
        except AskFailed as error:
            self._write(_Call(call="ask", prompt=self._clean(prompt), failed=self._failed(error)))
            raise
        clean = _scrubbed_reply(reply, self._scrubber)
        self._write(_Call(call="ask", prompt=self._clean(prompt), reply=clean))
        return reply

    def count(self, prompt: Prompt) -> int:
        """Count, write down, and return the count."""
        try:
            tokens = self._asker.count(prompt)
        except AskFailed as error:
            self._write(_Call(call="count", prompt=self._clean(prompt), failed=self._failed(error)))
            raise
        self._write(_Call(call="count", prompt=self._clean(prompt), tokens=tokens))
        return tokens

    def _clean(self, prompt: Prompt) -> Prompt:
        return _scrubbed(prompt, self._scrubber)

    def _failed(self, error: AskFailed) -> _Failed:
        detail = self._scrubber.scrub_text(error.detail)
        return _Failed(kind=error.kind, detail=detail, usage=error.usage, retry_after=error.retry_after)

    def _write(self, call: _Call) -> None:
        with self._lock:
            lines = [] if self._begun else [_Head(version=VERSION, model=self.model).model_dump_json()]
            lines.append(call.model_dump_json(exclude_none=False))
            with self._path.open("a" if self._begun else "w", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in lines)
            self._begun = True


class Player:
    """An asker that plays a cassette back.

    Each recorded call is played once, to whoever makes it; the order is kept among equal ones. As a context manager it
    raises at the end of the block if something else was asked, since an engine survives whatever an asker raises, or
    if something was not asked.

    Args:
        path: of the cassette.
        scrubber: as when it was recorded.

    Raises:
        ConfigurationError: the file is no cassette that is known here.
    """

    def __init__(self, path: Path, scrubber: Scrubber | None = None) -> None:
        self._path = path
        self._scrubber = scrubber or Scrubber()
        self._head, calls = _read(path)
        self._left: dict[_Key, deque[_Call]] = defaultdict(deque)
        for call in calls:
            self._left[call.key].append(call)
        self._calls = calls
        self._mismatches: list[CassetteMismatch] = []
        self._lock = threading.Lock()

    @property
    def model(self) -> str:
        """The model that was asked."""
        return self._head.model

    @property
    def left(self) -> int:
        """How many recorded questions have not been asked; what is counted besides depends on the budgets."""
        return sum(len(calls) for key, calls in self._left.items() if key.call == "ask")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            return
        if self._mismatches:
            raise self._mismatches[0]
        if self.left:
            asked = sum(call.call == "ask" for call in self._calls)
            raise CassetteMismatch(
                f"{self.left} of {asked} questions of {self._path.name} were not asked; "
                "record the cassette again if that is right",
            )

    def ask(self, prompt: Prompt) -> Reply:
        """Return the recorded answer.

        Raises:
            AskFailed: as recorded.
            CassetteMismatch: this was not asked when it was recorded, or not as often.
        """
        call = self._next("ask", prompt)
        return cast("Reply", call.reply)

    def count(self, prompt: Prompt) -> int:
        """Return the recorded count.

        Raises:
            AskFailed: as recorded.
            CassetteMismatch: this was not counted when it was recorded, or not as often.
        """
        call = self._next("count", prompt)
        return cast("int", call.tokens)

    def _next(self, kind: Literal["ask", "count"], prompt: Prompt) -> _Call:
        wanted = _Call(call=kind, prompt=_scrubbed(prompt, self._scrubber))
        with self._lock:
            waiting = self._left.get(wanted.key)
            call = waiting.popleft() if waiting else None
            if call is None:
                self._mismatches.append(mismatch := self._mismatch(wanted))
                raise mismatch
        failed = call.failed
        if failed is not None:
            raise AskFailed(failed.kind, failed.detail, usage=failed.usage, retry_after=failed.retry_after)
        return call

    def _mismatch(self, wanted: _Call) -> CassetteMismatch:
        same = [call for call in self._calls if call.call == wanted.call]
        if any(call.key == wanted.key for call in same):
            reason = "it was recorded, but has been played already"
        elif not same:
            reason = "no such call was recorded"
        else:
            nearest = min(same, key=lambda call: _difference(call.prompt, wanted.prompt))
            reason = _difference(nearest.prompt, wanted.prompt).said
        return CassetteMismatch(
            f"{self._path.name} has no answer to this {wanted.call}: {reason}. If the prompt has changed on purpose, "
            "record the cassette again; if it changes with every run, take what changes out of it, or have the "
            "scrubber of both recording and playing take it out (extra_patterns)",
        )


class _Difference(NamedTuple):
    """Where two prompts part; the greater, the later."""

    remaining: int
    said: str


def _difference(recorded: Prompt, wanted: Prompt) -> _Difference:
    parts = [("version", recorded.version, wanted.version)]
    parts += _paired("system block", recorded.system, wanted.system)
    parts += _paired("turn", _texts(recorded.turns), _texts(wanted.turns))
    for place, (name, was, now) in enumerate(parts):
        if was != now:
            at = next(
                (at for at, pair in enumerate(zip(was, now, strict=False)) if pair[0] != pair[1]),
                min(len(was), len(now)),
            )
            return _Difference(
                len(parts) - place,
                f"the nearest recorded prompt differs in {name} from character {at}, recorded {_near(was, at)}, "
                f"asked {_near(now, at)}",
            )
    return _Difference(0, "it does not differ")


def _paired(name: str, was: tuple[str, ...], now: tuple[str, ...]) -> list[tuple[str, str, str]]:
    most = max(len(was), len(now))
    padded = [(*texts, *("",) * (most - len(texts))) for texts in (was, now)]
    return [(f"{name} {place + 1}", *pair) for place, pair in enumerate(zip(*padded, strict=True))]


def _texts(turns: tuple[Turn, ...]) -> tuple[str, ...]:
    return tuple(f"{turn.role}: {turn.text}" for turn in turns)


def _near(text: str, at: int) -> str:
    return repr(text[max(0, at - 10) : at + 30])


def _scrubbed(prompt: Prompt, scrubber: Scrubber) -> Prompt:
    session = scrubber.session()
    return Prompt(
        version=session.text(prompt.version),
        system=tuple(map(session.text, prompt.system)),
        turns=tuple(Turn(role=turn.role, text=session.text(turn.text)) for turn in prompt.turns),
    )


def _scrubbed_reply(reply: Reply, scrubber: Scrubber) -> Reply:
    return Reply(
        answer=without_secrets(reply.answer, scrubber),
        usage=reply.usage,
        model=scrubber.scrub_text(reply.model),
        # The server's name for a request is no secret, but of an account.
        request_id="",
        seconds=reply.seconds,
    )


def _read(path: Path) -> tuple[_Head, list[_Call]]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the cassette {path} cannot be read ({type(error).__name__}); record it") from error
    head = _parsed(path, 1, lines[0] if lines else "")
    if head.get("cassette") != "healspan-claude":
        raise ConfigurationError(f"{path} is no cassette; record one with Recorder")
    if head.get("version") != VERSION:
        raise ConfigurationError(f"{path} has version {head.get('version')}, known here is {VERSION}; record it again")
    try:
        calls = [_Call.model_validate(_parsed(path, place, line)) for place, line in enumerate(lines[1:], 2) if line]
        return _Head.model_validate(head), calls
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ConfigurationError(f"{path} is damaged at {place} ({first['msg']}); record it again") from error


def _parsed(path: Path, place: int, line: str) -> dict[str, Any]:
    try:
        parsed = json.loads(line)
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict):
        raise ConfigurationError(f"{path} is damaged at line {place}; record it again")
    return parsed
