"""How repairs get into functions and out of them again."""

from __future__ import annotations

import os
import pickle
import sys
import threading
import traceback
from dataclasses import replace

import pytest
from repair_application import READ, Application, failure, frames, heal, repair_for

from healspan.remediation.errors import RepairDeclined, StaleFix
from healspan.remediation.repair import ActiveRepair, Repairs
from healspan.remediation.repair.guard import Guard


def test_uninstalling_brings_back_the_very_code_object(app: Application, repairs: Repairs) -> None:
    module = app.module(READ)
    original = module.read.__code__
    read = app.boundary("boundary", module.read)
    heal(repairs, app, read, "$1")
    assert module.read.__code__ is not original
    assert repairs.verify_uninstalled() == [f"{module.__name__}:read"]
    repairs.uninstall("fix")
    assert module.read.__code__ is original
    assert repairs.verify_uninstalled() == []
    assert repairs.installed() == ()
    assert type(failure(read, "$1")) is ValueError


def test_installing_twice_changes_nothing(app: Application, repairs: Repairs) -> None:
    read = app.boundary("boundary", app.module(READ).read)
    repair = repair_for(failure(read, "$1"), app)
    repairs.install([repair])
    code = sys.modules[repair.step.module].read.__code__
    [report] = repairs.install([repair])
    assert report.status == "installed"
    assert sys.modules[repair.step.module].read.__code__ is code
    assert repairs.installed() == (repair,)


def test_another_way_is_taken_in_without_compiling_again(app: Application, repairs: Repairs) -> None:
    module = app.module(READ + "\ndef one(text):\n    return read(text)\n\ndef two(text):\n    return read(text)\n")
    one, two = app.boundary("boundary", module.one), app.boundary("boundary", module.two)
    first, second = repair_for(failure(one, "$1"), app), repair_for(failure(two, "$1"), app)
    repairs.install([first])
    code = module.read.__code__
    repairs.install([second])
    assert module.read.__code__ is code
    assert (one("$1"), two("$2")) == (1.0, 2.0)
    [installed] = repairs.installed()
    assert installed.paths == first.paths | second.paths


def test_two_repairs_of_one_function_come_and_go_independently(app: Application, repairs: Repairs) -> None:
    module = app.module("def price(record):\n    text = record['unitPrice']\n    return float(text)\n")
    original = module.price.__code__
    price = app.boundary("boundary", module.price)
    renamed, number = {"unit_price": "2"}, {"unitPrice": "$2"}
    heal(repairs, app, price, renamed, fix_id="key", repairer="renamed_key")
    heal(repairs, app, price, number, fix_id="number")
    assert price({"unit_price": "$2"}) == 2.0
    repairs.uninstall("key")
    assert type(failure(price, renamed)) is KeyError
    assert price(number) == 2.0
    repairs.uninstall("number")
    assert type(failure(price, number)) is ValueError
    assert module.price.__code__ is original


def test_two_repairs_of_nested_expressions_work_together(app: Application, repairs: Repairs) -> None:
    module = app.module("def price(record):\n    return float(record['unitPrice'])\n")
    price = app.boundary("boundary", module.price)
    heal(repairs, app, price, {"unit_price": "2"}, fix_id="key", repairer="renamed_key")
    heal(repairs, app, price, {"unitPrice": "$2"}, fix_id="number")
    assert price({"unit_price": "$2"}) == 2.0


def test_two_fixes_at_one_expression_serve_their_own_boundaries(app: Application, repairs: Repairs) -> None:
    module = app.module(READ)
    one, two = app.boundary("one", module.read), app.boundary("two", module.read)
    heal(repairs, app, one, "$1", fix_id="one", boundary="one")
    code = module.read.__code__
    heal(repairs, app, two, "$1", fix_id="two", boundary="two")
    assert module.read.__code__ is code
    repairs.uninstall("one")
    assert type(failure(one, "$1")) is ValueError
    assert two("$1") == 1.0


def test_a_fix_goes_in_with_all_its_steps_or_none(app: Application, repairs: Repairs) -> None:
    good, bad = app.module(READ), app.module(READ)
    one = repair_for(failure(app.boundary("boundary", good.read), "$1"), app)
    two = repair_for(failure(app.boundary("boundary", bad.read), "$1"), app)
    two = replace(two, step=two.step.model_copy(update={"source_hash": "0" * 64}))
    other = replace(one, fix_id="other")
    original = good.read.__code__
    assert [each.status for each in repairs.install([one, two])] == ["declined", "stale"]
    assert good.read.__code__ is original
    assert [each.status for each in repairs.install([one, two, other])] == ["declined", "stale", "installed"]


