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
    assert called.wait(60)
    wait_until(lambda: heard == [signal.SIGHUP], "the application's own handler")
    hangup.remove()
    assert signal.getsignal(signal.SIGHUP) is _theirs


def test_a_storm_of_them_is_one_thread_which_reads_again_after_the_last() -> None:
    started, go_on, read = threading.Event(), threading.Event(), []

    def reload() -> None:
        started.set()
        go_on.wait(60)
        read.append(1)

    hangup = Hangup(reload)
    hangup.install()
    os.kill(os.getpid(), signal.SIGHUP)
    assert started.wait(60)
    for _ in range(100):
        os.kill(os.getpid(), signal.SIGHUP)
    assert len([one for one in threading.enumerate() if one.name == "healspan-reload"]) == 1
    go_on.set()
    wait_until(lambda: len(read) == 2, "what was asked meanwhile")
    hangup.remove()
    wait_until(lambda: all(one.name != "healspan-reload" for one in threading.enumerate()), "the end of the thread")
    hangup.install()
    os.kill(os.getpid(), signal.SIGHUP)
    wait_until(lambda: len(read) == 3, "the first of the next ones")
    hangup.remove()


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
