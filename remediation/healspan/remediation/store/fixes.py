"""What people, the review and analytics ask about fixes, and the changes they make."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, case, func, select

from healspan.remediation.errors import InvalidFix
from healspan.remediation.evidence import Evidence
from healspan.remediation.fix import SERVING_STATES, Fix, FixState, StateChange, parse_fix
from healspan.remediation.solution import Solution
from healspan.remediation.store.changes import append_change, latest_change
from healspan.remediation.store.database import Database
from healspan.remediation.store.facts import FixScore, Refusal
from healspan.remediation.store.fix_evidence import read_evidence
from healspan.remediation.store.rows import Inserts, row_of
from healspan.remediation.store.sums import total
from healspan.remediation.store.tables import (
    ApplicationRow,
    FixRow,
    FixScoreRow,
    JudgementRow,
    OverruleRow,
    RefusalRow,
    StateChangeRow,
    ValidationRow,
    table_of,
)
from healspan.remediation.store.views import FixView
from healspan.remediation.trial import standing
from healspan.remediation.validation import Validation

__all__ = ["Fixes", "effective_reward", "outcomes_join"]

logger = logging.getLogger("healspan.store")

_FIX, _CHANGE, _SCORE = table_of(FixRow), table_of(StateChangeRow), table_of(FixScoreRow)
_APPLICATION, _JUDGEMENT, _OVERRULE = table_of(ApplicationRow), table_of(JudgementRow), table_of(OverruleRow)

outcomes_join = _APPLICATION.outerjoin(
    _JUDGEMENT,
    _JUDGEMENT.c.application_id == _APPLICATION.c.application_id,
).outerjoin(_OVERRULE, _OVERRULE.c.application_id == _APPLICATION.c.application_id)
"""Applications with their judgements and what overruled them."""

effective_reward = case((_OVERRULE.c.application_id.is_not(None), 0), else_=_JUDGEMENT.c.reward)
"""1, 0, or null: censored, or not judged (yet, or because its process died)."""


class Fixes:
    """Fixes, their states and their records."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, fix: Fix, *changes: StateChange) -> None:
        """Add a fix, if it is not there yet, and changes of its state, all or nothing.

        Raises:
            StateConflict: a change does not follow from what the store has.
            StoreUnavailable, StoreCorrupt: nothing was written.
        """
        with self._database.writing() as connection:
            table, values = row_of(fix)
            Inserts(connection.dialect).add(connection, table, [values])
            for change in changes:
                append_change(connection, change)

    def append_change(self, change: StateChange) -> bool:
        """Make the next change of a fix's state; False if this very change was made already.

        Raises:
            StateConflict: somebody else changed it first, or the change is not allowed from its state.
            StoreUnavailable, StoreCorrupt: nothing was written.
        """
        with self._database.writing() as connection:
            return append_change(connection, change)

    def latest(self, fix_id: str) -> StateChange | None:
        """Return the latest change of a fix's state."""
        with self._database.reading() as connection:
            return latest_change(connection, fix_id)

    def get(self, fix_id: str) -> FixView | None:
        """Return a fix by its id, or by the beginning of it if only one fix has that.

        Raises:
            InvalidFix: what is stored cannot be read by this version.
        """
        query = select(_FIX.c.fix_id, _FIX.c.body).where(_FIX.c.fix_id.startswith(fix_id, autoescape=True))
        with self._database.reading() as connection:
            rows = connection.execute(query.limit(2)).fetchall()
            if len(rows) != 1:
                return None
            changes = _changes(connection, [rows[0].fix_id])
        return FixView(fix=parse_fix(rows[0].body), changes=changes[rows[0].fix_id])

    def list(
        self,
        *,
        states: Collection[FixState] | None = None,
        module: str | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> tuple[FixView, ...]:
        """Return fixes, newest first; one that this version cannot read is left out and logged."""
        with self._database.reading() as connection:
            fixes = _readable(connection.execute(_page(states, module, limit, offset)))
            changes = _changes(connection, [fix.fix_id for fix in fixes])
        return tuple(FixView(fix=fix, changes=changes[fix.fix_id]) for fix in fixes)

    def proposed(self, *, limit: int = 100) -> tuple[FixView, ...]:
        """Return the fixes that wait for a human."""
        return self.list(states=(FixState.PROPOSED,), limit=limit)

    def solutions(
        self,
        *,
        states: Collection[FixState] | None = None,
        module: str | None = None,
        fix_ids: Collection[str] | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> tuple[Solution, ...]:
        """Return fixes with their records and their standing, newest first."""
        page = _page(states, module, limit, offset)
        if fix_ids is not None:
            page = page.where(_FIX.c.fix_id.in_(fix_ids))
        with self._database.reading() as connection:
            fixes = _readable(connection.execute(page))
            ids = [fix.fix_id for fix in fixes]
            counts = {row.fix_id: row for row in connection.execute(_counts(ids))}
            contexts = _contexts(connection, ids)
            states_of = _states(connection, ids)
            query = select(_SCORE.c.fix_id, _SCORE.c.body).where(_SCORE.c.fix_id.in_(ids))
            scores = {row.fix_id: FixScore.model_validate_json(row.body) for row in connection.execute(query)}
            evidence = read_evidence(connection, ids)
        return tuple(
            _solution(
                fix,
                states_of[fix.fix_id],
                counts.get(fix.fix_id),
                contexts[fix.fix_id],
                scores.get(fix.fix_id),
                evidence.get(fix.fix_id),
            )
            for fix in fixes
            if fix.fix_id in states_of
        )

    def evidence(self, fix_ids: Collection[str]) -> dict[str, Evidence]:
        """Return what verdicts have said of those of these fixes that have any; whether it is believed is not asked."""
        with self._database.reading() as connection:
            return read_evidence(connection, fix_ids)

    def count_by_state(self) -> dict[FixState, int]:
        """Return the number of fixes in each state, zeros included."""
        counts = dict.fromkeys(FixState, 0)
        query = select(_CHANGE.c.state, func.count()).where(_is_latest()).group_by(_CHANGE.c.state)
        with self._database.reading() as connection:
            for state, number in connection.execute(query):
                counts[FixState(state)] = number
        return counts

    def refusals(self, *, fix_id: str | None = None, limit: int = 100) -> tuple[Refusal, ...]:
        """Return what was not believed, latest first."""
        table = table_of(RefusalRow)
        query = select(table.c.body).order_by(table.c.position.desc()).limit(limit)
        if fix_id is not None:
            query = query.where(table.c.fix_id == fix_id)
        with self._database.reading() as connection:
            return tuple(Refusal.model_validate_json(body) for body in connection.execute(query).scalars())

    def validations(self, fix_id: str, *, limit: int = 10) -> tuple[Validation, ...]:
        """Return how far a fix came on the validation ladder, latest first."""
        table = table_of(ValidationRow)
        query = select(table.c.body).where(table.c.fix_id == fix_id).order_by(table.c.position.desc()).limit(limit)
        with self._database.reading() as connection:
            return tuple(Validation.model_validate_json(body) for body in connection.execute(query).scalars())


def _is_latest() -> Any:
    later = _CHANGE.alias()
    newest = select(func.max(later.c.sequence)).where(later.c.fix_id == _CHANGE.c.fix_id).scalar_subquery()
    return _CHANGE.c.sequence == newest


def _page(states: Collection[FixState] | None, module: str | None, limit: int, offset: int) -> Select[Any]:
    query = select(_FIX.c.body).order_by(_FIX.c.created_at.desc(), _FIX.c.fix_id).limit(limit).offset(offset)
    if module is not None:
        query = query.where(_FIX.c.module == module)
    if states is not None:
        query = query.join(_CHANGE, _CHANGE.c.fix_id == _FIX.c.fix_id).where(_is_latest(), _CHANGE.c.state.in_(states))
    return query


def _readable(rows: Iterable[Any]) -> list[Fix]:
    fixes = []
    for row in rows:
        try:
            fixes.append(parse_fix(row.body))
        except InvalidFix as error:
            logger.warning("a stored fix is left out: %s", error)
    return fixes


def _changes(connection: Connection, fix_ids: Sequence[str]) -> defaultdict[str, tuple[StateChange, ...]]:
    query = (
        select(_CHANGE.c.fix_id, _CHANGE.c.body)
        .where(_CHANGE.c.fix_id.in_(fix_ids))
        .order_by(_CHANGE.c.fix_id, _CHANGE.c.sequence)
    )
    changes: defaultdict[str, tuple[StateChange, ...]] = defaultdict(tuple)
    for fix_id, body in connection.execute(query):
        changes[fix_id] += (StateChange.model_validate_json(body),)
    return changes


def _states(connection: Connection, fix_ids: Sequence[str]) -> dict[str, FixState]:
    query = select(_CHANGE.c.fix_id, _CHANGE.c.state).where(_CHANGE.c.fix_id.in_(fix_ids), _is_latest())
    return {fix_id: FixState(state) for fix_id, state in connection.execute(query)}


def _counts(fix_ids: Sequence[str]) -> Select[Any]:
    def number(condition: Any) -> Any:
        return total(case((condition, _APPLICATION.c.count), else_=0))

    return (
        select(
            _APPLICATION.c.fix_id,
            number(effective_reward == 1).label("success"),
            number(effective_reward == 0).label("failure"),
            number(effective_reward.is_(None)).label("censored"),
            func.min(_APPLICATION.c.at).label("first"),
            func.max(_APPLICATION.c.at).label("last"),
        )
        .select_from(outcomes_join)
        .where(_APPLICATION.c.fix_id.in_(fix_ids), _APPLICATION.c.mode != "shadow")
        .group_by(_APPLICATION.c.fix_id)
    )


def _contexts(connection: Connection, fix_ids: Sequence[str]) -> defaultdict[str, list[str]]:
    query = (
        select(_APPLICATION.c.fix_id, _APPLICATION.c.context)
        .where(_APPLICATION.c.fix_id.in_(fix_ids), _APPLICATION.c.context != "")
        .distinct()
        .order_by(_APPLICATION.c.context)
    )
    contexts: defaultdict[str, list[str]] = defaultdict(list)
    for fix_id, context in connection.execute(query):
        contexts[fix_id].append(context)
    return contexts


def _solution(
    fix: Fix,
    state: FixState,
    counts: Any,
    contexts: Sequence[str],
    score: FixScore | None,
    evidence: Evidence | None,
) -> Solution:
    first: datetime | None = None if counts is None else counts.first
    return Solution(
        fix_id=fix.fix_id,
        error_pattern=fix.pattern,
        module=fix.scope.module,
        fix_instruction=fix.fix_instruction,
        fix_type=fix.fix_type,
        state=state,
        success_count=0 if counts is None else counts.success,
        failure_count=0 if counts is None else counts.failure,
        censored_count=0 if counts is None else counts.censored,
        first_seen=fix.created_at if first is None else min(fix.created_at, first),
        last_applied=None if counts is None else counts.last,
        contexts_applied=tuple(contexts),
        reward_score=None if score is None else score.reward_score,
        reward_parts={} if score is None else score.parts,
        bucket=None if score is None else score.bucket,
        trial=None if evidence is None or state not in SERVING_STATES else standing(evidence),
    )
