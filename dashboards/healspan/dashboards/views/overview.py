"""Overview: what failed and how it ended, over time; and any one incident, down to the expression."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

import pandas as pd
import streamlit as st

from healspan.dashboards import cached
from healspan.dashboards.charts import duration_chart, endings_chart, outcomes_chart
from healspan.dashboards.endings import ending_of
from healspan.dashboards.incident import show_incident
from healspan.dashboards.parts import empty, heading, milliseconds, plain
from healspan.dashboards.queries import MOST, PERIODS, IncidentList, OverviewPage
from healspan.remediation.incident import IncidentStatus, Tier
from healspan.remediation.shown import shown
from healspan.remediation.store.overview import HealDuration
from healspan.remediation.store.spending import Spent
from healspan.remediation.store.views import Amount, IncidentView

LIVE_SECONDS = 5
ANY, EVERYWHERE = "however they ended", "at every boundary"


def main() -> None:
    """Draw the page: one incident if the address names one, the overview otherwise."""
    chosen = st.query_params.get("incident")
    if chosen is not None:
        show_incident(chosen)
        return
    head, choices = st.columns([3, 2], vertical_alignment="bottom")
    with head:
        heading("Overview", "What failed at your boundaries, and how it ended.")
    with choices, st.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center"):
        period = st.segmented_control(
            "Period",
            list(PERIODS),
            default="7 d",
            required=True,
            key="period",
            bind="query-params",
            label_visibility="collapsed",
        )
        live = st.toggle("Live", value=True, key="live", bind="query-params", help="Refresh every few seconds.")
    st.fragment(_everything, run_every=LIVE_SECONDS if live else None)(period or "7 d")


def _everything(period: str) -> None:
    """Draw what refreshes itself: all of it, so that a store that comes back is seen whole."""
    if "incident" in st.query_params:
        # A row was chosen: that is another page, and a fragment draws itself only.
        st.rerun()
    _numbers(period)
    _incidents(period)


def _numbers(period: str) -> None:
    page = cached.overview(period)
    if page is None:
        empty(
            "healing",
            "Nothing has failed here" + ("" if period == "all" else f" in the last {period}"),
            ("" if period == "all" else "Look further back. ")
            + "Decorate a function with `@error_boundary`, or watch healspan heal real filings in a store of its own:",
            "healspan demo",
        )
        return
    _metrics(page)
    _claude()
    with st.container(border=True):
        st.markdown("**Incidents by how they ended**")
        st.altair_chart(outcomes_chart(page.outcomes, page.stretch), key="outcomes")
    left, right = st.columns(2)
    with left, st.container(border=True, height="stretch"):
        st.markdown("**How failing calls ended**, those included that installed repairs saved")
        st.altair_chart(endings_chart(page.outcomes, page.repaired), key="endings")
    with right, st.container(border=True, height="stretch"):
        st.markdown("**How long a heal took**")
        if page.durations:
            st.altair_chart(duration_chart(page.durations), key="durations")
            st.caption(_percentiles(page.durations))
        else:
            st.caption("No heal yet in this period.")


def _metrics(page: OverviewPage) -> None:
    total = page.span.incidents
    healed = page.ended(IncidentStatus.HEALED)
    known = sum(one.incidents for one in page.outcomes if one.status is IncidentStatus.HEALED and one.tier == "1")
    columns = st.columns(5)
    columns[0].metric("Incidents", f"{total:,}", border=True)
    columns[1].metric(
        "Healed",
        f"{healed / total:.0%}",
        border=True,
        help=f"{healed:,} of {total:,} incidents ended with the call's own result, verified.",
    )
    columns[2].metric(
        "By a known fix",
        f"{known:,}",
        border=True,
        help="Tier 1: no diagnosis was needed. Calls that installed repairs saved come on top.",
    )
    columns[3].metric("Escalated", f"{page.ended(IncidentStatus.ESCALATED):,}", border=True)
    more = "+" if page.escalations >= MOST else ""
    columns[4].metric(
        "Waiting for you",
        f"{page.waiting:,}{more}",
        border=True,
        help=f"On the review page: escalated patterns ({page.escalations}{more}), proposed fixes ({page.proposals}), "
        f"suspended ones ({page.suspensions}), and ones that hide a fault ({page.masking}).",
    )


def _claude() -> None:
    today = cached.claude_today()
    if today is None:
        return
    spent, budget = today.spent, today.budget
    st.caption(
        f":material/forum: {plain(_spent_words(spent, budget))}",
        help="Over all processes of this store; what is under way counts with the most that it can cost. "
        "`healspan claude budget` says more.",
    )


def _spent_words(spent: Spent, budget: Amount) -> str:
    requests = "1 request" if spent.requests == 1 else f"{spent.requests:,} requests"
    usd = (spent.micro_usd or 0) / 1e6, (budget.micro_usd or 0) / 1e6
    return (
        f"Claude today (UTC): {requests}, ${usd[0]:,.2f} of ${usd[1]:,.2f}, "
        f"{spent.tokens:,} of {budget.tokens:,} tokens"
    )


def _percentiles(durations: Iterable[HealDuration]) -> str:
    parts = []
    for tier, name in ((Tier.KNOWN_FIX, "known fix"), (Tier.DIAGNOSIS, "after a diagnosis")):
        times = sorted(one.milliseconds for one in durations if one.tier is tier)
        if times:
            slow = times[min(len(times) - 1, int(len(times) * 0.99))]
            parts.append(
                f"{name}: half within {milliseconds(statistics.median(times))}, 99 % within {milliseconds(slow)}"
            )
    return " · ".join(parts)


def _incidents(period: str) -> None:
    title, where, how = st.columns([3, 2, 2], vertical_alignment="bottom")
    title.subheader("Recent incidents", anchor=False)
    with where:
        names = [EVERYWHERE, *cached.boundary_names(period)]
        # A link may name one at which nothing has failed lately: everybody's incidents are no answer to that.
        asked = st.query_params.get("boundary", EVERYWHERE)
        boundary = st.selectbox(
            "Boundary",
            names if asked in names else [*names, asked],
            format_func=shown,
            key="boundary",
            bind="query-params",
            label_visibility="collapsed",
        )
    with how:
        status = st.selectbox(
            "Ended",
            [ANY, *(status.value for status in IncidentStatus)],
            key="status",
            bind="query-params",
            label_visibility="collapsed",
        )
    found = cached.incidents(
        period, None if boundary == EVERYWHERE else boundary, None if status == ANY else IncidentStatus(status)
    )
    if not found.views:
        st.caption("No incident matches.")
        return
    st.dataframe(
        _table(found.views),
        hide_index=True,
        key="incidents",
        on_select=lambda: _open(found.views),
        selection_mode="single-row",
        column_config={
            "at": st.column_config.DatetimeColumn("when (UTC)", format="DD MMM HH:mm:ss", width=130),
            "boundary": st.column_config.TextColumn(width=170),
            "error": st.column_config.TextColumn(width=150),
            "context": st.column_config.TextColumn(width=110),
            "ended": st.column_config.TextColumn("ended", width=130),
            "heal": st.column_config.NumberColumn("took (ms)", format="%.1f", width=90),
            "message": st.column_config.TextColumn("message", width="large"),
        },
    )
    st.caption(f"{_how_many(found)} Choose a row to see the failing expression and what was tried.")


def _how_many(found: IncidentList) -> str:
    listed = len(found.views)
    return f"The newest {listed:,} of {found.total:,}." if listed < found.total else f"All {found.total:,}."


def _table(views: tuple[IncidentView, ...]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "at": [view.incident.timestamp.replace(tzinfo=None) for view in views],
            "boundary": [shown(view.incident.module) for view in views],
            "error": [shown(view.incident.error_type.rpartition(".")[2]) for view in views],
            "message": [shown(view.incident.error_message) for view in views],
            "context": [shown(", ".join(view.incident.context_keys.values())) for view in views],
            "ended": [
                ending_of(view.status, view.resolution.tier if view.resolution else None).label for view in views
            ],
            "heal": [view.resolution.elapsed_ms if view.resolution else None for view in views],
        },
    )


def _open(views: tuple[IncidentView, ...]) -> None:
    rows = st.session_state["incidents"].selection.rows
    if rows:
        st.query_params["incident"] = str(views[rows[0]].incident.error_id)


main()
