"""Functions made inside a repaired function: those made later, those that live already, and their way back."""

from __future__ import annotations

import gc
import threading
from types import FunctionType

import pytest
from repair_application import Application, failure, frames, heal, repair_for

from healspan.remediation.repair import Repairs, function_hash
from healspan.remediation.repair.inner import _copies, original_of

MAKE = """
def make(unit):
    def read(text):
        return float(text) * unit
    def other(text):
        return text
    return read, other
"""


def test_functions_made_later_and_those_that_live_are_healed_and_brought_back(
    app: Application, repairs: Repairs
) -> None:
    module = app.module(MAKE)
    make_code = module.make.__code__
    (read, other), (second, _) = module.make(2), module.make(3)
    code, other_code = read.__code__, other.__code__
    held = {"reader": [read]}
    heal(repairs, app, app.boundary("boundary", read), "$1")
    later, plain = module.make(5)
    called = [app.boundary("boundary", each)("$1") for each in (held["reader"][0], second, later)]
    assert called == [2.0, 3.0, 5.0]
    assert plain.__code__ is other.__code__ is other_code
    assert repairs.verify_uninstalled() == sorted(
        [f"{module.__name__}:make", *[f"{module.__name__}:make.<locals>.read"] * 3]
    )
    repairs.uninstall("fix")
    assert module.make.__code__ is make_code
    assert read.__code__ is second.__code__ is later.__code__ is code
    assert repairs.verify_uninstalled() == []
    assert type(failure(app.boundary("boundary", later), "$1")) is ValueError


def test_the_wrapper_that_a_decorator_made_at_import_is_healed(app: Application, repairs: Repairs) -> None:
    module = app.module(
        """
import functools

def in_thousands(function):
    @functools.wraps(function)
    def wrapper(text):
        return function(float(text)) / 1_000
    return wrapper

@in_thousands
def read(amount):
    return amount
"""
    )
    original = module.read.__code__
    read = app.boundary("boundary", module.read)
    heal(repairs, app, read, "$1,000")
    assert read("$5,000") == 5.0
    repairs.uninstall_all()
    assert module.read.__code__ is original


def test_lambdas_methods_generators_and_coroutines_made_inside_are_healed(app: Application, repairs: Repairs) -> None:
    module = app.module(
        """
def by_lambda(text):
    return (lambda each: float(each))(text)

def by_method(text):
    class Reader:
        __unit = 2
        def read(self, text):
            return float(text) * self.__unit + super().__sizeof__() * 0
    return Reader().read(text)

def by_generator(text):
    def each():
        yield float(text)
    return sum(each())

def by_comprehension(text):
    def each():
        return [float(one) for one in [text]]
    return each()[0]

def by_coroutine(text):
    async def read():
        return float(text)
    try:
        read().send(None)
    finally:
        pass
"""
    )
    for name in ("by_lambda", "by_method", "by_generator", "by_comprehension"):
        call = app.boundary(name, getattr(module, name))
        heal(repairs, app, call, "$1", fix_id=name, boundary=name)
        assert call("$3") == (6.0 if name == "by_method" else 3.0)
    call = app.boundary("by_coroutine", module.by_coroutine)
    heal(repairs, app, call, "$1", fix_id="by_coroutine", boundary="by_coroutine")
    stop = failure(call, "$3")
    assert isinstance(stop, StopIteration)
    assert stop.value == 3.0


def test_a_lambda_of_the_module_or_a_class_is_healed_as_the_function_it_is(app: Application, repairs: Repairs) -> None:
    module = app.module(
        "read = lambda text: float(text)\nother = lambda text: int(text)\n"
        "class Reader:\n    read = staticmethod(lambda text: float(text))\n"
    )
    codes = module.read.__code__, module.Reader.read.__code__
    for name, function in (("module", module.read), ("class", module.Reader.read)):
        call = app.boundary(name, function)
        heal(repairs, app, call, "$1", fix_id=name, boundary=name)
        assert call("$3") == 3.0
    assert type(failure(app.boundary("module", module.other), "$3")) is ValueError
    repairs.uninstall_all()
    assert (module.read.__code__, module.Reader.read.__code__) == codes


