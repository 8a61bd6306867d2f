"""The benchmarks measure what they say: the seven functions, a sample of injected faults, strangers' functions."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faults
import pytest
import runtime_errors
import seven
import tier2
from faulty.case import FAULTS
from faulty.material import Material
from faulty.service import declare
from pydantic import SecretStr
from rich.console import Console

from healspan.remediation.boundary import boundaries
from healspan.remediation.claude.ask import Prompt, Turn
from healspan.remediation.claude.messages import MessagesAsker

ROOT = Path(__file__).parents[2]
FILINGS = ROOT / ".." / "shared" / "data" / "filings"


@pytest.fixture
def quiet() -> Console:
    return Console(file=io.StringIO())


@pytest.fixture
def own_boundaries() -> Iterator[None]:
    known = set(boundaries())
    yield
    for name in set(boundaries()) - known:
        boundaries().pop(name)


def test_of_the_seven_functions_five_are_healed_and_two_escalate_or_return_their_fallback(tmp_path: Path) -> None:
    out = tmp_path / "seven.json"
    command = [sys.executable, ROOT / "benchmarks" / "seven.py", "--json", "--out", out]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    ours = json.loads(out.read_text())["healspan"]
    assert ours["cells"] == dict.fromkeys("abdfg", "right") | dict.fromkeys("ce", "escalated")
    assert set(ours["fallback"].values()) == {"the declared fallback, marked degraded"}


def test_a_cell_tells_a_right_value_from_a_wrong_one() -> None:
    assert seven.judge("a", "'ann'", None) == "right"
    assert seven.judge("a", "None", None).startswith("wrong value")
    assert seven.judge("e", "1.0", None).startswith("wrong value")
    assert seven.judge("e", None, "ZeroDivisionError") == "escalated"
    assert seven.judge("e", None, "SystemError").startswith("other failure")


def test_what_a_diagnosis_costs_of_ours_is_its_time_less_the_servers_in_references_of_its_moment() -> None:
    totals = [30.0, 31.0, 32.0, 33.0, 34.0, 60.0, 61.0, 62.0, 63.0, 64.0]
    cost = tier2.Cost(totals, [2.0] * 10, references=[30.0, 60.0], cpu_ms=20.0, per_second=None, requests=1.0)
    figures = cost.figures()
    assert figures["ours_ms"]["p50"] == 45.0
    assert figures["total_ms"]["p50"] == 47.0
    assert figures["ours_in_references"] == 1.0


def test_the_server_of_a_diagnosis_knows_its_own_time_and_proposes_to_each_failure_an_adapter_of_its_own() -> None:
    prompts = [Prompt(version="1", system=("s",), turns=(Turn(role="user", text=f"tier2_{kind}"),)) for kind in (7, 8)]
    with tier2.server(0.0) as served:
        asking = MessagesAsker(model="m", api_key=SecretStr("none"), base_url=served.url)
        texts = {asking.ask(prompt).answer.steps[0].model_dump()["text"] for prompt in prompts}
    assert len(texts) == 2
    assert [(kind, path) for kind, path, _ in served.requests] == [(7, "/v1/messages"), (8, "/v1/messages")]
    assert served.seconds(7) > 0


@pytest.mark.data
@pytest.mark.usefixtures("own_boundaries")
@pytest.mark.skipif(not FILINGS.is_dir(), reason="the filings data is not at ../shared/data/filings")
def test_of_injected_faults_none_becomes_a_wrong_value_and_controls_are_untouched() -> None:
    slow = {one.name for one in FAULTS if one.slow}
    results = faults.run(
        Material(FILINGS),
        seed=20_261_126,
        cases=160,
        functions=declare(),
        only={one.name for one in FAULTS} - slow,
    )
    figures = faults.count(results)
    # Readings by convention are counted apart: whether checks may let them pass is a question of policy.
    wrong = [one for one in results if one.outcome in ("wrong", "another exception")]
    assert [one.detail for one in wrong if one.fault.kind != "convention"] == []
    assert figures["controls"] == {"cases": figures["controls"]["cases"], "touched": 0}
    assert figures["controls"]["cases"] > 15
    assert figures["single"]["healed_correct"] >= 0.9 * figures["single"]["cases"] > 0


@pytest.mark.data
@pytest.mark.skipif(not FILINGS.is_dir(), reason="the filings data is not at ../shared/data/filings")
def test_a_seed_gives_the_same_faults_again() -> None:
    import random

    from faulty.case import World
    from faulty.server import Server

    material = Material(FILINGS)

    def drawn(seed: int) -> list[str]:
        chance = random.Random(seed)
        plan = faults.plan(80, chance)
        with Server() as server:
            world = World(material, server, chance)
            cases = [one.make(world) for one in plan]
        return [f"{one.function} {one.truth!r}" for one in cases]

    assert drawn(1) == drawn(1) != drawn(2)


def stranger(
    code: str, failing: str, expected: str, passing: dict[str, str], exception: str, **more: Any
) -> dict[str, Any]:
    kind, _, message = exception.partition(": ")
    return {
        "id": failing,
        "code": code,
        "failing_input": failing,
        "exception_type": kind,
        "exception_message": message,
        "expected_output": expected,
        "tolerance": None,
        "passing_inputs": [{"call": call, "expected": value} for call, value in passing.items()],
        "other_failing_inputs": [],
        **more,
    }


READ = "def total(rows):\n    return sum(float(row) for row in rows)\n"
NONE = "could not convert string to float: "


def test_strangers_functions_are_counted_as_they_end(quiet: Console) -> None:
    cases = [
        stranger(
            READ,
            "total(['1', '$1,234'])",
            "1235.0",
            {"total(['1', '2'])": "3.0", "total([])": "0"},
            f"ValueError: {NONE}'$1,234'",
            other_failing_inputs=[{"call": "total(['$2'])", "expected": "2.0"}],
        ),
        # The reference means something else by it: a value that came back would be wrong.
        stranger(READ, "total(['$5'])", "500.0", {"total(['1'])": "1.0"}, f"ValueError: {NONE}'$5'"),
        stranger(READ, "total(['five'])", "5.0", {"total(['1'])": "1.0"}, f"ValueError: {NONE}'five'"),
        stranger("def loop(n):\n    while n:\n        n = n\n    raise OSError\n", "loop(1)", "0", {}, "OSError: "),
    ]
    limits = runtime_errors.Limits(cpu_seconds=4)
    results = runtime_errors.measure(cases, jobs=2, console=quiet, limits=limits)
    figures = runtime_errors.count(cases, results)
    assert [one and one["outcome"] for one in results] == ["correct", "wrong", "escalated", None]
    assert {key: figures[key] for key in ("cases", "proceed", "correct", "wrong", "escalated", "regressions")} == {
        "cases": 4,
        "proceed": 2,
        "correct": 1,
        "wrong": 1,
        "escalated": 1,
        "regressions": 0,
    }
    assert figures["cache_hits"] == {"tried": 1, "healed_correct": 1}
    assert set(figures["by_exception"]) == {"ValueError", "OSError"}


def test_what_may_be_repeated_is_read_from_the_source() -> None:
    assert runtime_errors.repeatable("def f(a, b=1):\n    a.append(b)\n") == "snapshot"
    assert runtime_errors.repeatable("n = 0\ndef f():\n    global n\n    n += 1\n") is False
    assert runtime_errors.repeatable("def f(seen=[]):\n    seen.append(1)\n") is False
    assert runtime_errors.repeatable("def f():\n    return input()\n") is False
    assert runtime_errors.repeatable("seen = []\ndef f():\n    seen.append(1)\n") is False
    assert runtime_errors.repeatable("DAYS = (1, 2)\ndef f():\n    return DAYS[0]\n") == "snapshot"


def test_a_limited_child_has_no_network_and_cannot_hurt_the_rest() -> None:
    def greedy() -> int:
        return len(bytearray(8 << 30))

    def talkative() -> str:
        import socket

        try:
            socket.create_connection(("192.0.2.1", 9), timeout=0.2)
        except OSError as error:
            return type(error).__name__
        return "connected"

    jobs = [greedy, talkative, lambda: 7]
    from children import Limits, in_children

    answers = dict(in_children(jobs, limits=Limits(wall_seconds=20), at_once=2))
    assert answers[0] is None
    assert answers[1] in ("OSError", "TimeoutError")
    assert answers[2] == 7
