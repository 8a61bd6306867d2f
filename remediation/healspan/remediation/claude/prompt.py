"""The prompt: the reviewed text, the catalogue, and one failure; then answers and their verdicts in turn."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from importlib import resources

from pydantic import JsonValue

from healspan.remediation.boundary import FailedCall
from healspan.remediation.claude.answer import Answer, ProposedStep, without_secrets
from healspan.remediation.claude.ask import Prompt, Turn
from healspan.remediation.claude.material import (
    GivenUp,
    SolvedLike,
    Values,
    catalogue_text,
    failure_text,
    nothing_given_up,
    nothing_like,
)
from healspan.remediation.incident import Decision
from healspan.remediation.scrubbing import RULE_NAMES, Scrubber

__all__ = ["VERSION", "Prompter"]

VERSION = "diagnose-1"
"""Of the reviewed text. Another text is another file with another number: fixes name the one they come from."""

_WITHOUT_ADAPTERS = "-without-adapters"
_ADAPTER = "`adapter`"

_MOST_VERDICT = 2_000
_MOST_WORDS, _MOST_EVIDENCE = 2_000, 20
_BY_FORM = frozenset({"pem", "url_credentials", "api_key", "jwt", "bearer", "basic", "pgpass", "card", "iban", "ssn"})
"""Rules that a step is refused by. Others go by names and by chance: ``key = "revenue"`` is what adapters say."""


class Prompter:
    """Makes prompts.

    Args:
        scrubber: removes secrets from everything that is sent.
        values: how much of the values of a failure is shown.
        solved: what solved failures like one, shown as examples.
        given_up: what was for a failure and somebody has said no to, shown for it not to be said again.
        adapters: whether they can be applied here; else nothing is said of them.
    """

    def __init__(
        self,
        scrubber: Scrubber,
        values: Values,
        *,
        solved: SolvedLike = nothing_like,
        given_up: GivenUp = nothing_given_up,
        adapters: bool = True,
    ) -> None:
        self.version = VERSION if adapters else f"{VERSION}{_WITHOUT_ADAPTERS}"
        """Of the text that is sent."""
        self._scrubber = scrubber
        self._by_form = Scrubber(
            disabled_patterns=scrubber.disabled_patterns | (RULE_NAMES - _BY_FORM),
            extra_patterns=scrubber.extra_patterns,
        )
        self._solved = solved
        self._given_up = given_up
        self.values = values

    def first(self, call: FailedCall, decisions: Sequence[Decision]) -> Prompt:
        """Return the first question about a failure."""
        text = failure_text(
            call,
            decisions,
            values=self.values,
            scrubber=self._scrubber,
            solved=self._solved,
            given_up=self._given_up,
        )
        turn = Turn(role="user", text=f"<failure>\n{text}\n</failure>\n\nDiagnose this failure.")
        return Prompt(version=self.version, system=(_reviewed(self.version), catalogue_text()), turns=(turn,))

    def cleaned(self, answer: Answer) -> Answer:
        """Return an answer whose words may be kept: scrubbed and bounded. Its steps are as they came.

        A model may have read, decoded or put together what nobody saw in what it was sent.
        """
        session = self._scrubber.session()
        words = {
            name: _on_one_line(session.text(getattr(answer, name), _MOST_WORDS))
            for name in ("root_cause", "disproof", "instruction", "risk_assessment")
        }
        evidence = [_on_one_line(session.text(one, _MOST_WORDS)) for one in answer.evidence[:_MOST_EVIDENCE]]
        return answer.model_copy(update={**words, "evidence": evidence})

    def stored(self, answer: Answer) -> Answer:
        """Return an answer as it is written down, its steps scrubbed as well; what runs is kept with the fix."""
        return without_secrets(answer, self._scrubber)

    def secret_in(self, steps: Sequence[ProposedStep]) -> str | None:
        """Say what kind of secret steps hold that a fix would keep; None if they hold none that its form gives away."""
        value: JsonValue = [step.model_dump(mode="json") for step in steps]
        return next((one.rule for one in self._by_form.explain(value)), None)

    def told(self, verdict: str) -> str:
        """Return a verdict as it may be kept and told: it names what was proposed, which may be anything."""
        return self._scrubber.scrub_text(verdict, _MOST_VERDICT)

    def again(self, prompt: Prompt, answer: Answer, verdict: str) -> Prompt:
        """Return the question after a proposal that did not hold."""
        told = self.told(verdict).replace("<", "\\u003c")
        turns = (
            Turn(role="assistant", text=answer.model_dump_json()),
            Turn(
                role="user",
                text=f"<verdict>\n{told}\n</verdict>\n\nThe proposal did not hold. Answer again, with another fix, or "
                "with no steps if none is sure to be right.",
            ),
        )
        return prompt.model_copy(update={"turns": (*prompt.turns, *turns)})


def _on_one_line(text: str) -> str:
    """Return a text that cannot look like the next line of what is printed about it."""
    return " ".join(text.split())


@functools.cache
def _reviewed(version: str) -> str:
    text = resources.files(__package__).joinpath("prompts", f"{VERSION}.txt").read_text(encoding="utf-8")
    if not version.endswith(_WITHOUT_ADAPTERS):
        return text
    # Of the same reviewed text: the line that says what an adapter is, and its place in the order of steps.
    lines = [line for line in text.splitlines(keepends=True) if not line.startswith(f"- {_ADAPTER}")]
    return "".join(lines).replace(f"{_ADAPTER}, ", "")
