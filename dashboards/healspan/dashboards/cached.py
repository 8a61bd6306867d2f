"""The queries as pages call them: one store per server, results kept for a moment, errors said in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import streamlit as st

from healspan.dashboards import queries
from healspan.dashboards.parts import trouble
from healspan.remediation.errors import HealspanError
from healspan.remediation.incident import IncidentStatus
from healspan.remediation.settings import Settings, load_settings
from healspan.remediation.store import Hotspot
from healspan.remediation.store.repository import Store
from healspan.remediation.store.views import FixView

__all__ = [
    "boundary_names",
    "claude_today",
    "fix",
    "fixes",
    "forget",
    "hotspots",
    "incident",
    "incidents",
    "overview",
    "review",
    "settings",
    "store",
]

SECONDS = 3
"""How long a result is kept: shorter than the pages refresh, so that several viewers ask the store once."""

_T = TypeVar("_T")


def settings() -> Settings:
    """Return the settings of this server; what cannot be used is said on the page."""
    return _or_trouble(load_settings)


def store() -> Store:
    """Return the store; if it cannot be opened, the page says so and ends."""
    found = settings()
    return _or_trouble(lambda: _opened(found.database_url, found))


def forget() -> None:
    """Ask the store again next time: something has been decided."""
    st.cache_data.clear()


def overview(period: str) -> queries.OverviewPage | None:
    """Return the overview of a period named in `queries.PERIODS`."""
    here = store()
    return _or_trouble(lambda: _overview(here.database.name, period, _store=here))


def claude_today() -> queries.ClaudeToday | None:
    """Return what Claude costs today."""
    here, known = store(), settings()
    return _or_trouble(lambda: _claude_today(here.database.name, known.claude_model, _store=here, _settings=known))


def boundary_names(period: str) -> tuple[str, ...]:
    """Return the boundaries at which something failed."""
    here = store()
    return _or_trouble(lambda: _boundary_names(here.database.name, period, _store=here))


def incidents(period: str, boundary: str | None, status: IncidentStatus | None) -> queries.IncidentList:
    """Return the newest incidents."""
    here = store()
    return _or_trouble(lambda: _incidents(here.database.name, period, boundary, status, _store=here))


def incident(error_id: str) -> queries.IncidentPage | None:
    """Return one incident."""
    here = store()
    return _or_trouble(lambda: _incident(here.database.name, error_id, _store=here))


def review() -> queries.ReviewPage:
    """Return what waits for a human."""
    here = store()
    return _or_trouble(lambda: _review(here.database.name, _store=here))


def fixes(group: str) -> queries.FixesPage:
    """Return the fixes of one of `queries.FIX_GROUPS`."""
    here = store()
    return _or_trouble(lambda: _fixes(here.database.name, group, _store=here))


def fix(fix_id: str) -> FixView | None:
    """Return one fix as it stands now: somebody is about to decide."""
    here = store()
    return _or_trouble(lambda: here.fixes.get(fix_id))


def hotspots() -> tuple[Hotspot, ...]:
    """Return where failures are expected."""
    here = store()
    return _or_trouble(lambda: _hotspots(here.database.name, _store=here))


def _or_trouble(ask: Callable[[], _T]) -> _T:
    try:
        return ask()
    except HealspanError as error:
        trouble(error)
        st.stop()


@st.cache_resource(show_spinner=False)
def _opened(url: str, _settings: Settings) -> Store:  # noqa: ARG001 - the cache's key
    return Store.open(_settings)


@st.cache_data(ttl=SECONDS, show_spinner=False)
def _overview(url: str, period: str, *, _store: Store) -> queries.OverviewPage | None:  # noqa: ARG001 - likewise
    return queries.overview_page(_store, queries.PERIODS[period])


@st.cache_data(ttl=SECONDS, show_spinner=False)
def _claude_today(
    url: str,  # noqa: ARG001 - likewise
    model: str,  # noqa: ARG001 - likewise
    *,
    _store: Store,
    _settings: Settings,
) -> queries.ClaudeToday | None:
    return queries.claude_today(_store, _settings)


@st.cache_data(ttl=SECONDS, show_spinner=False)
def _boundary_names(url: str, period: str, *, _store: Store) -> tuple[str, ...]:  # noqa: ARG001 - likewise
    return queries.boundary_names(_store, queries.PERIODS[period])


@st.cache_data(ttl=SECONDS, show_spinner=False)
def _incidents(
    url: str,  # noqa: ARG001 - likewise
    period: str,
    boundary: str | None,
    status: IncidentStatus | None,
    *,
    _store: Store,
) -> queries.IncidentList:
    return queries.incident_list(_store, queries.PERIODS[period], boundary=boundary, status=status)


@st.cache_data(ttl=SECONDS, show_spinner=False)
def _incident(url: str, error_id: str, *, _store: Store) -> queries.IncidentPage | None:  # noqa: ARG001 - likewise
    return queries.incident_page(_store, error_id)


@st.cache_data(ttl=SECONDS, show_spinner=False)
def _review(url: str, *, _store: Store) -> queries.ReviewPage:  # noqa: ARG001 - likewise
    return queries.review_page(_store)


@st.cache_data(ttl=SECONDS, show_spinner=False)
def _fixes(url: str, group: str, *, _store: Store) -> queries.FixesPage:  # noqa: ARG001 - likewise
    return queries.fixes_page(_store, group)


@st.cache_data(ttl=SECONDS, show_spinner=False)
def _hotspots(url: str, *, _store: Store) -> tuple[Hotspot, ...]:  # noqa: ARG001 - likewise
    return queries.hotspot_page(_store)
