"""The review queue: what escalated and whether somebody has answered, what is proposed, what was suspended."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple, assert_never
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Select, and_, func, or_, select

from healspan.remediation.errors import InvalidFix
from healspan.remediation.fix import SERVING_STATES, Fix, FixState, Match, Scope, StateChange, parse_fix
from healspan.remediation.incident import IncidentStatus, Resolution
from healspan.remediation.record import Record
from healspan.remediation.store.database import Database
from healspan.remediation.store.facts import FixScore, context_keys
from healspan.remediation.store.tables import (
    FixRow,
    FixScoreRow,
    IncidentRow,
    ResolutionRow,
    StateChangeRow,
    ValidationRow,
    table_of,
)
from healspan.remediation.validation import Validation

__all__ = ["Escalation", "FailureKind", "Proposal", "ReviewQueue", "Suspension", "covers", "failed_on", "is_unsteady"]

logger = logging.getLogger("healspan.store")

_HUMAN = "human:%"
"""Actors who are human, as a pattern."""

_TRIED = {"apply", "contract"}
"""Gates that a fix has reached by acting."""

EXAMPLES = 5
"""Incidents shown of an escalated pattern."""

_INCIDENT, _RESOLUTION = table_of(IncidentRow), table_of(ResolutionRow)
_FIX, _CHANGE, _SCORE = table_of(FixRow), table_of(StateChangeRow), table_of(FixScoreRow)
_VALIDATION = table_of(ValidationRow)
_ENDED = _INCIDENT.join(_RESOLUTION, _RESOLUTION.c.error_id == _INCIDENT.c.error_id)


class FailureKind(NamedTuple):
    """What the scope of a fix is compared with."""

    module: str
    """The boundary."""
    exact: str
    loose: str
    error_type: str


class Escalation(Record):
    """A pattern that healing could not end, with its latest examples."""

    exact: str
    error_pattern: str
    boundary: str
    error_type: str
    incidents: int
    first_at: datetime
    last_at: datetime
    contexts: tuple[str, ...]
    examples: tuple[UUID, ...]
    """Newest first."""
    answered_by: str | None
    """A serving fix for it that came to serve, was approved, or has healed it, after its latest escalation, and was not
    tried on that in vain; where it escalated in several contexts, each has one. None: somebody has to look."""


class Proposal(Record):
    """A fix that waits for a human, and what speaks for it."""

    fix: Fix
    change: StateChange
    """The one that made it a proposal."""
    incidents: int
    """Incidents in its scope's pattern."""
    latest: UUID | None
    """The newest of them."""
    score: FixScore | None
    validation: Validation | None = None
    """How far it came on the validation ladder, the last time; None: nothing was run for it."""


class Suspension(Record):
    """A fix that was taken out of service by what its verdicts said: only a human brings it back."""

    fix: Fix
    change: StateChange
    """The one that suspended it, with the reason."""


