"""The charts, from frozen rows to Altair; no chart asks the store."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import timedelta

import altair as alt
import pandas as pd

from healspan.analytics.hotspots import CONTEXT_KEY
from healspan.dashboards.endings import Ending, ending_of
from healspan.remediation.incident import Tier
from healspan.remediation.shown import shown
from healspan.remediation.store import Hotspot
from healspan.remediation.store.facts import context_keys
from healspan.remediation.store.overview import HealDuration, OutcomeCount

__all__ = ["document_type", "duration_chart", "endings_chart", "heat_map", "outcomes_chart"]

_ENDINGS = [ending.label for ending in Ending]
_COLOURS = alt.Scale(domain=_ENDINGS, range=[ending.colour for ending in Ending])
_TIERS = {Tier.KNOWN_FIX: Ending.KNOWN, Tier.DIAGNOSIS: Ending.DIAGNOSED, Tier.HUMAN: Ending.ESCALATED}
_BINS_PER_DECADE = 5
_FEW_DECADES = 4
_NUMBERS = "#70797d"
"""Of numbers beside bars: read on a light page as on a dark one."""
_NARROW = "containerSize()[0] < 560"
"""Vega's word for a page on a telephone."""


_TIME = "datum.value >= 1000 ? format(datum.value / 1000, ',~g') + ' s' : format(datum.value, '~g') + ' ms'"
"""How Vega writes milliseconds on an axis."""


def outcomes_chart(outcomes: Sequence[OutcomeCount], stretch: timedelta) -> alt.Chart:
    """Return stacked bars over time: how many incidents ended how."""
    rows = pd.DataFrame(
        {
            "start": [one.start for one in outcomes],
            "moment": [f"{one.start:%d %b %H:%M:%S} UTC" for one in outcomes],
            "end": [one.start + stretch for one in outcomes],
            "ending": [ending_of(one.status, one.tier).label for one in outcomes],
            "order": [_ENDINGS.index(ending_of(one.status, one.tier).label) for one in outcomes],
            "incidents": [one.incidents for one in outcomes],
        },
    )
    chart: alt.Chart = (
        alt.Chart(rows)
        .mark_bar(binSpacing=1)
        .encode(
            x=alt.X("start:T", title="UTC", scale=alt.Scale(type="utc"), axis=_time_axis(stretch)),
            x2="end:T",
            y=alt.Y("sum(incidents):Q", title="incidents", axis=alt.Axis(tickMinStep=1)),
            color=alt.Color("ending:N", scale=_COLOURS, sort=_ENDINGS, legend=_legend(rows["ending"])),
            order=alt.Order("order:Q"),
            tooltip=[
                alt.Tooltip("moment:N", title="from"),
                alt.Tooltip("ending:N", title="ended"),
                alt.Tooltip("sum(incidents):Q", title="incidents"),
            ],
        )
        .properties(height=320)
    )
    return chart


def endings_chart(outcomes: Iterable[OutcomeCount], repaired: int) -> alt.LayerChart:
    """Return one bar per ending, with its number; calls that installed repairs saved come first."""
    counts = Counter[str]()
    for one in outcomes:
        counts[ending_of(one.status, one.tier).label] += one.incidents
    saved = "installed repair"
    rows = pd.DataFrame(
        [(saved, repaired, Ending.KNOWN.label)] * (repaired > 0)
        + [(label, counts[label], label) for label in _ENDINGS if counts[label]],
        columns=["ending", "calls", "colour"],
    )
    base = alt.Chart(rows).encode(
        y=alt.Y("ending:N", sort=[saved, *_ENDINGS], title=None, axis=alt.Axis(labelLimit=160, ticks=False)),
        # Room at the end for the number.
        x=alt.X("calls:Q", title=None, axis=None, scale=alt.Scale(domainMax=1.15 * float(rows["calls"].max()))),
    )
    bars = base.mark_bar(cornerRadiusEnd=3).encode(
        color=alt.Color("colour:N", scale=_COLOURS, legend=None),
        tooltip=[alt.Tooltip("ending:N", title="ended"), alt.Tooltip("calls:Q", title="calls", format=",")],
    )
    numbers = base.mark_text(align="left", dx=5, color=_NUMBERS).encode(text=alt.Text("calls:Q", format=","))
    chart: alt.LayerChart = (bars + numbers).properties(height=max(42 * len(rows), 84))
    return chart


