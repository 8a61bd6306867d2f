"""/metrics: parses, agrees with the store, never goes down, says what is wrong."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from sqlalchemy import delete
from tests.scraping import get, serving
from tests.world import World

from healspan.remediation import metrics as names
from healspan.remediation.claude.ask import Usage
from healspan.remediation.claude.consultation import Asked, Consultation, ConsultationState
from healspan.remediation.claude.gateway import Gateway, Limits
from healspan.remediation.exporter import StoreCollector
from healspan.remediation.fix import Fix, FixState
from healspan.remediation.ids import uuid7
from healspan.remediation.incident import Incident, IncidentStatus, Tier
from healspan.remediation.metrics import Metrics
from healspan.remediation.metrics_server import MetricsServer
from healspan.remediation.store.facts import FixScore
from healspan.remediation.store.masking import MaskingAlarm
from healspan.remediation.store.tables import ConsultationRow, IncidentRow, table_of


@pytest.fixture
def server(world: World) -> Iterator[MetricsServer]:
    with serving(world) as made:
        yield made


def scrape(server: MetricsServer) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Samples by name, then by labels."""
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(get(server.url)):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def labels(**values: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(values.items()))


def test_an_empty_store_has_no_incidents_and_no_fixes(server):
    found = scrape(server)
    assert "healspan_incidents_total" not in found
    assert found["healspan_fixes"] == {labels(state=state.value): 0.0 for state in FixState}
    assert found["healspan_escalations_open"] == {(): 0.0}


def test_incidents_are_counted_by_service_boundary_and_error_type(world, server):
    world.failure("revenue")
    world.failure("revenue")
    world.failure("cogs", error_type="builtins.IndexError", service="batch")
    assert scrape(server)["healspan_incidents_total"] == {
        labels(service="filings", boundary="revenue", error_type="builtins.KeyError"): 2.0,
        labels(service="batch", boundary="cogs", error_type="builtins.IndexError"): 1.0,
    }


def test_heals_are_counted_by_tier_and_outcome_and_start_at_zero(world, server):
    world.failure("revenue", status=IncidentStatus.HEALED, tier=Tier.DIAGNOSIS)
    heals = scrape(server)["healspan_heals_total"]
    place = {"service": "filings", "boundary": "revenue"}
    assert heals[labels(**place, tier="2", outcome="healed")] == 1.0
    assert heals[labels(**place, tier="1", outcome="healed")] == 0.0
    assert heals[labels(**place, tier="3", outcome="escalated")] == 0.0


def test_calls_that_installed_repairs_saved_are_heals_of_tier_one(world, server):
    incident = world.failure("revenue", status=IncidentStatus.HEALED, tier=Tier.KNOWN_FIX)
    fix = world.fix(state=FixState.TRIAL, like=incident)
    world.application(fix, count=40)
    heals = scrape(server)["healspan_heals_total"]
    assert heals[labels(service="filings", boundary="revenue", tier="1", outcome="healed")] == 41.0


def test_uses_of_fixes_are_counted_with_each_part_of_their_verdicts(world, server):
    fix = world.fix("revenue", state=FixState.TRIAL)
    world.failure("revenue")
    world.application(fix, count=40)
    world.application(fix, reward=0)
    world.application(fix, reward=None)
    world.application(fix, judged=False)
    found = scrape(server)
    place = {"service": "filings", "boundary": "revenue"}
    uses = {"tier": "1", "mode": "trial"}
    assert found["healspan_applications_total"] == {
        labels(**place, **uses, resolved="true"): 42.0,
        labels(**place, **uses, resolved="false"): 1.0,
    }
    parts = found["healspan_verdict_parts_total"]
    assert {
        key: parts[labels(**place, criterion="no_regression", value=key)] for key in ("true", "false", "unknown")
    } == {
        "true": 40.0,
        "false": 1.0,
        "unknown": 1.0,
    }
    assert parts[labels(**place, criterion="resolved", value="false")] == 1.0
    assert parts[labels(**place, criterion="valid_output", value="true")] == 42.0
    assert sum(parts.values()) == 3 * 42


