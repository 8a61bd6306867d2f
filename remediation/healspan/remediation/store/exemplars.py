"""Of each bucket of the heal durations the newest failing call that has a trace: one click from a graph to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, bindparam, case, func, select

from healspan.remediation.store.tables import IncidentRow, ResolutionRow, table_of

__all__ = ["Exemplars", "Traced"]

_INCIDENT, _RESOLUTION = table_of(IncidentRow), table_of(ResolutionRow)

_FARTHEST = 10_000
"""Failing calls that are looked at when nothing is known yet; what was before has left the stores of traces."""

_LONGEST = 64
"""Characters of a trace id; an exemplar may hold few, and one that is too long would spoil the whole answer."""


class Traced(NamedTuple):
    """A failing call that has a trace."""

    trace_id: str
    seconds: float
    at: float
    """When it ended, in seconds since 1970."""


class Exemplars:
    """The newest ones so far.

    Args:
        bounds: upper bounds of the buckets, in seconds, rising.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self._query = _newest(bounds)
        self.newest: Mapping[tuple[tuple[str, ...], int], Traced] = {}
        """By service, tier and outcome, and by the place of the bucket; the last one has no bound. Another mapping when
        one of them changes."""

    def take(self, connection: Connection, after: int, through: int) -> None:
        """Look at the resolutions whose positions are in (after, through]."""
        stretch = {"after": max(after, through - _FARTHEST), "through": through}
        found: dict[tuple[tuple[str, ...], int], Traced] = {
            ((service, tier, outcome), place): Traced(trace_id, elapsed_ms / 1e3, at.timestamp())
            for service, tier, outcome, place, trace_id, elapsed_ms, at in connection.execute(self._query, stretch)
        }
        if found:
            self.newest = {**self.newest, **found}


def _newest(bounds: Sequence[float]) -> Select[Any]:
    row, incident = _RESOLUTION.c, _INCIDENT.c
    steps = [(row.elapsed_ms <= bound * 1e3, place) for place, bound in enumerate(bounds)]
    place = case(*steps, else_=len(steps)).label("place")
    labels = (incident.service, row.tier, row.status, place)
    joined = _RESOLUTION.join(_INCIDENT, incident.error_id == row.error_id)
    newest = (
        select(*labels, func.max(row.position).label("position"))
        .select_from(joined)
        .where(row.position > bindparam("after"), row.position <= bindparam("through"))
        .where(incident.trace_id.is_not(None), func.length(incident.trace_id).between(1, _LONGEST))
        .group_by(*labels)
        .subquery()
    )
    return (
        select(newest.c.service, newest.c.tier, newest.c.status, newest.c.place)
        .add_columns(incident.trace_id, row.elapsed_ms, row.at)
        .select_from(joined.join(newest, newest.c.position == row.position))
    )
