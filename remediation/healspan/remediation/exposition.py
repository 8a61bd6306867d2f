"""What a service publishes besides what it counts: how much waits for the store, and a /metrics if it has none.

``HEALSPAN_SERVICE_METRICS_PORT`` asks for that. It shows the client's default registry, so what the application itself
counts is there as well. Of the processes of a prefork server one listens and answers for all, from the directory that
they share; if it ends, the next one does.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable
from multiprocessing.process import parent_process
from pathlib import Path
from typing import TYPE_CHECKING

import prometheus_client
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from healspan.remediation.errors import ConfigurationError
from healspan.remediation.settings import Settings
from healspan.remediation.shared_directory import SharedDirectory
from healspan.remediation.store.forks import hold_for_forks, no_fork_meanwhile
from healspan.remediation.store.spool_file import OwnerLock
from healspan.remediation.store.spools import facts_waiting

if TYPE_CHECKING:
    from healspan.remediation.metrics_server import MetricsServer

__all__ = ["Exposition", "siblings"]

logger = logging.getLogger("healspan")

TRY_AGAIN_SECONDS = 10.0
"""After a port could not be had: whoever has it may be the service's last process, on its way out."""


SPOOL_SECONDS = 5.0
"""How often it is looked how many facts wait."""


class _Readable(Collector):
    """What others count as well, and may fail to tell: then a scrape is answered in words.

    Args:
        everything: what is published.
    """

    def __init__(self, everything: Collector) -> None:
        self._everything = everything

    def collect(self) -> Iterable[Metric]:
        """Return every metric.

        Raises:
            ConfigurationError: one of them cannot be read.
        """
        try:
            return [*self._everything.collect()]
        except Exception as error:
            raise ConfigurationError(
                f"a metric of this service cannot be read ({type(error).__name__}: {error}); look who registered it, "
                "or what became of PROMETHEUS_MULTIPROC_DIR"
            ) from error


class Exposition:
    """Listens where a service has asked for it, looks what waits for the store, and says once what is wrong.

    Args:
        settings: where to listen, or not; where the spools are.
        waiting: told, every few seconds, how many facts wait.
        clock: monotonic, in seconds.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        waiting: Callable[[int], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._host, self._port = settings.metrics_host, settings.service_metrics_port
        self._spools = settings.spool_dir
        self._waiting = waiting
        self._clock = clock
        self._measured = float("-inf")
        self._next = float("-inf")
        self._server: MetricsServer | None = None
        self._mine: OwnerLock | None = None
        self._changing = threading.Lock()
        self._closed = False
        self._said = False
        self._begun = False
        hold_for_forks(self)

    @property
    def url(self) -> str | None:
        """Where this process publishes; None if it does not."""
        return None if self._server is None else self._server.url

    def keep_up(self) -> None:
        """Listen, if it is asked for and nobody does, and measure; called every second or so, from a helper thread."""
        if self._clock() - self._measured >= SPOOL_SECONDS:
            self.measure()
        directory = SharedDirectory.found()
        if not self._begun:
            self._begun = True
            self._say_what_is_missing(directory)
        if self._port == 0 or self._server is not None or self._clock() < self._next:
            return
        try:
            with self._changing:
                if not self._closed and self._takes_its_turn(directory):
                    self._listen(directory)
        except (ConfigurationError, OSError) as error:
            self._next = self._clock() + TRY_AGAIN_SECONDS
            if not self._said:
                self._said = True
                logger.warning(
                    "the metrics of this process are not published at HEALSPAN_SERVICE_METRICS_PORT, and it tries "
                    "again: %s%s",
                    error,
                    "" if directory else "; if another process of this service has it, set PROMETHEUS_MULTIPROC_DIR",
                )

    def measure(self) -> None:
        """Look how many facts wait for the store."""
        self._measured = self._clock()
        self._waiting(facts_waiting(self._spools))

    def _takes_its_turn(self, directory: SharedDirectory | None) -> bool:
        """Tell whether it is this process that answers; for itself, or for all."""
        if directory is not None and self._mine is None:
            self._mine = OwnerLock.take(directory.path / f"healspan-{self._port}.lock")
            return self._mine is not None
        return True

    def _listen(self, directory: SharedDirectory | None) -> None:
        # Imported here: hardly any service asks for it.
        with no_fork_meanwhile():
            from healspan.remediation.metrics_server import MetricsServer

        everything: Collector = prometheus_client.REGISTRY
        if directory is not None:
            everything = MultiProcessCollector(None, str(directory.path))
        self._server = MetricsServer(_Readable(everything), host=self._host, port=self._port)
        if self._said:
            self._said = False
            logger.warning("the metrics of this process are published now, at %s", self._server.url)

    def _say_what_is_missing(self, directory: SharedDirectory | None) -> None:
        if (
            directory is None
            and ("gunicorn" in sys.modules or ("uvicorn" in sys.modules and parent_process() is not None))
            and (processes := siblings())
            and os.getpid() == processes[0]
        ):
            logger.warning(
                "this service runs in %d processes that count each for itself, so its metrics are those of whichever "
                "process answers a scrape; set PROMETHEUS_MULTIPROC_DIR (docs/dashboards.md)",
                len(processes),
            )

    def close(self) -> None:
        """Look for the last time, and stop listening."""
        self.measure()
        with self._changing:
            self._closed = True
            server, self._server = self._server, None
            if server is not None:
                server.close()
            self._let_go()

    # Around a fork

    def before_fork(self) -> None:
        """Nothing: the parent goes on listening."""

    def after_fork(self, *, child: bool) -> None:
        """In the child, let go of what is the parent's; the child's own runtime asks anew."""
        if child:
            server, self._server = self._server, None
            if server is not None:
                server.leave_to_parent()
            self._let_go()

    def _let_go(self) -> None:
        if self._mine is not None:
            self._mine.release()
            self._mine = None


def siblings(process: int | None = None) -> list[int]:
    """Return the processes of this one's parent that run the same program, this one included, if there are others.

    Those that multiprocessing has spawned, as uvicorn's workers, differ in the numbers of their pipes only. Known on
    Linux only; elsewhere, and where it cannot be read, there are none.
    """
    own = os.getpid() if process is None else process
    try:
        parent = int(Path(f"/proc/{own}/stat").read_text().rpartition(")")[2].split()[1])
        children = map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split())
        command = _command(own)
        same = sorted(one for one in children if _command(one) == command)
    except (OSError, ValueError, IndexError):
        return []
    return same if len(same) > 1 else []


def _command(process: int) -> bytes:
    found = Path(f"/proc/{process}/cmdline").read_bytes()
    return re.sub(rb"\d+", b"", found) if b"multiprocessing.spawn" in found else found
