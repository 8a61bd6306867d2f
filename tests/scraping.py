"""An exporter over a world's store, and what it answers."""

from __future__ import annotations

import contextlib
import urllib.request
from collections.abc import Iterator

from tests.world import World

from healspan.remediation.exporter import StoreCollector
from healspan.remediation.metrics_server import MetricsServer


@contextlib.contextmanager
def serving(world: World) -> Iterator[MetricsServer]:
    """Publish a store's numbers on loopback until the block ends."""
    server = MetricsServer(StoreCollector(world.store), host="127.0.0.1", port=0)
    try:
        yield server
    finally:
        server.close()


def get(url: str) -> str:
    """Return what is answered."""
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.read().decode()