def test_a_fix_for_other_source_is_stale_and_nothing_happens(app: Application, repairs: Repairs) -> None:
    module = app.module(READ)
    original = module.read.__code__
    repair = repair_for(failure(app.boundary("boundary", module.read), "$1"), app)
    elsewhere = app.module("# moved down, and edited\n" + READ.replace("return float(text)", "return float( text)"))
    moved = replace(
        repair,
        step=repair.step.model_copy(update={"module": elsewhere.__name__}),
        paths=frozenset({((elsewhere.__name__, "read", "return float( text)"),)}),
    )
    [report] = repairs.install([moved])
    assert report.status == "stale"
    assert "changed since the fix was made" in report.reason
    assert module.read.__code__ is original


def test_a_step_whose_expression_is_not_what_stands_there_is_stale(app: Application, repairs: Repairs) -> None:
    repair = repair_for(failure(app.boundary("boundary", app.module(READ).read), "$1"), app)
    for change in ({"expression": "int(text)"}, {"column": 0}, {"line": 9, "end_line": 9}):
        [report] = repairs.install([replace(repair, step=repair.step.model_copy(update=change))])
        assert report.status == "stale"


def test_an_expression_that_is_never_evaluated_is_declined(app: Application, repairs: Repairs) -> None:
    module = app.module(READ + "    return float(text)\n")
    original = module.read.__code__
    repair = repair_for(failure(app.boundary("boundary", module.read), "$1"), app)
    step = repair.step.model_copy(update={"line": 2, "end_line": 2})
    [report] = repairs.install([replace(repair, step=step)])
    assert (report.status, module.read.__code__) == ("declined", original)
    assert "never evaluated" in report.reason


def test_code_replaced_since_its_source_was_read_is_stale(app: Application, repairs: Repairs) -> None:
    module = app.module(READ)
    repair = repair_for(failure(app.boundary("boundary", module.read), "$1"), app)
    module.read.__code__ = module.read.__code__.replace(co_consts=(None, "new"))
    assert [each.status for each in repairs.install([repair])] == ["stale"]


def test_the_standard_library_and_healspan_itself_are_never_changed(app: Application, repairs: Repairs) -> None:
    repair = repair_for(failure(app.boundary("boundary", app.module(READ).read), "$1"), app)
    for module in ("json.decoder", "healspan.remediation.repair.guard"):
        step = repair.step.model_copy(update={"module": module})
        [report] = repairs.install([replace(repair, step=step)])
        assert report.status == "declined"
        assert "no code of the application" in report.reason


def test_source_edited_on_disk_before_the_repair_is_stale(app: Application, repairs: Repairs) -> None:
    module = app.module(READ)
    original = module.read.__code__
    twin = app.module("\n" + READ)
    repair = repair_for(failure(app.boundary("boundary", twin.read), "$1"), app)
    (app.directory / f"{module.__name__}.py").write_text("x = 1\n" + READ)
    here = replace(
        repair,
        step=repair.step.model_copy(update={"module": module.__name__}),
        paths=frozenset({((module.__name__, "read", "return float(text)"),)}),
    )
    [report] = repairs.install([here])
    assert report.status == "stale"
    assert module.read.__code__ is original


def test_the_same_function_on_other_lines_of_another_host_is_repaired(app: Application, repairs: Repairs) -> None:
    here = app.module(READ)
    repair = repair_for(failure(app.boundary("boundary", here.read), "$1"), app)
    there = app.module("import os\n\n\n" + READ)
    moved = replace(
        repair,
        step=repair.step.model_copy(update={"module": there.__name__}),
        paths=frozenset({((there.__name__, "read", "return float(text)"),)}),
    )
    assert [each.status for each in repairs.install([moved])] == ["installed"]
    assert app.boundary("boundary", there.read)("$1") == 1.0


def test_a_repair_waits_for_a_module_that_is_not_imported_yet(app: Application, repairs: Repairs) -> None:
    module = app.module(READ, name="repaired_app_later")
    repair = repair_for(failure(app.boundary("boundary", module.read), "$1"), app)
    del sys.modules["repaired_app_later"]
    assert [each.status for each in repairs.install([repair])] == ["pending"]
    assert repairs.retry_pending() == []
    again = app.module(READ, name="repaired_app_later")
    assert [each.status for each in repairs.retry_pending()] == ["installed"]
    assert app.boundary("boundary", again.read)("$1") == 1.0
    assert repairs.retry_pending() == []


