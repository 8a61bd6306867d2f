"""Review: what waits for a human. Proposed fixes to approve or reject, and patterns that escalate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import pandas as pd
import streamlit as st

from healspan.dashboards import cached
from healspan.dashboards.deciding import ask_whether_it_may_stay, ask_whether_to_serve, may_decide
from healspan.dashboards.parts import FIXES, OVERVIEW, PATTERNS, ago, badge, empty, heading, plain, short
from healspan.dashboards.queries import MOST, ReviewPage
from healspan.dashboards.steps import show_steps
from healspan.remediation.fix import RiskLevel
from healspan.remediation.shown import shown
from healspan.remediation.store.facts import context_keys
from healspan.remediation.store.masking import MaskingAlarm
from healspan.remediation.store.review_queue import Escalation, Proposal, Suspension
from healspan.remediation.validation import Outcome, Validation

# Proposed fixes drawn at once; a browser takes its time for each.
AT_ONCE = 10

RISK_HUES: Mapping[RiskLevel, Literal["green", "orange", "red"]] = {
    RiskLevel.LOW: "green",
    RiskLevel.MEDIUM: "orange",
    RiskLevel.HIGH: "red",
}


def main() -> None:
    """Draw the page."""
    heading("Review", "What healing could not prove by itself waits here for a human.")
    page = cached.review()
    waiting = sum(one.answered_by is None for one in page.escalations)
    decidable = may_decide()
    for suspension in page.suspensions:
        _suspension(suspension, decidable=decidable)
    for alarm in page.masking:
        _masking(alarm, decidable=decidable)
    if not page.proposals and not page.escalations and not page.suspensions and not page.masking:
        empty(
            "task_alt",
            "Nothing waits for you",
            "Failures that escalate, fixes that the policy does not let act alone, and fixes that their verdicts took "
            "out of service, come here.",
        )
        return
    shown = st.segmented_control(
        "What to review",
        [FIXES, PATTERNS],
        default=FIXES if page.proposals else PATTERNS,
        required=True,
        key="show",
        bind="query-params",
        label_visibility="collapsed",
    )
    st.caption(
        f"{page.proposed:,} {'fix waits' if page.proposed == 1 else 'fixes wait'} for approval; "
        f"{waiting:,}{' or more' if waiting >= MOST else ''} escalated "
        f"{'pattern has' if waiting == 1 else 'patterns have'} no answer yet.",
    )
    if shown == PATTERNS:
        _patterns(page.escalations)
    else:
        _proposals(page, decidable=decidable)


def _suspension(suspension: Suspension, *, decidable: bool) -> None:
    """Show a fix that its verdicts took out of service, and let a human bring it back."""
    name = short(suspension.fix.fix_id)
    with st.container(border=True):
        st.warning(
            f"Fix {plain(name)} of {plain(suspension.fix.scope.module)} was suspended {ago(suspension.change.at)}: "
            f"{plain(suspension.change.reason)}. Only a human brings it back: `healspan fixes explain {name}` has its "
            "record.",
            icon=":material/block:",
        )
        with st.expander(plain(suspension.fix.fix_instruction), icon=":material/build:"):
            show_steps(suspension.fix)
        ask_whether_to_serve(suspension.fix.fix_id, suspension.change.sequence, decidable=decidable)


def _masking(alarm: MaskingAlarm, *, decidable: bool) -> None:
    """Show the draft of a ticket for a fix that hides a fault, and let a human answer."""
    with st.container(border=True):
        st.markdown(f"##### {plain(alarm.title)}")
        st.badge("probably an architectural deficiency", icon=":material/visibility_off:", color="orange")
        with st.expander("Draft of a ticket", icon=":material/description:"):
            for line in alarm.ticket.splitlines():
                st.markdown(plain(line))
        ask_whether_it_may_stay(alarm.fix_id, decidable=decidable)


def _proposals(page: ReviewPage, *, decidable: bool) -> None:
    if not page.proposals:
        st.caption("No fix waits for approval. Engineers' fixes come in with `healspan review import FILE`.")
        return
    drawn = int(st.session_state.setdefault("drawn", AT_ONCE))
    for proposal in page.proposals[:drawn]:
        with st.container(border=True):
            _proposal(proposal, decidable=decidable)
    if drawn < page.proposed:
        st.caption(f"The newest {min(drawn, len(page.proposals)):,} of {page.proposed:,}.")
    if drawn < len(page.proposals):
        st.button("Show more", key="more", icon=":material/expand_more:", on_click=_draw_more)


def _draw_more() -> None:
    st.session_state["drawn"] += AT_ONCE


def _proposal(proposal: Proposal, *, decidable: bool) -> None:
    fix = proposal.fix
    st.markdown(f"##### {plain(fix.fix_instruction)}")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge(f"{fix.risk_level} risk", color=RISK_HUES[fix.risk_level])
        badge(fix.scope.module, icon=":material/fence:")
        badge(fix.origin, icon=":material/person_edit:")
        st.badge(f"confidence {fix.confidence:.0%}", color="gray")
        st.caption(f"{plain(short(fix.fix_id))} · proposed {ago(proposal.change.at)}")
    text, steps = st.columns([3, 4], gap="medium")
    with text:
        st.markdown(f"**Diagnosis.** {plain(fix.diagnosis)}")
        st.markdown(f"**Risk.** {plain(fix.risk_assessment)}")
        st.markdown(f"**Where it may act.** {plain(_scope(proposal))}")
        _evidence(proposal)
    with steps:
        show_steps(fix)
    ask_whether_to_serve(fix.fix_id, proposal.change.sequence, decidable=decidable)


def _scope(proposal: Proposal) -> str:
    scope = proposal.fix.scope
    types = f" ({', '.join(name.rpartition('.')[2] for name in scope.error_types)})" if scope.error_types else ""
    keys = ", ".join(f"{name}={value}" for name, value in sorted(scope.context_keys.items()))
    return f"{scope.module}, {scope.match} match{types}{f', only {keys}' if keys else ''}"


def _evidence(proposal: Proposal) -> None:
    number, score = proposal.incidents, proposal.score
    words = f"{number:,} {'incident' if number == 1 else 'incidents'} in its scope"
    if proposal.fix.scope.context_keys:
        words += ", of any context"
    if score is not None:
        whose = "its relatives suggest a score of" if score.parts.get("stale") else "its score is"
        words += f"; {whose} {score.reward_score:.2f}"
    st.markdown(f"**Evidence.** {words}.")
    st.markdown(f"**Tried.** {plain(_tried(proposal.validation))}")
    if proposal.latest is not None:
        st.page_link(
            OVERVIEW,
            label="See the latest one",
            icon=":material/open_in_new:",
            query_params={"incident": str(proposal.latest)},
        )


def _tried(validation: Validation | None) -> str:
    """Say how far a fix came on the validation ladder, with the reasons of what was skipped."""
    if validation is None:
        return "Not run: the policy, or the boundary, does not let it be tried before somebody approves it."
    passed = ", ".join(one.rung for one in validation.rungs if one.outcome is Outcome.PASSED)
    skipped = [f"{one.rung} ({one.reason})" for one in validation.rungs if one.outcome is Outcome.SKIPPED]
    return f"Passed {passed}." + (f" Skipped {'; '.join(skipped)}." if skipped else "")


def _patterns(escalations: tuple[Escalation, ...]) -> None:
    if not escalations:
        st.caption("Nothing escalates.")
        return
    chosen = st.dataframe(
        pd.DataFrame(
            {
                "pattern": [shown(one.error_pattern) for one in escalations],
                "boundary": [shown(one.boundary) for one in escalations],
                "incidents": [one.incidents for one in escalations],
                "contexts": [
                    [shown(", ".join(context_keys(text).values())) for text in one.contexts] for one in escalations
                ],
                "last": [ago(one.last_at) for one in escalations],
                "answered by": [short(one.answered_by or "") for one in escalations],
            },
        ),
        hide_index=True,
        key="patterns",
        on_select="rerun",
        selection_mode="single-row",
        column_config={
            "pattern": st.column_config.TextColumn(width=380),
            "boundary": st.column_config.TextColumn(width=180),
            "incidents": st.column_config.ProgressColumn(
                format="%d", max_value=max(one.incidents for one in escalations), width=130
            ),
            "contexts": st.column_config.ListColumn(width=240),
            "last": st.column_config.TextColumn(width=100),
            "answered by": st.column_config.TextColumn(width=120),
        },
    )
    # What was chosen may have gone meanwhile.
    rows = [row for row in chosen.selection.rows if row < len(escalations)]
    asked = next((place for place, one in enumerate(escalations) if one.exact == st.query_params.get("pattern")), 0)
    _pattern(escalations[rows[0] if rows else asked])


def _pattern(escalation: Escalation) -> None:
    with st.container(border=True):
        st.markdown(f"##### {plain(escalation.error_pattern)}")
        st.caption(
            f"{escalation.incidents:,} escalated since {escalation.first_at:%d %b %Y %H:%M} UTC, "
            f"the last one {ago(escalation.last_at)}.",
        )
        with st.container(horizontal=True):
            for position, example in enumerate(escalation.examples):
                st.page_link(
                    OVERVIEW,
                    label="Latest incident" if position == 0 else f"Example {position + 1}",
                    icon=":material/open_in_new:",
                    query_params={"incident": str(example)},
                )
        if escalation.answered_by is not None:
            st.success(
                f"Fix {short(escalation.answered_by)} covers it and serves since. The next failure shows whether it "
                "holds.",
                icon=":material/task_alt:",
            )
        else:
            st.markdown("Write a fix for it, or register a strategy at the boundary; then:")
            st.code("healspan review import reviewed_fixes/ --app your.module", language="text", wrap_lines=True)


main()
