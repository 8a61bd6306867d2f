"""A boundary's contract: the type of its output, and checks that compare output and arguments."""

from __future__ import annotations

import inspect
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Any, BinaryIO, TextIO, get_origin, get_type_hints

from pydantic import ConfigDict, PydanticSchemaGenerationError, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core import SchemaError

from healspan.instrumentation.fields import broken_field
from healspan.remediation.boundary import UNSET, Boundary, ContractResult
from healspan.remediation.interrupts import is_interrupt

__all__ = ["Arguments", "Check", "Contract", "compared"]

Check = Callable[[Any, Mapping[str, Any]], bool]
"""``check(result, arguments)``: must be exactly True; raising counts as False."""


_SAYS_NOTHING = ("Any", "typing.Any", "object")
"""Return annotations, as they are written under ``from __future__ import annotations``, that everything fulfils."""


def _says_something(annotations: Mapping[str, Any]) -> bool:
    """Whether a return annotation leaves anything to verify: what is verified is looked at in each call."""
    said = annotations.get("return", Any)
    return said not in _SAYS_NOTHING if type(said) is str else said is not Any and said is not object


class Arguments(Mapping[str, Any]):
    """A call's arguments by parameter name, defaults included; bound when first looked at.

    Binding costs more than the rest of a boundary, and most checks look at the result only.
    """

    __slots__ = ("_args", "_bound", "_kwargs", "_signature")

    def __init__(self, signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._signature = signature
        self._args = args
        self._kwargs = kwargs
        self._bound: dict[str, Any] | None = None

    def _all(self) -> dict[str, Any]:
        if self._bound is None:
            bound = self._signature.bind_partial(*self._args, **self._kwargs)
            bound.apply_defaults()
            self._bound = bound.arguments
        return self._bound

    def __getitem__(self, name: str) -> Any:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


class Contract:
    """What a returned value must be.

    Args:
        function: whose return annotation stands where `output` is not given.
        output: a type, or anything pydantic validates.
        checks: each must be True of a result.
        annotated: whether the return annotation says what a result must be; that of a generator does not.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        output: Any = UNSET,
        checks: Sequence[Check] = (),
        *,
        annotated: bool = True,
    ) -> None:
        self._function = function
        self._output = output
        self._checks = tuple(checks)
        self._annotated = annotated and _says_something(getattr(function, "__annotations__", {}))
        self._adapter: TypeAdapter[Any] | None = None
        self._abstract: type | None = None
        self._resolved = False
        self.problem: str | None = None
        """Why the output type cannot be checked, if it cannot."""

    @property
    def declared(self) -> bool:
        """Whether there is anything to check."""
        return bool(self._checks) or self._output is not UNSET or self._annotated

    @property
    def checkable(self) -> bool:
        """Whether anything is really checked: an annotation may say nothing, or what cannot be validated."""
        return bool(self._checks) or (self._adapter if self._resolved else self._resolve()) is not None

    def why_unchecked(self) -> str | None:
        """Return why the output type cannot be checked, once everything that it names should be defined."""
        if not self._resolved:
            self._resolve()
        return self.problem

    @property
    def output(self) -> Any:
        """The declared type of the result; `UNSET` where none is, or none that can be resolved."""
        if self._output is not UNSET:
            return self._output
        try:
            return get_type_hints(self._function).get("return", UNSET)
        except Exception:  # annotations are the application's code
            return UNSET

    def verify_healed(self, value: object, arguments: Mapping[str, Any]) -> ContractResult:
        """Check a value that a fix has led to: as every other, and each field of a record as its class declares it.

        What the application builds itself is its own affair; what stands in for it has to be what it says it is.
        """
        result = self.verify(value, arguments)
        if result.valid is False or not self.declared:
            return result
        broken = broken_field(value)
        return result if broken is None else ContractResult(False, f"output.{broken}")

    def verify(self, value: object, arguments: Mapping[str, Any]) -> ContractResult:
        """Check a value, strictly and without replacing it."""
        adapter = self._adapter if self._resolved else self._resolve()
        if adapter is not None:
            try:
                validated = adapter.validate_python(value, strict=True)
            except ValidationError as error:
                first = error.errors(include_url=False, include_input=False)[0]
                where = ".".join(str(part) for part in first["loc"])
                if where or not self._is_another_collection(value):
                    return ContractResult(False, f"output{'.' + where if where else ''}: {first['msg']}")
                validated = value
            except BaseException as error:  # a validator of the application's
                if is_interrupt(error):
                    raise
                return ContractResult(False, f"output: its validation raised {type(error).__qualname__}")
            if not _unchanged(value, validated):
                return ContractResult(False, "output: a mapping stands where an instance of the type must")
        for check in self._checks:
            name = getattr(check, "__name__", "check")
            try:
                kept = check(value, arguments)
            except BaseException as error:
                if is_interrupt(error):
                    raise
                return ContractResult(False, f"check {name} raised {type(error).__qualname__}")
            if kept is not True:
                return ContractResult(False, f"check {name} is not True of the result")
        if adapter is None and not self._checks:
            return ContractResult(None, "the boundary declares no contract")
        return ContractResult(True, "the result keeps the contract")

    def _resolve(self) -> TypeAdapter[Any] | None:
        """Build the validator at first use: annotations may name types defined below the function."""
        output = self._output
        try:
            if output is UNSET and self._annotated:
                output = get_type_hints(self._function).get("return", UNSET)
            if output is not UNSET and output is not Any and output is not object:
                self._adapter = _adapter(output)
                self._abstract = _abstract_collection(output)
        except (NameError, TypeError, PydanticSchemaGenerationError, PydanticUserError, SchemaError) as error:
            self.problem = f"output cannot be checked: {error}"
        self._resolved = True
        return self._adapter

    def _is_another_collection(self, value: object) -> bool:
        """Whether an abstract collection is declared, and the value is one that pydantic has no validator for."""
        return self._abstract is not None and isinstance(value, self._abstract)


def compared(
    result: ContractResult,
    boundary: Boundary,
    value: object,
    arguments: Mapping[str, Any],
) -> ContractResult:
    """Hold a value, of which the contract has said something, also against what good calls have in common.

    What was learned may only refuse. It only stands where no check of the application looks at the value: whoever
    wrote one has said what a good result is.
    """
    if boundary.golden is None or boundary.has_checks or result.valid is False:
        return result
    learned = boundary.golden.learned()
    if learned is None:
        return result
    why = learned.refuses(value, arguments)
    if why is not None:
        return ContractResult(False, f"unlike all {learned.calls} good calls: {why}", compared=True)
    return ContractResult(result.valid, f"{result.reason}; like {learned.calls} good calls", compared=True)


def _adapter(output: Any) -> TypeAdapter[Any]:
    try:
        adapter = TypeAdapter(output, config=ConfigDict(arbitrary_types_allowed=True))
    except PydanticUserError:
        # Models and dataclasses carry their own configuration.
        adapter = TypeAdapter(output)
    adapter.rebuild()  # a name that is not defined shows here, rather than at each validation
    return adapter


def _abstract_collection(output: Any) -> type | None:
    origin = get_origin(output) or output
    if origin in (IO, BinaryIO, TextIO):
        return io.IOBase  # no file is an instance of typing's own classes
    return origin if isinstance(origin, type) and origin.__module__ == "collections.abc" else None


def _unchanged(value: object, validated: object) -> bool:
    """Tell whether the value itself is valid: even strictly, pydantic would make a model out of a mapping.

    A value of a subclass (a defaultdict, a named tuple) is one of the type, an int is a float (PEP 484), and what is
    read lazily cannot be looked into.
    """
    if validated is value:
        return True
    if not isinstance(value, type(validated)):
        return _is_number_for(value, validated) or (isinstance(validated, Iterator) and hasattr(value, "__iter__"))
    if isinstance(value, dict) and isinstance(validated, dict):
        return all(_unchanged(one, validated[key]) for key, one in value.items() if key in validated)
    if isinstance(value, list | tuple) and isinstance(validated, list | tuple):
        return all(_unchanged(one, other) for one, other in zip(value, validated, strict=True))
    return True


def _is_number_for(value: object, validated: object) -> bool:
    return (type(value) is int and type(validated) in (float, complex)) or (
        isinstance(value, float) and type(validated) is complex
    )
