"""Golden samples in a service: which good calls are kept, where, and what nobody may do with them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update
from tests.kept import Money, consumes, drains, kept, kept_async, opaque, secretive, unasked
from tests.observe import drained, facts, wait_until
from typer.testing import CliRunner

from healspan.instrumentation import ContractViolation, error_boundary
from healspan.remediation.boundary import boundaries
from healspan.remediation.cli.app import app
from healspan.remediation.errors import ConfigurationError, NotPlain
from healspan.remediation.golden import good_call
from healspan.remediation.replay import replay_call
from healspan.remediation.reservoir import ROOM, Reservoir
from healspan.remediation.runtime import Runtime, runtime, shut_down
from healspan.remediation.store.repository import Store
from healspan.remediation.store.tables import GoldenRow, table_of


@pytest.fixture(autouse=True)
def empty() -> Iterator[None]:
    """Boundaries of the service outlive a test; what they keep must not."""
    before = {one.name: one.golden for one in boundaries().values()}
    for one in boundaries().values():
        if one.golden is not None:
            one.golden = Reservoir(one.golden._signature, one.golden.rate)
    yield
    for name, reservoir in before.items():
        boundaries()[name].golden = reservoir


def reservoir(name: str) -> Reservoir:
    found = boundaries()[name].golden
    assert found is not None
    return found


def exchanged(live: Runtime) -> None:
    live.exchange.exchange()
    drained(live)


def test_good_calls_are_kept_and_failing_ones_are_not(live: Runtime) -> None:
    kept("1.5")
    kept("2", factor=3)
    with pytest.raises(ValueError, match="could not convert"):
        kept("nothing")
    assert [(one.args, one.kwargs, one.result) for one in reservoir("kept").calls()] == [
        (("1.5", 1), {}, 1.5),
        (("2", 3), {}, 6.0),
    ]


def test_a_repaired_call_is_not_a_good_one(live: Runtime) -> None:
    kept("$1")
    wait_until(live.repairs.installed, "the repair to be installed")
    kept("$2")
    assert len(reservoir("kept")) == 0


def test_who_did_not_ask_keeps_nothing(live: Runtime) -> None:
    unasked("1")
    assert boundaries()["unasked"].golden is None


def test_a_process_that_is_switched_off_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEALSPAN_DISABLED", "1")
    assert runtime().disabled
    kept("1")
    assert len(reservoir("kept")) == 0


def test_an_installed_repair_is_held_against_the_good_calls_too(live: Runtime) -> None:
    for number in range(6):
        kept.golden(str(number))
    assert kept("$1") == 1.0
    wait_until(live.repairs.installed, "the repair to be installed")
    assert kept("$4,000,000") == 4e6
    drained(live)
    with Store.open(live.settings) as store:
        [solution] = store.fixes.solutions()
    assert (solution.success_count, solution.failure_count) == (1, 1)


def test_what_is_kept_is_bounded(live: Runtime) -> None:
    for number in range(3 * ROOM):
        kept(str(number))
    assert len(reservoir("kept")) == ROOM


def test_a_sample_is_a_copy_of_its_own(live: Runtime) -> None:
    rows = [1, 2]
    assert drains(rows) == 3
    [one] = reservoir("drains").calls()
    assert one.args == ([1, 2],)
    one.arguments()[0][0].clear()
    assert one.args == ([1, 2],)


def test_what_is_used_up_is_skipped_and_said(live: Runtime) -> None:
    assert consumes(iter([1, 2])) == 3
    assert len(reservoir("consumes")) == 0
    assert "used up" in (reservoir("consumes").problem or "")


def test_a_known_good_call_can_be_handed_in(live: Runtime) -> None:
    assert unasked.golden("1.5") == 1.5
    assert asyncio.run(kept_async.golden("2")) == 2.0
    assert [one.result for one in reservoir("unasked").calls()] == [1.5]
    assert [one.result for one in reservoir("kept_async").calls()] == [2.0]
    boundaries()["unasked"].golden = None


def test_a_bad_call_cannot_be_handed_in_as_good(live: Runtime) -> None:
    @error_boundary("positive", checks=[lambda result, arguments: result > 0])
    def positive(x: int) -> int:
        return x + 0

    with pytest.raises(ContractViolation, match="known as good"):
        positive.golden(-1)
    with pytest.raises(TypeError):
        positive.golden(None)  # type: ignore[arg-type]
    assert len(reservoir("positive")) == 0


def test_a_share_that_is_none_is_refused() -> None:
    for share in (2, -0.1, "all"):
        with pytest.raises(ConfigurationError, match="golden"):
            error_boundary("share", golden=share)  # type: ignore[arg-type]


def test_plain_calls_reach_the_store_and_other_processes(live: Runtime) -> None:
    kept("1.5", factor=2)
    exchanged(live)
    with Store.open(live.settings) as store:
        assert store.goldens.counts() == {"kept": 1}
    other = Reservoir(reservoir("kept")._signature)
    live.exchange.look(boundaries()["kept"], other)
    [one] = other.calls()
    assert (one.args, one.kwargs, one.result) == (("1.5", 2), {}, 3.0)
    live.exchange.look(boundaries()["kept"], other)
    assert len(other) == 1


def test_a_child_of_a_fork_can_keep_good_calls_whoever_held_the_lock(live: Runtime) -> None:
    held = reservoir("kept")
    with held._lock:
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            os._exit(0 if held.keep((("1",), {}), 1.0) else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_secrets_are_not_stored(live: Runtime) -> None:
    assert secretive("ann", "hunter2") == 10
    assert len(reservoir("secretive")) == 1
    exchanged(live)
    with Store.open(live.settings) as store:
        assert store.goldens.counts() == {}
    assert "must not be stored" in (reservoir("secretive").unstored or "")
    assert b"hunter2" not in b"".join(path.read_bytes() for path in live.settings.data_dir.rglob("*.db*"))


def test_what_is_no_plain_value_stays_here_and_the_doctor_says_so(live: Runtime) -> None:
    assert opaque(Money(1.0)) == 1.0
    exchanged(live)
    assert len(reservoir("opaque")) == 1
    result = CliRunner().invoke(app, ["doctor", "--json"])
    found = [one["detail"] for one in json.loads(result.stdout)["checks"] if one["name"] == "golden samples"]
    assert found == [
        "good calls of opaque are not stored, so each process replays only its own: argument 'money' is no plain "
        "value: a part of it is a tests.kept.Money",
    ]


@pytest.mark.parametrize("altered", ["arguments", "result", "signature"])
def test_a_sample_that_somebody_altered_is_not_replayed(live: Runtime, altered: str) -> None:
    kept("1.5")
    exchanged(live)
    with Store.open(live.settings) as store:
        [sample] = store.goldens.latest("kept")
        change = {"arguments": {"text": "666"}, "result": 666.0, "signature": None}[altered]
        body = sample.model_copy(update={altered: change}).model_dump_json()
        with store.database.writing() as connection:
            connection.execute(update(table_of(GoldenRow)).values(body=body))
    other = Reservoir(reservoir("kept")._signature)
    live.exchange.look(boundaries()["kept"], other)
    assert other.calls() == ()


def test_a_sample_of_another_signature_is_not_replayed(live: Runtime) -> None:
    kept("1.5")
    exchanged(live)
    with Store.open(live.settings) as store:
        [sample] = store.goldens.latest("kept")
    with pytest.raises(NotPlain, match="other parameters"):
        good_call(sample, reservoir("drains"), live.keys)


def test_an_erased_sample_is_forgotten_by_living_processes_too(live: Runtime) -> None:
    kept("4711")
    kept("4712")
    exchanged(live)
    with Store.open(live.settings) as store:
        assert store.purge_subject("4711", actor="human:ann").golden_samples == 1
    live.exchange.look(boundaries()["kept"], reservoir("kept"))
    assert [one.args for one in reservoir("kept").calls()] == [("4712", 1)]
    with Store.open(live.settings) as store:
        assert store.purge_before(datetime.now(UTC) + timedelta(days=1), actor="human:ann").golden_samples == 1
        assert store.goldens.counts() == {}


def test_a_replay_of_an_incident_uses_what_the_service_has_kept(live: Runtime) -> None:
    for number in range(6):
        kept(str(number))
    exchanged(live)
    with pytest.raises(ValueError, match="could not convert"):
        kept("$4,000,000")
    [one] = facts(live)
    settings = live.settings
    shut_down()
    boundaries()["kept"].golden = Reservoir(reservoir("kept")._signature)
    with Store.open(settings) as store:
        replayed = replay_call(store, settings, one.incident, boundaries()["kept"])
    assert replayed.ended == "escalated"
    assert "unlike all 6 good calls" in replayed.reason
