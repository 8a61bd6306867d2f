"""Which context managers are known to let exceptions through, and which are not."""

from __future__ import annotations

import textwrap

import pytest
from repair_application import Application

from healspan.remediation.errors import RepairDeclined
from healspan.remediation.repair.handled import way_unhandled
from healspan.remediation.repair.path import path_entry

BEFORE = """
import abc, asyncio, contextlib, decimal, threading
from contextlib import asynccontextmanager, contextmanager

LOCK = threading.Lock()
ASYNC_LOCK = asyncio.Lock()

class Timer(contextlib.AbstractContextManager):
    lock = threading.Lock()
    own = property(lambda self: contextlib.suppress(ValueError))
    def __exit__(self, kind, error, trace):
        print(kind)
        def inner():
            return True
        if kind is None:
            return None
        return False

class Inherited(Timer): pass

class Swallowing(Timer):
    def __exit__(self, *about):
        return True

class Perhaps(Timer):
    def __exit__(self, *about):
        return self.close()

class Converting(Timer):
    def __exit__(self, *about):
        raise LookupError

class Elsewhere(Timer):
    def __new__(cls):
        return contextlib.suppress(ValueError)

class ByLambda(Timer):
    __exit__ = lambda self, *about: True

class Meta(type):
    def __call__(cls):
        return contextlib.suppress(ValueError)

class ByMeta(Timer, metaclass=abc.ABCMeta): pass
class ByOtherMeta(metaclass=Meta):
    __exit__ = Timer.__exit__

class Gives(Timer):
    def __get__(self, owner, kind):
        return contextlib.suppress(ValueError)

class Owner:
    given = Gives()

TIMER, SWALLOWING = Timer(), Swallowing()

@contextmanager
def plain(name):
    with LOCK:
        print(name)
        try:
            yield name
        finally:
            print(name)

@contextmanager
def outer():
    with plain("a"), Timer():
        yield

@contextmanager
def logging():
    try:
        yield
    except ValueError:
        print()
        raise

@contextmanager
def lenient():
    try:
        yield
    except ValueError:
        print()

@contextmanager
def sometimes(flag):
    if flag:
        yield
    else:
        with contextlib.suppress(ValueError):
            yield

@contextmanager
def hidden():
    with lenient():
        yield

@contextmanager
def delegated():
    yield from text

@contextmanager
def mixed(name):
    if name:
        yield
    else:
        yield from text

@contextmanager
def endless():
    with endless():
        yield

@asynccontextmanager
async def session():
    async with ASYNC_LOCK:
        yield

@asynccontextmanager
async def careless():
    try:
        yield
    except Exception:
        pass
"""

LET_THROUGH = [
    "with Timer():",
    "with Inherited():",
    "with ByMeta():",
    "with TIMER:",
    "with Timer.lock:",
    "with Inherited.lock, TIMER:",
    "with plain(text) as name, Timer() as timer:",
    "with outer():",
    "with logging():",
    "async with ASYNC_LOCK:",
    "async with session():",
]

MAY_SWALLOW = [
    "with Swallowing():",
    "with SWALLOWING:",
    "with Perhaps():",
    "with Converting():",
    "with Elsewhere():",
    "with ByLambda():",
    "with ByOtherMeta():",
    "with Timer.own:",
    "with Timer.missing:",
    "with Timer:",
    "with lenient():",
    "with sometimes(text):",
    "with hidden():",
    "with delegated():",
    "with endless():",
    "with mixed(text):",
    "with Owner.given:",
    "with plain:",
    "with text.lock:",
    "with plain(text), text.lock:",
    "with contextlib.ExitStack():",
    "async with careless():",
    "async with plain(text):",
    "with session():",
    "async with asyncio.timeout(1):",
]


def judged(app: Application, head: str, *, error: str = "builtins.ValueError", local: str = "pass") -> None:
    """Judge the line under a manager, in a function of its own."""
    keyword = "async def" if head.startswith("async") else "def"
    inner = f"{keyword} inner():\n    {local}\n    {head}\n        return read(text)\nreturn inner()"
    module = app.module(f"{BEFORE}\ndef run(text):\n{textwrap.indent(inner, '    ')}\n")
    way_unhandled((path_entry(module.__name__, "run.<locals>.inner", "return read(text)"),), error)


@pytest.mark.parametrize("head", LET_THROUGH)
def test_a_manager_that_lets_everything_through_is_known_by_its_source(app: Application, head: str) -> None:
    judged(app, head)


@pytest.mark.parametrize("head", MAY_SWALLOW)
def test_a_manager_that_may_swallow_or_cannot_be_told_is_refused(app: Application, head: str) -> None:
    with pytest.raises(RepairDeclined, match="may swallow"):
        judged(app, head)


def test_a_manager_that_handles_another_error_only_is_no_hindrance(app: Application) -> None:
    judged(app, "with lenient():", error="builtins.KeyError")


def test_a_name_of_the_function_s_own_is_no_manager_of_the_module(app: Application) -> None:
    with pytest.raises(RepairDeclined, match="may swallow"):
        judged(app, "with Timer():", local="Timer = text")
