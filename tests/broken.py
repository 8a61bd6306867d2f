"""A small service started by ``opentelemetry-instrument``, and all that can be broken around it."""

from __future__ import annotations

import json
import os
import resource
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median

from tests.ports import free_port

from healspan.remediation.settings import load_settings
from healspan.remediation.store.repository import Store

OTHERS = "asgi,celery,django,fastapi,flask,wsgi"
"""Instrumentations that this service has no use for, and that take long to import."""
START_WAIT_MS = 1_000
"""Where the store says nothing."""
STOPPING = 4.0
"""Seconds that `Runtime.stop` may take at the end of a process: a second each for its threads."""

PRICES = """
class SoldOut(Exception):
    pass

sold_out = SoldOut("no more apples")

def stock(name):
    raise sold_out

def price(text):
    return float(text)
"""

SERVICE = """
import json, logging, time
from healspan.instrumentation import error_boundary
from opentelemetry import trace
import prices

logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
tracer = trace.get_tracer("shop")

@error_boundary("price")
def price(text):
    return prices.price(text)

@error_boundary("stock")
def stock(name):
    return prices.stock(name)

def request(of, *args):
    began = time.perf_counter()
    try:
        with tracer.start_as_current_span("request"):
            answer = repr(of(*args))
    except Exception as error:
        answer = f"{type(error).__name__}: {error}"
        if isinstance(error, prices.SoldOut) and error is not prices.sold_out:
            answer = "another exception"
    return answer, time.perf_counter() - began

answers = [request(of, *args) for _ in range(6) for of, *args in (
    (price, "1.5"), (price, "no number"), (stock, "apples"), (prices.price, "2"), (prices.price, "none either")
)]
logging.getLogger("shop").warning("that was all")
print(json.dumps(answers), flush=True)
"""

EXPECTED = 6 * [
    "1.5",
    "ValueError: could not convert string to float: 'no number'",
    "SoldOut: no more apples",
    "2.0",
    "ValueError: could not convert string to float: 'none either'",
]

Environment = dict[str, str]


@dataclass(frozen=True)
class Served:
    """What one run of the service showed."""

    code: int
    answers: list[str]
    seconds: list[float]
    """Of each request."""
    leaving: float
    """Seconds between the last request and the end of the process."""
    log: list[str]
    """Lines but those of the exporters of OpenTelemetry."""

    @property
    def usual(self) -> float:
        """Seconds of a request, but for the first few."""
        return median(self.seconds[5:])


