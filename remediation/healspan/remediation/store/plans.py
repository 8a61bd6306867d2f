"""Plans with their records: what people ask about cascades."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import func, select

from healspan.remediation.plan import Plan, PlanOutcome, plan_reward
from healspan.remediation.solution import Solution
from healspan.remediation.store.database import Database
from healspan.remediation.store.fixes import Fixes
from healspan.remediation.store.sums import number_of
from healspan.remediation.store.tables import PlanOutcomeRow, PlanRow, table_of
from healspan.remediation.store.views import PlannedFix, PlanView

__all__ = ["Plans"]

_PLAN, _OUTCOME = table_of(PlanRow), table_of(PlanOutcomeRow)


class Plans:
    """Plans and how they did."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._fixes = Fixes(database)

    def list(
        self,
        *,
        pipeline: str | None = None,
        fix_id: str | None = None,
        run_id: UUID | None = None,
        limit: int = 50,
    ) -> tuple[PlanView, ...]:
        """Return plans with their records, the one found last first; of one fix or run where that is given."""
        query = (
            select(
                _PLAN.c.body,
                number_of(_OUTCOME.c.reward == 1),
                number_of(_OUTCOME.c.reward == 0),
                number_of(_OUTCOME.c.outcome_id.is_not(None) & _OUTCOME.c.reward.is_(None)),
                func.max(_OUTCOME.c.at),
            )
            .select_from(_PLAN.outerjoin(_OUTCOME, _OUTCOME.c.plan_id == _PLAN.c.plan_id))
            .group_by(_PLAN.c.plan_id, _PLAN.c.body, _PLAN.c.found_at)
            .order_by(_PLAN.c.found_at.desc(), _PLAN.c.plan_id)
            .limit(limit)
        )
        if pipeline is not None:
            query = query.where(_PLAN.c.pipeline == pipeline)
        if fix_id is not None:
            query = query.where(_PLAN.c.body.contains(f'"{fix_id}"', autoescape=True))
        if run_id is not None:
            of_run = select(_OUTCOME.c.plan_id).where(_OUTCOME.c.run_id == str(run_id))
            query = query.where(_PLAN.c.plan_id.in_(of_run))
        with self._database.reading() as connection:
            rows = [(Plan.model_validate_json(row[0]), *row[1:]) for row in connection.execute(query)]
        known = self._solutions(link.fix_id for plan, *_ in rows for link in plan.links)
        found = []
        for plan, successes, failures, unknown, last_at in rows:
            fixes = tuple(_planned(link.boundary, link.fix_id, known.get(link.fix_id)) for link in plan.links)
            found.append(
                PlanView(
                    plan=plan,
                    successes=successes,
                    failures=failures,
                    unknown=unknown,
                    last_at=last_at,
                    reward=plan_reward([one.mean for one in fixes], successes, failures),
                    fixes=fixes,
                ),
            )
        return tuple(found)

    def outcomes(self, *, limit: int = 1_000) -> tuple[PlanOutcome, ...]:
        """Return how plans did in runs, latest first; whether that is believed is not asked."""
        query = select(_OUTCOME.c.body).order_by(_OUTCOME.c.position.desc()).limit(limit)
        with self._database.reading() as connection:
            return tuple(PlanOutcome.model_validate_json(body) for body in connection.execute(query).scalars())

    def _solutions(self, fix_ids: Iterable[str]) -> dict[str, Solution]:
        wanted = sorted(set(fix_ids))
        return {one.fix_id: one for one in self._fixes.solutions(fix_ids=wanted, limit=len(wanted))} if wanted else {}


def _planned(boundary: str, fix_id: str, known: Solution | None) -> PlannedFix:
    good, bad = (known.success_count, known.failure_count) if known is not None else (0, 0)
    return PlannedFix(
        boundary=boundary,
        fix_id=fix_id,
        does="" if known is None else known.fix_instruction,
        # The mean of a beta posterior over a flat prior: nothing known, one half.
        mean=(good + 1) / (good + bad + 2),
    )
