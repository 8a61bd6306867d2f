"""The algebra of fingerprints."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from healspan.remediation.fingerprint import fingerprint, mask_message
from healspan.remediation.incident import Cause, Frame

_name = st.sampled_from(["a", "b", "c.d", "walk"])
_line = st.sampled_from(["x = 1", "return f(y)", "raise", "row['k']", ""])
_frame = st.builds(
    lambda module, function, line, number, in_app: Frame(
        module=module, function=function, file="f.py", line=number, source_line=line, in_app=in_app
    ),
    _name,
    _name,
    _line,
    st.integers(1, 99),
    st.booleans(),
)
_leaf = st.builds(lambda kind: Cause(error_type=kind, error_message="", relation="group"), _name)


@given(st.text(max_size=200), st.lists(_frame, max_size=40), st.lists(_leaf, max_size=5), st.randoms())
def test_equal_failures_have_equal_patterns_whatever_their_data(
    message: str, frames: list[Frame], leaves: list[Cause], rng: random.Random
) -> None:
    shuffled = rng.sample(leaves, len(leaves))
    moved = [frame.model_copy(update={"line": frame.line + 5, "file": "g.py"}) for frame in frames]
    first = fingerprint("app.Error", message, frames, leaves, "b")
    second = fingerprint("app.Error", message, moved, shuffled, "b")
    assert first == second


@given(st.text(max_size=300) | st.text("0123456789abcdef-.:/@' \"x,", max_size=300))
def test_masking_is_idempotent(message: str) -> None:
    assert mask_message(mask_message(message)) == mask_message(message)


@given(
    st.lists(_frame, min_size=1, max_size=6).map(lambda frames: [f.model_copy(update={"in_app": True}) for f in frames])
)
def test_with_a_stack_no_message_without_a_name_matters(frames: list[Frame]) -> None:
    assert fingerprint("E", "one", frames, (), "b").exact == fingerprint("E", "two 2", frames, (), "b").exact
