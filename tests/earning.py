"""A service whose alternative can be made good or bad, and what a test may look at of its fix."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from tests.observe import drained

from healspan.instrumentation import error_boundary
from healspan.remediation.fix import Fix, FixState, StateChange
from healspan.remediation.ids import uuid7
from healspan.remediation.outcome import Application, ApplicationMode, Judgement, Verdict
from healspan.remediation.probation import Probation
from healspan.remediation.record import Record
from healspan.remediation.runtime import Runtime
from healspan.remediation.store import FixIndex
from healspan.remediation.store.ingest import add_facts
from healspan.remediation.store.repository import Store
from healspan.remediation.store.rows import Inserts
from healspan.remediation.trial import Decision


class Service:
    """A boundary that fails, and an alternative whose quality the test decides."""

    def __init__(self, name: str) -> None:
        self.good = True
        self.called: list[str] = []

        @error_boundary(name, checks=[lambda result, arguments: result > 0])
        def primary(x: int) -> int:
            raise LookupError("no primary way")

        @primary.strategy("other")
        def other(x: int) -> int:
            self.called.append("other")
            return x if self.good else -x

        self.call: Callable[[int], int] = primary
        self.boundary = primary


def only_fix(live: Runtime) -> tuple[Fix, StateChange]:
    """The one fix that this process knows of, with its latest change."""
    drained(live)
    with Store.open(live.settings) as store:
        [view] = store.fixes.list()
    change = live.index.latest(view.fix.fix_id)
    assert change is not None
    return view.fix, change


def verdict(fix: Fix, *, success: bool) -> tuple[Application, Judgement]:
    now = datetime.now(UTC)
    application = Application(
        application_id=uuid7(),
        fix_id=fix.fix_id,
        error_id=uuid7(),
        run_id=uuid7(),
        boundary=fix.scope.module,
        pipeline=None,
        timestamp=now,
        tier="1",
        mode=ApplicationMode.TRIAL,
        steps=("strategy",),
        resolved=success,
        valid_output=success,
        added_latency_ms=1.0,
        propensity=1.0,
    )
    judgement = Judgement(
        application_id=application.application_id,
        fix_id=fix.fix_id,
        timestamp=now,
        verdict=Verdict(resolved=success, no_regression=True if success else None, valid_output=success),
        reason="said so by the test",
    )
    return application, judgement


class Process:
    """One of several processes: its index, its probation, and facts that it has not brought to the store yet."""

    def __init__(self, live: Runtime, store: Store) -> None:
        self.store = store
        self.keys = live.keys
        self.index = FixIndex(live.settings, trust=live.keys.trust, vouch=live.keys.verify)
        self.decided: list[Decision] = []
        self.probation = Probation(
            index=self.index,
            keys=live.keys,
            preset="guarded",
            now=lambda: datetime.now(UTC),
            on_decision=lambda fix, decision: self.decided.append(decision),
        )
        self.facts: list[Record] = []
        self.index.refresh()

    def verdict(self, fix: Fix, *, success: bool) -> None:
        application, judgement = verdict(fix, success=success)
        self.probation.judged(application, judgement)
        self.facts += [application, judgement, *(one for _, one in self.probation.ruled([fix.fix_id]))]

    def bring(self) -> None:
        with self.store.database.writing() as connection:
            now = datetime.now(UTC)
            add_facts(
                connection, Inserts(connection.dialect), [(one, None) for one in self.facts], now=now, seal=self.keys
            )

    def state(self, fix: Fix) -> FixState | None:
        change = self.index.latest(fix.fix_id)
        return None if change is None else change.state
