"""The console's server: Streamlit in a process of its own, watched until it answers and ended when we end."""

from __future__ import annotations

import errno
import importlib.util
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

from healspan.remediation.errors import ConfigurationError

__all__ = ["ConsoleServer"]

HERE = Path(__file__).parent
START_SECONDS = 60.0
STOP_SECONDS = 10.0
_POLL_SECONDS = 0.1


class ConsoleServer:
    """Serves the console until it is closed.

    Args:
        host: where to listen.
        port: likewise; 0 takes a free one.

    Raises:
        ConfigurationError: the port is taken, the host is not this machine's, or Streamlit is not installed.
    """

    def __init__(self, *, host: str, port: int) -> None:
        if importlib.util.find_spec("streamlit") is None:
            raise ConfigurationError(
                "the console needs Streamlit; pip install 'healspan[console]', or use 'healspan up --no-console'"
            )
        self._host, self._port = host, _free_port(host, port)
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and file
            [sys.executable, "-m", "streamlit", "run", str(HERE / "app.py"), *self._options()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            # Ctrl-C goes to us; we end it in our own time.
            start_new_session=True,
        )

    def _options(self) -> list[str]:
        options = {
            "server.address": self._host,
            "server.port": str(self._port),
            "runner.magicEnabled": "false",
            "server.headless": "true",
            "server.fileWatcherType": "none",
            "browser.gatherUsageStats": "false",
            "client.toolbarMode": "minimal",
            "logger.level": "warning",
            "client.showErrorDetails": "none",
            "theme.base": str(HERE / "theme.toml"),
        }
        return [f"--{name}={value}" for name, value in options.items()]

    @property
    def url(self) -> str:
        """Where the console is."""
        return f"http://{f'[{self._host}]' if ':' in self._host else self._host}:{self._port}"

    @property
    def running(self) -> bool:
        """Whether the server's process lives."""
        return self._process.poll() is None

    def wait_until_ready(self, stop: threading.Event) -> None:
        """Return when the console answers, or when `stop` is set.

        Raises:
            ConfigurationError: it ended, or does not answer.
        """
        pauses = int(START_SECONDS / _POLL_SECONDS)
        for _ in range(pauses):
            if stop.wait(_POLL_SECONDS):
                return
            if not self.running:
                raise ConfigurationError("the console ended while it was starting; what it wrote above says why")
            if self._answers():
                return
        raise ConfigurationError(f"the console does not answer at {self.url} after {START_SECONDS:.0f} s; try again")

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=1):  # noqa: S310 - our own address
                return True
        except OSError:
            return False

    def close(self) -> None:
        """End the server; kill it if it does not end in time."""
        if self.running:
            self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _free_port(host: str, port: int) -> int:
    """Return the port after having listened on it for a moment: Streamlit would only say so much later."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise ConfigurationError(
                    f"port {port} on {host} is taken; stop what listens there, or give the console another port",
                ) from error
            raise ConfigurationError(
                f"nothing can listen on {host}:{port} ({error.strerror}); give another host or port",
            ) from error
        return int(probe.getsockname()[1])
