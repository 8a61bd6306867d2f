"""The gateway before Claude, on a real store: who may ask, what it costs, what is refused and how people see it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import Connection

from healspan.remediation.claude.ask import FailureKind, Usage
from healspan.remediation.claude.gateway import Admission, Ended, Gateway, Limits, Refusal
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


@pytest.fixture
def processes() -> Iterator[list[Process]]:
    made: list[Process] = []
    yield made
    for one in made:
        one.gateway.close()


def start(processes: list[Process], name: str = "one", **options: object) -> Process:
    processes.append(Process(name, options))
    return processes[-1]


# Single flight


def test_one_call_in_all_processes_diagnoses_a_pattern(processes: list[Process]) -> None:
    one, other = start(processes), start(processes, "two")
    with one.admitted() as admission:
        assert one.refused().state == "diagnosing"
        assert other.refused().state == "diagnosing"
        with other.admitted("another pattern"):
            pass
        admission.end("healed")
    with other.admitted():
        assert one.refused().state == "diagnosing"


@pytest.mark.parametrize("way_out", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_the_lease_is_given_back_whatever_happens(processes: list[Process], way_out: type[BaseException]) -> None:
    one, other = start(processes), start(processes, "two")
    with pytest.raises(way_out), one.admitted():
        raise way_out
    with other.admitted():
        pass
    with one.admitted():
        pass


def test_the_lease_of_a_dead_holder_ends_by_time_and_each_request_begins_it_anew(processes: list[Process]) -> None:
    one, other = start(processes), start(processes, "two")
    dead = one.admitted()
    other.later(299)
    one.later(299)
    assert other.refused().state == "diagnosing"
    assert dead.reserve(10, 10, MODEL) is None
    other.later(299)
    refusal = other.refused()
    assert refusal.state == "diagnosing"
    assert "12:09:59 UTC" in refusal.reason
    assert "HEALSPAN_CLAUDE_LEASE_SECONDS" in refusal.reason
    other.later(1)
    with other.admitted():
        pass


def test_a_holder_that_comes_back_too_late_may_not_ask(processes: list[Process]) -> None:
    one, other = start(processes), start(processes, "two")
    late = one.admitted()
    other.later(301)
    one.later(301)
    with other.admitted():
        with late:
            refusal = late.reserve(10, 10, MODEL)
            assert refusal is not None
            assert refusal.state == "diagnosing"
        # And has not given back what is no longer its own.
        assert start(processes, "three").refused().state == "diagnosing"
    assert other.spend().total.requests == 0


def test_an_admission_that_is_never_left_takes_a_place_for_the_time_of_its_lease(processes: list[Process]) -> None:
    one = start(processes, claude_concurrent=1)
    one.admitted()
    assert one.refused("q").state == "busy"
    one.later(300)
    with one.admitted("q"), pytest.raises(AssertionError):
        one.admitted("r")
    with one.admitted():
        pass


@pytest.mark.parametrize("back", [timedelta(days=400), timedelta(hours=2)])
def test_a_clock_that_was_set_back_far_leaves_nobody_out_for_ever(processes: list[Process], back: timedelta) -> None:
    one, other = start(processes), start(processes, "two")
    one.admitted()
    one.ask("rests", "malformed")
    other.now = NOON - back
    with other.admitted():
        pass
    with other.admitted("rests"):
        pass


def test_a_clock_that_was_set_back_a_little_makes_no_two_holders(processes: list[Process]) -> None:
    one, other = start(processes), start(processes, "two")
    with one.admitted():
        other.now = NOON - timedelta(minutes=5)
        assert other.refused().state == "diagnosing"


# Room in this process


def test_a_process_has_no_more_diagnoses_than_it_may(processes: list[Process]) -> None:
    one, other = start(processes, claude_concurrent=2), start(processes, "two")
    with one.admitted("a"), one.admitted("b"):
        refusal = one.refused("c")
        assert refusal.state == "busy"
        assert "HEALSPAN_CLAUDE_CONCURRENT" in refusal.reason
        with other.admitted("c"):
            pass
    with one.admitted("c"):
        pass


def test_a_thousand_patterns_are_each_diagnosed_once(processes: list[Process]) -> None:
    one = start(processes, claude_tokens_per_day=10**9)
    for number in range(1_000):
        with one.admitted(f"p{number}") as admission:
            if number % 100 == 0:
                assert admission.reserve(1, 1, MODEL) is None
                admission.settle(Usage(input_tokens=1, output_tokens=1), None, None, 0.1)
                admission.end("failed")
    spend = one.spend()
    assert (spend.total.requests, len(spend.patterns)) == (10, 10)
    assert not one.gateway._under_way


# Cooldown


@pytest.mark.parametrize("state", ["failed", "refused", "proposed"])
def test_what_did_not_heal_rests_in_all_processes(processes: list[Process], state: Ended) -> None:
    one, other = start(processes), start(processes, "two")
    with one.admitted() as admission:
        assert admission.reserve(10, 10, MODEL) is None
        admission.settle(Usage(input_tokens=10), None, None, 0.5)
        admission.end(state)
    for process in (one, other):
        refusal = process.refused()
        assert refusal.state == "cooldown"
        assert "2026-03-01 13:00:00 UTC" in refusal.reason
        assert ("review list" in refusal.reason) == (state == "proposed")
        process.later(3_599)
        assert process.refused().state == "cooldown"
        process.later(1)
    with other.admitted():
        pass
    with one.admitted():
        pass


def test_what_healed_rests_not(processes: list[Process]) -> None:
    one = start(processes)
    one.ask()
    with one.admitted():
        pass


def test_a_diagnosis_that_broke_off_after_it_asked_rests_like_one_that_failed(processes: list[Process]) -> None:
    one = start(processes)

    def break_off() -> None:
        with one.admitted() as admission:
            assert admission.reserve(10, 10, MODEL) is None
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_off()
    assert one.refused().state == "cooldown"


def test_one_that_asked_nothing_does_not_rest(processes: list[Process]) -> None:
    one = start(processes)
    with pytest.raises(ZeroDivisionError), one.admitted():
        raise ZeroDivisionError
    with one.admitted():
        pass


def test_an_outage_of_the_server_is_no_fault_of_the_pattern(processes: list[Process]) -> None:
    one, other = start(processes, claude_breaker_seconds=60), start(processes, "two")
    one.ask(failed="timeout")
    assert one.refused().state == "cooldown"
    one.later(60)
    other.later(60)
    with other.admitted():
        pass
    with one.admitted():
        pass


def test_a_rest_that_begins_while_another_waits_for_its_turn_holds_for_it(
    processes: list[Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = start(processes), start(processes, "two")
    turn = one.ledger._database.writing

    def wait() -> AbstractContextManager[Connection]:
        other.ask(failed="malformed")
        return turn()

    with monkeypatch.context() as patched:
        patched.setattr(one.ledger._database, "writing", wait)
        assert one.refused().state == "cooldown"


# The breaker


def test_a_failing_server_is_left_alone_and_then_tried_by_one(processes: list[Process]) -> None:
    one = start(processes, claude_breaker_failures=3, claude_breaker_seconds=60)
    for number in range(3):
        one.ask(f"p{number}", "server_error")
    refusal = one.refused("q")
    assert refusal.state == "breaker_open"
    assert "12:01:00 UTC" in refusal.reason
    assert "3 times in a row" in refusal.reason
    one.later(60)
    with one.admitted("q") as probe:
        assert one.refused("r").state == "breaker_open"
        assert probe.reserve(1, 1, MODEL) is None
        probe.settle(Usage(), None, None, 0.1)
        with one.admitted("r"):
            pass
    assert one.gateway.breaker().state == "closed"


def test_a_probe_that_fails_opens_it_again_and_one_that_says_nothing_makes_way(processes: list[Process]) -> None:
    one = start(processes, claude_breaker_failures=1, claude_breaker_seconds=60)
    one.ask("a", "overloaded")
    one.later(60)
    with one.admitted("b"):
        pass  # it never asked
    one.ask("c", "overloaded")
    assert one.refused("d").state == "breaker_open"
    one.later(60)
    one.ask("d")
    assert one.gateway.breaker().state == "closed"


def test_who_is_refused_for_another_reason_is_no_probe(processes: list[Process]) -> None:
    one, other = start(processes, claude_breaker_failures=1), start(processes, "two")
    one.ask("a", "server_error")
    other.ask("rests", "malformed")
    one.later(60)
    with other.admitted("b"):
        assert one.refused("b").state == "diagnosing"
        assert one.refused("rests").state == "cooldown"
        assert one.refused("rests").state == "cooldown"  # by now it is known here as well
        one.ask("c")


def test_a_server_that_says_when_to_come_back_is_believed_at_once(processes: list[Process]) -> None:
    one = start(processes, claude_breaker_failures=5)
    one.ask("a", "rate_limited", 17.0)
    refusal = one.refused("b")
    assert refusal.state == "breaker_open"
    assert "12:00:17 UTC" in refusal.reason
    one.later(17)
    with one.admitted("b"):
        pass


def test_a_refused_key_is_not_tried_with_every_failure(processes: list[Process]) -> None:
    one = start(processes)
    one.ask("a", "unauthorized")
    refusal = one.refused("b")
    assert refusal.state == "breaker_open"
    assert "ANTHROPIC_API_KEY" in refusal.reason


@pytest.mark.parametrize("kind", ["refused", "truncated", "malformed"])
def test_answers_that_are_no_good_do_not_speak_against_the_server(processes: list[Process], kind: FailureKind) -> None:
    one = start(processes, claude_breaker_failures=1)
    one.ask("a", kind)
    assert one.gateway.breaker().state == "closed"


def test_an_admission_from_before_may_not_ask_while_it_is_open(processes: list[Process]) -> None:
    one = start(processes, claude_breaker_failures=1)
    with one.admitted("a") as early:
        one.ask("b", "server_error")
        refusal = early.reserve(1, 1, MODEL)
        assert refusal is not None
        assert refusal.state == "breaker_open"


def test_an_answer_that_was_under_way_when_it_opened_does_not_close_it(processes: list[Process]) -> None:
    one = start(processes, claude_breaker_failures=1)
    with one.admitted("a") as early:
        assert early.reserve(1, 1, MODEL) is None
        one.ask("b", "server_error")
        early.settle(Usage(), None, None, 30.0)
        early.end("healed")
    assert one.refused("c").state == "breaker_open"


def test_people_see_an_open_breaker_and_that_it_closed(processes: list[Process]) -> None:
    one = start(processes, claude_breaker_failures=1)
    one.ask("a", "server_error")
    (report,) = one.spend().breakers
    assert (report.instance, report.until, report.last) == ("one", NOON + timedelta(seconds=60), "server_error")
    one.later(60)
    one.ask("b")
    assert one.spend().breakers == ()


# Budgets


def test_what_a_request_cost_takes_the_place_of_what_was_reserved(processes: list[Process]) -> None:
    one = start(processes)
    with one.admitted() as admission:
        assert admission.reserve(100, 50, MODEL) is None
        assert one.spend().total.model_dump() == {
            "tokens": 150,
            "micro_usd": 150,
            "requests": 1,
            "unsettled": 1,
            "unpriced": 0,
        }
        assert one.spend().patterns[0].state == "diagnosing"
        admission.settle(Usage(input_tokens=90, output_tokens=10), None, None, 2.0)
        admission.end("healed")
    spend = one.spend()
    assert (spend.total.tokens, spend.total.micro_usd, spend.total.unsettled) == (100, 100, 0)
    assert spend.boundaries["revenue"] == spend.total == spend.patterns[0].spent
    assert spend.patterns[0].state == "healed"


def test_a_budget_is_one_for_all_processes_and_the_refusal_is_written_down(processes: list[Process]) -> None:
    one = start(processes, claude_tokens_per_day=250)
    other = start(processes, "two", claude_tokens_per_day=250)
    with one.admitted("a") as first, other.admitted("b") as second:
        assert first.reserve(100, 50, MODEL) is None
        refusal = second.reserve(100, 50, MODEL)  # the first is in flight and not settled
        assert refusal is not None
        assert refusal.state == "budget"
        assert "HEALSPAN_CLAUDE_TOKENS_PER_DAY" in refusal.reason
        assert "2026-03-02 00:00 UTC" in refusal.reason
        first.settle(Usage(input_tokens=100), None, None, 1.0)
        assert second.reserve(100, 50, MODEL) is None
    spend = one.spend()
    (counted,) = spend.refusals
    assert (counted.state, counted.exact, counted.boundary, counted.refusals) == ("budget", "b", "revenue", 1)
    assert counted.reason == refusal.reason


def test_a_pattern_that_is_out_of_money_leaves_the_others_theirs(processes: list[Process]) -> None:
    one = start(processes, claude_usd_per_pattern=Decimal("0.0002"))
    with one.admitted("a") as admission:
        assert admission.reserve(100, 50, MODEL) is None
        admission.settle(None, "timeout", None, 1.0)
        refusal = admission.reserve(100, 50, MODEL)
        assert refusal is not None
        assert "HEALSPAN_CLAUDE_USD_PER_PATTERN" in refusal.reason
    with one.admitted("b") as admission:
        assert admission.reserve(100, 50, MODEL) is None
        admission.settle(Usage(), None, None, 1.0)


def test_a_model_without_a_price_is_held_by_tokens_alone(processes: list[Process]) -> None:
    one = start(processes, claude_usd_per_day=0, claude_tokens_per_day=100)
    with one.admitted() as admission:
        assert admission.reserve(30, 30, "mine") is None
        admission.settle(Usage(input_tokens=60), None, None, 1.0)
        refusal = admission.reserve(30, 30, "mine")
        assert refusal is not None
        assert "TOKENS_PER_DAY" in refusal.reason
    assert one.spend().total.unpriced == 1


def test_after_a_budget_said_no_the_pattern_is_left_alone_for_a_while(processes: list[Process]) -> None:
    one = start(processes, claude_tokens_per_day=100, claude_cooldown_minutes=24 * 60)
    with one.admitted() as admission:
        no = admission.reserve(100, 1, MODEL)
    assert one.refused() == no
    one.later(12 * 3_600)  # a new day
    with one.admitted() as admission:
        assert admission.reserve(100, 0, MODEL) is None
        admission.settle(Usage(), None, None, 1.0)


def test_a_new_day_has_new_budgets_and_a_clock_set_back_the_old_ones(processes: list[Process]) -> None:
    one = start(processes, claude_tokens_per_day=100, claude_cooldown_minutes=0)

    def is_allowed() -> bool:
        with one.admitted() as admission:
            allowed = admission.reserve(60, 0, MODEL) is None
            if allowed:
                admission.settle(Usage(input_tokens=60), None, None, 1.0)
            return allowed

    assert is_allowed()
    assert not is_allowed()
    one.now = NOON + timedelta(days=1)
    assert is_allowed()
    one.now = NOON
    assert not is_allowed()


def test_a_request_belongs_to_the_day_it_was_reserved_in(processes: list[Process]) -> None:
    one = start(processes)
    one.now = NOON.replace(hour=23, minute=59, second=59)
    with one.admitted() as admission:
        assert admission.reserve(10, 10, MODEL) is None
        one.later(2)
        admission.settle(Usage(input_tokens=7), None, None, 2.0)
    assert one.spend().total.tokens == 0
    one.now = NOON
    assert one.spend().total.tokens == 7


@pytest.mark.parametrize(
    ("failed", "tokens"),
    [
        ("timeout", 20),
        ("unreachable", 20),
        ("server_error", 20),
        ("malformed", 20),
        ("overloaded", 0),
        ("unauthorized", 0),
    ],
)
def test_what_nobody_knows_counts_in_full_and_what_was_declined_counts_nothing(
    processes: list[Process], failed: FailureKind, tokens: int
) -> None:
    one = start(processes)
    one.ask(failed=failed)
    assert one.spend().total.tokens == tokens


def test_a_request_that_cost_more_than_it_could_is_written_down_as_it_was(processes: list[Process]) -> None:
    one = start(processes, claude_tokens_per_day=100)
    with one.admitted() as admission:
        assert admission.reserve(10, 10, MODEL) is None
        admission.settle(Usage(input_tokens=500), None, None, 1.0)
        assert admission.reserve(1, 0, MODEL) is not None
    assert one.spend().total.tokens == 500


def test_a_server_that_says_what_cannot_be_is_taken_at_its_word_as_far_as_it_can_be_stored(
    processes: list[Process],
) -> None:
    one = start(processes)
    for pattern in ("a", "b"):
        with one.admitted(pattern) as admission:
            if admission.reserve(1, 0, MODEL) is None:
                admission.settle(Usage(input_tokens=10**40), None, None, 1.0)
    assert one.spend().total.tokens == 10**12
    assert [each.state for each in one.spend().refusals] == ["budget"]


# The store is away


@pytest.mark.sqlite
def test_without_the_store_nothing_is_asked_and_what_was_asked_is_made_up_for(processes: list[Process]) -> None:
    one = start(processes, busy_ms=10)
    with one.admitted() as admission:
        assert admission.reserve(100, 50, MODEL) is None
        with Store.open(load_settings()) as store, store.database.writing():
            admission.settle(Usage(input_tokens=1), None, None, 1.0)
            refusal = admission.reserve(1, 1, MODEL)
            assert refusal is not None
            assert refusal.state == "store_away"
            assert one.refused("q").state == "store_away"
        assert one.spend().total.tokens == 150
        assert admission.reserve(1, 1, MODEL) is None
        assert one.spend().total.tokens == 3


def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql+psycopg://nobody@127.0.0.1:{silent.getsockname()[1]}/healspan"
        gateway = Gateway.open(load_settings(database_url=url), cost=cost)
        found: list[Admission | Refusal] = []
        thread = threading.Thread(target=lambda: found.append(gateway.enter("p", "revenue")), daemon=True)
        thread.start()
        thread.join(60)
        assert [one.state for one in found if isinstance(one, Refusal)] == ["store_away"]


# What people see


def test_refusals_are_counted_and_written_together(processes: list[Process]) -> None:
    one = start(processes)
    one.ask(failed="malformed")
    for _ in range(50):
        assert one.refused().state == "cooldown"
    one.later(10)
    one.refused()
    counted = {(one.state, one.exact): one.refusals for one in one.spend().refusals}
    assert counted == {("cooldown", "p"): 51}


def test_too_many_kinds_of_refusals_are_counted_together(processes: list[Process]) -> None:
    one = start(processes, claude_concurrent=1)
    with one.admitted():
        for number in range(1_200):
            one.refused(f"p{number}")
    counted = one.spend().refusals
    assert sum(each.refusals for each in counted) == 1_200
    assert next(each for each in counted if each.exact == "").refusals == 200


def test_a_purge_leaves_what_counts_today(processes: list[Process]) -> None:
    one = start(processes)
    one.now = datetime.now(UTC) - timedelta(days=40)
    one.ask("old", "malformed")
    one.now = datetime.now(UTC)
    one.clock += 40 * 86_400
    one.ask("new", "malformed")
    with Store.open(load_settings()) as store:
        purged = store.purge_before(datetime.now(UTC) + timedelta(days=1), actor="human:ann")
        assert purged.claude_requests == 1
        assert store.spending.today().total.requests == 1
        assert store.spending.today(now=datetime.now(UTC) - timedelta(days=40)).total.requests == 0
