"""A fix whose repairer came from a package that is not installed any more: it does not act, and it is said why."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest
from tests.earning import only_fix

from healspan.remediation import policy
from healspan.remediation.boundary import Boundary
from healspan.remediation.cli.checks import fixes, run_checks
from healspan.remediation.cli.explanation import explain_fix
from healspan.remediation.runtime import Runtime
from healspan.remediation.store.repository import Store


def test_doctor_and_explain_name_it(
    live: Runtime,
    module: Callable[[str], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = module("@boundary('price', retry_safe=True)\ndef price(text):\n    return float(text)\n")
    assert app.price("$1,234") == 1234.0
    fix, _ = only_fix(live)
    declared = {fix.scope.module: app.price.boundary}
    assert not _missing(live, declared)

    for place in (fixes, policy):
        monkeypatch.setattr(place, "catalogue", dict)
    [said] = _missing(live, declared)
    assert fix.fix_id[:12] in said
    assert "number, which is not installed here" in said
    with Store.open(live.settings) as store:
        [view] = store.fixes.list()
        explained = explain_fix(store, live.settings, view)
    assert explained.answer == (
        f"Fix {fix.fix_id[:12]} is not applied: gate 'declared' refuses: "
        "repairer 'number' is not installed in this process."
    )


def _missing(live: Runtime, declared: dict[str, Boundary]) -> list[str]:
    return [one.detail for one in run_checks(live.settings, declared, {}) if one.name == "missing repairer"]
