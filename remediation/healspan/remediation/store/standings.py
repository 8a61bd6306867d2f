"""In which state every fix is, and since when it serves: kept up with what changes, for who asks again and again."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, bindparam, select

from healspan.remediation.fix import SERVING_STATES, FixState, Match
from healspan.remediation.store.tables import FixRow, StateChangeRow, table_of

__all__ = ["Standing", "Standings"]

_FIX, _CHANGE = table_of(FixRow), table_of(StateChangeRow)

_HUMAN = "human:"

_CHANGES = (
    select(_CHANGE.c.fix_id, _CHANGE.c.state, _CHANGE.c.previous, _CHANGE.c.actor, _CHANGE.c.at)
    .add_columns(_FIX.c.module, _FIX.c.match, _FIX.c.exact, _FIX.c.loose)
    .select_from(_CHANGE.join(_FIX, _FIX.c.fix_id == _CHANGE.c.fix_id))
    .where(_CHANGE.c.position > bindparam("after"), _CHANGE.c.position <= bindparam("through"))
    .order_by(_CHANGE.c.position)
)


@dataclass(slots=True)
class Standing:
    """Where one fix stands, and what it was made for, by its columns."""

    fix_id: str
    module: str
    match: Match
    exact: str | None
    loose: str | None
    state: FixState = FixState.PROPOSED
    began: datetime | None = None
    """Since when it serves, or when a human approved it last; None if it never served. A way that was added to it, or a
    trial that it has passed, is no news."""

    @property
    def serves(self) -> bool:
        """Whether it is applied."""
        return self.state in SERVING_STATES and self.began is not None


@dataclass(slots=True)
class Standings:
    """What all changes so far come to. Fixes and their changes are only ever added."""

    by_id: dict[str, Standing] = field(default_factory=dict)
    states: Counter[FixState] = field(default_factory=Counter)

    def take(self, connection: Connection, after: int, through: int) -> set[str]:
        """Follow the changes whose positions are in (after, through]; return the fixes that they are about."""
        touched: set[str] = set()
        stretch = {"after": after, "through": through}
        for fix_id, state, previous, actor, at, *scope in connection.execute(_CHANGES, stretch):
            standing = self.by_id.get(fix_id)
            if standing is None:
                module, match, exact, loose = scope
                standing = self.by_id[fix_id] = Standing(fix_id, module, Match(match), exact, loose)
            else:
                self.states[standing.state] -= 1
            standing.state = FixState(state)
            self.states[standing.state] += 1
            is_news = previous not in SERVING_STATES or actor.startswith(_HUMAN)
            if standing.state in SERVING_STATES and is_news:
                standing.began = at if standing.began is None else max(standing.began, at)
            touched.add(fix_id)
        return touched
