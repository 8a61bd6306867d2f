"""How many escalated patterns no serving fix answers: kept up with what arrives, for who asks again and again.

It says what the review queue would (`ReviewQueue.escalations`), without reading every fix and every pattern each time.
"""

from __future__ import annotations

import contextlib
import heapq
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, bindparam, func, select

from healspan.remediation.errors import InvalidFix
from healspan.remediation.fix import Match, Scope, parse_fix
from healspan.remediation.incident import IncidentStatus
from healspan.remediation.store.facts import context_keys
from healspan.remediation.store.review_queue import FailureKind, covers, failed_on, is_unsteady
from healspan.remediation.store.standings import Standing, Standings
from healspan.remediation.store.tables import FixRow, IncidentRow, ResolutionRow, table_of

__all__ = ["OpenPatterns", "Reach"]

_INCIDENT, _RESOLUTION, _FIX = table_of(IncidentRow), table_of(ResolutionRow), table_of(FixRow)


def _pairs(condition: ColumnElement[bool]) -> Select[Any]:
    """Return the query for incidents with how they ended, added up.

    It may not ask for a status: a database would go by that index, through all that ever ended so, new or not.
    """
    kind = (_INCIDENT.c.module, _INCIDENT.c.exact, _INCIDENT.c.loose, _INCIDENT.c.error_type)
    labels = (*kind, _INCIDENT.c.context, _RESOLUTION.c.status, _RESOLUTION.c.fix_id)
    pairs = _INCIDENT.join(_RESOLUTION, _RESOLUTION.c.error_id == _INCIDENT.c.error_id)
    return select(*labels, func.count(), func.max(_INCIDENT.c.at)).select_from(pairs).where(condition).group_by(*labels)


_incident, _resolution = _INCIDENT.c.position, _RESOLUTION.c.position
_PAIRS = (
    _pairs(
        (_resolution > bindparam("after_resolution"))
        & (_resolution <= bindparam("resolution"))
        & (_incident <= bindparam("incident"))
    ),
    _pairs(
        (_incident > bindparam("after_incident"))
        & (_incident <= bindparam("incident"))
        & (_resolution <= bindparam("after_resolution"))
    ),
)
"""Each pair when the later one of the two arrives, which is the resolution but for odd cases."""

_BODY = select(_FIX.c.body).where(_FIX.c.fix_id == bindparam("of"))

_Key = tuple[Match, str, str | None]
"""What a fix's columns and a pattern may have in common: match, boundary, hash."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Up to which positions incidents and resolutions have been taken."""

    incident: int = 0
    resolution: int = 0


@dataclass(slots=True)
class _Pattern:
    kind: FailureKind
    """Of its newest incident."""
    newest: datetime
    escalated: int = 0
    contexts: dict[str, datetime] = field(default_factory=dict)
    """When it escalated last, by context."""


class _Traits(NamedTuple):
    """What matters here of a fix."""

    scope: Scope
    is_unsteady: bool


