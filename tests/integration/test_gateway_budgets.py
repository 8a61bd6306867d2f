"""The budgets of the gateway before Claude, on a real store: what is spent, what is refused, how people see it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from tests.gateways import MODEL, NOON, Process, cost, start

from healspan.remediation.claude.ask import AskFailed, FailureKind, Usage
from healspan.remediation.claude.gateway import Admission, Gateway, Refusal
from healspan.remediation.settings import load_settings
from healspan.remediation.store.repository import Store

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


class TestABoundInThePlaceOfACount:
    """Far from the edge of every budget nobody is asked how long a prompt is."""

    @staticmethod
    def count(tokens: int = 100) -> tuple[list[int], Callable[[], int]]:
        counted: list[int] = []

        def count() -> int:
            counted.append(tokens)
            return tokens

        return counted, count

    def test_as_long_as_half_of_a_day_is_left_the_bound_is_reserved(self, processes: list[Process]) -> None:
        one = start(processes, claude_tokens_per_pattern=1_000, claude_tokens_per_day=2_000)
        counted, count = self.count()
        with one.admitted() as admission:
            assert admission.reserve(400, 100, MODEL, count) is None
            assert one.spend().total.tokens == 500
            admission.settle(Usage(input_tokens=100, output_tokens=10), None, None, 1.0)
            assert one.spend().total.tokens == 110
        assert counted == []

    @pytest.mark.parametrize(
        "settings",
        [
            {"claude_tokens_per_request": 499},
            {"claude_tokens_per_pattern": 999},
            {"claude_tokens_per_day": 999},
            {"claude_usd_per_request": Decimal("0.000499")},
            {"claude_usd_per_pattern": Decimal("0.000999")},
            {"claude_usd_per_day": Decimal("0.000999")},
        ],
    )
    def test_beyond_it_the_prompt_is_counted_and_no_refusal_is(
        self, processes: list[Process], settings: dict[str, object]
    ) -> None:
        one = start(processes, **settings)
        counted, count = self.count()
        with one.admitted() as admission:
            assert admission.reserve(400, 100, MODEL, count) is None
            spend = one.spend()
            admission.settle(Usage(), None, None, 1.0)
        assert (spend.total.tokens, spend.total.requests, spend.refusals, counted) == (200, 1, (), [100])

    def test_what_others_have_reserved_counts(self, processes: list[Process]) -> None:
        one, other = (start(processes, name, claude_tokens_per_day=1_000) for name in ("one", "two"))
        counted, count = self.count()
        with one.admitted("a") as first, other.admitted("b") as second:
            assert first.reserve(400, 100, MODEL, count) is None
            assert second.reserve(400, 100, MODEL, count) is None
            assert one.spend().total.tokens == 700
        assert counted == [100]

    def test_a_count_that_is_too_much_is_refused_once(self, processes: list[Process]) -> None:
        one = start(processes, claude_tokens_per_request=150)
        counted, count = self.count()
        with one.admitted() as admission:
            refusal = admission.reserve(400, 100, MODEL, count)
        assert refusal is not None
        assert "may need 200" in refusal.reason
        [told] = one.spend().refusals
        assert (told.refusals, one.spend().total.requests, counted) == (1, 0, [100])

    def test_where_nobody_can_count_nothing_is_reserved(self, processes: list[Process]) -> None:
        one = start(processes, claude_tokens_per_request=150)

        def fail() -> int:
            raise AskFailed("unauthorized", "no")

        with one.admitted() as admission, pytest.raises(AskFailed):
            admission.reserve(400, 100, MODEL, fail)
        assert (one.spend().total.requests, one.spend().refusals) == (0, ())

    def test_a_refusal_for_another_reason_counts_nothing(self, processes: list[Process]) -> None:
        one, other = start(processes), start(processes, "two")
        counted, count = self.count()
        with one.admitted() as late:
            other.later(3_600)
            with other.admitted() as admission:  # the lease of the first has ended
                assert admission.reserve(400, 100, MODEL, count) is None
                refusal = late.reserve(400, 100, MODEL, count)
        assert refusal is not None
        assert refusal.state == "diagnosing"
        assert counted == []


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
