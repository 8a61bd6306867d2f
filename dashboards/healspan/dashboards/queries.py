"""What the pages show, as frozen rows: asked of the store, with no word of Streamlit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from healspan.remediation.claude.budget import Limits
from healspan.remediation.fix import SERVING_STATES, FixState
from healspan.remediation.incident import IncidentStatus
from healspan.remediation.record import Record
from healspan.remediation.settings import Settings
from healspan.remediation.solution import Solution
from healspan.remediation.store import Hotspot
from healspan.remediation.store.masking import MaskingAlarm
from healspan.remediation.store.overview import HealDuration, OutcomeCount, Overview, Span
from healspan.remediation.store.repository import Store
from healspan.remediation.store.review_queue import Escalation, Proposal, ReviewQueue, Suspension
from healspan.remediation.store.spending import Spent
from healspan.remediation.store.views import Amount, FixView, IncidentFilter, IncidentView

__all__ = [
    "FIX_GROUPS",
    "MOST",
    "PERIODS",
    "ClaudeToday",
    "FixesPage",
    "IncidentList",
    "IncidentPage",
    "OverviewPage",
    "ReviewPage",
    "boundary_names",
    "claude_today",
    "fixes_page",
    "hotspot_page",
    "incident_list",
    "incident_page",
    "overview_page",
    "review_page",
    "stretch_for",
]

PERIODS: dict[str, timedelta | None] = {
    "1 h": timedelta(hours=1),
    "24 h": timedelta(days=1),
    "7 d": timedelta(days=7),
    "30 d": timedelta(days=30),
    "all": None,
}
"""Choices of how far back to look; None: everything there is."""

FIX_GROUPS: dict[str, frozenset[FixState]] = {
    "serving": SERVING_STATES,
    "proposed": frozenset({FixState.PROPOSED}),
    "suspended": frozenset({FixState.SUSPENDED}),
    "no longer": frozenset({FixState.RETIRED, FixState.PROMOTED}),
}
"""Choices of fixes by where they stand."""

_STRETCHES = tuple(
    timedelta(seconds=seconds)
    for seconds in (1, 5, 15, 60, 300, 900, 3_600, 4 * 3_600, 86_400, 7 * 86_400, 28 * 86_400)
)
_MOST_BARS = 60

MOST = 200
"""Rows of one kind that a page reads at most."""


class OverviewPage(Record):
    """What failed in a period and how it ended."""

    span: Span
    stretch: timedelta
    """Width of one bar."""
    outcomes: tuple[OutcomeCount, ...]
    durations: tuple[HealDuration, ...]
    repaired: int
    """Calls that installed repairs healed before any exception left the function."""
    escalations: int
    """Patterns that nobody has answered, of all time; of the `MOST` that escalate most."""
    proposals: int
    """Fixes that wait for a human."""
    suspensions: int
    """Fixes that their verdicts took out of service, for a human to bring back."""
    masking: int
    """Fixes that hide a fault, and that nobody has answered for."""
    serving: int
    """Fixes on trial or active."""

    @property
    def waiting(self) -> int:
        """What waits for a human."""
        return self.escalations + self.proposals + self.suspensions + self.masking

    def ended(self, *statuses: IncidentStatus) -> int:
        """Return how many incidents ended one of these ways."""
        return sum(one.incidents for one in self.outcomes if one.status in statuses)


class IncidentList(Record):
    """The newest incidents of a choice, and how many it has."""

    views: tuple[IncidentView, ...]
    total: int


class ClaudeToday(Record):
    """What Claude has cost on this day in UTC, of all processes, and what it may."""

    spent: Spent
    budget: Amount


class IncidentPage(Record):
    """One incident, the fix that dealt with it, and how often its pattern was seen."""

    view: IncidentView
    fix: FixView | None
    seen: int
    """Incidents of the same exact pattern, this one included."""
    instructions: dict[str, str]
    """What the fixes that were tried do, by id; those that were never stored are missing."""


class FixesPage(Record):
    """Fixes that stand in one place, and how many there are."""

    solutions: tuple[Solution, ...]
    """At most `MOST`, the newest first."""
    total: int
    """Fixes that stand there, all of them."""
    known: int
    """Likewise in every state."""


class ReviewPage(Record):
    """What waits for a human."""

    escalations: tuple[Escalation, ...]
    """At most `MOST`."""
    proposals: tuple[Proposal, ...]
    """Likewise."""
    proposed: int
    """Fixes that wait, all of them."""
    suspensions: tuple[Suspension, ...]
    masking: tuple[MaskingAlarm, ...]
    """Fixes that hide a fault, and that nobody has answered for."""


def stretch_for(length: timedelta) -> timedelta:
    """Return the width of a bar with which a period of this length makes a readable plot."""
    return next((one for one in _STRETCHES if length / one <= _MOST_BARS), _STRETCHES[-1])


def overview_page(store: Store, period: timedelta | None, *, now: datetime | None = None) -> OverviewPage | None:
    """Return what failed in a period; None if nothing did.

    Raises:
        StoreUnavailable, StoreCorrupt: the store cannot be read.
    """
    since = None if period is None else (now or datetime.now(UTC)) - period
    overview, queue = Overview(store.database), ReviewQueue(store.database)
    span = overview.span(since)
    if span is None:
        return None
    stretch = stretch_for(span.last - span.first)
    states = store.fixes.count_by_state()
    return OverviewPage(
        span=span,
        stretch=stretch,
        outcomes=overview.outcomes(stretch, since),
        durations=overview.durations(since),
        repaired=overview.repaired(since),
        escalations=sum(one.answered_by is None for one in queue.escalations(limit=MOST)),
        proposals=states[FixState.PROPOSED],
        suspensions=len(queue.suspensions(limit=MOST)),
        masking=len(store.masking.open()),
        serving=states[FixState.TRIAL] + states[FixState.ACTIVE],
    )


def incident_list(
    store: Store,
    period: timedelta | None,
    *,
    boundary: str | None = None,
    status: IncidentStatus | None = None,
    limit: int = MOST,
    now: datetime | None = None,
) -> IncidentList:
    """Return the newest incidents of a period, by the time they happened.

    Raises:
        StoreUnavailable, StoreCorrupt: the store cannot be read.
    """
    since = None if period is None else (now or datetime.now(UTC)) - period
    wanted = IncidentFilter(since=since, module=boundary, status=status)
    arrived = store.incidents.list(wanted, limit=limit)
    newest = sorted(arrived, key=lambda view: view.incident.timestamp, reverse=True)
    return IncidentList(views=tuple(newest), total=store.incidents.count(wanted))


def boundary_names(store: Store, period: timedelta | None, *, now: datetime | None = None) -> tuple[str, ...]:
    """Return the boundaries at which something failed in a period, the one with most incidents first.

    Raises:
        StoreUnavailable, StoreCorrupt: the store cannot be read.
    """
    return Overview(store.database).boundaries(None if period is None else (now or datetime.now(UTC)) - period)


def incident_page(store: Store, error_id: str) -> IncidentPage | None:
    """Return one incident; None if there is none of this id.

    Raises:
        StoreUnavailable, StoreCorrupt: the store cannot be read.
    """
    try:
        view = store.incidents.get(UUID(error_id))
    except ValueError:
        return None
    if view is None:
        return None
    resolution = view.resolution
    tried = [one.fix_id for one in resolution.decisions] if resolution is not None else []
    known = store.fixes.solutions(fix_ids=tried) if tried else ()
    return IncidentPage(
        view=view,
        fix=store.fixes.get(resolution.fix_id) if resolution is not None and resolution.fix_id is not None else None,
        instructions={one.fix_id: one.fix_instruction for one in known},
        seen=store.incidents.count(IncidentFilter(exact=view.incident.pattern.exact)),
    )


def claude_today(store: Store, settings: Settings, *, now: datetime | None = None) -> ClaudeToday | None:
    """Return what Claude costs today; None where nobody asks it.

    Raises:
        StoreUnavailable, StoreCorrupt: the store cannot be read.
    """
    spent = store.spending.total(now=now)
    if not settings.claude_model and not spent.requests:
        return None
    return ClaudeToday(spent=spent, budget=Limits.of(settings).day)


def review_page(store: Store) -> ReviewPage:
    """Return what waits for a human.

    Raises:
        StoreUnavailable, StoreCorrupt: the store cannot be read.
    """
    queue = ReviewQueue(store.database)
    return ReviewPage(
        escalations=queue.escalations(limit=MOST),
        proposals=queue.proposals(limit=MOST),
        proposed=store.fixes.count_by_state()[FixState.PROPOSED],
        suspensions=queue.suspensions(limit=MOST),
        masking=store.masking.open(),
    )


def fixes_page(store: Store, group: str) -> FixesPage:
    """Return the fixes of one of `FIX_GROUPS`.

    Raises:
        StoreUnavailable, StoreCorrupt: the store cannot be read.
    """
    states, counts = FIX_GROUPS[group], store.fixes.count_by_state()
    return FixesPage(
        solutions=store.fixes.solutions(states=states, limit=MOST),
        total=sum(counts[state] for state in states),
        known=sum(counts.values()),
    )


def hotspot_page(store: Store) -> tuple[Hotspot, ...]:
    """Return what analytics last expected, the most failures first.

    Raises:
        StoreUnavailable, StoreCorrupt: the store cannot be read.
    """
    return store.projections.hotspots()
