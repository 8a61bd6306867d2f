"""One incident on a page: the error, the failing expression, what was tried, and why it was grouped."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from healspan.dashboards import cached
from healspan.dashboards.consultations import show_consultation
from healspan.dashboards.endings import ending_of
from healspan.dashboards.parts import (
    FIX_LIST,
    PATTERNS,
    REVIEW,
    STATE_HUES,
    ago,
    badge,
    code_of,
    ending_badge,
    height_of,
    milliseconds,
    plain,
    short,
)
from healspan.dashboards.queries import IncidentPage
from healspan.remediation.incident import Decision, Incident, IncidentStatus
from healspan.remediation.shown import shown
from healspan.remediation.store.views import FixView

__all__ = ["show_incident"]

IN_APP_FRAMES = 6


def show_incident(error_id: str) -> None:
    """Draw the page of one incident."""
    st.button("All incidents", icon=":material/arrow_back:", type="tertiary", on_click=_back, key="back")
    page = cached.incident(error_id)
    if page is None:
        st.warning(
            "There is no incident of this id. It may have been purged: incidents are kept for 30 days by default.",
            icon=":material/search_off:",
        )
        return
    incident = page.view.incident
    _head(page)
    left, right = st.columns([3, 2], gap="medium")
    with left:
        st.subheader("Where it failed", anchor=False)
        frames = tuple(frame for frame in incident.frames if frame.in_app) or incident.frames
        st.code(code_of(frames[-IN_APP_FRAMES:]), language="python")
        _decisions(page)
        if page.view.status is IncidentStatus.ESCALATED:
            st.page_link(
                REVIEW,
                label="This kind of failure in the review",
                icon=":material/rule:",
                query_params={"show": PATTERNS, "pattern": incident.pattern.exact},
            )
        for one in page.view.consultations:
            show_consultation(one)
        with st.expander("Stack trace", icon=":material/segment:"):
            st.code(shown(incident.stack_trace), language="text")
    with right:
        _facts(incident)
        if page.fix is not None:
            _fix(page.fix)
        with st.expander("Why it was grouped like this", icon=":material/fingerprint:"), st.container(key="parts"):
            _pattern(incident, page.seen)
        with st.expander("What the call was given", icon=":material/input:"):
            st.json(incident.input_context.model_dump(mode="json"))
        if incident.system_state:
            with st.expander("State of the process", icon=":material/memory:"):
                st.json(incident.system_state)


def _back() -> None:
    st.query_params.pop("incident", None)


def _head(page: IncidentPage) -> None:
    incident, resolution = page.view.incident, page.view.resolution
    st.header(plain(incident.error_type.rpartition(".")[2]), anchor=False)
    message = shown(incident.error_message) or "(no message)"
    st.code(message, language="text", wrap_lines=True, height=height_of(message))
    with st.container(horizontal=True, vertical_alignment="center"):
        ending_badge(ending_of(page.view.status, resolution.tier if resolution else None))
        badge(incident.module, icon=":material/fence:")
        for value in incident.context_keys.values():
            badge(value, icon=":material/sell:")
        if resolution is not None:
            st.badge(milliseconds(resolution.elapsed_ms), icon=":material/timer:", color="gray")
        st.caption(f"{incident.timestamp:%d %b %Y %H:%M:%S} UTC, {ago(incident.timestamp)}")


def _decisions(page: IncidentPage) -> None:
    st.subheader("What was tried", anchor=False)
    resolution = page.view.resolution
    if resolution is None:
        st.caption("Nobody has said how it ended: the call may still be running, or its process died.")
        return
    if not resolution.decisions:
        st.caption("No known fix covers it, and no playbook fits." if resolution.diagnosed else "Nothing.")
        return
    # Sentences: in a table of this kind they wrap, in one that scrolls they would be cut off.
    st.table(_decision_table(resolution.decisions, page.instructions), border="horizontal", hide_index=True)


def _decision_table(decisions: tuple[Decision, ...], instructions: dict[str, str]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "fix": [short(one.fix_id) for one in decisions],
            "applied": ["yes" if one.applied else "no" for one in decisions],
            "decided by": [plain(one.gate) for one in decisions],
            "why": [plain(one.reason) for one in decisions],
            "what it does": [plain(instructions.get(one.fix_id, one.what)) for one in decisions],
        },
    )


def _facts(incident: Incident) -> None:
    st.subheader("Which call", anchor=False)
    facts = {
        "incident": str(incident.error_id),
        "function": incident.target,
        "service": incident.resource.get("service.name", ""),
        "pipeline": incident.pipeline or "",
        "context": ", ".join(f"{key}={value}" for key, value in incident.context_keys.items()),
        "trace": incident.trace_id or "",
        "span": incident.span_id or "",
        "caused by": " ← ".join(cause.error_type for cause in incident.cause_chain),
    }
    with st.container(key="facts"):
        st.table({name: plain(value) for name, value in facts.items() if value}, border="horizontal")
    page = cached.settings().trace_page(incident.trace_id, incident.span_id)
    if page is not None:
        st.link_button("Open the trace", page, icon=":material/timeline:")


def _fix(view: FixView) -> None:
    with st.container(border=True):
        st.markdown(f"**The fix** {plain(short(view.fix.fix_id))}")
        st.markdown(plain(view.fix.fix_instruction))
        with st.container(horizontal=True):
            st.badge(str(view.state), color=STATE_HUES.get(view.state, "gray"))
            st.badge(f"{view.fix.risk_level} risk", color="gray")
            badge(view.fix.origin)
        st.page_link(FIX_LIST, label="Its record", icon=":material/build:", query_params={"fix": view.fix.fix_id})


def _pattern(incident: Incident, seen: int) -> None:
    pattern = incident.pattern
    st.caption(f"Seen {seen:,} {'time' if seen == 1 else 'times'}.")
    st.code(shown(pattern.error_pattern), language="text", wrap_lines=True)
    if pattern.parts:
        parts = [{"part": part.name, "value": plain(part.value), "why": plain(part.why)} for part in pattern.parts]
        st.table(pd.DataFrame(parts), border="horizontal", hide_index=True)
    hashes = f"exact  {pattern.exact}\nloose  {pattern.loose}\nsite   {pattern.site}"
    st.code(shown(hashes), language="text", wrap_lines=True)