def test_what_waits_can_be_withdrawn(app: Application, repairs: Repairs) -> None:
    module = app.module(READ, name="repaired_app_later")
    repair = repair_for(failure(app.boundary("boundary", module.read), "$1"), app)
    del sys.modules["repaired_app_later"]
    repairs.install([repair])
    repairs.uninstall("fix")
    app.module(READ, name="repaired_app_later")
    assert repairs.retry_pending() == []


def test_a_warm_function_is_healed(app: Application, repairs: Repairs) -> None:
    module = app.module(READ + "\ndef total(rows):\n    return sum(read(row) for row in rows)\n")
    total = app.boundary("boundary", module.total)
    for _ in range(200):
        total(["1", "2"])
    heal(repairs, app, total, ["1", "$2"])
    for _ in range(200):
        assert total(["1", "$2"]) == 3.0


def test_super_closures_and_private_names_elsewhere_in_the_body_stay_right(app: Application, repairs: Repairs) -> None:
    module = app.module(
        """
class Base:
    def scale(self):
        return 10

class Reader(Base):
    __unit = 2

    def scale(self):
        return super().scale()

    def read(self, text):
        amount = float(text)
        times = lambda: amount * self.__unit
        return [times() + super(Reader, self).scale() + __class__.__unit for _ in range(2)], super().scale()
"""
    )
    original = module.Reader.read.__code__
    reader = module.Reader()
    read = app.boundary("boundary", module.Reader.read)
    before = read(reader, "3")
    heal(repairs, app, read, reader, "$3")
    assert read(reader, "3") == before == ([18.0, 18.0], 10)
    assert read(reader, "$3") == before
    assert module.Reader.read.__code__.co_freevars == original.co_freevars == ("__class__",)


def test_every_kind_of_method_and_decorated_function_is_healed(app: Application, repairs: Repairs) -> None:
    module = app.module(
        """
import functools

def logged(function):
    @functools.wraps(function)
    def wrapper(*args):
        return function(*args)
    return wrapper

class Reader:
    text = "$1"

    @staticmethod
    def static(text):
        return float(text)

    @classmethod
    def of_class(cls, text):
        return float(text)

    @property
    def own(self):
        return float(self.text)

    @logged
    def wrapped(self, text):
        return float(text)

def static(): return Reader.static("$1")
def of_class(): return Reader.of_class("$1")
def own(): return Reader().own
def wrapped(): return Reader().wrapped("$1")
"""
    )
    for name in ("static", "of_class", "own", "wrapped"):
        call = app.boundary(name, getattr(module, name))
        heal(repairs, app, call, fix_id=name, boundary=name)
        assert call() == 1.0


def test_tracebacks_of_a_repaired_function_read_as_before(app: Application, repairs: Repairs) -> None:
    module = app.module(
        """
def price(record):
    name = record["name"]
    return (
        name
        .strip()
        .join(
            [str(float(record["price"]))]
        )
    )
"""
    )
    price = app.boundary("boundary", module.price)
    inputs: list[object] = [{}, {"name": 3}, {"name": "a"}, {"name": "a", "price": "x"}, None]
    before = ["".join(traceback.format_exception(failure(price, each))) for each in inputs]
    heal(repairs, app, price, {"name": "a", "price": "$1"}, fix_id="number")
    heal(repairs, app, price, {"Name": "a", "price": "1"}, fix_id="key", repairer="renamed_key")
    assert ["".join(traceback.format_exception(failure(price, each))) for each in inputs] == before


def test_code_that_something_else_replaced_meanwhile_is_left_alone(app: Application, repairs: Repairs) -> None:
    module = app.module(READ)
    original = module.read.__code__
    heal(repairs, app, app.boundary("boundary", module.read), "$1")
    foreign = original.replace(co_name="instrumented")
    module.read.__code__ = foreign
    repairs.uninstall_all()
    assert module.read.__code__ is foreign
    assert repairs.verify_uninstalled() == [f"{module.__name__}:read"]
    module.read.__code__ = original


def test_taking_out_one_of_two_repairs_leaves_foreign_code_alone(app: Application, repairs: Repairs) -> None:
    module = app.module("def price(record):\n    return float(record['unitPrice'])\n")
    original = module.price.__code__
    price = app.boundary("boundary", module.price)
    heal(repairs, app, price, {"unit_price": "2"}, fix_id="key", repairer="renamed_key")
    heal(repairs, app, price, {"unitPrice": "$2"}, fix_id="number")
    foreign = module.price.__code__.replace(co_name="instrumented")
    module.price.__code__ = foreign
    repairs.uninstall("key")
    assert module.price.__code__ is foreign
    assert type(failure(price, {"unitPrice": "$2"})) is ValueError
    module.price.__code__ = original