def serve(folder: Path, environment: Mapping[str, str], *, most_bytes: int | None = None) -> Served:
    """Run the service in a folder; `most_bytes` is the largest file that it can write."""
    (folder / "prices.py").write_text(PRICES)
    (folder / "service.py").write_text(SERVICE)

    def limit() -> None:
        if most_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))

    known = {
        **os.environ,
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_SERVICE_NAME": "shop",
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": OTHERS,
        # A busy machine may take longer than the two seconds there are, which is said.
        "HEALSPAN_START_WAIT_MS": "60000",
        "PYTHONDONTWRITEBYTECODE": "1",
        **environment,
    }
    command = [str(Path(sys.executable).with_name("opentelemetry-instrument")), sys.executable, "service.py"]
    with subprocess.Popen(
        command,
        cwd=folder,
        env=known,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=limit,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        answered = time.monotonic()
        _, log = process.communicate(timeout=120)
        leaving = time.monotonic() - answered
    assert line, log
    answers = json.loads(line)
    told = [one for one in log.splitlines() if one.strip() and "that was all" not in one]
    return Served(
        process.returncode,
        [answer for answer, _ in answers],
        [seconds for _, seconds in answers],
        leaving,
        [one for one in told if "opentelemetry." not in one],
    )


# What can be broken. Each gives the environment of the service, and breaks what it says as long as its block is open.

Break = Callable[[Path, ExitStack], Environment]

_PATIENT = {"HEALSPAN_START_WAIT_MS": str(START_WAIT_MS)}


def _file(content: bytes, folder: Path, stack: ExitStack) -> Environment:
    (folder / "healspan.toml").write_bytes(content)
    return {}


def _text(text: str) -> Break:
    return partial(_file, text.encode())


def _directory(folder: Path, stack: ExitStack) -> Environment:
    (folder / "healspan.toml").mkdir()
    return {}


def _link(target: str) -> Break:
    def link(folder: Path, stack: ExitStack) -> Environment:
        (folder / "healspan.toml").symlink_to(target)
        return {}

    return link


def _huge(folder: Path, stack: ExitStack) -> Environment:
    with (folder / "healspan.toml").open("wb") as file:
        file.truncate(4 * 1024**3)
    return {}


def _check_that(module: str) -> Break:
    def declare(folder: Path, stack: ExitStack) -> Environment:
        (folder / "checks.py").write_text(module)
        text = '[boundaries."prices:price"]\nname = "configured"\nchecks = ["checks:is_positive"]'
        return _text(text)(folder, stack)

    return declare


def _set(**settings: str) -> Break:
    return lambda folder, stack: {f"HEALSPAN_{name}": value for name, value in settings.items()}


def _in_place_of_the_directory(folder: Path, stack: ExitStack) -> Environment:
    (folder / "file").write_text("")
    return {"HEALSPAN_DATA_DIR": str(folder / "file")}


def _no_home(folder: Path, stack: ExitStack) -> Environment:
    return {"HEALSPAN_DATA_DIR": "~nobody-at-all/healspan"}


def _made_store() -> Path:
    settings = load_settings()
    with Store.open(settings):
        pass
    return settings.data_dir / "healspan.db"


def _store_there(folder: Path, stack: ExitStack) -> Environment:
    _made_store()
    return {}


def _corrupt(folder: Path, stack: ExitStack) -> Environment:
    settings = load_settings()
    settings.prepare()
    (settings.data_dir / "healspan.db").write_bytes(b"not a database, whatever its name says" * 300)
    return {}


def _locked(folder: Path, stack: ExitStack) -> Environment:
    connection = stack.enter_context(closing(sqlite3.connect(_made_store(), isolation_level=None)))
    connection.execute("PRAGMA locking_mode=EXCLUSIVE")
    connection.execute("BEGIN EXCLUSIVE")
    return {"HEALSPAN_BUSY_MS": "100", **_PATIENT}


def _newer(folder: Path, stack: ExitStack) -> Environment:
    with closing(sqlite3.connect(_made_store())) as connection, connection:
        connection.execute("UPDATE healspan_revision SET version_num = '9999'")
    return {}


def _database(scheme: str, *, port: int) -> Environment:
    return {"HEALSPAN_DATABASE_URL": f"{scheme}://shop:hunter2xyz@127.0.0.1:{port}/healspan"}


def _silent(stack: ExitStack) -> int:
    """Return a port that lets everybody in and says nothing."""
    one = stack.enter_context(closing(socket.socket()))
    one.bind(("127.0.0.1", 0))
    one.listen(64)
    return int(one.getsockname()[1])


def _nobody_at_the_database(folder: Path, stack: ExitStack) -> Environment:
    return _database("postgresql+psycopg", port=free_port())


def _silent_database(folder: Path, stack: ExitStack) -> Environment:
    return {**_database("postgresql+psycopg", port=_silent(stack)), **_PATIENT}


class _Failing(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_error(500)

    def log_message(self, *_: object) -> None: ...


def _failing(stack: ExitStack) -> int:
    server = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), _Failing))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stack.callback(server.shutdown)
    return int(server.server_address[1])


def _collector(port: Callable[[ExitStack], int]) -> Break:
    def send(folder: Path, stack: ExitStack) -> Environment:
        return {
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_LOGS_EXPORTER": "otlp",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port(stack)}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
        }

    return send


def _plugin(group: str, module: str, **settings: str) -> Break:
    def install(folder: Path, stack: ExitStack) -> Environment:
        packages = folder / "packages"
        metadata = packages / "broken-1.0.dist-info"
        metadata.mkdir(parents=True)
        (packages / "broken_plugin.py").write_text(module)
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[healspan.{group}]\nbroken = broken_plugin:Plugin\n")
        return {"PYTHONPATH": str(packages), **_set(**settings)(folder, stack)}

    return install


@dataclass(frozen=True)
class Broken:
    """One thing that is broken."""

    what: str
    how: Break
    words: str
    """Of the one line in the log; empty where healspan has nothing to say, since somebody else does."""
    doctor: str = ""
    """Words of doctor's; default: those of the log."""
    kept: bool = True
    """Whether incidents reach the store all the same."""
    most_bytes: int | None = None
    app: tuple[str, ...] = field(default=())
    """Modules that doctor imports."""
    warning: bool = False
    """Whether doctor is told no problem, only a warning."""

    @contextmanager
    def broken(self, folder: Path) -> Iterator[Environment]:
        """Break it for as long as the block is open; gives the service's environment."""
        with ExitStack() as stack:
            yield self.how(folder, stack)


