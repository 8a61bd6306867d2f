"""gunicorn or uvicorn with several workers, really run on loopback: who they are, answer, and publish together."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from tests.observe import wait_until
from tests.ports import free_port

BIN = Path(sys.executable).parent
EXAMPLES = Path(__file__).parents[1] / "docs" / "frameworks"

eventually = partial(wait_until, seconds=90.0)
"""Waits for what workers do that have to be started first, on however busy a machine."""

Series = tuple[str, tuple[tuple[str, str], ...]]
Samples = dict[Series, float]


def fetched(url: str) -> str:
    """Return what a URL answers."""
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.read().decode()


def samples(text: str) -> Samples:
    """Return the series of healspan that a page of metrics holds, none of them twice."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.startswith("healspan_"):
                series = (sample.name, tuple(sorted(sample.labels.items())))
                assert series not in found, series
                found[series] = sample.value
    return found


def total(found: Samples, name: str, **labels: str) -> float:
    """Return the sum of a metric's series that have these labels."""
    return sum(value for (one, by), value in found.items() if one == name and labels.items() <= dict(by).items())


def published(address: str) -> Samples:
    """Return what healspan says at a /metrics."""
    return samples(fetched(f"http://{address}/metrics"))


class Server:
    """A running gunicorn or uvicorn.

    Args:
        process: its master.
        port: where it listens.
        log: what it and its workers say.
    """

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self._process = process
        self.address = f"127.0.0.1:{port}"
        self._log = log

    @property
    def said(self) -> str:
        """The log so far."""
        return self._log.read_text()

    @property
    def workers(self) -> list[int]:
        """The ids of the processes that answer, ascending."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        return sorted(map(int, children.read_text().split()))

    def get(self, path: str) -> int:
        """Return the status that a path is answered with."""
        try:
            fetched(f"http://{self.address}{urllib.parse.quote(path)}")
        except urllib.error.HTTPError as error:
            return error.code
        return 200

    def send(self, path: str, times: int) -> list[int]:
        """Send requests, eight at once; return their statuses."""
        with ThreadPoolExecutor(8) as pool:
            return [*pool.map(self.get, [path] * times)]

    def metrics(self) -> Samples:
        """Return what the service publishes."""
        try:
            return published(self.address)
        except urllib.error.HTTPError:
            # A file that a worker is just making is empty for a moment, which the client's collector does not expect.
            if "unpack_from requires a buffer" not in self.said:
                raise
        return published(self.address)

    @contextmanager
    def only(self, worker: int) -> Iterator[None]:
        """Let one worker answer alone."""
        others = [one for one in self.workers if one != worker]
        for one in others:
            os.kill(one, signal.SIGSTOP)
        try:
            yield
        finally:
            for one in others:
                os.kill(one, signal.SIGCONT)


@contextmanager
def gunicorn(
    directory: Path,
    app: str,
    *options: str,
    workers: int = 3,
    before: Sequence[str | Path] = (),
    **environment: str,
) -> Iterator[Server]:
    """Run a WSGI application of the examples, or of a directory, until the block ends.

    Args:
        directory: where to run it, and where its log goes.
        app: the application, as gunicorn names it.
        options: of gunicorn.
        workers: how many.
        before: the command that runs gunicorn's.
        environment: variables.
    """
    port = free_port()
    bound = ("--bind", f"127.0.0.1:{port}", "--timeout=0", "--workers", str(workers))
    command = [*before, BIN / "gunicorn", *bound, *options, app]
    with _serving(command, directory, port, workers, environment) as server:
        yield server


@contextmanager
def uvicorn(
    directory: Path,
    app: str,
    *,
    workers: int = 2,
    before: Sequence[str | Path] = (),
    **environment: str,
) -> Iterator[Server]:
    """Likewise an ASGI application, under uvicorn's own workers, which are spawned by multiprocessing."""
    port = free_port()
    command = [*before, BIN / "uvicorn", "--port", str(port), "--workers", str(workers), app]
    # A helper of multiprocessing is a child of the server as well.
    with _serving(command, directory, port, workers + 1, environment) as server:
        yield server


@contextmanager
def _serving(
    command: Sequence[str | Path], directory: Path, port: int, children: int, environment: Mapping[str, str]
) -> Iterator[Server]:
    log = directory / f"server-{time.time_ns()}.log"
    known = {
        **os.environ,
        "HOME": str(directory),  # where gunicorn leaves a socket
        "OTEL_SERVICE_NAME": "shop",
        # A busy machine may take longer than the two seconds there are to load what is known.
        "HEALSPAN_START_WAIT_MS": "60000",
        "PYTHONPATH": f"{directory}{os.pathsep}{EXAMPLES}",
        **environment,
    }
    with log.open("wb") as said:
        process = subprocess.Popen(
            command, cwd=directory, env=known, stdin=subprocess.DEVNULL, stdout=said, stderr=said
        )
    server = Server(process, port, log)
    try:
        eventually(lambda: process.poll() is not None or len(server.workers) >= children, "the workers")
        eventually(lambda: process.poll() is not None or listens(port), "the server to listen")
        assert process.poll() is None, server.said
        yield server
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def listens(port: int) -> bool:
    """Tell whether somebody listens."""
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