class ReviewQueue:
    """What waits for a human."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def escalations(self, *, limit: int = 200) -> tuple[Escalation, ...]:
        """Return the patterns that escalate most, those that nobody has answered first."""
        escalated = _RESOLUTION.c.status == IncidentStatus.ESCALATED
        number = func.count().label("number")
        grouped = (
            select(_INCIDENT.c.exact, number, func.min(_INCIDENT.c.at), func.max(_INCIDENT.c.at))
            .select_from(_ENDED)
            .where(escalated)
            .group_by(_INCIDENT.c.exact)
            .order_by(number.desc(), _INCIDENT.c.exact)
            .limit(limit)
        )
        found = []
        with self._database.reading() as connection:
            serving = _serving(connection)
            for exact, incidents, first_at, last_at in connection.execute(grouped).all():
                mine = select(*_INCIDENT.c).select_from(_ENDED).where(_INCIDENT.c.exact == exact, escalated)
                examples = connection.execute(
                    mine.order_by(_INCIDENT.c.at.desc(), _INCIDENT.c.position.desc()).limit(EXAMPLES),
                ).all()
                lately = mine.with_only_columns(_INCIDENT.c.context, func.max(_INCIDENT.c.at))
                contexts = connection.execute(lately.group_by(_INCIDENT.c.context)).all()
                newest = examples[0]
                kind = FailureKind(newest.module, exact, newest.loose, newest.error_type)
                answers = [
                    _answer(serving, kind, context, at) or _healed_by(connection, serving, exact, context, at)
                    for context, at in contexts
                ]
                found.append(
                    Escalation(
                        exact=exact,
                        error_pattern=newest.error_pattern,
                        boundary=newest.module,
                        error_type=newest.error_type,
                        incidents=incidents,
                        first_at=first_at,
                        last_at=last_at,
                        contexts=tuple(sorted(context for context, _ in contexts if context)),
                        examples=tuple(UUID(row.error_id) for row in examples),
                        answered_by=None if None in answers else answers[0],
                    ),
                )
        return tuple(sorted(found, key=lambda one: (one.answered_by is not None, -one.incidents, one.exact)))

    def proposals(self, *, limit: int = 200) -> tuple[Proposal, ...]:
        """Return the fixes that wait for a human, the newest first."""
        query = (
            _latest(_FIX.c.body, _CHANGE.c.body, _SCORE.c.body)
            .outerjoin(_SCORE, _SCORE.c.fix_id == _FIX.c.fix_id)
            .where(_CHANGE.c.state == FixState.PROPOSED)
            .order_by(_CHANGE.c.at.desc(), _CHANGE.c.position.desc())
            .limit(limit)
        )
        found = []
        with self._database.reading() as connection:
            for fix_body, change_body, score_body in connection.execute(query).all():
                try:
                    fix = parse_fix(fix_body)
                except InvalidFix as error:
                    logger.warning("a proposed fix is left out of the review queue: %s", error)
                    continue
                incidents, latest = connection.execute(_evidence(fix.scope)).one()
                climbs = select(_VALIDATION.c.body).where(_VALIDATION.c.fix_id == fix.fix_id)
                climb = connection.execute(climbs.order_by(_VALIDATION.c.position.desc()).limit(1)).scalar()
                found.append(
                    Proposal(
                        fix=fix,
                        change=StateChange.model_validate_json(change_body),
                        incidents=incidents,
                        latest=None if latest is None else UUID(latest),
                        score=None if score_body is None else FixScore.model_validate_json(score_body),
                        validation=None if climb is None else Validation.model_validate_json(climb),
                    ),
                )
        return tuple(found)

    def suspensions(self, *, limit: int = 200) -> tuple[Suspension, ...]:
        """Return the fixes that no human has suspended, the newest first."""
        query = (
            _latest(_FIX.c.body, _CHANGE.c.body)
            .where(_CHANGE.c.state == FixState.SUSPENDED, _CHANGE.c.actor.not_like(_HUMAN))
            .order_by(_CHANGE.c.at.desc(), _CHANGE.c.position.desc())
            .limit(limit)
        )
        found = []
        with self._database.reading() as connection:
            for fix_body, change_body in connection.execute(query).all():
                try:
                    fix = parse_fix(fix_body)
                except InvalidFix as error:
                    logger.warning("a suspended fix is left out of the review queue: %s", error)
                    continue
                found.append(Suspension(fix=fix, change=StateChange.model_validate_json(change_body)))
        return tuple(found)


def _latest(*columns: ColumnElement[Any]) -> Select[Any]:
    """Select from fixes joined with the latest change of each."""
    newest = select(_CHANGE.c.fix_id, func.max(_CHANGE.c.sequence).label("sequence")).group_by(_CHANGE.c.fix_id)
    last = newest.subquery()
    return (
        select(*columns)
        .select_from(_FIX)
        .join(last, last.c.fix_id == _FIX.c.fix_id)
        .join(_CHANGE, and_(_CHANGE.c.fix_id == last.c.fix_id, _CHANGE.c.sequence == last.c.sequence))
    )


def _serving(connection: Connection) -> list[tuple[Fix, datetime]]:
    """Return the fixes that serve, each with the moment since which, or at which a human approved it.

    A way that was added to one, or a trial that it has passed, is no news for a failure that it did not heal.
    """
    columns, states = _CHANGE.c, sorted(SERVING_STATES)
    news = or_(columns.previous.is_(None), columns.previous.not_in(states), columns.actor.like(_HUMAN))
    began = (
        select(columns.fix_id, func.max(columns.at).label("at"))
        .where(columns.state.in_(states), news)
        .group_by(columns.fix_id)
        .subquery()
    )
    query = _latest(_FIX.c.body, began.c.at).join(began, began.c.fix_id == _FIX.c.fix_id)
    query = query.where(columns.state.in_(states))
    found = []
    for body, at in connection.execute(query):
        # What this version cannot read it does not serve either.
        with contextlib.suppress(InvalidFix):
            found.append((parse_fix(body), at))
    return found


def _healed_by(
    connection: Connection,
    serving: Iterable[tuple[Fix, datetime]],
    exact: str,
    context: str,
    escalated_at: datetime,
) -> str | None:
    """Return a serving fix that has healed a pattern in a context since it escalated there last.

    One that was tried on that very failure in vain is none: other values of the pattern are not this one.
    """
    healed = (
        select(_RESOLUTION.c.fix_id)
        .select_from(_ENDED)
        .where(
            _INCIDENT.c.exact == exact,
            _INCIDENT.c.context == context,
            _INCIDENT.c.at > escalated_at,
            _RESOLUTION.c.status == IncidentStatus.HEALED,
        )
        .distinct()
    )
    serve = {fix.fix_id: fix for fix, _ in serving}
    candidates = [serve[one] for one in connection.execute(healed).scalars() if one in serve]
    failed = failed_on(connection, exact, context, escalated_at) if candidates else frozenset()
    return next((one.fix_id for one in candidates if one.fix_id not in failed or is_unsteady(one)), None)


def failed_on(connection: Connection, exact: str, context: str, at: datetime) -> frozenset[str]:
    """Return the fixes that were tried on what escalated at a moment, and had no right value for it."""
    query = (
        select(_RESOLUTION.c.body)
        .select_from(_ENDED)
        .where(
            _INCIDENT.c.exact == exact,
            _INCIDENT.c.context == context,
            _INCIDENT.c.at == at,
            _RESOLUTION.c.status == IncidentStatus.ESCALATED,
        )
    )
    return frozenset(
        decision.fix_id
        for body in connection.execute(query).scalars()
        for decision in Resolution.model_validate_json(body).decisions
        if decision.gate in _TRIED
    )


def is_unsteady(fix: Fix) -> bool:
    """Whether a fix may heal now what it could not heal before: the world has changed, or a worker is free again."""
    return any(step.kind in {"retry", "adapter"} for step in fix.steps)


def _answer(
    serving: Iterable[tuple[Fix, datetime]],
    kind: FailureKind,
    context: str,
    escalated_at: datetime,
) -> str | None:
    """Return a fix that would serve a pattern in a context, and did not when it escalated there last."""
    keys = context_keys(context)
    fixes = (fix.fix_id for fix, at in serving if at >= escalated_at and covers(fix.scope, kind, keys))
    return next(fixes, None)


def covers(scope: Scope, kind: FailureKind, keys: Mapping[str, str]) -> bool:
    """Tell whether a kind of failure is in a scope, in a context."""
    if scope.module != kind.module or any(keys.get(key) != value for key, value in scope.context_keys.items()):
        return False
    match scope.match:
        case Match.EXACT:
            return scope.exact == kind.exact
        case Match.LOOSE:
            return scope.loose == kind.loose
        case Match.BOUNDARY:
            return not scope.error_types or kind.error_type in scope.error_types
        case _:
            assert_never(scope.match)


def _evidence(scope: Scope) -> Select[int, Any]:
    """Select number and newest of the incidents in a scope, whatever their context."""
    columns = _INCIDENT.c
    query = select(func.count(), func.max(columns.error_id)).where(columns.module == scope.module)
    match scope.match:
        case Match.EXACT:
            return query.where(columns.exact == scope.exact)
        case Match.LOOSE:
            return query.where(columns.loose == scope.loose)
        case Match.BOUNDARY:
            return query.where(columns.error_type.in_(scope.error_types)) if scope.error_types else query
        case _:
            assert_never(scope.match)
