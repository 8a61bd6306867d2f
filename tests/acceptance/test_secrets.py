"""No secret of a seeded corpus reaches the spool, the store, the logs or an exception's notes."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from tests.canaries import canaries, leaks
from tests.observe import drained

from healspan.instrumentation import error_boundary, pipeline
from healspan.remediation.runtime import Runtime, shut_down

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


def test_the_corpus_is_found_where_nothing_scrubs() -> None:
    raw = "\n".join(str(canary.value) for canary in CORPUS)
    assert set(leaks(raw, CORPUS)) == {canary.name for canary in CORPUS}
