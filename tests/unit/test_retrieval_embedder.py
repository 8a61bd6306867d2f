"""The plug for embeddings: off unless the settings name one, and never in the way."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from healspan.remediation.errors import ConfigurationError
from healspan.remediation.retrieval import Document, PatternIndex, embedder
from healspan.remediation.retrieval.embedder import ENTRY_POINTS, Patient, cosine, vector
from healspan.remediation.settings import load_settings

MEANINGS = {"revenue": 0, "sales": 0, "turnover": 0, "cost": 1, "expense": 1}


class Meanings:
    """Knows which of a few words mean the same."""

    def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        found = [{MEANINGS[word] for word in text.split() if word in MEANINGS} for text in texts]
        return [[float(0 in one), float(1 in one), 0.1] for one in found]


class Broken(Meanings):
    """Fails."""

    def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        raise OSError("no model here")


class Nowhere(Meanings):
    """Gives no direction."""

    def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        return [[0.0, float("nan")] for _ in texts]


class Endless(Meanings):
    """Gives a vector that does not end."""

    def embed(self, texts: Sequence[str]) -> Any:
        return [itertools.repeat(1.0) for _ in texts]


class Leaving(Meanings):
    """Means to end the process."""

    def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        raise SystemExit


class Wrong(Meanings):
    """Gives what is no vector."""

    def embed(self, texts: Sequence[str]) -> Any:
        return [["one", None] for _ in texts]


def point(name: str, attribute: str) -> EntryPoint:
    return EntryPoint(name, f"{__name__}:{attribute}", ENTRY_POINTS)


def said(name: str, group: str, message: str) -> Document:
    return Document(name, group, "app.Missing", (), message)


KNOWN = (said("a", "fix-cost", "no cost row here"), said("b", "fix-revenue", "no sales row here"))
SOUGHT = said("q", "", "no turnover row here")


def filled(made: PatternIndex) -> PatternIndex:
    for one in KNOWN:
        made.add(one)
    return made


def test_it_is_off_by_default() -> None:
    assert load_settings().embedder == ""
    assert embedder(load_settings().embedder) is None


def test_the_settings_name_one_and_its_similarity_orders_what_is_found() -> None:
    without = filled(PatternIndex()).search(SOUGHT)
    assert [hit.group_id for hit in without] == ["fix-cost", "fix-revenue"]
    assert without[0].parts.vector is None
    found = filled(PatternIndex(embedder=embedder("meanings", [point("meanings", "Meanings")]))).search(SOUGHT)
    assert [hit.group_id for hit in found] == ["fix-revenue", "fix-cost"]
    assert found[0].parts.vector == pytest.approx(1.0)
    assert "embedding 1.00" in found[0].why


def test_the_likelihood_is_judged_without_it() -> None:
    without = {hit.group_id: hit.likelihood for hit in filled(PatternIndex()).search(SOUGHT)}
    with_it = {hit.group_id: hit.likelihood for hit in filled(PatternIndex(embedder=Meanings())).search(SOUGHT)}
    assert without == with_it


@pytest.mark.parametrize("one", [Broken, Nowhere, Endless, Leaving, Wrong])
def test_one_that_fails_is_done_without(one: type[Meanings], caplog: pytest.LogCaptureFixture) -> None:
    found = filled(PatternIndex(embedder=one())).search(SOUGHT)
    assert [hit.group_id for hit in found] == ["fix-cost", "fix-revenue"]
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize("wanted", ["missing", "broken"])
def test_one_that_cannot_be_had_is_said_at_once(wanted: str) -> None:
    with pytest.raises(ConfigurationError, match=f"HEALSPAN_EMBEDDER='{wanted}'"):
        embedder(wanted, [point("meanings", "Meanings"), point("broken", "no_such_name")])


def test_vectors_of_different_lengths_are_not_compared() -> None:
    assert cosine(vector(Meanings(), SOUGHT), b"") is None


def test_one_that_hangs_holds_one_thread_and_nobody_for_long(caplog: pytest.LogCaptureFixture) -> None:
    go, asked = threading.Event(), []

    class Hanging(Meanings):
        def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
            asked.append(threading.current_thread())
            assert go.wait(60)
            return super().embed(texts)

    patient = Patient(Hanging(), seconds=0.05)
    assert [patient.vector(SOUGHT) for _ in range(5)] == [None] * 5
    assert len(asked) == 1
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    go.set()
    asked[0].join(60)
    assert patient.vector(SOUGHT) is not None, "it is asked again once it answers"
