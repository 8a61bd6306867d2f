"""What Claude was asked about an incident: sent, answered, come of it, paid; folded until somebody wants to know."""

from __future__ import annotations

import streamlit as st

from healspan.dashboards.parts import height_of, plain
from healspan.remediation.claude.consultation import Asked, Consultation
from healspan.remediation.claude.wording import cost_words, proposed_words
from healspan.remediation.shown import shown

__all__ = ["show_consultation"]


def show_consultation(one: Consultation) -> None:
    """Draw one diagnosis."""
    state = one.state.replace("_", " ")
    with st.expander(f"What Claude was asked: {state}", icon=":material/forum:"):
        st.caption(
            plain(f"{one.model}, prompt {one.prompt_version}, values {one.values}, {one.at:%d %b %Y %H:%M:%S} UTC")
        )
        if one.reason:
            st.markdown(plain(one.reason))
        for number, asked in enumerate(one.asked, start=1):
            if len(one.asked) > 1:
                st.markdown(f"**Request {number} of {len(one.asked)}**")
            _asked(asked)


def _asked(asked: Asked) -> None:
    st.caption("Sent")
    # Of text from outside a code block makes no markup.
    st.code(shown(asked.sent), language="text", wrap_lines=True, height=height_of(asked.sent))
    answer = asked.answer
    if answer is not None:
        st.caption("Answered")
        st.markdown(plain(answer.root_cause))
        st.markdown(f"{plain(answer.instruction)} ({answer.risk_level} risk, confidence {answer.confidence:.2f})")
        for step in answer.steps:
            st.code(shown(proposed_words(step)), language="python")
    told = (("no answer", asked.detail), ("came of it", asked.verdict), ("cost", cost_words(asked)))
    st.table({name: plain(text) for name, text in told if text}, border="horizontal")
