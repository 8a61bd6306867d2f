"""Askers and gateways that do what they are told, in memory: for tests of what becomes of an answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from tests.observe import PATIENCE, wait_until

from healspan.remediation.claude.answer import Answer, ProposedAdapter, ProposedStep
from healspan.remediation.claude.ask import AskFailed, FailureKind, Prompt, Reply, Usage
from healspan.remediation.claude.consultation import Consultation
from healspan.remediation.claude.diagnoser import ClaudeDiagnoser
from healspan.remediation.claude.prompt import Prompter
from healspan.remediation.diagnosis import Playbooks
from healspan.remediation.runtime import Runtime

WORDS = 'words = {"one": 1.0, "two": 2.0}\nreturn words[arguments["text"]]'
USAGE = Usage(input_tokens=1_000, output_tokens=200)


def answer(*steps: ProposedStep, **changes: Any) -> Answer:
    """Return an answer that proposes these steps."""
    told: dict[str, Any] = {
        "root_cause": "The amount is written in words.",
        "evidence": ["argument text"],
        "disproof": "Another text of this kind is read well.",
        "steps": list(steps),
        "instruction": "Read the number word.",
        "risk_level": "low",
        "risk_assessment": "Only known words are read.",
        "confidence": 0.95,
    }
    return Answer(**(told | changes))


def adapter(body: str, **more: Any) -> ProposedAdapter:
    text = "def heal(call, arguments, error):\n" + "".join(f"    {line}\n" for line in body.splitlines())
    return ProposedAdapter(kind="adapter", text=text, strategies=more.get("strategies", []), repairers=[])


@dataclass
class Told:
    """An asker with prepared answers, in order; the last one again and again."""

    replies: Sequence[Answer | AskFailed | Exception]
    asked: list[Prompt] = field(default_factory=list)
    wait: threading.Event | None = None
    model: str = "claude-test"

    def count(self, prompt: Prompt) -> int:
        return sum(len(turn.text) for turn in prompt.turns) // 3

    def ask(self, prompt: Prompt) -> Reply:
        if self.wait is not None:
            self.wait.wait(PATIENCE)
        self.asked.append(prompt)
        reply = self.replies[min(len(self.asked), len(self.replies)) - 1]
        if isinstance(reply, Exception):
            raise reply
        return Reply(answer=reply, usage=USAGE, model=self.model, request_id="req_1", seconds=0.5)


@dataclass
class No:
    """What a gateway says that lets nobody through."""

    state: Literal["diagnosing", "budget", "breaker_open", "cooldown", "busy", "store_away"]
    reason: str = "not now"


@dataclass
class Open:
    """A gateway that lets everybody through, unless it is told otherwise, and notes what it hears."""

    refuses: No | None = None
    reserves: Callable[[int], No | None] = lambda number: None
    heard: list[tuple[Any, ...]] = field(default_factory=list)
    counts: bool = False
    """Whether it has the prompt counted, as where the budgets are nearly spent."""

    def wait_until_left(self) -> None:
        """Wait for the thread that gives an admission back, which the caller does not."""
        wait_until(lambda: ("out",) in self.heard, "the gateway to be left")

    def enter(self, pattern: str, boundary: str) -> Any:
        return self.refuses if self.refuses is not None else _Way(self)


class _Way:
    def __init__(self, gateway: Open) -> None:
        self._gateway = gateway

    def __enter__(self) -> _Way:
        self._gateway.heard.append(("in",))
        return self

    def __exit__(self, *_: object) -> None:
        self._gateway.heard.append(("out",))

    def reserve(
        self, input_tokens: int, most_output_tokens: int, model: str, count: Callable[[], int] | None = None
    ) -> No | None:
        if self._gateway.counts and count is not None:
            count()
        return self._gateway.reserves(sum(one[0] == "settle" for one in self._gateway.heard))

    def settle(
        self, usage: Usage | None, failed: FailureKind | None, retry_after: float | None, seconds: float
    ) -> None:
        self._gateway.heard.append(("settle", usage, failed, retry_after))

    def end(self, state: str) -> None:
        self._gateway.heard.append(("end", state))


def consult(
    live: Runtime,
    asker: Told,
    gateway: Open | None = None,
    *,
    values: Any = "scrubbed",
    wait_seconds: float = PATIENCE,
    cost: Decimal | None = None,
) -> list[Consultation]:
    """Let Claude be asked in this runtime; return where the consultations will be."""
    kept: list[Consultation] = []
    diagnoser = ClaudeDiagnoser(
        asker,
        Prompter(live.scrubber, values),
        gateway or Open(),
        keep=kept.append,
        cost=lambda usage, model: cost,
        most_output=2_000,
        wait_seconds=wait_seconds,
    )
    live.engine._diagnosers = (Playbooks(), diagnoser)
    return kept