def test_the_heal_durations_are_a_histogram_with_the_services_own_buckets(world, server):
    for milliseconds in (0.4, 0.9, 1.0, 40_000.0):
        world.failure(status=IncidentStatus.HEALED, tier=Tier.KNOWN_FIX, elapsed_ms=milliseconds)
    found = scrape(server)
    key = {"service": "filings", "tier": "1", "outcome": "healed"}
    buckets = found["healspan_heal_duration_seconds_bucket"]
    assert [buckets[labels(**key, le=le)] for le in ("0.0005", "0.001", "30.0", "+Inf")] == [1, 3, 3, 4]
    assert found["healspan_heal_duration_seconds_count"][labels(**key)] == 4.0
    assert found["healspan_heal_duration_seconds_sum"][labels(**key)] == pytest.approx(40.0023)
    assert len(buckets) == len(names.HEAL_SECONDS_BUCKETS) + 1


def exemplars(server: MetricsServer) -> dict[str, tuple[str, float]]:
    """Trace id and seconds by the bound of the bucket."""
    request = urllib.request.Request(server.url, headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        families = openmetrics(answer.read().decode())
    return {
        sample.labels["le"]: (sample.exemplar.labels["trace_id"], sample.exemplar.value)
        for family in families
        for sample in family.samples
        if sample.exemplar
    }


def test_the_newest_heal_with_a_trace_is_the_exemplar_of_its_bucket(world, server):
    def heal(elapsed_ms: float, trace_id: str | None) -> None:
        status, tier = IncidentStatus.HEALED, Tier.KNOWN_FIX
        world.failure("revenue", status=status, tier=tier, elapsed_ms=elapsed_ms, trace_id=trace_id)

    for trace in ("a" * 32, "b" * 32, None):
        heal(0.7, trace)
    heal(60_000.0, "c" * 32)
    heal(2.0, "d" * 300)  # no trace id, and more than an exemplar can hold
    assert exemplars(server) == {"0.001": ("b" * 32, 0.0007), "+Inf": ("c" * 32, 60.0)}
    heal(0.8, "e" * 32)
    assert exemplars(server)["0.001"] == ("e" * 32, 0.0008)
    assert "e" * 32 not in get(server.url)  # the plain format has no exemplars


def test_a_trace_of_what_was_erased_is_no_exemplar(world, server):
    world.failure("revenue", message="customer 4711", trace_id="a" * 32)
    assert exemplars(server)
    world.store.purge_subject("4711", actor="test")
    assert exemplars(server) == {}


def test_fixes_are_counted_by_the_state_they_are_in_now(world, server):
    world.fix("revenue")
    world.fix("cogs", state=FixState.TRIAL)
    found = scrape(server)
    assert found["healspan_fixes"][labels(state="proposed")] == 1.0
    assert found["healspan_fixes"][labels(state="trial")] == 1.0
    assert found["healspan_review_backlog"] == {(): 1.0}


def test_an_escalated_pattern_is_open_until_a_fix_that_covers_it_serves(world, server):
    incident = world.failure("revenue", ago=timedelta(hours=1))
    world.failure("revenue", ago=timedelta(hours=2))
    world.failure("cogs")
    assert scrape(server)["healspan_escalations_open"] == {(): 2.0}
    world.fix(state=FixState.TRIAL, like=incident)
    assert scrape(server)["healspan_escalations_open"] == {(): 1.0}


def test_an_escalation_after_a_fix_began_to_serve_is_open_again(world, server):
    incident = world.failure("revenue", ago=timedelta(hours=2))
    world.fix(state=FixState.TRIAL, like=incident, ago=timedelta(hours=1))
    world.failure("revenue")
    assert scrape(server)["healspan_escalations_open"] == {(): 1.0}


def test_masking_alarms_are_open_until_a_human_answers(world, server):
    fix = world.fix("revenue", state=FixState.TRIAL)
    alarm = MaskingAlarm(
        fix_id=fix.fix_id,
        boundary="revenue",
        healed=90,
        calls=100,
        hours=24,
        share=0.9,
        at_least=0.8,
        since=world.now,
        updated_at=world.now,
        title="one fix heals 90% of all calls",
        ticket="",
    )
    world.store.masking.write([alarm])
    assert scrape(server)["healspan_masking_alarms"] == {labels(boundary="revenue"): 1.0}
    world.store.masking.answer(fix.fix_id, actor="human:ann", reason="ticket 12")
    assert scrape(server)["healspan_masking_alarms"] == {labels(boundary="revenue"): 0.0}


def consultation(incident: Incident, state: ConsultationState, *asked: Asked) -> Consultation:
    return Consultation(
        consultation_id=uuid7(),
        error_id=incident.error_id,
        pattern=incident.pattern.exact,
        boundary=incident.module,
        at=incident.timestamp,
        model="m",
        prompt_version="diagnose-1",
        values="scrubbed",
        state=state,
        asked=asked,
    )


def test_diagnoses_by_claude_are_counted_as_the_services_count_them(world, server):
    incident = world.failure("revenue")
    usage = Usage(input_tokens=1_000, output_tokens=200, cache_read_tokens=30)
    paid = Asked(sent="?", usage=usage, cost_usd=Decimal("0.0231"))
    found = [
        consultation(incident, "healed", Asked(sent="?", failed="malformed", usage=usage), paid),
        consultation(incident, "failed", Asked(sent='"asked":[]', failed="timeout")),
        consultation(incident, "cooldown"),
        consultation(incident, "cooldown"),
    ]
    registry = CollectorRegistry()
    own = Metrics(registry, "filings")
    for one in found:
        world.write(one)
        own.consulted(one)
    scraped = scrape(server)
    counters = (names.CONSULTATIONS, names.CLAUDE_REQUESTS, names.CLAUDE_TOKENS, names.CLAUDE_COST)
    for name in (one.name for one in counters):
        samples = [sample for family in registry.collect() for sample in family.samples if sample.name == name]
        assert samples
        assert scraped[name] == {tuple(sorted(one.labels.items())): one.value for one in samples}


def test_diagnoses_are_added_as_they_arrive_and_never_taken_back(world, server):
    incident = world.failure("revenue")
    world.write(consultation(incident, "healed", Asked(sent="?", cost_usd=Decimal("0.5"))))
    scrape(server)
    with world.store.database.writing() as connection:
        connection.execute(delete(table_of(ConsultationRow)))
    world.write(consultation(incident, "healed", Asked(sent="?", cost_usd=Decimal("0.25"))))
    assert scrape(server)["healspan_claude_cost_usd_total"] == {labels(service="filings", model="m"): 0.75}


def test_what_is_left_of_the_days_budget_is_what_the_ledger_says(world):
    gateway = Gateway.open(world.settings, cost=lambda usage, model: Decimal("0.5"))
    with gateway.enter("a", "revenue") as admission:
        assert admission.reserve(900, 100, "m") is None
    gateway.close()
    server = MetricsServer(StoreCollector(world.store, budget=Limits.of(world.settings).day), host="127.0.0.1", port=0)
    found = scrape(server)
    server.close()
    assert found["healspan_claude_budget_tokens"] == {
        labels(amount="budget"): 5_000_000,
        labels(amount="left"): 4_999_000,
    }
    assert found["healspan_claude_budget_usd"] == {labels(amount="budget"): 20, labels(amount="left"): 19.5}


def test_counters_add_what_arrives_between_scrapes(world, server):
    world.failure("revenue")
    scrape(server)
    world.failure("revenue")
    (value,) = scrape(server)["healspan_incidents_total"].values()
    assert value == 2.0


def test_a_purge_does_not_make_a_counter_go_down(world, server):
    world.failure("revenue")
    world.failure("revenue")
    scrape(server)
    with world.store.database.writing() as connection:
        connection.execute(delete(table_of(IncidentRow)))
    world.failure("revenue")
    (value,) = scrape(server)["healspan_incidents_total"].values()
    assert value == 3.0


def test_the_services_own_metrics_have_the_same_names_and_labels(world, server):
    incident = world.failure("revenue", status=None)
    registry = CollectorRegistry()
    Metrics(registry, "filings").incident(incident)
    own = [s for family in registry.collect() for s in family.samples if s.name == "healspan_incidents_total"]
    assert scrape(server)["healspan_incidents_total"] == {tuple(sorted(own[0].labels.items())): own[0].value}


def test_what_trials_have_decided_is_counted_and_what_humans_have_is_not(world, server):
    incident = world.failure("revenue")
    fix = world.fix(state=FixState.TRIAL, like=incident)
    for number, (actor, action) in enumerate(
        [("engine", "suspend"), ("human:ana", "suspend"), ("engine", "activate"), ("engine", "lost race")],
    ):
        world.store.controls.audit(actor, action, fix.fix_id, detail={"number": number})
    place = {"service": "filings", "boundary": "revenue"}
    made = {"suspend": 1.0, "activate": 1.0, "demote": 0.0}
    expected = {labels(**place, decision=decision): number for decision, number in made.items()}
    for _ in range(2):
        assert scrape(server)["healspan_trial_decisions_total"] == expected


def score(fix: Fix, value: float) -> FixScore:
    return FixScore(fix_id=fix.fix_id, reward_score=value, formula="test", updated_at=datetime.now(UTC))


def test_reward_scores_of_what_serves_are_a_distribution_by_boundary(world, server):
    serving = [world.fix("revenue", kind=kind, state=FixState.TRIAL) for kind in ("KeyError", "IndexError")]
    retired = world.fix("revenue", kind="ValueError", state=FixState.ACTIVE)
    waiting = world.fix("cogs")
    world.change(retired, FixState.RETIRED)
    values = [0.95, 0.2, 0.5, 0.5]
    world.store.projections.write_scores(
        [score(fix, value) for fix, value in zip([*serving, retired, waiting], values, strict=True)]
    )
    found = scrape(server)
    buckets = found["healspan_fix_reward_score_bucket"]
    assert {by[0][1] for by in buckets} == {"revenue"}
    assert [buckets[labels(boundary="revenue", le=le)] for le in ("0.1", "0.2", "0.9", "1.0", "+Inf")] == [
        0,
        1,
        1,
        2,
        2,
    ]
    assert found["healspan_fix_reward_score_gsum"] == {labels(boundary="revenue"): pytest.approx(1.15)}


def test_durabilities_are_a_distribution_of_those_that_have_one(world, server):
    fixes = [world.fix("revenue", kind=kind, state=FixState.TRIAL) for kind in ("KeyError", "IndexError")]
    lasting = score(fixes[0], 0.5).model_copy(update={"parts": {"durability": 0.35}})
    world.store.projections.write_scores([lasting, score(fixes[1], 0.5)])
    found = scrape(server)
    buckets = found["healspan_fix_durability_bucket"]
    assert [buckets[labels(boundary="revenue", le=le)] for le in ("0.3", "0.4", "+Inf")] == [0, 1, 1]
    assert found["healspan_fix_durability_gsum"] == {labels(boundary="revenue"): 0.35}


def test_a_score_or_a_state_that_changes_is_seen_at_the_next_scrape(world, server):
    def scored() -> dict[str, float]:
        buckets = scrape(server).get("healspan_fix_reward_score_bucket", {})
        return {dict(by)["le"]: value for by, value in buckets.items()}

    fix = world.fix(state=FixState.TRIAL)
    world.store.projections.write_scores([score(fix, 0.9)])
    assert (scored()["0.5"], scored()["0.9"]) == (0, 1)
    world.store.projections.write_scores([score(fix, 0.4)])
    assert (scored()["0.5"], scored()["0.9"]) == (1, 1)
    world.change(fix, FixState.SUSPENDED)
    assert scored() == {}


def test_a_service_starts_every_reason_for_a_drop_at_zero():
    registry = CollectorRegistry()
    own = Metrics(registry, "filings")
    found = {one.labels["reason"]: one.value for one in samples(registry, "healspan_dropped_total")}
    assert found == dict.fromkeys(names.DROP_REASONS, 0.0)
    own.dropped("full")
    assert registry.get_sample_value("healspan_dropped_total", {"service": "filings", "reason": "full"}) == 1.0


def samples(registry: CollectorRegistry, name: str) -> list[Sample]:
    return [sample for family in registry.collect() for sample in family.samples if sample.name == name]


def test_half_a_character_in_a_name_leaves_the_service_readable(world: World) -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry, "s\ud800")
    metrics.internal_error("\udfff")
    assert b'healspan_internal_errors_total{service="s?",where="?"} 1.0' in generate_latest(registry)


def test_functions_made_as_it_goes_make_no_series_for_ever(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "_MOST_BOUNDARIES", 2)
    registry = CollectorRegistry()
    metrics = Metrics(registry, "s")
    for boundary in ("a", "b", "c", "a", "d"):
        metrics.repaired(boundary)
    [heals] = [one for one in registry.collect() if one.name == "healspan_heals"]
    found = {one.labels["boundary"]: one.value for one in heals.samples if one.name.endswith("_total")}
    assert found == {"a": 2.0, "b": 1.0, "other": 2.0}