def test_repairs_inside_and_outside_an_inner_function_come_and_go_independently(
    app: Application, repairs: Repairs
) -> None:
    module = app.module(
        """
def run(record):
    text = record["unitPrice"]
    def read():
        return float(text)
    return read

def price(record):
    return run(record)()
"""
    )
    price = app.boundary("boundary", module.price)
    living = module.run({"unitPrice": "$7"})
    code = living.__code__
    heal(repairs, app, price, {"unitPrice": "$1"}, fix_id="number")
    guarded = living.__code__
    heal(repairs, app, price, {"unit_price": "1"}, fix_id="key", repairer="renamed_key")
    assert price({"unit_price": "$2"}) == 2.0
    assert living.__code__ is not guarded
    assert original_of(living.__code__) is code
    repairs.uninstall("number")
    assert living.__code__ is code
    assert type(failure(price, {"unitPrice": "$1"})) is ValueError
    assert price({"unit_price": "3"}) == 3.0
    repairs.uninstall("key")
    assert module.run.__code__ is original_of(module.run.__code__)


def test_a_call_that_began_before_the_end_makes_functions_whose_guard_does_nothing(
    app: Application, repairs: Repairs
) -> None:
    module = app.module(
        """
def makers():
    while True:
        def read(text):
            return float(text)
        yield read

def run(text):
    return next(makers())(text)
"""
    )
    running = module.makers()
    original = next(running).__code__
    run = app.boundary("boundary", module.run)
    heal(repairs, app, run, "$1")
    guarded = module.makers()
    next(guarded)
    repairs.uninstall("fix")
    late, never = next(guarded), next(running)
    assert never.__code__ is original
    assert repairs.verify_uninstalled() == [f"{module.__name__}:makers.<locals>.read"]
    error = failure(app.boundary("boundary", late), "$1")
    assert [each.tb_frame.f_code.co_name for each in frames(error)][-1] == "read"
    assert function_hash(late) == function_hash(never)
    del guarded
    repairs.install([repair_for(failure(run, "$1"), app)])
    repairs.uninstall("fix")
    assert late.__code__ is original


def test_the_identity_of_a_function_made_inside_does_not_change_with_its_repair(
    app: Application, repairs: Repairs
) -> None:
    module = app.module(MAKE)
    read, _ = module.make(2)
    before = function_hash(read)
    heal(repairs, app, app.boundary("boundary", read), "$1")
    assert function_hash(read) == function_hash(module.make(3)[0]) == before


def test_nothing_of_a_repair_stays_alive_once_its_functions_are_gone(app: Application, repairs: Repairs) -> None:
    module = app.module(MAKE)
    read, _ = module.make(2)
    gc.collect()
    others = [*_copies.values()]  # what other tests have left there may go meanwhile

    def kept() -> list[object]:
        return [one for one in _copies.values() if not any(one is other for other in others)]

    heal(repairs, app, app.boundary("boundary", read), "$1")
    assert kept()
    repairs.uninstall_all()
    gc.collect()
    assert kept() == []


def test_a_repair_of_a_function_that_makes_none_looks_for_none(
    app: Application, repairs: Repairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = app.module("def read(rows):\n    return [float(row) for row in rows]\n")
    read = app.boundary("boundary", module.read)
    repair = repair_for(failure(read, ["$1"]), app)
    with monkeypatch.context() as patched:
        patched.setattr(gc, "get_referrers", lambda *_: pytest.fail("searched"))
        assert [each.status for each in repairs.install([repair])] == ["installed"]
        repairs.uninstall_all()


def test_functions_are_made_and_called_while_repairs_come_and_go(app: Application, repairs: Repairs) -> None:
    module = app.module(MAKE + "\ndef run(text):\n    return make(1)[0](text)\n")
    run = app.boundary("boundary", module.run)
    repair = repair_for(failure(run, "$1"), app)
    original = module.make.__code__
    stop, wrong = threading.Event(), list[object]()
    living: list[FunctionType] = []

    def call() -> None:
        while not stop.is_set():
            if run("2") != 2.0:
                wrong.append("clean")
            try:
                if run("$1") != 1.0:
                    wrong.append("repaired")
            except ValueError as error:
                if frames(error)[-1].tb_frame.f_code.co_name != "read":
                    wrong.append(error)
            if len(living) < 500:
                living.append(module.make(1)[0])

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        repairs.install([repair])
        repairs.uninstall("fix")
    stop.set()
    for thread in threads:
        thread.join()
    repairs.install([repair])
    repairs.uninstall("fix")
    assert wrong == []
    assert module.make.__code__ is original
    assert {id(each.__code__) for each in living} == {id(module.make(1)[0].__code__)}
