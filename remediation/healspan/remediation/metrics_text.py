"""The text of metrics in the format a client asks for, of which only what has changed is written anew.

prometheus_client writes every line at every scrape, which for a fleet costs more than finding the numbers out. Here it
is given the families in stretches, and the text of a stretch is used again while its samples equal those it was written
from: nobody has to say what has changed, so nobody can forget to. The result is the client's own, byte for byte.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from prometheus_client import Metric
from prometheus_client.core import GaugeHistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

__all__ = ["MetricsText"]

LINES = 50
"""Samples of a stretch: one that changes has so many written."""

FORMATS = 4
"""Kept at once. A server asks for one of them; who asks for a new one each time is to cost time, and no memory."""

_IN_ORDER = ("", "_total", "_bucket", "_count", "_sum")
_GATHERED = ("_created", "_gcount", "_gsum")
"""Ends of the names of samples that stand where they were put, and of those that the plain format gathers at the end of
their family, under heads of their own; OpenMetrics leaves all where they are."""


class MetricsText:
    """What a collector finds, as text.

    Args:
        collector: asked at every reading.
    """

    def __init__(self, collector: Collector) -> None:
        self._collector = collector
        self._writers: dict[str, _Writer] = {}
        """By the type of the content, what was asked for last at the end."""
        self._lock = threading.Lock()

    def read(self, accept: str) -> tuple[bytes, str]:
        """Return the text, and the type of its content.

        Args:
            accept: the header of that name; the plain format is for those who ask for nothing that is known.
        """
        try:
            encode, content_type = choose_encoder(accept)
        except TypeError:  # a version that is no number, which the client compares with one
            encode, content_type = choose_encoder("")
        families = [*self._collector.collect()]
        with self._lock:
            writer = self._writers.pop(content_type, None) or _Writer(encode)
            self._writers[content_type] = writer
            while len(self._writers) > FORMATS:
                del self._writers[next(iter(self._writers))]
            return writer.write(families), content_type


class _Stretch(NamedTuple):
    samples: Sequence[Sample]
    text: bytes


class _Family(NamedTuple):
    head: bytes
    stretches: Sequence[_Stretch]


class _Only(Collector):
    """A collector of what it is given."""

    def __init__(self, *families: Metric) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


class _Writer:
    """Writes one format, and knows what it wrote last."""

    def __init__(self, encode: Callable[[Collector], bytes]) -> None:
        self._encode = encode
        self._end = encode(_Only())
        distribution = GaugeHistogramMetricFamily("any", "", buckets=[("+Inf", 1.0)], gsum_value=1.0)
        self._gathers = encode(_Only(distribution)).count(b"# TYPE") > 1
        """Whether this is a format that gathers samples."""
        self._written: dict[str, _Family] = {}

    def write(self, families: Sequence[Metric]) -> bytes:
        """Return the text of some families, in their order."""
        if len({family.name for family in families}) < len(families):
            return self._encode(_Only(*families))  # which of two is meant nobody could say next time
        self._written = {family.name: self._family(family, self._written.get(family.name)) for family in families}
        return b"".join(self._parts())

    def _parts(self) -> Iterator[bytes]:
        for family in self._written.values():
            yield family.head
            for stretch in family.stretches:
                yield stretch.text
        yield self._end

    def _family(self, family: Metric, known: _Family | None) -> _Family:
        head = self._text(family, [])
        before = known.stretches if known is not None and known.head == head else ()
        stretches = []
        for place, samples in enumerate(self._divided(family)):
            if place < len(before) and before[place].samples == samples:
                stretches.append(before[place])
            else:
                stretches.append(_Stretch(samples, self._text(family, samples).removeprefix(head)))
        return _Family(head, stretches)

    def _divided(self, family: Metric) -> Iterator[Sequence[Sample]]:
        """Return the samples in stretches that may be written one by one, in the order in which they will stand."""
        in_order, *gathered = _groups(family) if self._gathers else [family.samples]
        for start in range(0, len(in_order), LINES):
            yield in_order[start : start + LINES]
        yield from filter(None, gathered)

    def _text(self, family: Metric, samples: Sequence[Sample]) -> bytes:
        part = copy.copy(family)
        part.samples = [*samples]
        return self._encode(_Only(part)).removesuffix(self._end)


def _groups(family: Metric) -> Sequence[Sequence[Sample]]:
    """Return the samples that stand where they were put, and then the others, as a format gathers them."""
    groups: dict[str, list[Sample]] = {end: [] for end in ("", *_GATHERED)}
    group_of = {family.name + end: groups[end if end in _GATHERED else ""] for end in (*_IN_ORDER, *_GATHERED)}
    for sample in family.samples:
        if sample.name not in group_of:
            return [[], [*family.samples]]  # nobody knows where those of that name will stand
        group_of[sample.name].append(sample)
    return [*groups.values()]
