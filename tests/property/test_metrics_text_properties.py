"""The text of metrics is what the client itself writes, whatever was written before and in which format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Metric
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeHistogramMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

from healspan.remediation import metrics_text
from healspan.remediation.metrics_text import MetricsText

ACCEPTED = (
    "",
    "text/plain; version=0.0.4",
    "text/plain; version=1.0.0; escaping=allow-utf-8",
    "text/plain; version=1.0.0; escaping=dots",
    "application/openmetrics-text",
    "application/openmetrics-text; version=1.0.0",
    "application/openmetrics-text; version=1.0.0; escaping=allow-utf-8",
)

Values = Mapping[str, float]
values = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d", "e", "f", 'say "\\\n', "# EOF\n", "\u00fc"]),
    st.sampled_from([0.0, 1.0, 2.5, 1e9, float("nan"), float("inf")]),
)


def counter(values: Values, documentation: str) -> Metric:
    family = CounterMetricFamily("calls", documentation, labels=["by"])
    for by, value in sorted(values.items()):
        family.add_metric([by], value)
    return family


def counter_with_its_beginning(values: Values, documentation: str) -> Metric:
    family = CounterMetricFamily("begun", documentation, labels=["by"])
    for by, value in sorted(values.items()):
        family.add_metric([by], value, created=17.0)
    return family


def gauge(values: Values, documentation: str) -> Metric:
    family = GaugeMetricFamily("width_bytes", documentation, labels=["by", "unit"], unit="bytes")
    for by, value in sorted(values.items()):
        family.add_metric([by, "of a kind"], value)
    return family


def histogram(values: Values, documentation: str) -> Metric:
    family = HistogramMetricFamily("seconds", documentation, labels=["by"])
    for by, value in sorted(values.items()):
        exemplar = Exemplar({"trace_id": by}, value, 17.5)
        family.add_metric([by], [("1.0", value), ("2.0", value, exemplar), ("+Inf", value)], 3.0)
    return family


def distribution(values: Values, documentation: str) -> Metric:
    family = GaugeHistogramMetricFamily("score", documentation, labels=["by"])
    for by, value in sorted(values.items()):
        family.add_metric([by], [("0.5", value), ("+Inf", value)], 0.25)
    return family


def mixture(values: Values, documentation: str) -> Metric:
    """What no family of the client's has: names of its own beside names that a format gathers."""
    family = Metric("mixed", documentation, "gauge")
    for by, value in sorted(values.items()):
        for end in ("_created", "", "_of_its_own", "_gsum"):
            family.add_sample(f"mixed{end}", {"by": by}, value)
    return family


documentations = st.sampled_from(["What it is.", "What it was,\nonce \\ twice."])
families = st.builds(
    lambda make, values, documentation: make(values, documentation),
    st.sampled_from([counter, counter_with_its_beginning, gauge, histogram, distribution, mixture]),
    values,
    documentations,
)


class Found(Collector):
    """What there is at the time."""

    def __init__(self) -> None:
        self.families: Sequence[Metric] = ()

    def collect(self) -> Iterable[Metric]:
        return self.families


@given(st.lists(st.tuples(st.lists(families, max_size=6), st.sampled_from(ACCEPTED)), max_size=12), st.integers(1, 4))
def test_what_is_read_is_what_the_client_writes(readings: list[tuple[list[Metric], str]], lines: int) -> None:
    found = Found()
    text = MetricsText(found)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics_text, "LINES", lines)
        for found.families, accept in readings:
            encode, content_type = choose_encoder(accept)
            assert text.read(accept) == (encode(found), content_type)


@given(st.lists(st.tuples(values, documentations, st.sampled_from(ACCEPTED[::3])), min_size=4, max_size=12))
def test_what_changes_little_is_read_as_the_client_writes_it(readings: list[tuple[Values, str, str]]) -> None:
    """The same families each time, of which some numbers change, or what is said of them."""
    found = Found()
    text = MetricsText(found)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics_text, "LINES", 2)
        known: dict[str, float] = {}
        for some, documentation, accept in readings:
            known |= some
            found.families = [
                counter(known, documentation),
                counter_with_its_beginning(known, documentation),
                histogram(some, documentation),
                distribution(known, documentation),
                mixture(some, documentation),
            ]
            assert text.read(accept)[0] == choose_encoder(accept)[0](found)


@pytest.mark.parametrize("make", [gauge, mixture])
def test_a_family_that_its_collector_keeps_and_changes_is_read_as_it_is(make: Callable[[Values, str], Metric]) -> None:
    found = Found()
    text = MetricsText(found)
    kept = make({"a": 1.0, "b": 1.0}, "What it is.")
    found.families = [kept]
    text.read("")
    kept.samples[0] = kept.samples[0]._replace(value=2.0)
    assert text.read("")[0] == choose_encoder("")[0](found)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many calls are counted in every piece that the client is asked to write."""
    pieces: list[int] = []

    def choose(accept: str) -> tuple[Callable[[Collector], bytes], str]:
        encode, _ = choose_encoder(accept)

        def counting(collector: Collector) -> bytes:
            samples = [sample for family in collector.collect() for sample in family.samples]
            pieces.append(sum(sample.name == "calls_total" for sample in samples))
            return encode(collector)

        return counting, accept  # so that there are as many formats as a test asks for

    monkeypatch.setattr(metrics_text, "choose_encoder", choose)
    return pieces


def test_a_number_that_changes_has_few_lines_written(written: list[int]) -> None:
    found = Found()
    text = MetricsText(found)
    numbers = {f"{number:04}": 1.0 for number in range(1_000)}
    found.families = [counter(numbers, "Calls.")]
    text.read("")
    assert sum(written) == 1_000
    written.clear()
    found.families = [counter(numbers | {"0500": 2.0}, "Calls.")]
    assert b'calls_total{by="0500"} 2.0' in text.read("")[0]
    assert sum(written) == metrics_text.LINES
    written.clear()
    text.read("")
    assert sum(written) == 0


def test_formats_that_were_not_asked_for_lately_are_not_kept(written: list[int]) -> None:
    found = Found()
    text = MetricsText(found)
    found.families = [counter({"a": 1.0}, "Calls.")]
    asked = [f"text/{number}" for number in range(metrics_text.FORMATS)]
    for accept in [*asked, *asked]:
        text.read(accept)
    assert sum(written) == len(asked)
    text.read("")
    written.clear()
    text.read(asked[1])
    assert sum(written) == 0
    text.read(asked[0])
    assert sum(written) == 1
