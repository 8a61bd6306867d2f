"""Uninstrumenting gives back every object as it was: by identity, over and over, whatever others do meanwhile."""

from __future__ import annotations

import asyncio
import gc
import importlib
import logging
import multiprocessing.process
import signal
import sys
import threading
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.trace import TracerProvider
from tests.observe import drained, facts, wait_until
from wrapt import importer

from healspan.instrumentation import HealspanInstrumentor
from healspan.instrumentation.configured import ConfiguredBoundaries, _hooks
from healspan.instrumentation.signals.watcher import watcher
from healspan.remediation import counted
from healspan.remediation.boundary import boundaries, why_missing
from healspan.remediation.runtime import Runtime, runtime

CODE = """
import functools

def read(text):
    return float(text)

also = read
closed = (lambda held: lambda text: held(text))(read)
bound = functools.partial(read, "2")
registry = {"read": read}

async def read_later(text):
    return float(text)

def read_all(texts):
    for text in texts:
        yield float(text)

@functools.lru_cache
def read_cached(text):
    return float(text)

@functools.wraps(read)
def read_wrapped(text):
    return read(text)

class Meta(type):
    pass

class Reader(metaclass=Meta):
    slow = read
    __slots__ = ("kept",)

    def read(self, text):
        return float(text)

    @staticmethod
    def read_static(text):
        return float(text)

    @classmethod
    def read_class(cls, text):
        return float(text)

    @property
    def read_property(self):
        return 1.0

    class Inner:
        @functools.cached_property
        def read_once(self):
            return 1.0

        def read(self, text):
            return float(text)

class Further(Reader):
    pass
"""

