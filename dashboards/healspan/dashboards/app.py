"""The entry file of the console: a router, nothing else."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

HERE = Path(__file__).parent
VIEWS = HERE / "views"

# A symbol of Streamlit's would be fetched by the browser from somebody else's server, each time.
st.set_page_config(page_title="healspan", page_icon=HERE / "icon.svg", layout="wide")
# Streamlit leaves a hand's breadth above every page, more than a console can spare.
# And it cuts names in tables off that are longer than their column.
st.html(
    "<style>.stMainBlockContainer { padding-top: 4.5rem; padding-bottom: 3rem; max-width: 90rem; }"
    " .st-key-facts td, .st-key-parts td { overflow-wrap: anywhere; white-space: normal; }</style>"
)
page = st.navigation(
    [
        st.Page(VIEWS / "overview.py", title="Overview", icon=":material/monitoring:", default=True),
        st.Page(VIEWS / "review.py", title="Review", icon=":material/rule:"),
        st.Page(VIEWS / "fixes.py", title="Fixes", icon=":material/build:"),
        st.Page(VIEWS / "hotspots.py", title="Hotspots", icon=":material/local_fire_department:"),
    ],
    position="top",
)
page.run()