def test_a_pickled_code_object_carries_no_repairs(app: Application, repairs: Repairs) -> None:
    module = app.module(READ)
    heal(repairs, app, app.boundary("boundary", module.read), "$1")
    [guard] = [each for each in module.read.__code__.co_consts if isinstance(each, Guard)]
    copy = pickle.loads(pickle.dumps(guard))
    assert (copy.kind, copy.repairs) == ("call", ())
    assert copy.call_1(float, "1") == 1.0


def test_a_repair_that_no_repairer_here_knows_is_declined(app: Application, repairs: Repairs) -> None:
    repair = repair_for(failure(app.boundary("boundary", app.module(READ).read), "$1"), app)
    unknown = replace(repair, step=repair.step.model_copy(update={"repairer": "astrology"}))
    wrong = replace(repair, step=repair.step.model_copy(update={"parameters": {"colour": "red"}}))
    pathless = replace(repair, paths=frozenset())
    for each in (unknown, wrong, pathless):
        [report] = repairs.install([each])
        assert report.status == "declined"
        assert report.reason


def test_a_probe_of_what_cannot_be_installed_raises_and_changes_nothing(app: Application, repairs: Repairs) -> None:
    module = app.module(READ)
    original = module.read.__code__
    repair = repair_for(failure(app.boundary("boundary", module.read), "$1"), app)
    stale = replace(repair, step=repair.step.model_copy(update={"source_hash": "0" * 64}))
    declined = replace(repair, step=repair.step.model_copy(update={"repairer": "astrology"}))
    with pytest.raises(StaleFix), repairs.probe([stale]):
        pass
    with pytest.raises(RepairDeclined), repairs.probe([repair, declined]):
        pass
    assert module.read.__code__ is original


def test_a_probe_leaves_the_installed_repair_in_force(app: Application, repairs: Repairs) -> None:
    module = app.module(READ + "\ndef one(text):\n    return read(text)\n\ndef two(text):\n    return read(text)\n")
    one, two = app.boundary("boundary", module.one), app.boundary("boundary", module.two)
    heal(repairs, app, one, "$1")
    repair = repair_for(failure(two, "$1"), app)
    with repairs.probe([repair]) as probe:
        assert two("$1") == 1.0
        assert probe.fired()
    assert one("$1") == 1.0
    assert type(failure(two, "$1")) is ValueError


def test_a_forked_child_keeps_the_repairs_and_can_change_them(app: Application, repairs: Repairs) -> None:
    read = app.boundary("boundary", app.module(READ).read)
    heal(repairs, app, read, "$1")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            healed = read("$1") == 1.0
            repairs.uninstall_all()
            code = 0 if healed and repairs.verify_uninstalled() == [] else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert read("$1") == 1.0


def test_eight_threads_call_while_repairs_come_and_go(app: Application, repairs: Repairs) -> None:
    module = app.module(
        "def total(rows):\n    amount = 0.0\n    for row in rows:\n        amount += float(row)\n    return amount\n"
    )
    total = app.boundary("boundary", module.total)
    repair = repair_for(failure(total, ["$1"]), app)
    original = module.total.__code__
    stop, wrong = threading.Event(), list[object]()

    def call() -> None:
        while not stop.is_set():
            if total(["1", "2"]) != 3.0:
                wrong.append("clean")
            try:
                value = total(["1", "$2"])
            except ValueError as error:
                if [each.tb_frame.f_code.co_name for each in frames(error)][-1] != "total":
                    wrong.append(error)
            else:
                if value != 3.0:
                    wrong.append(value)

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(100):
        repairs.install([repair])
        repairs.uninstall("fix")
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert module.total.__code__ is original


def test_two_owners_do_not_fight_over_one_function(app: Application, repairs: Repairs) -> None:
    read = app.boundary("boundary", app.module(READ).read)
    repair = repair_for(failure(read, "$1"), app)
    repairs.install([repair])
    [report] = Repairs().install([repair])
    assert report.status == "declined"
    assert read("$1") == 1.0


def test_an_installed_repair_is_what_was_asked_for(app: Application, repairs: Repairs) -> None:
    repair = repair_for(failure(app.boundary("boundary", app.module(READ).read), "$1"), app)
    repairs.install([repair])
    assert repairs.installed() == (
        ActiveRepair(fix_id="fix", step=repair.step, boundary="boundary", paths=repair.paths),
    )
