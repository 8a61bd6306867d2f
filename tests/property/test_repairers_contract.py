"""What holds of every repairer of the catalogue, so of the next one too: see `tests.fuzz.contract`."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import suppress
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fuzz.contract import ORACLES, check
from tests.fuzz.hostile import HOSTILE, Ran, armed
from tests.fuzz.operations import CALLEES, ERRORS, OPERATIONS, failing, hostile

from healspan.remediation.repairers import ABSENT, Failure, catalogue

_Option = TypeVar("_Option")


class Drawn:
    """Choices that hypothesis makes, and makes smaller where something does not hold."""

    def __init__(self, data: st.DataObject) -> None:
        self._draw = data.draw

    def number(self, most: int) -> int:
        return self._draw(st.integers(0, most))

    def pick(self, options: Sequence[_Option]) -> _Option:
        return options[self.number(len(options) - 1)]

    def text(self, most: int) -> str:
        return self._draw(st.text(max_size=most))

    def data(self, most: int) -> bytes:
        return self._draw(st.binary(max_size=most))


def test_every_repairer_has_a_domain_to_be_tried_in_and_an_oracle() -> None:
    assert set(OPERATIONS) == set(ORACLES) == set(catalogue())


@pytest.mark.parametrize("name", list(catalogue()))
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_a_repairer_keeps_its_contract_in_its_own_domain(name: str, data: st.DataObject) -> None:
    failure = failing(name, Drawn(data))
    if failure is not None:
        check(name, failure)


@pytest.mark.parametrize("name", list(catalogue()))
def test_a_repairer_runs_no_code_of_any_hostile_operand(name: str) -> None:
    chosen = catalogue()[name]
    arguments = (*HOSTILE[:7], "userName", "data", "$1,234", b"\xe9", ABSENT)
    for kind, error in itertools.product(("call", "subscript", "attribute", "operator"), ERRORS):
        for target, argument in itertools.product((*HOSTILE, *CALLEES), arguments):
            raised = error(argument)
            if type(raised) is AttributeError:
                raised = AttributeError("x", name=argument, obj=target)
            with armed():
                applies = chosen.applies(kind, raised)
            if applies:
                check(name, Failure(kind, target, argument, raised, chosen.parameters()))


def test_the_hostile_operands_do_tell() -> None:
    for each in HOSTILE[:7]:
        with pytest.raises(AssertionError, match="code of an operand"), armed(), suppress(Ran):
            isinstance(each, float)


@pytest.mark.parametrize("name", list(catalogue()))
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_a_repairer_runs_no_code_of_an_operand_whatever_the_operation(name: str, data: st.DataObject) -> None:
    check(name, hostile(Drawn(data)))
