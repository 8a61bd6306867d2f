"""The catalogue finds repairers by name, costs nothing to import, and says what to do about a stranger."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from healspan.remediation.errors import HealspanError, UnknownRepairer
from healspan.remediation.repairers import Failure, Loss, RepairerParameters, catalogue, repairer


def test_holds_the_built_in_repairers_under_their_names() -> None:
    assert list(catalogue()) == ["number", "renamed_key"]
    assert all(each.name == name and each.summary for name, each in catalogue().items())


def test_cannot_be_changed_by_a_caller() -> None:
    with pytest.raises(TypeError):
        catalogue()["number"] = repairer("renamed_key")  # type: ignore[index]


def test_an_unknown_name_is_an_error_that_names_the_known_ones_and_the_next_step() -> None:
    with pytest.raises(UnknownRepairer, match=r"'numbers'.*number, renamed_key.*[Uu]pgrade") as raised:
        repairer("numbers")
    assert isinstance(raised.value, HealspanError)


@pytest.mark.parametrize("name", ["number", "renamed_key"])
def test_parameters_have_defaults_refuse_unknown_fields_and_are_frozen(name: str) -> None:
    model = repairer(name).parameters
    parameters = model()
    with pytest.raises(ValidationError):
        model.model_validate({"surprise": 1})
    with pytest.raises(ValidationError):
        parameters.accept = Loss.NONE  # type: ignore[misc]


@pytest.mark.parametrize("name", ["number", "renamed_key"])
def test_no_parameters_can_accept_a_lossy_repair(name: str) -> None:
    with pytest.raises(ValidationError):
        repairer(name).parameters.model_validate({"accept": "lossy"})


@pytest.mark.parametrize("name", ["number", "renamed_key"])
def test_declines_parameters_of_another_repairer(name: str) -> None:
    call = Failure("call", float, "$1", ValueError(), RepairerParameters())
    subscript = Failure("subscript", {"a_b": 1}, "aB", KeyError("aB"), RepairerParameters())
    assert repairer(name).repair(call) is None
    assert repairer(name).repair(subscript) is None


def test_importing_the_package_loads_neither_the_repairers_nor_rapidfuzz() -> None:
    program = (
        "import sys; import healspan.remediation.repairers as r; "
        "print([m for m in sys.modules if 'rapidfuzz' in m or m.endswith(('.number', '.renamed_key'))]); "
        "r.catalogue(); print([m for m in sys.modules if 'rapidfuzz' in m])"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.split("\n")[:2] == ["[]", "[]"]
