"""Answers as they are stored: whatever a model answers can be written down, without a secret."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.asking import answer
from tests.canaries import canaries, leaks

from healspan.remediation.claude.answer import Answer, without_secrets
from healspan.remediation.scrubbing import Scrubber

CARD = 4_111_111_111_111_111
SCRUBBER = Scrubber()
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([CARD, float(CARD)])
SECRETS = [canary.value for canary in canaries(7) if canary.is_text]
TEXTS = st.text(max_size=30) | st.sampled_from(SECRETS)
SETTINGS = st.fixed_dictionaries(
    {"name": TEXTS | st.just("password"), "value": TEXTS | NUMBERS | st.booleans() | st.none()}
)
STEPS = st.one_of(
    st.fixed_dictionaries({"kind": st.just("retry"), "attempts": st.integers() | st.just(CARD)}),
    st.fixed_dictionaries({"kind": st.just("fallback")}),
    st.fixed_dictionaries({"kind": st.just("parameters"), "arguments": st.lists(SETTINGS, max_size=3)}),
    st.fixed_dictionaries(
        {"kind": st.just("adapter"), "text": TEXTS, "strategies": st.lists(TEXTS), "repairers": st.lists(TEXTS)}
    ),
)


@settings(deadline=None)
@given(st.lists(STEPS, max_size=3), NUMBERS, TEXTS)
@example([{"kind": "retry", "attempts": CARD}], float(CARD), "")
def test_every_answer_can_be_stored_and_holds_no_secret(steps, confidence, text):
    said = Answer.model_validate(
        {**answer().model_dump(), "steps": steps, "confidence": confidence, "evidence": [text]}
    )
    stored = without_secrets(said, SCRUBBER)
    assert len(stored.steps) == len(steps)
    written = stored.model_dump_json()
    assert str(CARD) not in written
    assert not leaks(written, [canary for canary in canaries(7) if canary.is_text])


@given(st.floats(0, 1), st.integers(1, 10))
def test_ordinary_numbers_are_kept(confidence, attempts):
    said = Answer.model_validate(
        {**answer().model_dump(), "steps": [{"kind": "retry", "attempts": attempts}], "confidence": confidence}
    )
    assert without_secrets(said, SCRUBBER) == said
