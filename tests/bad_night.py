"""A scripted bad night of a fleet, in a store and in a service: healed, escalated, proposed, on trial, asked about."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from prometheus_client import CollectorRegistry
from tests.world import World

from healspan.remediation.claude.ask import Usage
from healspan.remediation.claude.consultation import Asked, Consultation, ConsultationState
from healspan.remediation.claude.gateway import Gateway
from healspan.remediation.fix import FixState
from healspan.remediation.ids import uuid7
from healspan.remediation.incident import Incident, IncidentStatus, Tier
from healspan.remediation.metrics import Metrics
from healspan.remediation.store.facts import FixScore, Hotspot
from healspan.remediation.store.masking import MaskingAlarm

MODEL = "claude-opus-5-5"
_ANSWERED = Asked(sent="?", usage=Usage(input_tokens=1_000, output_tokens=200), cost_usd=Decimal("0.02"), seconds=3.0)
_TIMED_OUT = Asked(sent="?", failed="timeout", seconds=60.0)


class BadNight:
    """Fills a store, and counts in a service what only a service knows.

    Args:
        world: whose store it is.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.registry = CollectorRegistry()
        """What the service publishes."""
        self._service = Metrics(self.registry, "filings")
        self.traces: list[str] = []
        """Of the calls that were healed."""
        self.incidents = 1
        """How many there have been."""
        self._first = world.failure("revenue", status=IncidentStatus.HEALED, tier=Tier.DIAGNOSIS)
        self._fix = world.fix("revenue", state=FixState.ACTIVE, like=self._first)
        world.fix("revenue", kind="IndexError")
        now = datetime.now(UTC)
        world.store.projections.write_scores(
            [
                FixScore(
                    fix_id=self._fix.fix_id, reward_score=0.8, parts={"durability": 0.6}, formula="test", updated_at=now
                )
            ]
        )
        spot = Hotspot(
            boundary="revenue",
            context="document_type=10-K",
            rate=0.1,
            expected=12.0,
            failures=10.0,
            calls=100.0,
            explanation="many fail",
            updated_at=now,
        )
        world.store.projections.write_hotspots([spot])
        alarm = MaskingAlarm(
            fix_id=self._fix.fix_id,
            boundary="revenue",
            healed=900,
            calls=1_000,
            hours=24,
            share=0.9,
            at_least=0.8,
            since=now,
            updated_at=now,
            title="revenue: one fix heals 90% of all calls",
            ticket="What fires: it.",
        )
        world.store.masking.write([alarm])
        self.blow(1)

    def blow(self, times: int) -> None:
        """Let everything happen so many times."""
        world = self._world
        for number in range(times):
            for _ in range(12):
                self._count(world.failure("revenue", error_type="builtins.IndexError", elapsed_ms=2.0))
            for tier in (Tier.KNOWN_FIX, Tier.DIAGNOSIS):
                healed = world.failure(
                    "revenue", status=IncidentStatus.HEALED, tier=tier, elapsed_ms=0.7, trace_id=uuid7().hex
                )
                self.traces.append(healed.trace_id or "")
                self._count(healed)
            world.application(self._fix, count=5)
            world.application(self._fix, reward=0)
            for decision in ("activate", "suspend"):
                world.store.controls.audit(
                    "engine", decision, self._fix.fix_id, detail={"number": f"{uuid7()} {number}"}
                )
            self._consult("healed", _TIMED_OUT, _ANSWERED)
            self._consult("budget")
            self._service.dropped("full", 3)
            self._service.internal_error("capture")
            self._service.store_error("drain")
            self._service.waiting(40)
        self._spend(times)

    def _count(self, incident: Incident) -> None:
        self.incidents += 1
        self._service.incident(incident)

    def _consult(self, state: ConsultationState, *asked: Asked) -> None:
        one = Consultation(
            consultation_id=uuid7(),
            error_id=self._first.error_id,
            pattern=self._first.pattern.exact,
            boundary="revenue",
            at=self._world.now,
            model=MODEL,
            prompt_version="diagnose-1",
            values="scrubbed",
            state=state,
            asked=asked,
        )
        self._world.write(one)
        self._service.consulted(one)

    def _spend(self, times: int) -> None:
        gateway = Gateway.open(self._world.settings, cost=lambda usage, model: Decimal("0.02"))
        try:
            with gateway.enter(f"storm {uuid7()}", "revenue") as admission:
                for _ in range(times):
                    assert admission.reserve(900, 100, MODEL) is None
        finally:
            gateway.close()