def duration_chart(durations: Iterable[HealDuration]) -> alt.Chart:
    """Return how long heals took, per tier, in bins that widen tenfold."""
    bins = Counter((one.tier, _bin(one.milliseconds)) for one in durations)
    rows = pd.DataFrame(
        [
            (_TIERS[tier].label, 10 ** (bin_ / _BINS_PER_DECADE), 10 ** ((bin_ + 1) / _BINS_PER_DECADE), number)
            for (tier, bin_), number in sorted(bins.items())
        ],
        columns=["tier", "from", "to", "heals"],
    )
    chart: alt.Chart = (
        alt.Chart(rows)
        .mark_bar(binSpacing=1, orient="vertical")
        .encode(
            x=alt.X(
                "from:Q", scale=alt.Scale(type="log"), title="time", axis=alt.Axis(labelExpr=_TIME, values=_ticks(rows))
            ),
            x2="to:Q",
            y=alt.Y("heals:Q", stack=True, axis=alt.Axis(tickMinStep=1)),
            color=alt.Color("tier:N", scale=_COLOURS, sort=_ENDINGS, legend=_legend(rows["tier"])),
            tooltip=[
                alt.Tooltip("tier:N", title="healed by"),
                alt.Tooltip("from:Q", title="from ms", format=",.2~r"),
                alt.Tooltip("to:Q", title="to ms", format=",.2~r"),
                "heals:Q",
            ],
        )
        .properties(height=300)
    )
    return chart


def heat_map(spots: Sequence[Hotspot], *, by_rate: bool) -> alt.LayerChart:
    """Return boundary x document type, coloured by expected failures or by rate."""
    rows = pd.DataFrame(
        {
            "boundary": [shown(spot.boundary) for spot in spots],
            "document type": [document_type(spot) for spot in spots],
            "value": [spot.rate if by_rate else spot.expected for spot in spots],
            "shown": [f"{spot.rate:.0%}" if by_rate else f"{spot.expected:,.1f}" for spot in spots],
            "why": [spot.explanation for spot in spots],
        },
    )
    ranked = rows.groupby("boundary")["value"].sum().sort_values(ascending=False).index.tolist()
    most = float(rows["value"].max())
    gaps = alt.Scale(paddingInner=0.04, paddingOuter=0)
    names = alt.Axis(labelLimit=alt.ExprRef(f"{_NARROW} ? 90 : 240"), ticks=False, domain=False)
    types = alt.Axis(orient="top", labelAngle=0, labelLimit=alt.ExprRef("bandwidth('x')"), ticks=False, domain=False)
    base = alt.Chart(rows).encode(
        x=alt.X("document type:N", title=None, scale=gaps, axis=types),
        y=alt.Y("boundary:N", sort=ranked, title=None, scale=gaps, axis=names),
        tooltip=["boundary:N", "document type:N", alt.Tooltip("why:N", title="why")],
    )
    cells = base.mark_rect(cornerRadius=4).encode(
        color=alt.Color("value:Q", scale=alt.Scale(range=["#fdf3e7", "#f2a65a", "#b3261e"], domainMin=0), legend=None),
    )
    # In cells that are too narrow the numbers would run into each other; the table below has them all.
    numbers = base.mark_text(
        fontSize=alt.ExprRef(f"{_NARROW} ? 10 : 13"), opacity=alt.ExprRef("bandwidth('x') < 34 ? 0 : 1")
    ).encode(
        text="shown:N",
        color=alt.condition(alt.datum.value > 0.6 * most, alt.value("white"), alt.value("#3a2a1a")),
    )
    chart: alt.LayerChart = (cells + numbers).properties(height=max(46 * len(ranked) + 30, 120))
    return chart


def document_type(spot: Hotspot) -> str:
    """Return a hotspot's document type, or a dash where calls name none."""
    return shown(context_keys(spot.context).get(CONTEXT_KEY, "—"))


def _time_axis(stretch: timedelta) -> alt.Axis:
    short, day = stretch < timedelta(minutes=1), stretch >= timedelta(days=1)
    return alt.Axis(
        format="%H:%M:%S" if short else "%d %b" if day else "%d %b %H:%M",
        tickMinStep=stretch.total_seconds() * 1_000,
        tickCount=8,
        labelOverlap=True,
    )


def _legend(present: pd.Series[str]) -> alt.Legend:
    shown = [label for label in _ENDINGS if label in set(present)]
    return alt.Legend(title=None, orient="top", values=shown, columns=alt.ExprRef(f"{_NARROW} ? 2 : {len(_ENDINGS)}"))


def _ticks(rows: pd.DataFrame) -> list[float]:
    """Return round numbers of milliseconds: powers of ten, and what lies between where there are few of those."""
    first, last = (math.log10(rows[name].agg(how)) for name, how in (("from", "min"), ("to", "max")))
    decades = range(math.floor(first), math.ceil(last) + 1)
    steps = (1, 2, 5) if len(decades) <= _FEW_DECADES else (1,)
    return [float(f"{step}e{decade}") for decade in decades for step in steps]


def _bin(milliseconds: float) -> int:
    return math.floor(math.log10(max(milliseconds, 0.001)) * _BINS_PER_DECADE)
