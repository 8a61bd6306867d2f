"""Hotspots: where failures are to be expected, by boundary and document type."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from healspan.dashboards import cached
from healspan.dashboards.charts import document_type, heat_map
from healspan.dashboards.parts import OVERVIEW, ago, empty, heading, plain
from healspan.remediation.shown import shown
from healspan.remediation.store import Hotspot

LIVE_SECONDS = 10
# What to colour by; the address bar shows these words.
EXPECTED, RATE = "failures to come", "share of calls"


def main() -> None:
    """Draw the page."""
    heading("Hotspots", "Where failures are to be expected, by boundary and document type, and why.")
    measure = st.segmented_control(
        "Colour by",
        [EXPECTED, RATE],
        default=EXPECTED,
        required=True,
        key="by",
        bind="query-params",
        label_visibility="collapsed",
    )
    st.fragment(_spots, run_every=LIVE_SECONDS)(by_rate=measure == RATE)


def _spots(*, by_rate: bool) -> None:
    spots = cached.hotspots()
    if not spots:
        empty(
            "local_fire_department",
            "No hotspots yet",
            "They are worked out from calls and failures; `healspan up` does it every minute, or do it once:",
            "healspan analytics run",
        )
        return
    with st.container(border=True):
        st.altair_chart(heat_map(spots, by_rate=by_rate), key="map")
    ranked = sorted(spots, key=lambda spot: -spot.rate) if by_rate else spots
    chosen = st.dataframe(
        _table(tuple(ranked)),
        hide_index=True,
        key="spots",
        on_select="rerun",
        selection_mode="single-row",
        column_config={
            "boundary": st.column_config.TextColumn(width=180),
            "document type": st.column_config.TextColumn(width=160),
            "expected": st.column_config.NumberColumn("expected in 7 d", format="%.1f", width=120),
            "rate": st.column_config.ProgressColumn("calls that fail", format="%.0f%%", max_value=100.0, width=130),
            "why": st.column_config.TextColumn(width=620),
        },
    )
    # What was chosen may have gone meanwhile.
    for row in (row for row in chosen.selection.rows if row < len(ranked)):
        boundary = ranked[row].boundary
        st.page_link(
            OVERVIEW,
            label=f"What failed at {plain(boundary)}",
            icon=":material/monitoring:",
            query_params={"boundary": boundary},
        )
    st.caption(
        "Choose a row to see what failed there. "
        f"Worked out {ago(max(spot.updated_at for spot in spots))}. Old failures and calls fade: half in 14 days."
    )


def _table(spots: tuple[Hotspot, ...]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "boundary": [shown(spot.boundary) for spot in spots],
            "document type": [document_type(spot) for spot in spots],
            "expected": [spot.expected for spot in spots],
            "rate": [100 * spot.rate for spot in spots],
            "why": [spot.explanation for spot in spots],
        },
    )


main()
