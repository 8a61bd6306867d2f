"""Marks are beside an exception, where the application that has it does not meet them."""

from __future__ import annotations

import concurrent.futures
import copy
import gc
import multiprocessing
import pickle
from dataclasses import dataclass
from typing import Any

import pytest

from healspan.instrumentation.signals import mark
from healspan.instrumentation.signals.mark import marks_of


class Refused(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Frozen(Exception):
    code: int


class Guarded(Exception):
    def __setattr__(self, name: str, value: object) -> None:
        if not hasattr(self, name):
            raise TypeError(name)
        super().__setattr__(name, value)


@pytest.mark.parametrize("error", [Refused(5), Frozen(5), Guarded()], ids=lambda one: type(one).__name__)
def test_what_an_exception_holds_is_as_it_was_and_so_is_what_arrives_elsewhere(error: Any) -> None:
    before = dict(vars(error))
    first = marks_of(error)
    assert vars(error) == before
    assert marks_of(error) == first
    again, copied = pickle.loads(pickle.dumps(error)), copy.copy(error)
    assert getattr(again, "code", None) == getattr(copied, "code", None) == getattr(error, "code", None)


def test_those_that_are_gone_are_forgotten() -> None:
    gc.collect()
    before = len(mark._marked)
    for number in range(100):
        marks_of(Refused(number))
    assert len(mark._marked) == before


def fail(kind: type[Exception]) -> None:
    error = kind(*[5][: kind is not Guarded])
    marks_of(error)
    raise error


@pytest.mark.parametrize("kind", [Refused, ValueError, Guarded])
def test_a_worker_s_comes_back_as_it_was_and_with_its_mark_where_it_can(kind: type[Exception]) -> None:
    spawning = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, spawning) as pool:
        error = pool.submit(fail, kind).exception(60)
    assert type(error) is kind
    assert getattr(error, "code", 5) == 5
    assert ("__healspan_mark__" in vars(error)) is (kind in (Refused, ValueError))


def test_a_group_of_many_is_looked_through_in_no_time() -> None:
    error = ValueError()
    assert len(marks_of(ExceptionGroup("many", [error] * 100_000))) == 2
    assert len(marks_of(ExceptionGroup("many", [ValueError() for _ in range(1_000)]))) == 16
