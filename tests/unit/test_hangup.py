"""SIGHUP: heard, passed on, and given back."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

import pytest
from tests.observe import wait_until

from healspan.instrumentation.hangup import Hangup


@pytest.fixture(autouse=True)
def untouched() -> Iterator[None]:
    before = signal.getsignal(signal.SIGHUP)
    yield
    assert signal.getsignal(signal.SIGHUP) in {before, _theirs}
    signal.signal(signal.SIGHUP, before)


heard: list[int] = []


def _theirs(number: int, frame: FrameType | None) -> None:
    heard.append(number)


def test_whoever_handled_it_before_still_does_and_has_it_back() -> None:
    signal.signal(signal.SIGHUP, _theirs)
    heard.clear()
    called = threading.Event()
    hangup = Hangup(called.set)
    assert hangup.install()
    assert hangup.install(), "twice is once"
    os.kill(os.getpid(), signal.SIGHUP)
    assert called.wait(20)
    wait_until(lambda: heard == [signal.SIGHUP], "the application's own handler")
    hangup.remove()
    assert signal.getsignal(signal.SIGHUP) is _theirs


def test_the_application_s_later_handler_stays() -> None:
    hangup = Hangup(lambda: None)
    hangup.install()
    signal.signal(signal.SIGHUP, _theirs)
    hangup.remove()
    assert signal.getsignal(signal.SIGHUP) is _theirs


def test_off_the_main_thread_it_does_without() -> None:
    installed: list[bool] = []
    thread = threading.Thread(target=lambda: installed.append(Hangup(lambda: None).install()))
    thread.start()
    thread.join()
    assert installed == [False]
