"""The gateway before Claude, on a real store: one diagnosis at a time, in good time, and a server that fails."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import timedelta

import pytest
from sqlalchemy import Connection
from tests.gateways import MODEL, NOON, Process, start

from healspan.remediation.claude.ask import FailureKind, Usage
from healspan.remediation.claude.gateway import Ended

# Single flight


def test_one_call_in_all_processes_diagnoses_a_pattern(processes: list[Process]) -> None:
    one, other = start(processes), start(processes, "two")
    with one.admitted():
        assert one.refused().state == "diagnosing"
        assert other.refused().state == "diagnosing"
        with other.admitted("another pattern"):
            pass
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


def test_who_was_left_while_it_reserves_holds_nothing(
    processes: list[Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    # As a diagnosis whose caller no longer waits is left, while its thread goes on.
    one = start(processes, claude_concurrent=1)
    admission = one.admitted()
    turn = one.ledger._database.writing

    def wait() -> AbstractContextManager[Connection]:
        patched.undo()
        with admission:
            pass
        return turn()

    with monkeypatch.context() as patched:
        patched.setattr(one.ledger._database, "writing", wait)
        refusal = admission.reserve(10, 10, MODEL)
    assert refusal is not None
    assert refusal.state == "diagnosing"
    with one.admitted():
        pass
    with start(processes, "two").admitted():
        pass
    assert one.spend().total.requests == 0


def test_a_request_may_be_settled_after_its_diagnosis_was_left(processes: list[Process]) -> None:
    one = start(processes)
    with one.admitted() as admission:
        assert admission.reserve(10, 10, MODEL) is None
    admission.settle(Usage(input_tokens=3), None, None, 1.0)
    assert (one.spend().total.tokens, one.spend().total.unsettled) == (3, 0)


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


def test_one_that_has_ended_takes_nobody_s_place_while_the_store_is_told(processes: list[Process]) -> None:
    one = start(processes, claude_concurrent=1)
    with one.admitted("a") as ending:
        ending.end("healed")
        assert one.refused("a").state == "diagnosing", "its own pattern waits until it is left"
        with one.admitted("b"):
            assert one.refused("c").state == "busy"


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


def test_what_healed_rests_until_every_process_has_the_fix(processes: list[Process]) -> None:
    one, other = start(processes), start(processes, "two", claude_cooldown_minutes=0)
    one.ask()
    for process in (one, other):
        refusal = process.refused()
        assert refusal.state == "cooldown"
        assert "on its way here" in refusal.reason
        process.later(5)
    with other.admitted():
        pass
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


def test_a_server_that_cannot_even_count_is_one_that_fails(processes: list[Process]) -> None:
    one = start(processes, claude_breaker_failures=1)
    with one.admitted("a") as admission:
        admission.settle(Usage(), "unreachable", None, 1.0)
        admission.end("failed")
    assert one.refused("b").state == "breaker_open"
    assert one.spend().total.requests == 0
    one.later(60)
    with one.admitted("a"):
        pass


def test_a_refused_key_is_not_tried_with_every_failure(
    processes: list[Process], caplog: pytest.LogCaptureFixture
) -> None:
    one = start(processes)
    one.ask("a", "unauthorized")
    refusal = one.refused("b")
    assert refusal.state == "breaker_open"
    assert "ANTHROPIC_API_KEY" in refusal.reason
    assert "check the key in ANTHROPIC_API_KEY" in caplog.text


def test_a_rest_that_is_the_servers_names_the_setting_it_comes_from(processes: list[Process]) -> None:
    one = start(processes)
    one.ask("a", "overloaded")
    refusal = one.refused("a")
    assert refusal.state == "cooldown"
    assert "HEALSPAN_CLAUDE_BREAKER_SECONDS" in refusal.reason


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
