"""Ports for servers that tests start, which nobody else takes between the look and the start."""

from __future__ import annotations

import itertools
import os
import random
import socket
from contextlib import closing

__all__ = ["free_port"]

_FIRST, _EACH, _WORKERS = 20_000, 3_000, 4
"""Below those that systems give to whoever asks for any; each worker of xdist has a stretch of its own."""

_mine = _FIRST + _EACH * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS)
# Other runs of these tests on the same machine begin elsewhere.
_ports = itertools.cycle(random.sample(range(_mine, _mine + _EACH), _EACH))


def free_port() -> int:
    """Return a port that nobody listens on, another one each time."""
    for port in itertools.islice(_ports, _EACH):
        with closing(socket.socket()) as found:
            try:
                found.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("every port is taken")
