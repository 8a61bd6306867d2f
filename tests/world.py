"""A small world of facts, written through the store's own writers: for tests of what reads the store."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from healspan.remediation.fix import Fix, FixDraft, FixState, Match, RiskLevel, Scope, StateChange
from healspan.remediation.ids import uuid7
from healspan.remediation.incident import (
    Decision,
    Expression,
    Frame,
    Incident,
    IncidentStatus,
    InputContext,
    Pattern,
    PatternPart,
    Resolution,
    Tier,
)
from healspan.remediation.outcome import Application, ApplicationMode, Exposure, Judgement, Verdict
from healspan.remediation.record import Record
from healspan.remediation.settings import Settings, load_settings
from healspan.remediation.signing import KeyRing
from healspan.remediation.step import Step, StrategyStep
from healspan.remediation.store.ingest import add_facts
from healspan.remediation.store.repository import Store
from healspan.remediation.store.rows import Inserts


@dataclass
class World:
    """Makes records and writes them; times are counted back from `now`."""

    settings: Settings = field(default_factory=load_settings)
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __post_init__(self) -> None:
        self.store = Store.open(self.settings)
        self.keys = KeyRing.open(self.settings.keys_dir)

    def close(self) -> None:
        self.store.close()

    def write(self, *records: Record) -> None:
        """Write facts in one transaction, as the drainer does."""
        with self.store.database.writing() as connection:
            add_facts(
                connection, Inserts(connection.dialect), [(one, None) for one in records], now=self.now, seal=self.keys
            )

    def failure(
        self,
        boundary: str = "revenue",
        *,
        error_type: str = "builtins.KeyError",
        message: str = "'Revenues'",
        line: str = "return labels[wanted]",
        document_type: str | None = "10-K",
        ago: timedelta = timedelta(),
        status: IncidentStatus | None = IncidentStatus.ESCALATED,
        tier: Tier = Tier.HUMAN,
        fix: Fix | None = None,
        elapsed_ms: float = 1.0,
        decisions: Iterable[Decision] = (),
        service: str = "filings",
        trace_id: str | None = None,
    ) -> Incident:
        """Write an incident and, unless `status` is None, how it ended."""
        kind = error_type.rpartition(".")[2]
        expression = Expression(text="labels[wanted]", line=41, end_line=41, column=11, end_column=25)
        incident = Incident(
            error_id=uuid7(),
            timestamp=self.now - ago,
            error_type=error_type,
            error_message=message,
            stack_trace=f'Traceback (most recent call last):\n  File "app.py", line 41\n    {line}\n{kind}: {message}',
            frames=(
                Frame(module="filings.app", function=f"read_{boundary}", file="app.py", line=12, source_line="x = f()"),
                Frame(
                    module="filings.app",
                    function="look_up",
                    file="app.py",
                    line=41,
                    source_line=line,
                    expression=expression,
                ),
            ),
            module=boundary,
            target=f"filings.app:read_{boundary}",
            trace_id=trace_id,
            pattern=Pattern(
                error_pattern=f"{kind}::{boundary}::look_up",
                exact=f"v1:exact:{boundary}:{kind}:{line}",
                loose=f"v1:loose:{boundary}:{kind}",
                site=f"v1:site:{boundary}:{kind}",
                parts=(PatternPart(name="type", value=error_type, why="always counts"),),
            ),
            input_context=InputContext(arguments={"document": "<filings.Document>"}),
            resource={"service.name": service},
            context_keys={"document_type": document_type} if document_type else {},
        )
        self.write(incident)
        if status is not None:
            self.write(
                Resolution(
                    error_id=incident.error_id,
                    timestamp=self.now - ago,
                    status=status,
                    tier=tier,
                    fix_id=fix.fix_id if fix else None,
                    decisions=tuple(decisions),
                    elapsed_ms=elapsed_ms,
                    diagnosed=tier is not Tier.KNOWN_FIX,
                ),
            )
        return incident

    def fix(
        self,
        boundary: str = "revenue",
        *,
        kind: str = "KeyError",
        state: FixState = FixState.PROPOSED,
        risk: RiskLevel = RiskLevel.LOW,
        step: Step | None = None,
        like: Incident | None = None,
        context_keys: dict[str, str] | None = None,
        ago: timedelta = timedelta(),
    ) -> Fix:
        """Write a fix of a pattern and the changes that brought it to a state, signed by the machine."""
        exact = like.pattern.exact if like else f"v1:exact:{boundary}:{kind}:return labels[wanted]"
        draft = FixDraft(
            pattern=f"{kind}::{boundary}::look_up",
            scope=Scope(module=boundary, match=Match.EXACT, exact=exact, context_keys=context_keys or {}),
            diagnosis="The primary way does not fit this input; an alternative may.",
            fix_type="strategy" if step is None else step.kind,
            fix_instruction=f"When {boundary} fails this way, use its strategy 'prose'.",
            affected_module="filings.app",
            confidence=0.6,
            risk_level=risk,
            risk_assessment="Calls an alternative that the application registered.",
            steps=(step or StrategyStep(strategy="prose"),),
            origin="playbook:strategy",
            source_hash={"filings.app:prose": "0" * 64},
        )
        made = self.keys.sign_fix(Fix.from_draft(draft, created_at=self.now - ago))
        way = {FixState.PROPOSED: (), FixState.TRIAL: (FixState.TRIAL,), FixState.ACTIVE: (FixState.ACTIVE,)}[state]
        self.write(made)
        previous: FixState | None = None
        for sequence, reached in enumerate((FixState.PROPOSED, *way), start=1):
            self.write(
                self.keys.sign_change(
                    StateChange(
                        fix_id=made.fix_id,
                        sequence=sequence,
                        state=reached,
                        previous=previous,
                        policy="guarded",
                        actor="engine",
                        reason="found by diagnosis",
                        at=self.now - ago,
                    ),
                ),
            )
            previous = reached
        return made

    def change(self, fix: Fix, state: FixState, *, reason: str = "its verdicts say so") -> None:
        """Let the engine change the state of a fix, now."""
        view = self.store.fixes.get(fix.fix_id)
        assert view is not None
        latest = view.changes[-1]
        update = {"sequence": latest.sequence + 1, "state": state, "previous": latest.state, "reason": reason}
        self.write(self.keys.sign_change(latest.model_copy(update={**update, "at": self.now, "signature": None})))

    def application(
        self,
        fix: Fix,
        *,
        reward: int | None = 1,
        judged: bool = True,
        incident: Incident | None = None,
        document_type: str = "10-K",
        ago: timedelta = timedelta(),
        count: int = 1,
        overrules: tuple[UUID, ...] = (),
        added_latency_ms: float = 0.5,
        span: tuple[str, str] | None = None,
    ) -> Application:
        """Write one use of a fix and, if `judged`, its verdict."""
        application = Application(
            application_id=uuid7(),
            fix_id=fix.fix_id,
            error_id=incident.error_id if incident else None,
            run_id=uuid7(),
            boundary=fix.scope.module,
            pipeline=None,
            context_keys={"document_type": document_type},
            timestamp=self.now - ago,
            tier="1",
            mode=ApplicationMode.TRIAL,
            steps=("strategy",),
            resolved=reward != 0,
            valid_output=True,
            added_latency_ms=added_latency_ms,
            propensity=1.0,
            trace_id=span[0] if span else None,
            span_id=span[1] if span else None,
            count=count,
        )
        self.write(application)
        if judged:
            criterion = {1: True, 0: False, None: None}[reward]
            self.write(
                Judgement(
                    application_id=application.application_id,
                    fix_id=fix.fix_id,
                    timestamp=self.now - ago,
                    verdict=Verdict(resolved=reward != 0, no_regression=criterion, valid_output=True),
                    reason="said so by the test",
                    overrules=overrules,
                ),
            )
        return application

    def calls(
        self,
        boundary: str = "revenue",
        number: int = 10,
        *,
        document_type: str | None = "10-K",
        ago: timedelta = timedelta(),
    ) -> None:
        """Write that a boundary was called."""
        hour = (self.now - ago).replace(minute=0, second=0, microsecond=0)
        self.write(
            Exposure(
                exposure_id=uuid7(),
                boundary=boundary,
                context_keys={"document_type": document_type} if document_type else {},
                hour=hour,
                calls=number,
                ok_ms=number * 2.0,
            ),
        )
