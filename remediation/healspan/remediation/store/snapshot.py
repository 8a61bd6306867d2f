"""Snapshots: what serves in a process at one moment, by what it is for. Pure; a change makes another one."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field

from healspan.remediation.fix import Fix, Match, StateChange
from healspan.remediation.incident import Pattern

__all__ = ["Candidate", "Snapshot", "scope_of"]

Key = tuple[Match, str, str]
"""(match, boundary, hash); the hash is empty for a whole boundary."""

UNSCORED = 0.4
"""Where a fix stands that analytics has not scored yet: about what three clean successes earn."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A fix that serves, with the change that lets it, and its score (None until analytics gives one)."""

    fix: Fix
    change: StateChange
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What serves at one moment."""

    disabled: bool = False
    """Whether the stored kill switch is on."""
    candidates: Mapping[str, Candidate] = field(default_factory=dict)
    """By fix id, as if the kill switch were off."""
    by_scope: Mapping[Key, tuple[Candidate, ...]] = field(default_factory=dict)
    """Best score first."""
    serial: int = field(default_factory=itertools.count().__next__, init=False, compare=False)
    """Of this process's snapshots no other has it, so that what was found in one can be noted without keeping it."""

    @property
    def serving(self) -> tuple[Candidate, ...]:
        """The fixes that may act; none while the kill switch is on."""
        return () if self.disabled else tuple(self.candidates.values())

    def groups(
        self,
        pattern: Pattern,
        module: str,
        context_keys: Mapping[str, str],
    ) -> list[tuple[Candidate, ...]]:
        """Return the fixes for a failure in groups that fit it equally closely, the closest first."""
        if self.disabled:
            return []
        found: list[tuple[Candidate, ...]] = []
        for key in _keys(pattern, module):
            fixes = self.by_scope.get(key, ())
            if len(fixes) == 1:
                found.append(fixes)
                continue
            for fits in (True, False):
                group = tuple(one for one in fixes if _fits(one.fix, context_keys) is fits)
                if group:
                    found.append(group)
        return found

    def serves(self, pattern: Pattern, module: str) -> bool:
        """Tell whether there is any fix for a failure, in whatever context."""
        return not self.disabled and any(self.by_scope.get(key) for key in _keys(pattern, module))

    def changed(self, news: Mapping[str, Candidate | None], *, disabled: bool | None = None) -> Snapshot:
        """Return what serves after a change; this very one if nothing has.

        Args:
            news: fixes by id, None for one that does not serve any more.
            disabled: whether the kill switch is on; None: as before.
        """
        candidates = dict(self.candidates)
        members: dict[Key, dict[str, Candidate]] = {}
        for fix_id, new in news.items():
            old = candidates.pop(fix_id, None)
            for one in (old, new):
                if one is not None and (scope := scope_of(one.fix)) not in members:
                    members[scope] = {peer.fix.fix_id: peer for peer in self.by_scope.get(scope, ())}
            if old is not None:
                del members[scope_of(old.fix)][fix_id]
            if new is not None:
                candidates[fix_id] = members[scope_of(new.fix)][fix_id] = new
        off = self.disabled if disabled is None else disabled
        if not members and off == self.disabled:
            return self
        by_scope = dict(self.by_scope)
        for scope, peers in members.items():
            by_scope[scope] = tuple(sorted(peers.values(), key=_rank))
            if not peers:
                del by_scope[scope]
        return Snapshot(disabled=off, candidates=candidates, by_scope=by_scope)


def scope_of(fix: Fix) -> Key:
    """Return what a fix is for."""
    scope = fix.scope
    match scope.match:
        case Match.EXACT:
            return Match.EXACT, scope.module, scope.exact or ""
        case Match.LOOSE:
            return Match.LOOSE, scope.module, scope.loose or ""
        case Match.BOUNDARY:
            return Match.BOUNDARY, scope.module, ""


def _rank(candidate: Candidate) -> tuple[float, float, str]:
    score = UNSCORED if candidate.score is None else candidate.score
    return -score, -candidate.fix.confidence, candidate.fix.fix_id


def _keys(pattern: Pattern, module: str) -> tuple[Key, ...]:
    """Return the scopes that a failure is in, the closest first."""
    return (Match.EXACT, module, pattern.exact), (Match.LOOSE, module, pattern.loose), (Match.BOUNDARY, module, "")


def _fits(fix: Fix, context_keys: Mapping[str, str]) -> bool:
    return all(context_keys.get(name) == value for name, value in fix.scope.context_keys.items())
