"""No secret of a seeded corpus reaches the spool, the store, the logs or an exception's notes."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import AfterValidator
from tests.canaries import canaries, leaks
from tests.observe import drained
from typer.testing import CliRunner

from healspan.instrumentation import error_boundary, pipeline
from healspan.remediation.cli.app import app
from healspan.remediation.runtime import Runtime, shut_down
from healspan.remediation.store.repository import Store

CORPUS = canaries()


class Vault:
    """An application's own class, whose repr tells everything."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"Vault({self.value!r})"


@error_boundary("leaky", capture_locals=True, partial_output="partial", retry_safe=True)
def leaky(value: Any, wrapped: Vault, text: str) -> float:
    partial = {"seen": value}
    secret_local = value
    try:
        raise ValueError(f"could not read {text}")
    except ValueError as cause:
        raise LookupError(f"no luck with {text} in {len(partial)} and {type(secret_local)}") from cause


def test_no_canary_survives_anywhere(
    live: Runtime,
    data_dir: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    notes: list[str] = []
    for canary in CORPUS:
        text = canary.value if canary.is_text else f"a value of {type(canary.value).__name__}"
        with pipeline("vault", key="run", context={"document_type": "canary"}):
            try:
                leaky(canary.value, Vault(canary.value), text)
            except LookupError as error:
                notes += error.__notes__
        with pytest.raises(RuntimeError), error_boundary("block"):
            raise RuntimeError(text)
    drained(live)
    assert len(notes) == len(CORPUS)
    found = {"notes": leaks("\n".join(notes), CORPUS), "logs": leaks(caplog.text, CORPUS)}
    shut_down()
    files = [path for path in data_dir.rglob("*") if path.is_file()]
    assert any(path.name == "healspan.db" for path in files)
    for path in files:
        found[path.name] = leaks(path.read_bytes(), CORPUS)
    assert {where: names for where, names in found.items() if names} == {}


def refuse(value: Any) -> Any:
    """A validator of the application's, whose words hold the value."""
    if isinstance(value, Vault):
        raise ValueError(f"not {value!r}")
    return value


@error_boundary("leaky_unit", retry_safe=True, golden=1.0, checks=[lambda result, arguments: result > 0])
def unit(page: dict[str, Any], extra: Any) -> int:
    return int(page["unit"])


@error_boundary("leaky_total", retry_safe=True, golden=1.0, output=Annotated[Any, AfterValidator(refuse)])
def total(page: dict[str, Any], extra: Any) -> Any:
    if page["total"] == "bad":
        return Vault(extra)
    return float(page["total"]) * page["unit_count"]


@total.strategy("tells")
def tells(page: dict[str, Any], extra: Any) -> Any:
    raise LookupError(f"no strategy for {extra}")


@total.strategy("wrong")
def wrong(page: dict[str, Any], extra: Any) -> Any:
    return Vault(extra)


def healed_and_not(canary: Any) -> None:
    """Bring about what is kept of fixes: good calls, repairs of one step and of two, plans, refused values."""
    for page in (
        {"unit": "1", "total": "2.5", "unit_count": 2},
        {"unit": "$1", "total": "$2.50", "unit_count": 2},
        {"unit": "1,000", "total": "$3.50", "unitCount": 2, "noted": canary},
        {"unit": "1", "total": "bad", "unit_count": 2, "noted": canary},
        {"unit": "1", "total": canary, "unit_count": 2},
    ):
        keys = {"document_type": str(canary)}
        with contextlib.suppress(Exception), pipeline("leaky", key=str(canary), context=keys):
            total({**page, "unit_count": unit(page, canary)} if "unit_count" in page else page, canary)


def told_of(live: Runtime) -> Iterator[tuple[str, str]]:
    """What the commands that show fixes say, as people read it and as JSON."""
    with Store.open(live.settings) as store:
        fixes = [view.fix.fix_id for view in store.fixes.list(limit=1_000)]
        incidents = [str(view.incident.error_id) for view in store.incidents.list(limit=1_000)]
        kept = {
            "validations": [one for fix_id in fixes for one in store.fixes.validations(fix_id, limit=100)],
            "golden samples": [one for name in store.goldens.counts() for one in store.goldens.latest(name)],
            "plans": store.plans.list(),
            "evidence": list(store.fixes.evidence(fixes).values()),
        }
    for name, records in kept.items():
        assert records, f"nothing to look at: {name}"
        yield name, "\n".join(one.model_dump_json() for one in records)
    commands = [("fixes", "list"), ("review", "list"), ("fixes", "plans"), ("doctor",)]
    commands += [("fixes", what, fix_id) for fix_id in fixes for what in ("explain", "show")]
    commands += [("incidents", "show", one) for one in incidents[:3]]
    for command in commands:
        for how in ((), ("--json",)):
            done = CliRunner().invoke(app, [*command, *how])
            assert done.exit_code == 0 or command == ("doctor",), done.output
            yield " ".join((*command, *how)), done.output


@pytest.mark.slow
def test_no_canary_is_told_with_a_fix(live: Runtime, data_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    healed_and_not("nothing secret")  # else no good call is kept at all
    live.exchange.exchange()  # before calls with secrets take its place
    for canary in CORPUS:
        healed_and_not(canary.value)
    live.exchange.exchange()
    drained(live)
    found = {where: leaks(text, CORPUS) for where, text in told_of(live)}
    found["logs"] = leaks(caplog.text, CORPUS)
    shut_down()
    found |= {path.name: leaks(path.read_bytes(), CORPUS) for path in data_dir.rglob("*") if path.is_file()}
    assert {where: names for where, names in found.items() if names} == {}


def test_the_corpus_is_found_where_nothing_scrubs() -> None:
    raw = "\n".join(str(canary.value) for canary in CORPUS)
    assert set(leaks(raw, CORPUS)) == {canary.name for canary in CORPUS}
