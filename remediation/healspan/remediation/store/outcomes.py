"""Applications of fixes with their verdicts, and what closed runs showed."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import select

from healspan.remediation.outcome import Application, Judgement, RunFact
from healspan.remediation.store.database import Database
from healspan.remediation.store.fixes import outcomes_join
from healspan.remediation.store.tables import (
    ApplicationRow,
    JudgementRow,
    OverruleRow,
    RunRow,
    table_of,
)
from healspan.remediation.store.views import OutcomeView

__all__ = ["Outcomes"]

_APPLICATION, _JUDGEMENT, _OVERRULE = table_of(ApplicationRow), table_of(JudgementRow), table_of(OverruleRow)
_RUN = table_of(RunRow)


class Outcomes:
    """Applications with their verdicts; runs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(
        self,
        *,
        fix_id: str | None = None,
        error_id: UUID | str | None = None,
        limit: int = 100,
        before: datetime | None = None,
    ) -> tuple[OutcomeView, ...]:
        """Return the latest applications, of one fix or incident where that is given."""
        query = (
            select(_APPLICATION.c.body, _JUDGEMENT.c.body, _OVERRULE.c.application_id.is_not(None))
            .select_from(outcomes_join)
            .order_by(_APPLICATION.c.position.desc())
            .limit(limit)
        )
        if fix_id is not None:
            query = query.where(_APPLICATION.c.fix_id == fix_id)
        if error_id is not None:
            query = query.where(_APPLICATION.c.error_id == str(error_id))
        if before is not None:
            query = query.where(_APPLICATION.c.at < before)
        with self._database.reading() as connection:
            return tuple(
                OutcomeView(
                    application=Application.model_validate_json(application),
                    judgement=None if judgement is None else Judgement.model_validate_json(judgement),
                    overruled=bool(overruled),
                )
                for application, judgement, overruled in connection.execute(query)
            )

    def run(self, run_id: UUID | str) -> RunFact | None:
        """Return what one closed run showed."""
        query = select(_RUN.c.body).where(_RUN.c.run_id == str(run_id))
        with self._database.reading() as connection:
            body = connection.execute(query).scalar()
        return None if body is None else RunFact.model_validate_json(body)

    def runs(self, *, pipeline: str | None = None, limit: int = 100) -> tuple[RunFact, ...]:
        """Return the latest closed runs."""
        query = select(_RUN.c.body).order_by(_RUN.c.position.desc()).limit(limit)
        if pipeline is not None:
            query = query.where(_RUN.c.pipeline == pipeline)
        with self._database.reading() as connection:
            return tuple(RunFact.model_validate_json(body) for body in connection.execute(query).scalars())
