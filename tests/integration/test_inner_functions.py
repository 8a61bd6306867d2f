"""Failures inside functions that other functions made: healed at once, and repaired ahead of the next one."""

from __future__ import annotations

import functools
from collections.abc import Callable

from tests.observe import facts, uninstall_for_good, wait_until

from healspan.instrumentation import error_boundary
from healspan.remediation.runtime import Runtime


def in_thousands(function: Callable[[float], float]) -> Callable[[str], float]:
    @functools.wraps(function)
    def wrapper(text: str) -> float:
        return function(float(text)) / 1_000

    return wrapper


@in_thousands
def amount(number: float) -> float:
    return number


@error_boundary("decorated_amount", output=float, retry_safe=True)
def decorated_amount(text: str) -> float:
    return amount(text)


@error_boundary("lambda_amount", output=float, retry_safe=True)
def lambda_amount(text: str) -> float:
    return max(map(lambda each: float(each), [text]))  # noqa: C417 - a lambda is what this is about


def test_wrappers_made_at_import_and_lambdas_made_at_each_call_are_healed_and_repaired(live: Runtime) -> None:
    wrapper = amount.__code__
    assert (decorated_amount("$1,000"), lambda_amount("$1,000")) == (1.0, 1000.0)
    wait_until(lambda: len(live.repairs.installed()) == 2, "the repairs to be installed")
    assert (decorated_amount("$2,000"), lambda_amount("$2,000")) == (2.0, 2000.0)
    assert len(facts(live)) == 2

    uninstall_for_good(live)
    assert amount.__code__ is wrapper
    assert live.repairs.verify_uninstalled() == []