_FOUND = '[boundaries."prices:price"]\nname = "configured"\n'
PRICES_APP = ("prices",)

BROKEN = (
    Broken("syntax", _text("[boundaries"), "healspan.toml cannot be read"),
    Broken("unknown key", _text(f"{_FOUND}retrysafe = true"), "did you mean 'retry_safe'?"),
    Broken("unknown table", _text('[boundary."prices:price"]'), "did you mean 'boundaries'?"),
    Broken("a directory", _directory, "is no file"),
    Broken("a link to nothing", _link("nowhere.toml"), "is no file"),
    Broken("unreadable", _link("/proc/self/mem"), "healspan.toml cannot be read"),
    Broken("huge", _huge, "has more than 1,000,000 bytes"),
    Broken("not UTF-8", partial(_file, b"# caf\xe9"), "healspan.toml cannot be read"),
    Broken("no such file", _set(CONFIG="none.toml"), "there is no such file"),
    Broken(
        "target not there",
        _text('[boundaries."prices:prise"]'),
        "names no function of this module; correct the target",
        app=PRICES_APP,
    ),
    Broken(
        "module not there",
        _text('[boundaries."prises:price"]'),
        "",
        doctor="its module was not imported",
        app=PRICES_APP,
        warning=True,
    ),
    Broken("a check that raises at import", _check_that("1 / 0"), "cannot have its boundary (ZeroDiv", app=PRICES_APP),
    Broken(
        "a check that ends the program",
        _check_that("raise SystemExit(3)"),
        "cannot have its boundary (SystemExit: 3)",
        app=PRICES_APP,
    ),
    Broken("a policy that is none", _set(POLICY="none-there-is"), "HEALSPAN_POLICY='none-there-is'", kept=False),
    Broken(
        "two values that are none",
        _set(DRAIN_SECONDS="often", DISABLED="perhaps"),
        "HEALSPAN_DISABLED='perhaps'",
        doctor="HEALSPAN_DRAIN_SECONDS='often'",
        kept=False,
    ),
    Broken("directory below a file", _set(DATA_DIR="/dev/null/healspan"), "set HEALSPAN_DATA_DIR to", kept=False),
    Broken("directory is a file", _in_place_of_the_directory, "set HEALSPAN_DATA_DIR to", kept=False),
    Broken("no home", _no_home, "has no home directory; give an absolute path", kept=False),
    Broken("no room at all", _set(), "cannot be used ([Errno 27]", doctor="has no room", kept=False, most_bytes=0),
    # How much is kept is for the room to say: the spool has no more of it than the store.
    Broken("little room", _store_there, "and that there is room", doctor="has no room", kept=False, most_bytes=40_000),
    Broken("store damaged", _corrupt, "is damaged", kept=False),
    Broken("store locked", _locked, "has not answered within", doctor="database is locked", kept=False),
    Broken("store of a newer healspan", _newer, "which a newer healspan has made; upgrade", kept=False),
    Broken("nobody at the database", _nobody_at_the_database, "check that it is reachable", kept=False),
    Broken(
        "silent database", _silent_database, "has not answered within", doctor="check that it is reachable", kept=False
    ),
    Broken("no such driver", _set(DATABASE_URL="nosuch://x"), "HEALSPAN_DATABASE_URL cannot be used", kept=False),
    Broken("driver not installed", _set(DATABASE_URL="mysql://h/x"), "install the driver it names", kept=False),
    Broken("driver of another kind", _set(DATABASE_URL="sqlite+aiosqlite:////x"), "HEALSPAN_DATABASE_URL", kept=False),
    Broken("store in memory", _set(DATABASE_URL="sqlite://"), "names a database in memory", kept=False),
    Broken("collector away", _collector(lambda stack: free_port()), "", doctor="cannot be reached"),
    Broken("collector silent", _collector(_silent), "", doctor="does not answer within"),
    Broken("collector failing", _collector(_failing), "", doctor="answers 500"),
    Broken("repairer raises", _plugin("repairers", "1 / 0"), "broken (broken_plugin:Plugin) is left out: Zero"),
    Broken("repairer ends", _plugin("repairers", "raise SystemExit"), "is left out: SystemExit"),
    Broken("repairer hangs", _plugin("repairers", "import time; time.sleep(60)"), "it was not loaded within"),
    Broken("embedder raises", _plugin("embedders", "1 / 0", EMBEDDER="broken"), "HEALSPAN_EMBEDDER='broken' cannot"),
    Broken("embedder missing", _set(EMBEDDER="none"), "there is no such embedder"),
)
