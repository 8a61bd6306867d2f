"""Counters of the exporter: whatever arrives, is erased, looks and starts anew, none falls, and none loses anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from tests.deeds import START, Deeds, store_in
from tests.facts import make_fix, make_incident

from healspan.remediation import metrics as names
from healspan.remediation.claude.ask import Usage
from healspan.remediation.claude.consultation import Asked, Consultation
from healspan.remediation.exporter import StoreCollector
from healspan.remediation.ids import uuid7
from healspan.remediation.incident import Incident, IncidentStatus, Resolution, Tier
from healspan.remediation.outcome import Application, ApplicationMode, Judgement, Verdict
from healspan.remediation.store.counting import BUCKETS, LABELS, SECONDS
from healspan.remediation.store.facts import AuditEntry
from healspan.remediation.store.repository import Store
from healspan.remediation.store.tables import ApplicationRow, table_of

FIX = make_fix()
APPLICATION = table_of(ApplicationRow)
SERIES = LABELS.keys() - {BUCKETS, SECONDS}

minutes = st.integers(0, 9)
services = st.sampled_from(["shop", "batch"])
deeds = st.lists(
    st.tuples(st.just("incident"), services, st.sampled_from("ab"), minutes)
    | st.tuples(st.just("resolution"), st.integers(0, 3), st.floats(0.1, 40_000))
    | st.tuples(st.just("repaired"), st.integers(1, 5), minutes)
    | st.tuples(st.just("judged"), st.integers(0, 3), st.sampled_from([True, False, None]))
    | st.tuples(st.just("decided"), st.sampled_from(["activate", "suspend"]), minutes)
    | st.tuples(st.just("consulted"), st.booleans(), minutes)
    | st.tuples(st.just("purge"), minutes)
    | st.tuples(st.just("erase"), st.sampled_from("ab"))
    | st.tuples(st.just("look"), st.integers(0, 1))
    | st.tuples(st.just("look"), st.integers(0, 1))
    | st.tuples(st.just("restart"), st.integers(0, 1)),
    max_size=30,
)


class Site(Deeds):
    """A store that facts come to and are erased from, and two exporters."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.incidents: list[Incident] = []
        self.applications: list[Application] = []
        self.arrived: Counter[str] = Counter()
        self.by_labels: Counter[tuple[str, ...]] = Counter()
        self.exporters = [StoreCollector(store), StoreCollector(store)]
        self.seen: dict[tuple[str, tuple[str, ...]], float] = {}

    def begin(self) -> None:
        self.empty()
        self.__init__(self.store)  # type: ignore[misc] # a fresh one on the same store
        self.write(FIX)

    def incident(self, service: str, name: str, minute: int) -> None:
        update = {"timestamp": START + timedelta(minutes=minute), "resource": {"service.name": service}}
        one = make_incident(f"about {name}", name=name).model_copy(update=update)
        self.write(one)
        self.incidents.append(one)
        self.arrived[names.INCIDENTS.name] += 1
        self.by_labels[service, "m", one.error_type] += 1

    def resolution(self, number: int, elapsed_ms: float) -> None:
        """Tell how one of the last incidents ended that nothing was told of."""
        if number >= len(self.incidents):
            return
        incident = self.incidents.pop(number)
        self.write(
            Resolution(
                error_id=incident.error_id,
                timestamp=incident.timestamp,
                status=IncidentStatus.ESCALATED,
                tier=Tier.HUMAN,
                elapsed_ms=elapsed_ms,
                diagnosed=False,
            )
        )
        self.arrived[names.HEALS.name] += 1
        self.arrived["durations"] += 1

    def repaired(self, count: int, minute: int) -> None:
        one = Application(
            application_id=uuid7(),
            fix_id=FIX.fix_id,
            error_id=None,
            run_id=uuid7(),
            boundary="m",
            pipeline=None,
            timestamp=START + timedelta(minutes=minute),
            tier="1",
            mode=ApplicationMode.ACTIVE,
            steps=("strategy",),
            resolved=True,
            valid_output=True,
            added_latency_ms=0.1,
            propensity=1.0,
            count=count,
        )
        self.write(one)
        self.applications.append(one)
        self.arrived[names.HEALS.name] += count
        self.arrived[names.APPLICATIONS.name] += count

    def judged(self, number: int, no_regression: bool | None) -> None:
        """Judge one of the last applications; it may have been erased by then."""
        if number >= len(self.applications):
            return
        one = self.applications.pop(number)
        self.write(
            Judgement(
                application_id=one.application_id,
                fix_id=one.fix_id,
                timestamp=one.timestamp,
                verdict=Verdict(resolved=True, no_regression=no_regression, valid_output=True),
                reason="said so by the test",
            )
        )
        with self.store.database.reading() as connection:
            known = connection.execute(
                select(APPLICATION.c["count"]).where(APPLICATION.c.application_id == str(one.application_id))
            ).scalar()
        self.arrived[names.VERDICT_PARTS.name] += 3 * (known or 1)

    def decided(self, action: str, minute: int) -> None:
        at = START + timedelta(minutes=minute)
        self.write(AuditEntry(audit_id=uuid7(), at=at, actor="engine", action=action, subject=FIX.fix_id))
        self.arrived[names.TRIALS.name] += 1

    def consulted(self, paid: bool, minute: int) -> None:
        asked = Asked(sent="?", usage=Usage(input_tokens=100, output_tokens=20), cost_usd=Decimal("0.25"))
        self.write(
            Consultation(
                consultation_id=uuid7(),
                error_id=uuid7() if not self.incidents else self.incidents[-1].error_id,
                pattern="v1:a",
                boundary="m",
                at=START + timedelta(minutes=minute),
                model="m",
                prompt_version="diagnose-1",
                values="scrubbed",
                state="healed" if paid else "cooldown",
                asked=(asked,) if paid else (),
            )
        )
        self.arrived[names.CONSULTATIONS.name] += 1
        if paid:
            self.arrived[names.CLAUDE_REQUESTS.name] += 1
            self.arrived[names.CLAUDE_TOKENS.name] += 120
            self.arrived[names.CLAUDE_COST.name] += 0.25

    def restart(self, exporter: int) -> None:
        self.exporters[exporter] = StoreCollector(self.store)

    def look(self, exporter: int) -> None:
        found = {
            (sample.name, tuple(sample.labels.values())): sample.value
            for family in self.exporters[exporter].collect()
            for sample in family.samples
            if sample.name in SERIES or sample.name.startswith(names.HEAL_SECONDS.name)
        }
        fallen = {key: (value, found.get(key)) for key, value in self.seen.items() if found.get(key, 0.0) < value}
        assert fallen == {}
        self.seen = found

    def sums(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for (name, _), value in self.seen.items():
            if name in SERIES:
                found[name] += value
            elif name == f"{names.HEAL_SECONDS.name}_count":
                found["durations"] += value
        return +found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with store_in(tmp_path_factory.mktemp("counters")) as store:
        yield Site(store)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(deeds)
def test_no_counter_falls_and_what_arrived_is_what_it_comes_to(site: Site, done: list[tuple[object, ...]]) -> None:
    site.begin()
    for word, *arguments in [*done, ("look", 0), ("restart", 1), ("look", 1)]:
        getattr(site, str(word))(*arguments)
    assert site.sums() == site.arrived
    incidents = {labels: value for (name, labels), value in site.seen.items() if name == names.INCIDENTS.name}
    assert incidents == site.by_labels