class OpenPatterns:
    """What escalated and what healed, by pattern and context, and which of the patterns are open.

    Args:
        standings: kept up by the caller, who says what changed.
    """

    def __init__(self, standings: Standings) -> None:
        self._standings = standings
        self._patterns: dict[str, _Pattern] = {}
        self._heals: defaultdict[tuple[str, str], dict[str, datetime]] = defaultdict(dict)
        """The newest incident that a fix has healed, by pattern and context, then by fix."""
        self._healed_with: defaultdict[str, set[str]] = defaultdict(set)
        self._patterns_at: defaultdict[_Key, set[str]] = defaultdict(set)
        self._fixes_at: defaultdict[_Key, set[str]] = defaultdict(set)
        self._traits: dict[str, _Traits | None] = {}
        self._open: set[str] = set()

    def take(self, connection: Connection, after: Reach, through: Reach, changed: set[str]) -> None:
        """Follow what arrived, and what has become of the fixes that changed."""
        touched: set[str] = set()
        for fix_id in changed:
            key = _key_of(self._standings.by_id[fix_id])
            self._fixes_at[key].add(fix_id)
            touched |= self._patterns_at.get(key, set()) | self._healed_with.get(fix_id, set())
        reach = {
            "after_incident": after.incident,
            "after_resolution": after.resolution,
            "incident": through.incident,
            "resolution": through.resolution,
        }
        for pairs in _PAIRS:
            touched.update(self._ended(connection, pairs, reach))
        for exact in touched & self._patterns.keys():
            self._judge(connection, exact)

    def count(self, limit: int) -> int:
        """Return how many of those that escalate most, at most `limit` of them, nobody has answered."""
        if len(self._patterns) <= limit:
            return len(self._open)
        most = heapq.nsmallest(limit, self._patterns, key=lambda exact: (-self._patterns[exact].escalated, exact))
        return sum(exact in self._open for exact in most)

    def _ended(self, connection: Connection, pairs: Select[Any], reach: Mapping[str, int]) -> Iterator[str]:
        """Take in incidents with how they ended; return their patterns."""
        for module, exact, loose, error_type, context, status, fix_id, number, at in connection.execute(pairs, reach):
            if status == IncidentStatus.ESCALATED:
                self._escalated(FailureKind(module, exact, loose, error_type), context, number, at)
            elif status == IncidentStatus.HEALED and fix_id is not None:
                heals = self._heals[exact, context]
                heals[fix_id] = max(heals.get(fix_id, at), at)
                self._healed_with[fix_id].add(exact)
            else:
                continue
            yield exact

    def _escalated(self, kind: FailureKind, context: str, number: int, at: datetime) -> None:
        pattern = self._patterns.get(kind.exact)
        if pattern is None:
            pattern = self._patterns[kind.exact] = _Pattern(kind, at)
        elif at >= pattern.newest:
            pattern.kind, pattern.newest = kind, at
        for key in _keys_of(kind):
            self._patterns_at[key].add(kind.exact)
        pattern.escalated += number
        pattern.contexts[context] = max(pattern.contexts.get(context, at), at)

    def _judge(self, connection: Connection, exact: str) -> None:
        pattern = self._patterns[exact]
        if all(self._is_answered(connection, pattern.kind, *last) for last in pattern.contexts.items()):
            self._open.discard(exact)
        else:
            self._open.add(exact)

    def _is_answered(self, connection: Connection, kind: FailureKind, context: str, at: datetime) -> bool:
        keys, by_id = context_keys(context), self._standings.by_id
        for fix_id in (one for key in _keys_of(kind) for one in self._fixes_at.get(key, ())):
            one = by_id[fix_id]
            if one.serves and one.began is not None and one.began >= at:
                traits = self._traits_of(connection, fix_id)
                if traits is not None and covers(traits.scope, kind, keys):
                    return True
        healers = {
            fix_id: traits
            for fix_id, healed in self._heals.get((kind.exact, context), {}).items()
            if healed > at and fix_id in by_id and by_id[fix_id].serves
            if (traits := self._traits_of(connection, fix_id)) is not None
        }
        failed = failed_on(connection, kind.exact, context, at) if healers else frozenset()
        return any(fix_id not in failed or traits.is_unsteady for fix_id, traits in healers.items())

    def _traits_of(self, connection: Connection, fix_id: str) -> _Traits | None:
        """Return what matters of a fix, read when it does first; None: this version cannot read it, nor serve it."""
        if fix_id not in self._traits:
            self._traits[fix_id] = None
            body: Any = connection.execute(_BODY, {"of": fix_id}).scalar()
            with contextlib.suppress(InvalidFix):
                fix = parse_fix(body)
                self._traits[fix_id] = _Traits(fix.scope, is_unsteady(fix))
        return self._traits[fix_id]


def _key_of(fix: Standing) -> _Key:
    hashes = {Match.EXACT: fix.exact, Match.LOOSE: fix.loose, Match.BOUNDARY: None}
    return fix.match, fix.module, hashes[fix.match]


def _keys_of(kind: FailureKind) -> tuple[_Key, ...]:
    return (
        (Match.EXACT, kind.module, kind.exact),
        (Match.LOOSE, kind.module, kind.loose),
        (Match.BOUNDARY, kind.module, None),
    )
