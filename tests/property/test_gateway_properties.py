"""The algebra of the gateway: one probe at a time, and budgets that no interleaving of processes gets past."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from healspan.remediation.claude.ask import FailureKind, Usage
from healspan.remediation.claude.breaker import OF_THE_SERVER, Breaker
from healspan.remediation.claude.budget import Limits, charge, reservation, why_over
from healspan.remediation.claude.gateway import Admission, Gateway
from healspan.remediation.settings import load_settings
from healspan.remediation.store.ledger import Ledger, Lost, Over
from healspan.remediation.store.spending import Spending
from healspan.remediation.store.views import Amount

REST, PATIENCE = 60.0, 300.0

kinds = st.sampled_from([None, None, "timeout", "rate_limited", "unauthorized", "refused", "malformed"])
steps = st.lists(
    st.tuples(
        st.sampled_from(["enter", "tell", "leave", "again"]),
        st.integers(0, 5),
        kinds,
        st.sampled_from([0.0, 1.0, 30.0, 61.0]),
        st.sampled_from([None, 5.0, 120.0]),
    ),
    max_size=60,
)


@given(steps, st.integers(1, 4))
def test_a_breaker_that_is_not_closed_never_has_more_than_one_probe_out(
    taken: list[tuple[str, int, FailureKind | None, float, float | None]], most: int
) -> None:
    breaker = Breaker(failures=most, rest=REST, patience=PATIENCE)
    time = 0.0
    probes: dict[int, float] = {}  # admitted while not closed, and nothing told since
    for action, who, kind, later, retry_after in taken:
        time += later
        was_closed = breaker.view(time).state == "closed"
        probes = {one: since for one, since in probes.items() if time - since < PATIENCE}
        if action in {"enter", "again"}:
            if breaker.admits(who, time) and not was_closed:
                assert breaker.view(time).state == "half_open"
                probes.setdefault(who, time)
                assert len(probes) == 1
        elif action == "tell":
            breaker.tell(who, time, kind, retry_after)
            probes.pop(who, None)
        else:
            breaker.leave(who)
            probes.pop(who, None)
        if breaker.view(time).state == "closed":
            probes.clear()


@given(st.lists(st.sampled_from(sorted(OF_THE_SERVER - {"unauthorized"})), max_size=20), st.integers(1, 6))
def test_a_breaker_opens_at_the_failure_that_it_was_told_to(failures: list[FailureKind], most: int) -> None:
    breaker = Breaker(failures=most, rest=REST, patience=PATIENCE)
    for number, kind in enumerate(failures[:most], start=1):
        assert breaker.admits(number, 0.0)
        breaker.tell(number, 0.0, kind)
        assert breaker.view(0.0).state == ("open" if number >= most else "closed")


@given(st.integers(0, 10_000), st.none() | st.integers(0, 10**9))
def test_an_open_breaker_lets_one_through_as_soon_as_its_time_is_over(at: int, retry_after: int | None) -> None:
    breaker = Breaker(failures=1, rest=REST, patience=PATIENCE)
    breaker.tell("first", at, "overloaded", retry_after)
    left = breaker.view(at).seconds
    assert REST <= left <= 3_600
    assert not breaker.admits("early", at + left * 0.99)
    assert breaker.admits("probe", at + left + 1e-6)
    assert not breaker.admits("second", at + left + 1e-6)
    breaker.tell("probe", at + left + 1.0, None)
    assert breaker.view(at + left + 1.0).state == "closed"
    assert breaker.admits("second", at + left + 1.0)


# Budgets

TOKENS, PATTERN_TOKENS, USD = 1_000, 600, Decimal("0.002")


def cost(usage: Usage, model: str) -> Decimal | None:
    if model == "unpriced":
        return None
    return Decimal(usage.input_tokens + usage.cache_write_tokens + 5 * usage.output_tokens) / 1_000_000


def limits() -> Limits:
    known = load_settings(
        claude_tokens_per_request=300,
        claude_tokens_per_pattern=PATTERN_TOKENS,
        claude_tokens_per_day=TOKENS,
        claude_usd_per_request=USD / 4,
        claude_usd_per_pattern=USD / 2,
        claude_usd_per_day=USD,
    )
    return Limits.of(known)


@dataclass
class Asking:
    """A process that has reserved and not settled."""

    request: UUID
    pattern: str
    need: Amount
    model: str
    prompt: int
    answer: int


requests = st.tuples(
    st.just("reserve"),
    st.integers(0, 3),  # process
    st.sampled_from(["a", "b", "c"]),
    st.integers(0, 250),
    st.integers(0, 120),
    st.sampled_from(["priced", "unpriced"]),
)
others = st.tuples(
    st.sampled_from(["settle", "unknown", "crash"]),
    st.integers(0, 3),
    st.just(""),
    st.integers(0, 100),  # per cent of the prompt
    st.integers(0, 100),  # per cent of the answer
    st.just(""),
)
_days = itertools.count()


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('ledger') / 'healspan.db'}"


@pytest.fixture
def processes(directory: str) -> Iterator[list[Ledger]]:
    """Ledgers of their own on one store: to it they are processes."""
    made = [Ledger.open(load_settings(database_url=directory)) for _ in range(4)]
    yield made
    for one in made:
        one.close()


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(requests | others, max_size=25))
def test_no_interleaving_of_processes_gets_past_a_budget(
    processes: list[Ledger], taken: list[tuple[str, int, str, int, int, str]]
) -> None:
    # Each example has a day of its own, so one store does for all of them.
    now = datetime(2030, 1, 1, 12, tzinfo=UTC) + timedelta(days=next(_days))
    held = limits()
    under_way: dict[int, Asking] = {}
    counted: list[tuple[str, Amount]] = []  # what must count, by our own bookkeeping
    for action, process, pattern, first, second, model in taken:
        ledger = processes[process]
        if action == "reserve" and process not in under_way:
            need = reservation(first, second, model, cost)

            def judge(of_pattern: Amount, of_day: Amount, need: Amount = need) -> str | None:
                return why_over(held, need, pattern=of_pattern, day=of_day, now=now)

            # A holder of its own each time, and no lease to speak of: here it is about money.
            holder = f"{process}-{len(counted)}"
            assert ledger.enter(pattern, holder, now=now, lease=timedelta(0), cooldown=timedelta(0)) is None
            found = ledger.reserve(pattern, "revenue", holder, model, need, judge, now=now, lease=timedelta(0))
            assert not isinstance(found, Lost)
            fits = _fits(held, need, pattern, counted)
            assert isinstance(found, Over) != fits, "refused although there was room, or the other way round"
            if not isinstance(found, Over):
                under_way[process] = Asking(found, pattern, need, model, first, second)
                counted.append((pattern, need))
        elif action != "reserve" and process in under_way:
            asking = under_way.pop(process)
            if action == "settle":
                usage = Usage(input_tokens=asking.prompt * first // 100, output_tokens=asking.answer * second // 100)
                spent = charge(usage, asking.model, cost)
                ledger.settle(asking.request, spent, None, 1.0)
                counted[counted.index((asking.pattern, asking.need))] = (asking.pattern, spent)
            elif action == "unknown":
                ledger.settle(asking.request, None, "timeout", 1.0)
            # A crash settles nothing, and what was reserved stays counted.
        _holds(processes, held, counted, now)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 3),  # process
            st.sampled_from(["a", "b", "c"]),
            st.integers(0, 60),  # tokens of the prompt
            st.integers(1, 5),  # the bound of them is so many times as much
            st.integers(0, 60),  # of the answer, at most
            st.integers(0, 100),  # per cent of what it may cost
            st.booleans(),  # whether it ever ends
        ),
        max_size=25,
    )
)
def test_neither_do_bounds_in_the_place_of_counts(
    processes: list[Ledger], taken: list[tuple[int, str, int, int, int, int, bool]]
) -> None:
    now = datetime(2040, 1, 1, 12, tzinfo=UTC) + timedelta(days=next(_days))
    held = limits().model_copy(update={"concurrent": 100, "cooldown": timedelta(0), "lease": timedelta(0)})
    gateways = [Gateway(one, held, cost=cost, now=lambda: now) for one in processes]
    true = 0  # what is charged, were everything that is in flight charged in full
    for process, pattern, prompt, times, most, share, ends in taken:
        admission = gateways[process].enter(pattern, "revenue")
        assert isinstance(admission, Admission), admission
        with admission:
            if admission.reserve(prompt * times, most, "priced", lambda tokens=prompt: tokens) is not None:
                continue
            usage = Usage(input_tokens=prompt * share // 100, output_tokens=most * share // 100)
            if ends:
                admission.settle(usage, None, None, 1.0)
            true += usage.input_tokens + usage.output_tokens if ends else prompt + most
        spend = Spending(processes[0]._database).today(now=now)
        assert true <= spend.total.tokens <= TOKENS
        assert (spend.total.micro_usd or 0) <= (held.day.micro_usd or 0)
        assert all(one.spent.tokens <= PATTERN_TOKENS for one in spend.patterns)


def _sum(amounts: list[Amount]) -> Amount:
    return Amount(tokens=sum(one.tokens for one in amounts), micro_usd=sum(one.micro_usd or 0 for one in amounts))


def _fits(held: Limits, need: Amount, pattern: str, counted: list[tuple[str, Amount]]) -> bool:
    """Whether a request fits, said once more and otherwise than `why_over` does."""
    mine = _sum([need, *(one for name, one in counted if name == pattern)])
    everything = _sum([need, *(one for _, one in counted)])
    scopes = ((need, held.request), (mine, held.pattern), (everything, held.day))
    in_tokens = all(one.tokens <= budget.tokens for one, budget in scopes)
    in_money = need.micro_usd is None or all((one.micro_usd or 0) <= (budget.micro_usd or 0) for one, budget in scopes)
    return in_tokens and in_money


def _holds(processes: list[Ledger], held: Limits, counted: list[tuple[str, Amount]], now: datetime) -> None:
    spend = Spending(processes[0]._database).today(now=now)
    total = _sum([one for _, one in counted])
    assert (spend.total.tokens, spend.total.micro_usd) == (total.tokens, total.micro_usd)
    assert spend.total.tokens <= TOKENS
    assert (spend.total.micro_usd or 0) <= (held.day.micro_usd or 0)
    for one in spend.patterns:
        assert one.spent.tokens <= PATTERN_TOKENS
        assert (one.spent.micro_usd or 0) <= (held.pattern.micro_usd or 0)
