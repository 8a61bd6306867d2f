"""What an exporter publishes is what one that has just started would, whatever it remembers of earlier scrapes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client.exposition import choose_encoder
from sqlalchemy import delete
from tests.world import World

from healspan.remediation import exporter, metrics_text
from healspan.remediation.claude.ask import Usage
from healspan.remediation.claude.consultation import Asked, Consultation
from healspan.remediation.exporter import StoreCollector
from healspan.remediation.fix import ALLOWED_CHANGES, Fix, FixState
from healspan.remediation.ids import uuid7
from healspan.remediation.incident import Incident, IncidentStatus, Tier
from healspan.remediation.metrics_text import MetricsText
from healspan.remediation.settings import load_settings
from healspan.remediation.store.facts import FixScore, Hotspot
from healspan.remediation.store.masking import MaskingAlarm
from healspan.remediation.store.tables import TABLES
from healspan.remediation.store.views import Amount

PLAIN, OPENMETRICS = "text/plain; version=0.0.4", "application/openmetrics-text; version=1.0.0"
BUDGET = Amount(tokens=1_000, micro_usd=5_000_000)

services, boundaries = st.sampled_from(["shop", "batch"]), st.sampled_from(["acme orders", "bill", "cart"])
hours, places = st.integers(0, 9), st.integers(0, 3)
endings = st.sampled_from(
    [(IncidentStatus.ESCALATED, Tier.HUMAN), (IncidentStatus.HEALED, Tier.KNOWN_FIX), (None, Tier.HUMAN)]
)
failures = st.tuples(
    st.just("fail"),
    services,
    boundaries,
    st.sampled_from(["KeyError", "ValueError"]),
    endings,
    st.sampled_from([0.1, 3.0, 700.0, 90_000.0]),
    st.booleans(),
    hours,
)
fixes = (
    st.tuples(st.just("propose"), boundaries, st.sampled_from([FixState.PROPOSED, FixState.TRIAL, FixState.ACTIVE]))
    | st.tuples(st.just("move"), places, st.sampled_from([*FixState]))
    | st.tuples(st.just("apply"), places, st.integers(1, 5), st.sampled_from([0, 1, None]))
    | st.tuples(st.just("score"), places, st.sampled_from([0.1, 0.5, 0.95]))
    | st.tuples(st.just("decide"), places, st.sampled_from(["activate", "suspend"]))
    | st.tuples(st.just("mask"), places)
)
others = (
    st.tuples(st.just("consult"), st.booleans())
    | st.tuples(st.just("expect"), boundaries, st.sampled_from([0.5, 12.0]))
    | st.tuples(st.just("purge"), hours)
    | st.tuples(st.just("forget"), st.sampled_from(["acme", "batch", "ValueError"]))
    | st.tuples(st.just("restart"), st.integers(0, 1))
)
kinds = {"failures": failures, "fixes": fixes, "others": others}
deeds = st.sampled_from(["failures", "failures", "fixes", "fixes", "others"]).flatmap(kinds.__getitem__)
looks = st.sampled_from([(), (0,), (0,), (1,)])
"""Which of the exporters are read then."""


class Site(World):
    """A store that facts come to and are erased from, and two exporters, each read by servers of both kinds."""

    def begin(self) -> None:
        with self.store.database.writing() as connection:
            for table in reversed(TABLES):
                connection.execute(delete(table))
        self.incidents: list[Incident] = []
        self.fixes: list[Fix] = []
        self.collectors = [self.collector(), self.collector()]
        self.texts = [MetricsText(collector) for collector in self.collectors]
        self.propose("acme orders", FixState.TRIAL)

    def one(self, place: int) -> Fix:
        return self.fixes[place % len(self.fixes)]

    def collector(self) -> StoreCollector:
        return StoreCollector(self.store, budget=BUDGET)

    def fail(
        self,
        service: str,
        boundary: str,
        kind: str,
        ending: tuple[IncidentStatus | None, Tier],
        elapsed_ms: float,
        traced: bool,
        hour: int,
    ) -> None:
        incident = self.failure(
            boundary,
            service=service,
            error_type=f"builtins.{kind}",
            status=ending[0],
            tier=ending[1],
            fix=self.fixes[-1] if ending[0] is IncidentStatus.HEALED else None,
            elapsed_ms=elapsed_ms,
            trace_id=uuid7().hex if traced else None,
            ago=timedelta(hours=hour),
        )
        self.incidents.append(incident)

    def propose(self, boundary: str, state: FixState) -> None:
        kind = f"KeyError{len(self.fixes)}" if len(self.fixes) % 2 else "KeyError"
        self.fixes.append(self.fix(boundary, kind=kind, state=state, ago=timedelta(hours=len(self.fixes))))

    def move(self, place: int, state: FixState) -> None:
        latest = self.store.fixes.latest(self.one(place).fix_id)
        assert latest is not None
        if state in ALLOWED_CHANGES[latest.state] and latest.state is not FixState.SUSPENDED:
            self.change(self.one(place), state)

    def apply(self, place: int, count: int, reward: int | None) -> None:
        self.application(self.one(place), count=count, reward=reward)

    def score(self, place: int, value: float) -> None:
        fix_id, parts = self.one(place).fix_id, {"durability": value / 2}
        score = FixScore(fix_id=fix_id, reward_score=value, parts=parts, formula="test", updated_at=self.now)
        self.store.projections.write_scores([score])

    def decide(self, place: int, action: str) -> None:
        self.store.controls.audit("engine", action, self.one(place).fix_id)

    def consult(self, paid: bool) -> None:
        if not self.incidents:
            return
        incident = self.incidents[-1]
        asked = Asked(sent="?", usage=Usage(input_tokens=100, output_tokens=20), cost_usd=Decimal("0.1"))
        self.write(
            Consultation(
                consultation_id=uuid7(),
                error_id=incident.error_id,
                pattern=incident.pattern.exact,
                boundary=incident.module,
                at=incident.timestamp,
                model="m",
                prompt_version="diagnose-1",
                values="scrubbed",
                state="healed" if paid else "cooldown",
                asked=(asked,) if paid else (),
            )
        )

    def expect(self, boundary: str, expected: float) -> None:
        spot = Hotspot(
            boundary=boundary,
            context="document_type=10-K",
            rate=0.1,
            expected=expected,
            failures=1.0,
            calls=10.0,
            explanation="",
            updated_at=self.now,
        )
        self.store.projections.write_hotspots([spot])

    def mask(self, place: int) -> None:
        fix = self.one(place)
        alarm = MaskingAlarm(
            fix_id=fix.fix_id,
            boundary=fix.scope.module,
            healed=90,
            calls=100,
            hours=24,
            share=0.9,
            at_least=0.8,
            since=self.now,
            updated_at=self.now,
            title="",
            ticket="",
        )
        self.store.masking.write([alarm])

    def purge(self, hour: int) -> None:
        self.store.purge_before(self.now - timedelta(hours=hour), actor="test")

    def forget(self, subject: str) -> None:
        self.store.purge_subject(subject, actor="test")

    def restart(self, number: int) -> None:
        self.collectors[number] = self.collector()
        self.texts[number] = MetricsText(self.collectors[number])

    def scrape(self, number: int, accept: str) -> None:
        encode, content_type = choose_encoder(accept)
        found = self.texts[number].read(accept)  # first, or the other would have counted for it
        assert found == (encode(self.collector()), content_type)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("scrapes")
    known = load_settings().model_copy(
        update={"data_dir": directory, "database_url": f"sqlite:///{directory / 'store.db'}"}
    )
    made = Site(settings=known)
    yield made
    made.close()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    st.lists(st.tuples(deeds, looks), min_size=15, max_size=40),
    st.sampled_from([PLAIN, OPENMETRICS]),
    st.sampled_from([2, 20_000]),
)
def test_what_is_remembered_is_what_a_fresh_exporter_finds(
    site: Site, done: list[tuple[tuple[object, ...], tuple[int, ...]]], accept: str, at_once: int
) -> None:
    site.begin()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporter, "AT_ONCE", at_once)
        patch.setattr(metrics_text, "LINES", 3)
        for (word, *arguments), read in done:
            getattr(site, str(word))(*arguments)
            for number in read:
                site.scrape(number, accept)
        for number in (0, 1):
            for form in (PLAIN, OPENMETRICS):
                site.scrape(number, form)
