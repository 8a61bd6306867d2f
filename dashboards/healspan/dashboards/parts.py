"""What several pages draw: headings, empty states, failing code, moments; and text that must stay text."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Literal

import streamlit as st

from healspan.dashboards.endings import Ending, Hue
from healspan.remediation.errors import HealspanError
from healspan.remediation.fix import FixState
from healspan.remediation.incident import Frame
from healspan.remediation.shown import shown

__all__ = [
    "FIXES",
    "FIX_LIST",
    "OVERVIEW",
    "PATTERNS",
    "REVIEW",
    "STATE_HUES",
    "ago",
    "badge",
    "code_of",
    "empty",
    "ending_badge",
    "heading",
    "height_of",
    "milliseconds",
    "plain",
    "short",
    "trouble",
]

OVERVIEW, REVIEW, FIX_LIST = "views/overview.py", "views/review.py", "views/fixes.py"
"""Pages that others lead to."""

FIXES, PATTERNS = "proposed fixes", "escalated patterns"
"""What to look at in the review; the address bar shows these words."""

STATE_HUES: dict[FixState | None, Hue] = {
    FixState.TRIAL: "green",
    FixState.ACTIVE: "green",
    FixState.PROPOSED: "orange",
    FixState.SUSPENDED: "red",
}
"""Colours of the states of a fix; of what serves no more: gray."""

_LONG = 800
"""Characters."""
_LONG_HEIGHT = 320
"""Pixels of a long text; the rest is a scroll away."""

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>$:~&^=])")


_ADDRESS = re.compile(r"(?i)https?:(?=//)|www(?=\.)|@")
"""Where Markdown of GitHub's flavour finds an address in bare words, and makes a link of it, escaped or not."""

_NO_WIDTH = "\u2060"
"""A word joiner: nobody sees it, and no address is found over it."""


def plain(text: str) -> str:
    """Escape text from outside, so that Markdown shows it letter by letter: no link, no picture, no heading."""
    words = " ".join(shown(text).split())
    return _MARKDOWN.sub(r"\\\1", _ADDRESS.sub(lambda found: found[0] + _NO_WIDTH, words))


def badge(text: str, *, icon: str | None = None) -> None:
    """Draw words from outside as a badge."""
    # Streamlit escapes square brackets in a badge itself; escaped twice they would end it.
    st.badge(plain(text).replace("\\[", "[").replace("\\]", "]"), icon=icon, color="gray")


def height_of(text: str) -> int | Literal["content"]:
    """Return how high a text may stand, so that what comes after it stays in sight."""
    return _LONG_HEIGHT if len(text) > _LONG else "content"


def short(identifier: str) -> str:
    """Return the part of a fix's id that people say."""
    return identifier[:12]


def ago(moment: datetime, now: datetime | None = None) -> str:
    """Say how long ago something was."""
    passed = (now or datetime.now(UTC)) - moment
    for length, unit in ((timedelta(days=1), "d"), (timedelta(hours=1), "h"), (timedelta(minutes=1), "min")):
        if passed >= length:
            return f"{passed // length} {unit} ago"
    return "just now"


def milliseconds(value: float) -> str:
    """Write a duration as people read it."""
    if value >= 1_000:
        return f"{value / 1_000:,.1f} s"
    return f"{value:,.0f} ms" if value >= 10 else f"{value:.1f} ms"


def heading(title: str, text: str) -> None:
    """Draw the head of a page."""
    st.header(title, anchor=False)
    st.caption(text)


def empty(icon: str, title: str, text: str, command: str | None = None) -> None:
    """Say that there is nothing to see, and what to do next."""
    with st.container(border=True, horizontal_alignment="center"):
        st.space("small")
        st.markdown(f"### :material/{icon}: {title}", width="content")
        st.markdown(text, width="content", text_alignment="center")
        if command is not None:
            st.code(command, language="bash", width="content")
        st.space("small")


def trouble(error: HealspanError) -> None:
    """Say what is wrong."""
    st.error(plain(str(error)), icon=":material/cloud_off:", title=type(error).__name__)


def ending_badge(ending: Ending) -> None:
    """Draw how something ended."""
    st.badge(ending.label, icon=ending.icon, color=ending.hue)


def code_of(frames: tuple[Frame, ...]) -> str:
    """Write frames with their source lines, the failing expression underlined."""
    lines: list[str] = []
    for frame in frames:
        source = frame.source_line.strip()
        lines.append(f"{frame.module}.{frame.function}, line {frame.line}")
        lines.append(f"    {source}")
        expression = frame.expression.text if frame.expression is not None else ""
        start = source.find(expression) if expression else -1
        if start >= 0:
            lines.append(" " * (4 + start) + "^" * len(expression))
    return shown("\n".join(lines))
