"""What is in force is what is wanted: nothing else stays, and what cannot be installed does not hurt the rest."""

from __future__ import annotations

import sys
from dataclasses import replace

from repair_application import READ, Application, failure, repair_for

from healspan.remediation.repair import Repairs


def test_exactly_what_is_wanted_is_in_force(app: Application, repairs: Repairs) -> None:
    module = app.module(READ)
    original = module.read.__code__
    read = app.boundary("boundary", module.read)
    repair = repair_for(failure(read, "$1"), app)
    assert [each.status for each in repairs.install_exactly([repair])] == ["installed"]
    assert repairs.install_exactly([repair]) == []
    repairs.install_exactly([replace(repair, fix_id="better")])
    assert [each.fix_id for each in repairs.installed()] == ["better"]
    assert read("$1") == 1.0
    repairs.install_exactly([])
    assert module.read.__code__ is original
    repairs.install_exactly([repair])
    repairs.uninstall_all()
    repairs.install_exactly([repair])
    assert read("$1") == 1.0


def test_a_way_that_is_no_longer_wanted_is_closed(app: Application, repairs: Repairs) -> None:
    module = app.module(READ + "\ndef one(text):\n    return read(text)\n\ndef two(text):\n    return read(text)\n")
    one, two = app.boundary("boundary", module.one), app.boundary("boundary", module.two)
    first, second = repair_for(failure(one, "$1"), app), repair_for(failure(two, "$1"), app)
    repairs.install_exactly([replace(first, paths=first.paths | second.paths)])
    assert (one("$1"), two("$1")) == (1.0, 1.0)
    repairs.install_exactly([second])
    assert type(failure(one, "$1")) is ValueError
    assert two("$1") == 1.0


def test_what_waits_and_is_no_longer_wanted_is_never_installed(app: Application, repairs: Repairs) -> None:
    module = app.module(READ, name="repaired_app_later")
    repair = repair_for(failure(app.boundary("boundary", module.read), "$1"), app)
    del sys.modules["repaired_app_later"]
    repairs.install_exactly([repair])
    repairs.install_exactly([])
    app.module(READ, name="repaired_app_later")
    assert repairs.retry_pending() == []


def test_what_cannot_be_installed_hurts_nothing_else(app: Application, repairs: Repairs) -> None:
    read = app.boundary("boundary", app.module(READ).read)
    repair = repair_for(failure(read, "$1"), app)
    stale = replace(repair, fix_id="stale", step=repair.step.model_copy(update={"source_hash": "0" * 64}))
    later = replace(repair, fix_id="later", step=repair.step.model_copy(update={"module": "repaired_app_never"}))
    reports = repairs.install_exactly([stale, later, repair])
    assert [each.status for each in reports] == ["stale", "pending", "installed"]
    assert read("$1") == 1.0
