"""Fixes: what healing knows, how well each fix has done, and how to take one out of service."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from healspan.dashboards import cached
from healspan.dashboards.deciding import ask_whether_to_serve, ask_whether_to_suspend, may_decide
from healspan.dashboards.parts import FIXES, OVERVIEW, REVIEW, STATE_HUES, ago, badge, empty, heading, plain, short
from healspan.dashboards.queries import FIX_GROUPS, FixesPage
from healspan.dashboards.steps import show_steps
from healspan.remediation.fix import SERVING_STATES, FixState
from healspan.remediation.shown import shown
from healspan.remediation.solution import Solution
from healspan.remediation.store.views import FixView

SERVING, *_ = FIX_GROUPS
_IMPORT = "healspan review import FILE"


def main() -> None:
    """Draw the page."""
    heading("Fixes", "What healing knows, how well each fix has done, and how to take one out of service.")
    group = st.segmented_control(
        "Which fixes",
        list(FIX_GROUPS),
        default=SERVING,
        required=True,
        key="group",
        bind="query-params",
        label_visibility="collapsed",
    )
    page = cached.fixes(group or SERVING)
    if page.solutions:
        _list(page)
    elif page.known:
        st.caption("No fix is in this state.")
    else:
        empty("build", "No fixes yet", "They are found when a boundary fails, or imported by a human:", _IMPORT)
    # The address names the fix, not the row: the list moves when somebody decides.
    chosen = st.query_params.get("fix")
    if chosen is None:
        return
    view = cached.fix(chosen)
    if view is None:
        st.warning("There is no fix of this id.", icon=":material/search_off:")
        return
    _fix(view)


def _list(page: FixesPage) -> None:
    solutions = page.solutions
    # Another list is another table, in which nothing is chosen yet.
    key = f"fixes-{hash(tuple(one.fix_id for one in solutions))}"
    st.dataframe(
        _table(solutions),
        hide_index=True,
        key=key,
        on_select=lambda: _open(key, solutions),
        selection_mode="single-row",
        column_config={
            "fix": st.column_config.TextColumn(width=120),
            "state": st.column_config.TextColumn(width=90),
            "boundary": st.column_config.TextColumn(width=180),
            "what it does": st.column_config.TextColumn(width=390),
            "right": st.column_config.NumberColumn(width=70, help="Verdicts that said it was right."),
            "wrong": st.column_config.NumberColumn(width=70, help="Verdicts that said it was wrong."),
            "score": st.column_config.ProgressColumn(
                format="%.2f", min_value=0, max_value=1, width=110, help="Its reward; empty until analytics has run."
            ),
            "last used": st.column_config.TextColumn(width=110),
        },
    )
    st.caption(f"{_how_many(page)} Choose a row to see what it does, step by step, and its history.")


def _open(key: str, solutions: tuple[Solution, ...]) -> None:
    rows = st.session_state[key].selection.rows
    if rows:
        st.query_params["fix"] = solutions[rows[0]].fix_id
    else:
        st.query_params.pop("fix", None)


def _how_many(page: FixesPage) -> str:
    listed = len(page.solutions)
    return f"The newest {listed:,} of {page.total:,}." if listed < page.total else f"All {page.total:,}."


def _table(solutions: tuple[Solution, ...]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "fix": [short(one.fix_id) for one in solutions],
            "state": [str(one.state) for one in solutions],
            "boundary": [shown(one.module) for one in solutions],
            "what it does": [shown(one.fix_instruction) for one in solutions],
            "right": [one.success_count for one in solutions],
            "wrong": [one.failure_count for one in solutions],
            "score": [one.reward_score for one in solutions],
            "last used": ["never" if one.last_applied is None else ago(one.last_applied) for one in solutions],
        },
    )


def _fix(view: FixView) -> None:
    fix = view.fix
    with st.container(border=True):
        st.markdown(f"##### {plain(fix.fix_instruction)}")
        with st.container(horizontal=True, vertical_alignment="center"):
            st.badge(str(view.state), color=STATE_HUES.get(view.state, "gray"))
            st.badge(f"{fix.risk_level} risk", color="gray")
            badge(fix.scope.module, icon=":material/fence:")
            badge(fix.origin, icon=":material/person_edit:")
            st.caption(plain(short(fix.fix_id)))
        st.markdown(f"**Diagnosis.** {plain(fix.diagnosis)}")
        show_steps(fix)
        changes = [
            {
                "when (UTC)": f"{change.at:%d %b %Y %H:%M}",
                "state": str(change.state),
                "by": plain(change.actor),
                "why": plain(change.reason),
            }
            for change in view.changes
        ]
        st.table(pd.DataFrame(changes), border="horizontal", hide_index=True)
        st.page_link(
            OVERVIEW,
            label=f"What failed at {plain(fix.scope.module)}",
            icon=":material/monitoring:",
            query_params={"boundary": fix.scope.module},
        )
        _decision(view)


def _decision(view: FixView) -> None:
    fix_id = view.fix.fix_id
    if view.state in SERVING_STATES:
        ask_whether_to_suspend(fix_id, view.changes[-1].sequence, decidable=may_decide())
    elif view.state is FixState.SUSPENDED:
        # Here as well as in the review, which leaves out those that a human has suspended.
        ask_whether_to_serve(fix_id, view.changes[-1].sequence, decidable=may_decide())
    elif view.state is FixState.PROPOSED:
        st.page_link(REVIEW, label="Decide in the review", icon=":material/rule:", query_params={"show": FIXES})


main()
