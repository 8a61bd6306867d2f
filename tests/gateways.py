"""A process with a gateway before Claude, whose clocks the test sets."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from healspan.remediation.claude.ask import FailureKind, Usage
from healspan.remediation.claude.gateway import Admission, Gateway, Limits, Refusal
from healspan.remediation.settings import load_settings
from healspan.remediation.store.ledger import Ledger
from healspan.remediation.store.repository import Store
from healspan.remediation.store.spending import Spend

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MODEL = "known"


def cost(usage: Usage, model: str) -> Decimal | None:
    return Decimal(usage.input_tokens + usage.output_tokens) / 1_000_000 if model == MODEL else None


@dataclass
class Process:
    """A gateway with clocks of its own."""

    name: str = "one"
    options: dict[str, object] = field(default_factory=dict)
    now: datetime = NOON
    clock: float = 100.0

    def __post_init__(self) -> None:
        known = load_settings(**self.options)
        self.ledger = Ledger.open(known)
        self.gateway = Gateway(
            self.ledger,
            Limits.of(known),
            cost=cost,
            instance=self.name,
            clock=lambda: self.clock,
            now=lambda: self.now,
        )

    def later(self, seconds: float) -> None:
        self.clock += seconds
        self.now += timedelta(seconds=seconds)

    def admitted(self, pattern: str = "p") -> Admission:
        found = self.gateway.enter(pattern, "revenue")
        assert isinstance(found, Admission), found
        return found

    def refused(self, pattern: str = "p") -> Refusal:
        found = self.gateway.enter(pattern, "revenue")
        assert isinstance(found, Refusal)
        return found

    def ask(self, pattern: str = "p", failed: FailureKind | None = None, retry_after: float | None = None) -> None:
        """Make one diagnosis, which does not heal unless it did not fail."""
        with self.admitted(pattern) as admission:
            assert admission.reserve(10, 10, MODEL) is None
            admission.settle(None if failed else Usage(input_tokens=10, output_tokens=5), failed, retry_after, 0.5)
            admission.end("failed" if failed else "healed")

    def spend(self) -> Spend:
        with Store.open(load_settings()) as store:
            return store.spending.today(now=self.now, limit=2_000)


def start(processes: list[Process], name: str = "one", **options: object) -> Process:
    processes.append(Process(name, options))
    return processes[-1]
