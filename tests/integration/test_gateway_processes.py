"""The gateway before Claude in several processes: one diagnosis at a time, one purse, and a holder that is killed."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select
from tests.gated import THREADS, cost

from healspan.remediation.claude.gateway import Admission, Gateway, Limits, Refusal
from healspan.remediation.settings import load_settings
from healspan.remediation.store.ledger import Ledger
from healspan.remediation.store.repository import Store
from healspan.remediation.store.tables import LeaseRow, table_of

ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def started(directory: Path, *tasks: str, **environment: str) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that have begun their tasks at the same time."""
    made = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.gated", task, str(directory)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        )
        for task in tasks
    ]
    try:
        for one in made:
            assert one.stdout is not None
            assert one.stdout.readline() == "ready\n"
        (directory / "go").touch()
        yield made
    finally:
        for one in made:
            one.kill()
            one.wait(60)
            assert one.stdout is not None
            one.stdout.close()


def said(processes: list[subprocess.Popen[str]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for one in processes:
        out, _ = one.communicate(timeout=240)
        assert one.returncode == 0
        total.update(json.loads(out))
    return total


@pytest.mark.parametrize("end", ["healed", "failed"])
def test_a_thousand_equal_failures_in_four_processes_are_diagnosed_one_at_a_time(tmp_path: Path, end: str) -> None:
    with started(tmp_path, *[end] * 4) as processes:
        seen = said(processes)
    assert seen.total() == 4 * THREADS
    assert seen["two at once"] == 0
    assert seen["admitted"] >= 1
    if end == "failed":
        # It asked nothing, but says that it failed; so nobody comes again for an hour.
        assert seen["admitted"] == 1
    assert seen.keys() <= {"admitted", "diagnosing", "busy", "cooldown"}


def test_four_processes_spend_one_budget_and_not_a_token_more(tmp_path: Path) -> None:
    with started(tmp_path, "0", "1", "2", "3", HEALSPAN_CLAUDE_TOKENS_PER_DAY="1000") as processes:
        seen = said(processes)
    assert seen["budget"] == 4
    with Store.open(load_settings()) as store:
        spend = store.spending.today()
    assert spend.total.requests == seen["asked"]
    assert 990 < spend.total.tokens <= 1_000
    assert sum(one.refusals for one in spend.refusals if one.state == "budget") == 4


def test_another_process_goes_on_when_the_lease_of_one_that_was_killed_has_ended(tmp_path: Path) -> None:
    with started(tmp_path, "die") as (process,):
        assert process.stdout is not None
        assert process.stdout.readline() == "asking\n"
        with Store.open(load_settings()) as store, store.database.reading() as connection:
            ends = connection.execute(select(table_of(LeaseRow).c.expires)).scalar_one()
        before, after = (_gateway_at(ends + timedelta(seconds=later)) for later in (-1, 0))
        try:
            assert _state(before) == "diagnosing"
            process.kill()
            process.wait(60)
            assert _state(before) == "diagnosing"
            assert _state(after) == "admitted"
        finally:
            before.close()
            after.close()
    with Store.open(load_settings()) as store:
        total = store.spending.today().total
    # What the dead one had reserved is spent: nobody knows whether it asked.
    assert (total.requests, total.tokens, total.unsettled) == (1, 10, 1)


def _gateway_at(moment: datetime) -> Gateway:
    known = load_settings()
    return Gateway(Ledger.open(known), Limits.of(known), cost=cost, now=lambda: moment)


def _state(gateway: Gateway) -> str:
    found = gateway.enter("the same", "revenue")
    if isinstance(found, Refusal):
        return found.state
    assert isinstance(found, Admission)
    with found:
        return "admitted"