DECLARED = """
[boundaries."PKG.*:read*"]
retry_safe = true
[boundaries."PKG.code:Reader.read*"]
retry_safe = true
[boundaries."PKG.code:Reader.Inner.read*"]
[boundaries."PKG.code:Further.read"]
[boundaries."PKG.never:*"]
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An application, imported; its name is nobody else's."""
    name = f"uninstrumented_{abs(hash(tmp_path)) % 10**9}"
    folder = tmp_path / "code" / name
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "code.py").write_text(CODE)
    (folder / "other.py").write_text(
        f"from {name}.code import read, Reader\nfrom {name}.code import read as known_as\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path / "code"))
    importlib.import_module(f"{name}.other")
    path = tmp_path / "healspan.toml"
    path.write_text(DECLARED.replace("PKG", name))
    monkeypatch.setenv("HEALSPAN_CONFIG", str(path))
    yield name
    for module in [one for one in sys.modules if one.startswith(name)]:
        del sys.modules[module]


class Providers:
    def __init__(self) -> None:
        self.traces, self.logs = TracerProvider(), LoggerProvider()

    def instrument(self) -> None:
        HealspanInstrumentor().instrument(tracer_provider=self.traces, logger_provider=self.logs, uncaught=True)


@pytest.fixture
def providers() -> Iterator[Providers]:
    made = Providers()
    # Hears once what it will keep: wrapt's own finder, and one processor for each provider.
    made.instrument()
    HealspanInstrumentor().uninstrument()
    yield made
    if HealspanInstrumentor().is_instrumented_by_opentelemetry:
        HealspanInstrumentor().uninstrument()
    watcher.flush()


def snapshot(package: str) -> dict[str, object]:
    """Return everything that instrumenting may touch, by where it is; objects are compared by identity."""
    found: dict[str, object] = {
        "excepthook": sys.excepthook,
        "threads": threading.excepthook,
        "tasks": asyncio.BaseEventLoop.__dict__["default_exception_handler"],
        "processes": multiprocessing.process.BaseProcess.__dict__["_bootstrap"],
        "hangup": signal.getsignal(signal.SIGHUP),
    }
    for number, finder in enumerate(sys.meta_path):
        found[f"finder {number}"] = finder
    for name in ("", "healspan", "healspan.store"):
        for number, handler in enumerate(logging.getLogger(name).handlers):
            found[f"handler {number} of {name!r}"] = handler
    for name in sorted(one for one in sys.modules if one.startswith(package)):
        _look_into(found, name, sys.modules[name], set())
    return found


def _look_into(found: dict[str, object], path: str, value: Any, seen: set[int]) -> None:
    found[path] = value
    if id(value) in seen:
        return
    seen.add(id(value))
    inner: Iterator[tuple[str, Any]] = iter(())
    if isinstance(value, ModuleType | type):
        inner = ((name, each) for name, each in vars(value).items() if name not in {"__builtins__", "__dict__"})
    elif isinstance(value, staticmethod | classmethod):
        inner = iter([("__func__", value.__func__)])
    elif isinstance(value, FunctionType):
        held = {f"cell {n}": cell.cell_contents for n, cell in enumerate(value.__closure__ or ())}
        inner = iter({"__code__": value.__code__, "__dict__": dict(value.__dict__), **held}.items())
    elif isinstance(value, dict):
        inner = iter(value.items())
    for name, each in inner:
        if name == "__dict__":
            found[f"{path}.__dict__"] = tuple(each)
        else:
            _look_into(found, f"{path}.{name}", each, seen)


def same(one: dict[str, object], other: dict[str, object]) -> None:
    assert list(one) == list(other)
    plain = (tuple, str, int, float)
    changed = [path for path, value in one.items() if not isinstance(value, plain) and other[path] is not value]
    assert changed == []
    assert [path for path, value in one.items() if isinstance(value, plain) and other[path] != value] == []


def lasting(providers: Providers) -> dict[str, dict[int, object]]:
    """Return what lives as long as the process and may grow, by identity: what others leave there may also go."""
    places: dict[str, Iterable[object]] = {
        "counted": counted._sources,
        "waited for": importer._post_import_hooks.values(),
        "hooks": (hook for hooks in importer._post_import_hooks.values() for hook in hooks),
        "pending": _hooks._pending,
        "listeners": _hooks._listeners,
        "watched": HealspanInstrumentor()._watched,
        "threads": (one for one in threading.enumerate() if one.name.startswith("healspan-")),
        "processors": providers.traces._active_span_processor._span_processors,
    }
    return {place: {id(one): one for one in found} for place, found in places.items()}


@pytest.mark.usefixtures("live")
def test_every_object_is_the_one_that_was_there_ten_times_over(package: str, providers: Providers) -> None:
    before = snapshot(package)
    others, more = lasting(providers), []
    for _ in range(10):
        providers.instrument()
        during = snapshot(package)
        assert during["excepthook"] is not before["excepthook"]
        code = sys.modules[f"{package}.code"]
        assert code.read.boundary is code.also.boundary is sys.modules[f"{package}.other"].known_as.boundary
        assert hasattr(code.Reader.Inner.read, "boundary")
        HealspanInstrumentor().uninstrument()
        same(before, snapshot(package))
        assert not [name for name in boundaries() if name.startswith(package)]
        assert not any(map(why_missing, tomllib.loads(DECLARED.replace("PKG", package))["boundaries"]))
        runtime().flush(everything=True)
        gc.collect()
        more.append({place: len(now.keys() - others[place].keys()) for place, now in lasting(providers).items()})
    assert more[1] == more[-1]


def test_a_module_that_is_imported_meanwhile_is_given_back_as_well(package: str, providers: Providers) -> None:
    del sys.modules[f"{package}.other"], sys.modules[f"{package}.code"]
    for _ in range(3):
        providers.instrument()
        module = importlib.import_module(f"{package}.other")
        assert hasattr(module.read, "boundary"), "also when it is imported anew"
        bare = module.read.__wrapped__
        HealspanInstrumentor().uninstrument()
        assert module.read is module.known_as is sys.modules[f"{package}.code"].read is bare
        assert not type(module.__spec__.loader).__module__.startswith("wrapt")
        del sys.modules[f"{package}.other"], sys.modules[f"{package}.code"]


def test_what_stands_in_front_by_then_stays_and_calls_straight_through(package: str, providers: Providers) -> None:
    code = sys.modules[f"{package}.code"]
    bare, hook = code.read, sys.excepthook
    providers.instrument()
    ours = code.read

    def theirs(text: str) -> Any:
        return ours(text)

    heard: list[object] = []
    their_hook = lambda *args: (heard.append(args[1]), watched(*args))  # noqa: E731
    watched, code.read = sys.excepthook, theirs
    try:
        sys.excepthook = their_hook
        HealspanInstrumentor().uninstrument()
        assert code.read is theirs, "it is theirs"
        assert code.also is bare
        assert sys.excepthook is their_hook
        with pytest.raises(ValueError, match="could not"):
            code.read("$1")
        # Instrumented again it is no second time in the same row: one exception, one signal.
        for _ in range(5):
            providers.instrument()
            HealspanInstrumentor().uninstrument()
        assert sys.excepthook is their_hook
    finally:
        sys.excepthook, code.read = hook, bare


def test_an_exception_that_nobody_catches_is_one_incident_behind_somebodys_hook(
    live: Runtime,
    package: str,
    providers: Providers,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda args: None)
    providers.instrument()
    first = threading.excepthook
    monkeypatch.setattr(threading, "excepthook", lambda args: first(args))
    HealspanInstrumentor().uninstrument()
    providers.instrument()

    def fail() -> None:
        raise LookupError("nobody catches it")

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    watcher.flush()
    assert [one.incident.error_message for one in facts(live)] == ["nobody catches it"]


def test_repairs_of_its_boundaries_are_out_and_come_back(live: Runtime, package: str, providers: Providers) -> None:
    code = sys.modules[f"{package}.code"]
    before = code.read.__code__
    providers.instrument()
    bare = code.read.__wrapped__
    assert code.read("$1,234") == 1234.0
    wait_until(lambda: bare.__code__ is not before, "the repair to be installed")
    HealspanInstrumentor().uninstrument()
    assert code.read is bare
    assert bare.__code__ is before
    with pytest.raises(ValueError, match="could not"):
        code.read("$1,234")
    providers.instrument()
    wait_until(lambda: code.read("$1,234") == 1234.0, "the fix to serve again")
    HealspanInstrumentor().uninstrument()
    assert bare.__code__ is before
    drained(live)


def test_while_threads_call(live: Runtime, package: str, providers: Providers) -> None:
    code = sys.modules[f"{package}.code"]
    before, wrong = snapshot(package), []
    stop = threading.Event()

    def call() -> None:
        reader = code.Reader()
        while not stop.is_set():
            try:
                if [code.read("1"), reader.read("2"), code.Reader.read_static("3"), *code.read_all("45")] != [
                    1.0,
                    2.0,
                    3.0,
                    4.0,
                    5.0,
                ]:
                    wrong.append("another value")
                try:
                    code.read("no number")
                    wrong.append("no exception")
                except ValueError:
                    pass
            except BaseException as error:
                wrong.append(repr(error))

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        providers.instrument()
        HealspanInstrumentor().uninstrument()
    stop.set()
    for thread in threads:
        thread.join(60)
    assert wrong == []
    same(before, snapshot(package))


def test_one_kind_of_signal_left_out_later_is_left_out(live: Runtime, package: str, providers: Providers) -> None:
    providers.instrument()
    HealspanInstrumentor().uninstrument()
    HealspanInstrumentor().instrument(tracer_provider=providers.traces, logger_provider=providers.logs, spans=False)
    with pytest.raises(LookupError), providers.traces.get_tracer("app").start_as_current_span("request"):
        raise LookupError("nobody is told")
    watcher.flush()
    assert facts(live) == []


def test_off_the_main_thread_the_handler_of_hangups_gives_itself_back(package: str, providers: Providers) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGHUP, lambda number, frame: heard.append(number))
    try:
        theirs = signal.getsignal(signal.SIGHUP)
        providers.instrument()
        thread = threading.Thread(target=HealspanInstrumentor().uninstrument)
        thread.start()
        thread.join()
        signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is theirs
        assert heard == [signal.SIGHUP]
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("live")
def test_threads_that_begin_and_end_at_once(package: str, providers: Providers) -> None:
    importlib.import_module(f"{package}.code")
    before = snapshot(package)
    interval = sys.getswitchinterval()

    def begin_and_end() -> None:
        for _ in range(5):
            providers.instrument()
            HealspanInstrumentor().uninstrument()

    threads = [threading.Thread(target=begin_and_end) for _ in range(4)]
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    finally:
        sys.setswitchinterval(interval)
    HealspanInstrumentor().uninstrument()
    same(before, snapshot(package))
    assert not [one for one in sys.meta_path if type(one).__module__.startswith("healspan")]


@pytest.mark.usefixtures("live")
def test_what_is_read_again_in_the_middle_of_the_end_stays_off(
    package: str, providers: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = importlib.import_module(f"{package}.code")
    before = snapshot(package)
    providers.instrument()
    instrumentor, apply = HealspanInstrumentor(), ConfiguredBoundaries.apply

    def late(configured: ConfiguredBoundaries) -> None:
        instrumentor.uninstrument()
        apply(configured)
        assert hasattr(code.read, "boundary")

    monkeypatch.setattr(ConfiguredBoundaries, "apply", late)
    instrumentor._reload()
    same(before, snapshot(package))
